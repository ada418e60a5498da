// Transposed matrices of a batch: `(batch, rows, columns)` to `(batch, columns, rows)`, which turns (N, C, H, W) into (N, H, W, C) and back.

KERNEL(transpose)(const T *x, T *y, u32 count, u32 rows, u32 columns) {
    for (u32 i = blockIdx.x * blockDim.x + threadIdx.x; i < count; i += gridDim.x * blockDim.x) {
        const u32 row = i % rows, rest = i / rows, column = rest % columns, matrix = rest / columns;
        y[i] = x[(matrix * rows + row) * columns + column];
    }
}
