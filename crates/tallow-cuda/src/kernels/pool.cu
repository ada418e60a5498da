// Pooling over windows, in either layout. CPU: kernels/pool of tallow-ops. Gradients are gathered: each input adds what the windows over
// it give, in the order of the windows.

// One axis: tap `k` of output `o` is input `o * stride + k * dilation - padding`.
struct Axis {
    u32 input, output, kernel, stride, padding, dilation;
};

// Outputs whose windows may cover an input: from `first` up to and without `end`.
struct Range {
    u32 first, end;
};

__device__ inline Range outputs(const Axis &a, u32 input) {
    const u32 at = input + a.padding, reach = (a.kernel - 1) * a.dilation;
    Range r;
    r.first = at > reach ? (at - reach + a.stride - 1) / a.stride : 0;
    r.end = at / a.stride + 1;
    if (r.end > a.output) r.end = a.output;
    return r;
}

// Plane and pixel of element `i` of maps of `high` by `wide`: in (N, H, W, C) a plane is a channel of an image, and neighbouring pixels are
// `channels` apart.
struct Place {
    u32 row, column, image, channel;
};

__device__ inline Place place(u32 i, u32 high, u32 wide, u32 channels, u32 channels_last) {
    Place p;
    if (channels_last) {
        p.channel = i % channels;
        i /= channels;
    }
    p.column = i % wide;
    i /= wide;
    p.row = i % high;
    i /= high;
    if (!channels_last) {
        p.channel = i % channels;
        i /= channels;
    }
    p.image = i;
    return p;
}

// Element of the first pixel of a plane, and the distance of neighbouring pixels.
__device__ inline u32 plane(const Place &p, u32 size, u32 channels, u32 channels_last) {
    return channels_last ? p.image * size * channels + p.channel : (p.image * channels + p.channel) * size;
}

#define NOBODY 0xffffffffu

// Maxima, and the positions of each in its plane. The first of equal values is the maximum; a NaN is larger than any number, and a later
// one than an earlier.
KERNEL(max_pool)(const T *x, T *y, u32 *winner, u32 count, u32 channels, u32 channels_last, Axis rows, Axis columns) {
    const u32 step = channels_last ? channels : 1;
    for (u32 i = blockIdx.x * blockDim.x + threadIdx.x; i < count; i += gridDim.x * blockDim.x) {
        const Place p = place(i, rows.output, columns.output, channels, channels_last);
        const T *from = x + plane(p, rows.input * columns.input, channels, channels_last);
        float best = -POSITIVE_INFINITY;
        u32 at = NOBODY;
        for (u32 r = 0; r < rows.kernel; r++) {
            const u32 row = p.row * rows.stride + r * rows.dilation - rows.padding;
            // Above the first row it wraps around.
            if (row >= rows.input) continue;
            for (u32 k = 0; k < columns.kernel; k++) {
                const u32 column = p.column * columns.stride + k * columns.dilation - columns.padding;
                if (column >= columns.input) continue;
                const u32 pixel = row * columns.input + column;
                const float v = wide(from[pixel * step]);
                if (v > best || v != v || at == NOBODY) {
                    best = v;
                    at = pixel;
                }
            }
        }
        put(y + i, best);
        winner[i] = at;
    }
}

KERNEL(max_pool_gradient)(const T *grad, const u32 *winner, T *dx, u32 count, u32 channels, u32 channels_last, Axis rows,
                         Axis columns) {
    const u32 step = channels_last ? channels : 1;
    for (u32 i = blockIdx.x * blockDim.x + threadIdx.x; i < count; i += gridDim.x * blockDim.x) {
        const Place p = place(i, rows.input, columns.input, channels, channels_last);
        const u32 from = plane(p, rows.output * columns.output, channels, channels_last);
        const u32 pixel = p.row * columns.input + p.column;
        const Range down = outputs(rows, p.row), across = outputs(columns, p.column);
        float sum = 0.0f;
        for (u32 r = down.first; r < down.end; r++) {
            for (u32 k = across.first; k < across.end; k++) {
                const u32 at = from + (r * columns.output + k) * step;
                if (winner[at] == pixel) sum += wide(grad[at]);
            }
        }
        put(dx + i, sum);
    }
}

// Inputs `first` up to `end` of one output, and the divisor. `mode` 0: the padding does not count; 1: it does; 2: adaptive pooling.
struct Span {
    u32 first, end, divisor;
};

__device__ inline Span span(const Axis &a, u32 output, u32 mode) {
    Span s;
    if (mode == 2) {
        s.first = (u32)((u64)output * a.input / a.output);
        s.end = (u32)(((u64)(output + 1) * a.input + a.output - 1) / a.output);
        s.divisor = s.end - s.first;
        return s;
    }
    const u32 at = output * a.stride, border = a.input + a.padding, padded = border + a.padding;
    const u32 last = at + a.kernel;
    s.first = at > a.padding ? at - a.padding : 0;
    s.end = (last < border ? last : border) > a.padding ? (last < border ? last : border) - a.padding : 0;
    if (s.first >= s.end) {
        s.first = 0;
        s.end = 0;
    }
    s.divisor = s.end - s.first;
    if (mode == 1) s.divisor = last < padded ? a.kernel : padded - at;
    return s;
}

// Outputs whose spans may cover an input.
__device__ inline Range averages(const Axis &a, u32 input, u32 mode) {
    if (mode != 2) return outputs(a, input);
    Range r;
    r.first = (u32)((u64)input * a.output / a.input);
    r.end = (u32)(((u64)(input + 1) * a.output + a.input - 1) / a.input);
    return r;
}

KERNEL(avg_pool)(const T *x, T *y, u32 count, u32 channels, u32 channels_last, u32 mode, Axis rows, Axis columns) {
    const u32 step = channels_last ? channels : 1;
    for (u32 i = blockIdx.x * blockDim.x + threadIdx.x; i < count; i += gridDim.x * blockDim.x) {
        const Place p = place(i, rows.output, columns.output, channels, channels_last);
        const T *from = x + plane(p, rows.input * columns.input, channels, channels_last);
        const Span down = span(rows, p.row, mode), across = span(columns, p.column, mode);
        float sum = 0.0f;
        for (u32 r = down.first; r < down.end; r++) {
            for (u32 k = across.first; k < across.end; k++) sum += wide(from[(r * columns.input + k) * step]);
        }
        put(y + i, sum / (float)(down.divisor * across.divisor));
    }
}

KERNEL(avg_pool_gradient)(const T *grad, T *dx, u32 count, u32 channels, u32 channels_last, u32 mode, Axis rows, Axis columns) {
    const u32 step = channels_last ? channels : 1;
    for (u32 i = blockIdx.x * blockDim.x + threadIdx.x; i < count; i += gridDim.x * blockDim.x) {
        const Place p = place(i, rows.input, columns.input, channels, channels_last);
        const T *from = grad + plane(p, rows.output * columns.output, channels, channels_last);
        const Range vertical = averages(rows, p.row, mode), horizontal = averages(columns, p.column, mode);
        float sum = 0.0f;
        for (u32 r = vertical.first; r < vertical.end; r++) {
            const Span down = span(rows, r, mode);
            if (p.row < down.first || p.row >= down.end) continue;
            for (u32 k = horizontal.first; k < horizontal.end; k++) {
                const Span across = span(columns, k, mode);
                if (p.column < across.first || p.column >= across.end) continue;
                sum += wide(from[(r * columns.output + k) * step]) / (float)(down.divisor * across.divisor);
            }
        }
        put(dx + i, sum);
    }
}
