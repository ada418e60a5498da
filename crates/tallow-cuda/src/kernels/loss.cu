// Softmax and the cross entropy with labels. CPU: kernels/softmax.rs of tallow-ops. A block of 128 threads works on a row of logits.

#define ROW 128

__device__ inline float largest_of(float value) {
    __shared__ float values[ROW];
    const u32 t = threadIdx.x;
    __syncthreads();
    values[t] = value;
    __syncthreads();
    for (u32 half = ROW / 2; half > 0; half /= 2) {
        // A NaN is passed over.
        if (t < half && values[t + half] > values[t]) values[t] = values[t + half];
        __syncthreads();
    }
    return values[0];
}

__device__ inline double sum_of(double value) {
    __shared__ double values[ROW];
    const u32 t = threadIdx.x;
    __syncthreads();
    values[t] = value;
    __syncthreads();
    for (u32 half = ROW / 2; half > 0; half /= 2) {
        if (t < half) values[t] += values[t + half];
        __syncthreads();
    }
    return values[0];
}

// Softmax of each row, and the loss of each row with the target `1 - smoothing` at the label plus `smoothing / classes` for all. A label that
// is not below `classes` makes it NaN.
KERNEL(cross_entropy)(const float *logits, const u32 *labels, float *softmax, double *losses, u32 classes, double smoothing) {
    const float *z = logits + blockIdx.x * classes;
    float *p = softmax + blockIdx.x * classes;
    float best = -POSITIVE_INFINITY;
    for (u32 k = threadIdx.x; k < classes; k += ROW) best = z[k] > best ? z[k] : best;
    const float largest = largest_of(best);
    double total = 0.0;
    for (u32 k = threadIdx.x; k < classes; k += ROW) {
        const float e = expf(z[k] - largest);
        p[k] = e;
        total += e;
    }
    const double sum = sum_of(total);
    const float inverse = (float)(1.0 / sum);
    const double log_sum = largest + log(sum);
    double above = 0.0;
    for (u32 k = threadIdx.x; k < classes; k += ROW) {
        p[k] *= inverse;
        above += log_sum - z[k];
    }
    // Left out without smoothing: 0 times an infinite logit would be NaN.
    const double even = smoothing == 0.0 ? 0.0 : sum_of(above) / classes;
    if (threadIdx.x == 0) {
        const u32 label = labels[blockIdx.x];
        const double hard = label < classes ? log_sum - z[label] : (double)NOT_A_NUMBER;
        losses[blockIdx.x] = smoothing == 0.0 ? hard : (1.0 - smoothing) * hard + smoothing * even;
    }
}

// Mean of the rows' losses, by one block.
KERNEL(mean_loss)(const double *losses, float *loss, u32 rows) {
    double total = 0.0;
    for (u32 row = threadIdx.x; row < rows; row += ROW) total += losses[row];
    const double sum = sum_of(total);
    if (threadIdx.x == 0) loss[0] = (float)(sum / rows);
}

// Gradient of the logits: that of the mean loss times `upstream`, a scalar in device memory.
KERNEL(cross_entropy_gradient)(const float *softmax, const u32 *labels, const float *upstream, float *dz, u32 count, u32 classes, float hard,
                              float even) {
    const float scale = (float)((double)upstream[0] / (count / classes));
    for (u32 i = blockIdx.x * blockDim.x + threadIdx.x; i < count; i += gridDim.x * blockDim.x) {
        const float d = softmax[i] - even;
        dz[i] = (labels[i / classes] == i % classes ? d - hard : d) * scale;
    }
}

// A score beats another if it is larger; NaN beats numbers. CPU: `argmax` of tallow-metrics.
__device__ inline bool above(float a, float b) { return a > b || (a != a && b == b); }

#define TALLY_ROWS 8
#define NO_CLASS 0xffffffffu

// Loss of a batch, and the number of its rows whose largest logit, the first of equal ones, is that of the label. One block, of which 32 threads work
// on a row.
KERNEL(tally)(const float *loss, const float *logits, const u32 *labels, float *out, u32 rows, u32 classes) {
    __shared__ float best[32 * TALLY_ROWS];
    __shared__ u32 at[32 * TALLY_ROWS], right[TALLY_ROWS];
    const u32 t = threadIdx.x, lane = t % 32, slot = t / 32;
    u32 found = 0;
    for (u32 first = 0; first < rows; first += TALLY_ROWS) {
        const u32 row = first + slot;
        float value = -POSITIVE_INFINITY;
        u32 index = NO_CLASS;
        if (row < rows) {
            const float *z = logits + row * classes;
            for (u32 k = lane; k < classes; k += 32) {
                if (index == NO_CLASS || above(z[k], value)) {
                    value = z[k];
                    index = k;
                }
            }
        }
        best[t] = value;
        at[t] = index;
        __syncthreads();
        for (u32 half = 16; half > 0; half /= 2) {
            if (lane < half) {
                const float other = best[t + half];
                const bool equal = !above(other, best[t]) && !above(best[t], other);
                if (above(other, best[t]) || (equal && at[t + half] < at[t])) {
                    best[t] = other;
                    at[t] = at[t + half];
                }
            }
            __syncthreads();
        }
        if (lane == 0 && row < rows && at[t] == labels[row]) found++;
    }
    if (lane == 0) right[slot] = found;
    __syncthreads();
    if (t == 0) {
        u32 sum = 0;
        for (u32 i = 0; i < TALLY_ROWS; i++) sum += right[i];
        out[0] = loss[0];
        out[1] = (float)sum;
    }
}
