// Transposed matrices of a batch: `(batch, rows, columns)` to `(batch, columns, rows)`, which turns (N, C, H, W) into (N, H, W, C) and back.

KERNEL(transpose)(const T *x, T *y, u32 count, u32 rows, u32 columns) {
    for (u32 i = blockIdx.x * blockDim.x + threadIdx.x; i < count; i += gridDim.x * blockDim.x) {
        const u32 row = i % rows, rest = i / rows, column = rest % columns, matrix = rest / columns;
        y[i] = x[(matrix * rows + row) * columns + column];
    }
}

// Sizes of a shortcut without parameters: maps in (N, H, W, C) of which every `stride`-th pixel is taken, and `before` channels of zeros before theirs.
struct Shortcut {
    u32 height, width, channels, high, across, outputs, before, stride;
};

// Every `stride`-th pixel, with channels of zeros around its own.
KERNEL(shortcut)(const T *x, T *y, u32 count, Shortcut s) {
    for (u32 i = blockIdx.x * blockDim.x + threadIdx.x; i < count; i += gridDim.x * blockDim.x) {
        const u32 pixel = i / s.outputs, column = pixel % s.across, line = pixel / s.across, row = line % s.high, image = line / s.high;
        // Below `before` it wraps around.
        const u32 channel = i % s.outputs - s.before;
        float value = 0.0f;
        if (channel < s.channels) {
            const u32 from = (image * s.height + row * s.stride) * s.width + column * s.stride;
            value = wide(x[from * s.channels + channel]);
        }
        put(y + i, value);
    }
}

// Its gradient: zeros for the pixels that were not taken.
KERNEL(shortcut_gradient)(const T *grad, T *dx, u32 count, Shortcut s) {
    for (u32 i = blockIdx.x * blockDim.x + threadIdx.x; i < count; i += gridDim.x * blockDim.x) {
        const u32 pixel = i / s.channels, column = pixel % s.width, line = pixel / s.width, row = line % s.height, image = line / s.height;
        float value = 0.0f;
        if (row % s.stride == 0 && column % s.stride == 0) {
            const u32 to = (image * s.high + row / s.stride) * s.across + column / s.stride;
            value = wide(grad[to * s.outputs + s.before + i % s.channels]);
        }
        put(dx + i, value);
    }
}
