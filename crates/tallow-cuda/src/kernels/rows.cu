// Gradients before the bias of a linear layer, for few rows: a block has all rows of 32 columns, so that one launch does what norm.cu does in two,
// and in three with a ReLU. CPU: grad_bias of kernels/linear and kernels/relu of tallow-ops.

#define COLUMNS 32
#define LANES 8

// `d` is `grad`, but 0 where `out`, if there is one, is the 0 of a ReLU. `masked` gets it, and `sums` its sum over the rows; either may be null, and
// `masked` may be `grad`.
KERNEL(rows_gradient)(const float *out, const float *grad, float *masked, float *sums, u32 rows, u32 columns) {
    __shared__ double scratch[COLUMNS * LANES];
    const u32 t = threadIdx.x, lane = t / COLUMNS, column = blockIdx.x * COLUMNS + t % COLUMNS;
    double sum = 0.0;
    if (column < columns) {
        for (u32 row = lane; row < rows; row += LANES) {
            const u32 at = row * columns + column;
            const float d = out && out[at] <= 0.0f ? 0.0f : grad[at];
            if (masked) masked[at] = d;
            sum += d;
        }
    }
    if (!sums) return;
    scratch[t] = sum;
    __syncthreads();
    for (u32 half = LANES / 2; half > 0; half /= 2) {
        if (lane < half) scratch[t] += scratch[t + half * COLUMNS];
        __syncthreads();
    }
    if (lane == 0 && column < columns) sums[column] = (float)scratch[t];
}
