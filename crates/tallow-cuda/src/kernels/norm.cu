// Batch norm with what follows it, over matrices of rows (pixels of all images) and channels. CPU: kernels/batch_norm.rs and
// kernels/conv_block.rs of tallow-ops.
//
// `z = (y - mean) * scale + shift` of each channel, with `scale = weight / sigma`. A null pointer stands for a mean of 0, a scale of 1 or a
// shift of 0, so that the same kernels add a bias alone.

// Rows that are added in f32 before the sum goes on in f64.
#define RUN 16

// Rows that a thread reads before it works on the first of them, so that several reads are under way at a time. It divides RUN. The loops over
// them are unrolled, so that what is read stays in registers.
#define AHEAD 4

// A kernel for each number of channels at a time.
#define EACH(KIND, NAME) \
    KIND(NAME##_1, 1)    \
    KIND(NAME##_4, 4)

// Row `j` of those that are read ahead from `row` on; the first of them again where there is none.
__device__ inline u32 ahead(const Part &p, u32 row, int j) {
    const u32 at = row + j * p.lanes;
    return at < p.end ? at : row;
}

template <int W>
struct Affine {
    float mean[W], scale[W], shift[W];
};

template <int W>
__device__ inline Affine<W> affine(const float *mean, const float *scale, const float *shift, u32 channel) {
    Affine<W> a;
    for (int k = 0; k < W; k++) {
        a.mean[k] = mean ? mean[channel + k] : 0.0f;
        a.scale[k] = scale ? scale[channel + k] : 1.0f;
        a.shift[k] = shift ? shift[channel + k] : 0.0f;
    }
    return a;
}

template <int W>
__device__ inline float normal(const Affine<W> &a, int k, float y) {
    return (y - a.mean[k]) * a.scale[k] + a.shift[k];
}

// Adds two sums of each channel over the lanes of a block, and writes them as row `blockIdx.y` of `partial`, `(blocks, 2, channels)`.
template <int W>
__device__ inline void write_pair(const Part &p, const double *first, const double *second, double *partial, u32 channels) {
    __shared__ double scratch[2 * W * 256];
    const u32 t = threadIdx.x;
    for (int k = 0; k < W; k++) {
        scratch[(2 * k) * 256 + t] = first[k];
        scratch[(2 * k + 1) * 256 + t] = second[k];
    }
    __syncthreads();
    for (u32 half = p.lanes / 2; half > 0; half /= 2) {
        if (p.lane < half) {
            for (int q = 0; q < 2 * W; q++) scratch[q * 256 + t] += scratch[q * 256 + t + half * p.columns];
        }
        __syncthreads();
    }
    if (p.lane == 0 && p.inside) {
        for (int k = 0; k < W; k++) {
            const u32 channel = p.column * W + k;
            partial[(2 * blockIdx.y) * channels + channel] = scratch[(2 * k) * 256 + t];
            partial[(2 * blockIdx.y + 1) * channels + channel] = scratch[(2 * k + 1) * 256 + t];
        }
    }
}

// Sums of `x - x0` and of its square, with `x0` the first row, so that a large mean does not drown the variance (Chan, Golub and LeVeque
// 1983).
template <int W>
__device__ inline void statistics(const T *x, double *partial, u32 rows, u32 channels, u32 columns, u32 depth) {
    const Part p = part(rows, channels / W, columns, depth);
    double sum[W] = {}, squares[W] = {};
    if (p.inside) {
        const T *at = x + p.column * W;
        const Lanes<W> origin = load<W>(at);
        u32 row = p.first;
        while (row < p.end) {
            float s[W] = {}, q[W] = {};
            for (int i = 0; i < RUN && row < p.end; i += AHEAD, row += AHEAD * p.lanes) {
                Lanes<W> v[AHEAD];
#pragma unroll
                for (int j = 0; j < AHEAD; j++) v[j] = load<W>(at + ahead(p, row, j) * channels);
#pragma unroll
                for (int j = 0; j < AHEAD; j++) {
                    if (row + j * p.lanes >= p.end) continue;
                    for (int k = 0; k < W; k++) {
                        const float d = v[j].v[k] - origin.v[k];
                        s[k] += d;
                        q[k] += d * d;
                    }
                }
            }
            for (int k = 0; k < W; k++) {
                sum[k] += s[k];
                squares[k] += q[k];
            }
        }
    }
    write_pair<W>(p, sum, squares, partial, channels);
}

#define STATISTICS(NAME, W)                                                                                   \
    KERNEL(NAME)(const T *x, double *partial, u32 rows, u32 channels, u32 columns, u32 depth) {               \
        statistics<W>(x, partial, rows, channels, columns, depth);                                            \
    }

EACH(STATISTICS, norm_statistics)

// Sums over the blocks, by 32 lanes for each of 16 channels. The result is valid in lane 0.
struct Pair {
    double first, second;
    u32 channel;
    bool mine;
};

__device__ inline Pair add_partials(const double *partial, u32 blocks, u32 channels) {
    __shared__ double firsts[512], seconds[512];
    const u32 t = threadIdx.x, lane = t / 16;
    Pair sum;
    sum.channel = blockIdx.x * 16 + t % 16;
    double first = 0.0, second = 0.0;
    if (sum.channel < channels) {
        for (u32 block = lane; block < blocks; block += 32) {
            first += partial[(2 * block) * channels + sum.channel];
            second += partial[(2 * block + 1) * channels + sum.channel];
        }
    }
    firsts[t] = first;
    seconds[t] = second;
    __syncthreads();
    for (u32 half = 16; half > 0; half /= 2) {
        if (lane < half) {
            firsts[t] += firsts[t + half * 16];
            seconds[t] += seconds[t + half * 16];
        }
        __syncthreads();
    }
    sum.mine = lane == 0 && sum.channel < channels;
    sum.first = firsts[t];
    sum.second = seconds[t];
    return sum;
}

// Constants of a norm from the statistics of the batch: mean, scale, shift and 1 / sigma, `(4, channels)`; and the running statistics, which
// move towards the mean (with the bias of the convolution before, if there is one) and the unbiased variance.
KERNEL(norm_finish)(const double *partial, u32 blocks, u32 channels, const T *x, const float *weight, const float *bias,
                    const float *conv_bias, float *running_mean, float *running_var, double count, double eps, double momentum,
                    float *constants) {
    const Pair sum = add_partials(partial, blocks, channels);
    if (!sum.mine) return;
    const u32 c = sum.channel;
    const double mean = wide(x[c]) + sum.first / count;
    const double spread = (sum.second - sum.first * sum.first / count) / count;
    const double variance = spread > 0.0 ? spread : 0.0;
    const double inverse = 1.0 / sqrt(variance + eps);
    constants[c] = (float)mean;
    constants[channels + c] = (float)(weight[c] * inverse);
    constants[2 * channels + c] = bias[c];
    constants[3 * channels + c] = (float)inverse;
    const double moved = mean + (conv_bias ? conv_bias[c] : 0.0f);
    running_mean[c] = (float)((1.0 - momentum) * running_mean[c] + momentum * moved);
    running_var[c] = (float)((1.0 - momentum) * running_var[c] + momentum * (count / (count - 1.0)) * variance);
}

// Constants of a norm from the running statistics, in the same form.
KERNEL(norm_constants)(u32 channels, const float *weight, const float *bias, const float *conv_bias, const float *running_mean,
                       const float *running_var, double eps, float *constants) {
    const u32 c = blockIdx.x * blockDim.x + threadIdx.x;
    if (c >= channels) return;
    const double inverse = 1.0 / sqrt((double)running_var[c] + eps);
    constants[c] = running_mean[c] - (conv_bias ? conv_bias[c] : 0.0f);
    constants[channels + c] = (float)(weight[c] * inverse);
    constants[2 * channels + c] = bias[c];
    constants[3 * channels + c] = (float)inverse;
}

// `out = z`, `relu(z)` or `relu(z + shortcut)`. `out` may be `y`.
template <int W, bool RELU, bool ADD>
__device__ inline void apply(const T *y, const T *shortcut, const float *mean, const float *scale, const float *shift, T *out, u32 rows,
                             u32 channels, u32 columns, u32 depth) {
    const Part p = part(rows, channels / W, columns, depth);
    if (!p.inside) return;
    const u32 channel = p.column * W;
    const Affine<W> a = affine<W>(mean, scale, shift, channel);
    for (u32 row = p.first; row < p.end; row += AHEAD * p.lanes) {
        Lanes<W> v[AHEAD], s[AHEAD];
#pragma unroll
        for (int j = 0; j < AHEAD; j++) {
            const u32 at = ahead(p, row, j) * channels + channel;
            v[j] = load<W>(y + at);
            if (ADD) s[j] = load<W>(shortcut + at);
        }
#pragma unroll
        for (int j = 0; j < AHEAD; j++) {
            if (row + j * p.lanes >= p.end) continue;
            for (int k = 0; k < W; k++) v[j].v[k] = normal<W>(a, k, v[j].v[k]);
            if (ADD) {
                for (int k = 0; k < W; k++) v[j].v[k] += s[j].v[k];
            }
            if (RELU) {
                for (int k = 0; k < W; k++) v[j].v[k] = relu(v[j].v[k]);
            }
            store(out + (row + j * p.lanes) * channels + channel, v[j]);
        }
    }
}

#define APPLY_AS(NAME, W, RELU, ADD)                                                                                                 \
    KERNEL(NAME)(const T *y, const T *shortcut, const float *mean, const float *scale, const float *shift, T *out, u32 rows,         \
                 u32 channels, u32 columns, u32 depth) {                                                                             \
        apply<W, RELU, ADD>(y, shortcut, mean, scale, shift, out, rows, channels, columns, depth);                                   \
    }
#define APPLY(NAME, W) APPLY_AS(NAME, W, false, false)
#define APPLY_RELU(NAME, W) APPLY_AS(NAME, W, true, false)
#define APPLY_ADD_RELU(NAME, W) APPLY_AS(NAME, W, true, true)

EACH(APPLY, norm_apply)
EACH(APPLY_RELU, norm_apply_relu)
EACH(APPLY_ADD_RELU, norm_apply_add_relu)

// First pixel of the 2x2 square at a row of `(N, high, wide)` squares, in maps of `height` by `width` pixels.
struct Square {
    u32 pixel, image, line, across;
};

__device__ inline Square square(u32 row, u32 high, u32 wide, u32 height, u32 width) {
    Square s;
    s.across = row % wide;
    const u32 above = row / wide;
    s.line = above % high;
    s.image = above / high;
    s.pixel = (s.image * height + 2 * s.line) * width + 2 * s.across;
    return s;
}

// Maximum of a square: its position, the first of equal ones; a NaN is larger than any number, and a later one than an earlier.
struct Winner {
    int at;
    float value;
    bool passes;
};

template <int W>
__device__ inline Winner winner(const Affine<W> &a, int k, const float *y) {
    Winner w;
    w.at = 0;
    w.value = y[0];
    float best = normal<W>(a, k, y[0]);
    for (int j = 1; j < 4; j++) {
        const float z = normal<W>(a, k, y[j]);
        if (z > best || z != z) {
            w.at = j;
            w.value = y[j];
            best = z;
        }
    }
    w.passes = best > 0.0f || best != best;
    return w;
}

// `out = relu(max(z))` over 2x2 squares; odd last rows and columns are dropped.
template <int W>
__device__ inline void apply_pool(const T *y, const float *mean, const float *scale, const float *shift, T *out, u32 rows, u32 channels,
                                  u32 columns, u32 depth, u32 height, u32 width) {
    const Part p = part(rows, channels / W, columns, depth);
    if (!p.inside) return;
    const u32 channel = p.column * W;
    const Affine<W> a = affine<W>(mean, scale, shift, channel);
    for (u32 row = p.first; row < p.end; row += p.lanes) {
        const T *at = y + square(row, height / 2, width / 2, height, width).pixel * channels + channel;
        const Lanes<W> v[4] = {load<W>(at), load<W>(at + channels), load<W>(at + width * channels), load<W>(at + (width + 1) * channels)};
        Lanes<W> best;
        for (int k = 0; k < W; k++) {
            const float four[4] = {v[0].v[k], v[1].v[k], v[2].v[k], v[3].v[k]};
            best.v[k] = relu(normal<W>(a, k, winner<W>(a, k, four).value));
        }
        store(out + row * channels + channel, best);
    }
}

#define APPLY_POOL(NAME, W)                                                                                                      \
    KERNEL(NAME)(const T *y, const float *mean, const float *scale, const float *shift, T *out, u32 rows, u32 channels,          \
                 u32 columns, u32 depth, u32 height, u32 width) {                                                                \
        apply_pool<W>(y, mean, scale, shift, out, rows, channels, columns, depth, height, width);                                \
    }

EACH(APPLY_POOL, norm_apply_pool)

// Gradient before the ReLU, of the gradient `g` after it. `MASK` 0: there is no ReLU; 1: the ReLU of `z`; 2: the ReLU whose output is
// `out`. The result is also written to `masked` for 2, where the shortcut has it as its gradient.
//
// Sums of it, `d`, and of `d * (y - mean)`.
template <int W, int MASK>
__device__ inline void gradient_sums(const T *y, const T *grad, const T *out, const float *mean, const float *scale, const float *shift,
                                     T *masked, double *partial, u32 rows, u32 channels, u32 columns, u32 depth) {
    const Part p = part(rows, channels / W, columns, depth);
    double sum[W] = {}, dot[W] = {};
    if (p.inside) {
        const u32 channel = p.column * W;
        const Affine<W> a = affine<W>(mean, scale, shift, channel);
        u32 row = p.first;
        while (row < p.end) {
            float s[W] = {}, q[W] = {};
            for (int i = 0; i < RUN && row < p.end; i += AHEAD, row += AHEAD * p.lanes) {
                Lanes<W> v[AHEAD], d[AHEAD], o[AHEAD];
#pragma unroll
                for (int j = 0; j < AHEAD; j++) {
                    const u32 at = ahead(p, row, j) * channels + channel;
                    v[j] = load<W>(y + at);
                    d[j] = load<W>(grad + at);
                    if (MASK == 2) o[j] = load<W>(out + at);
                }
#pragma unroll
                for (int j = 0; j < AHEAD; j++) {
                    if (row + j * p.lanes >= p.end) continue;
                    if (MASK == 1) {
                        for (int k = 0; k < W; k++) d[j].v[k] = normal<W>(a, k, v[j].v[k]) <= 0.0f ? 0.0f : d[j].v[k];
                    }
                    if (MASK == 2) {
                        for (int k = 0; k < W; k++) d[j].v[k] = o[j].v[k] <= 0.0f ? 0.0f : d[j].v[k];
                        store(masked + (row + j * p.lanes) * channels + channel, d[j]);
                    }
                    for (int k = 0; k < W; k++) {
                        s[k] += d[j].v[k];
                        q[k] += d[j].v[k] * (v[j].v[k] - a.mean[k]);
                    }
                }
            }
            for (int k = 0; k < W; k++) {
                sum[k] += s[k];
                dot[k] += q[k];
            }
        }
    }
    write_pair<W>(p, sum, dot, partial, channels);
}

#define SUMS_AS(NAME, W, MASK)                                                                                                  \
    KERNEL(NAME)(const T *y, const T *grad, const T *out, const float *mean, const float *scale, const float *shift, T *masked, \
                 double *partial, u32 rows, u32 channels, u32 columns, u32 depth) {                                             \
        gradient_sums<W, MASK>(y, grad, out, mean, scale, shift, masked, partial, rows, channels, columns, depth);              \
    }
#define SUMS(NAME, W) SUMS_AS(NAME, W, 0)
#define SUMS_RELU(NAME, W) SUMS_AS(NAME, W, 1)
#define SUMS_ADD_RELU(NAME, W) SUMS_AS(NAME, W, 2)

EACH(SUMS, norm_sums)
EACH(SUMS_RELU, norm_sums_relu)
EACH(SUMS_ADD_RELU, norm_sums_add_relu)

// The same sums where 2x2 squares were pooled; a row is a square.
template <int W>
__device__ inline void pool_sums(const T *y, const T *grad, const float *mean, const float *scale, const float *shift, double *partial,
                                 u32 rows, u32 channels, u32 columns, u32 depth, u32 height, u32 width) {
    const Part p = part(rows, channels / W, columns, depth);
    double sum[W] = {}, dot[W] = {};
    if (p.inside) {
        const u32 channel = p.column * W;
        const Affine<W> a = affine<W>(mean, scale, shift, channel);
        u32 row = p.first;
        while (row < p.end) {
            float s[W] = {}, q[W] = {};
            for (int i = 0; i < RUN && row < p.end; i++, row += p.lanes) {
                const T *at = y + square(row, height / 2, width / 2, height, width).pixel * channels + channel;
                const Lanes<W> v[4] = {load<W>(at), load<W>(at + channels), load<W>(at + width * channels),
                                       load<W>(at + (width + 1) * channels)};
                const Lanes<W> g = load<W>(grad + row * channels + channel);
                for (int k = 0; k < W; k++) {
                    const float four[4] = {v[0].v[k], v[1].v[k], v[2].v[k], v[3].v[k]};
                    const Winner w = winner<W>(a, k, four);
                    const float d = w.passes ? g.v[k] : 0.0f;
                    s[k] += d;
                    q[k] += d * (w.value - a.mean[k]);
                }
            }
            for (int k = 0; k < W; k++) {
                sum[k] += s[k];
                dot[k] += q[k];
            }
        }
    }
    write_pair<W>(p, sum, dot, partial, channels);
}

#define SUMS_POOL(NAME, W)                                                                                                         \
    KERNEL(NAME)(const T *y, const T *grad, const float *mean, const float *scale, const float *shift, double *partial, u32 rows,  \
                 u32 channels, u32 columns, u32 depth, u32 height, u32 width) {                                                    \
        pool_sums<W>(y, grad, mean, scale, shift, partial, rows, channels, columns, depth, height, width);                         \
    }

EACH(SUMS_POOL, norm_sums_pool)

// Gradients of weight and bias, and what the statistics of the batch take from the gradient of `y`: offset and slope, `(2, channels)`
// (Ioffe and Szegedy 2015, section 3). A null pointer leaves a result out.
KERNEL(norm_gradient_finish)(const double *partial, u32 blocks, u32 channels, const float *inverse, double count, float *through,
                             float *weight_grad, float *bias_grad) {
    const Pair sum = add_partials(partial, blocks, channels);
    if (!sum.mine) return;
    const u32 c = sum.channel;
    const double inv = inverse ? inverse[c] : 1.0f;
    if (through) {
        through[c] = (float)(sum.first / count);
        through[channels + c] = (float)(sum.second / count * inv * inv);
    }
    if (weight_grad) weight_grad[c] = (float)(sum.second * inv);
    if (bias_grad) bias_grad[c] = (float)sum.first;
}

// `dy = (d - offset - (y - mean) * slope) * scale`. Without `through` the statistics are constants. `dy` may be `y`.
template <int W, bool RELU>
__device__ inline void gradient(const T *y, const T *grad, const float *mean, const float *scale, const float *shift, const float *through,
                                T *dy, u32 rows, u32 channels, u32 columns, u32 depth) {
    const Part p = part(rows, channels / W, columns, depth);
    if (!p.inside) return;
    const u32 channel = p.column * W;
    const Affine<W> a = affine<W>(mean, scale, shift, channel);
    const Affine<W> t = affine<W>(through, through ? through + channels : through, nullptr, channel);
    for (u32 row = p.first; row < p.end; row += AHEAD * p.lanes) {
        Lanes<W> v[AHEAD], d[AHEAD];
#pragma unroll
        for (int j = 0; j < AHEAD; j++) {
            const u32 at = ahead(p, row, j) * channels + channel;
            v[j] = load<W>(y + at);
            d[j] = load<W>(grad + at);
        }
#pragma unroll
        for (int j = 0; j < AHEAD; j++) {
            if (row + j * p.lanes >= p.end) continue;
            if (RELU) {
                for (int k = 0; k < W; k++) d[j].v[k] = normal<W>(a, k, v[j].v[k]) <= 0.0f ? 0.0f : d[j].v[k];
            }
            if (through) {
                for (int k = 0; k < W; k++) d[j].v[k] = d[j].v[k] - t.mean[k] - (v[j].v[k] - a.mean[k]) * t.scale[k];
            }
            for (int k = 0; k < W; k++) d[j].v[k] *= a.scale[k];
            store(dy + (row + j * p.lanes) * channels + channel, d[j]);
        }
    }
}

#define GRADIENT_AS(NAME, W, RELU)                                                                                               \
    KERNEL(NAME)(const T *y, const T *grad, const float *mean, const float *scale, const float *shift, const float *through,     \
                 T *dy, u32 rows, u32 channels, u32 columns, u32 depth) {                                                        \
        gradient<W, RELU>(y, grad, mean, scale, shift, through, dy, rows, channels, columns, depth);                             \
    }
#define GRADIENT(NAME, W) GRADIENT_AS(NAME, W, false)
#define GRADIENT_RELU(NAME, W) GRADIENT_AS(NAME, W, true)

EACH(GRADIENT, norm_gradient)
EACH(GRADIENT_RELU, norm_gradient_relu)

// The same where 2x2 squares were pooled; a row is a square, and odd last rows and columns are half squares, which nothing was taken from.
// `dy` may be `y`.
template <int W>
__device__ inline void pool_gradient(const T *y, const T *grad, const float *mean, const float *scale, const float *shift,
                                     const float *through, T *dy, u32 rows, u32 channels, u32 columns, u32 depth, u32 height,
                                     u32 width) {
    const Part p = part(rows, channels / W, columns, depth);
    if (!p.inside) return;
    const u32 channel = p.column * W, high = (height + 1) / 2, wide = (width + 1) / 2;
    const Affine<W> a = affine<W>(mean, scale, shift, channel);
    const Affine<W> t = affine<W>(through, through ? through + channels : through, nullptr, channel);
    for (u32 row = p.first; row < p.end; row += p.lanes) {
        const Square s = square(row, high, wide, height, width);
        const bool below = 2 * s.line + 1 < height, right = 2 * s.across + 1 < width, whole = below && right;
        const bool there[4] = {true, right, below, whole};
        const u32 first = s.pixel * channels + channel;
        const u32 at[4] = {first, first + channels, first + width * channels, first + (width + 1) * channels};
        Lanes<W> v[4], g;
        for (int j = 0; j < 4; j++) {
            if (there[j]) v[j] = load<W>(y + at[j]);
        }
        if (whole) {
            const u32 pooled = (s.image * (height / 2) + s.line) * (width / 2) + s.across;
            g = load<W>(grad + pooled * channels + channel);
        }
        Lanes<W> d[4];
        for (int k = 0; k < W; k++) {
            for (int j = 0; j < 4; j++) d[j].v[k] = 0.0f;
            if (whole) {
                const float four[4] = {v[0].v[k], v[1].v[k], v[2].v[k], v[3].v[k]};
                const Winner w = winner<W>(a, k, four);
                for (int j = 0; j < 4; j++) d[j].v[k] = w.passes && w.at == j ? g.v[k] : 0.0f;
            }
        }
        for (int j = 0; j < 4; j++) {
            if (!there[j]) continue;
            for (int k = 0; k < W; k++) {
                if (through) d[j].v[k] = d[j].v[k] - t.mean[k] - (v[j].v[k] - a.mean[k]) * t.scale[k];
                d[j].v[k] *= a.scale[k];
            }
            store(dy + at[j], d[j]);
        }
    }
}

#define GRADIENT_POOL(NAME, W)                                                                                                   \
    KERNEL(NAME)(const T *y, const T *grad, const float *mean, const float *scale, const float *shift, const float *through,     \
                 T *dy, u32 rows, u32 channels, u32 columns, u32 depth, u32 height, u32 width) {                                 \
        pool_gradient<W>(y, grad, mean, scale, shift, through, dy, rows, channels, columns, depth, height, width);               \
    }

EACH(GRADIENT_POOL, norm_gradient_pool)
