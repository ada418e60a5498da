// Element-wise operators over `count` vectors of one or four values.

template <int W>
__device__ inline void relu_of(const T *x, T *y, u32 count) {
    for (u32 i = blockIdx.x * blockDim.x + threadIdx.x; i < count; i += gridDim.x * blockDim.x) {
        Lanes<W> v = load<W>(x + i * W);
        for (int k = 0; k < W; k++) v.v[k] = relu(v.v[k]);
        store(y + i * W, v);
    }
}

KERNEL(relu_1)(const T *x, T *y, u32 count) { relu_of<1>(x, y, count); }
KERNEL(relu_4)(const T *x, T *y, u32 count) { relu_of<4>(x, y, count); }

// Gradient of a ReLU, from its output.
template <int W>
__device__ inline void relu_gradient_of(const T *y, const T *grad, T *dx, u32 count) {
    for (u32 i = blockIdx.x * blockDim.x + threadIdx.x; i < count; i += gridDim.x * blockDim.x) {
        const Lanes<W> v = load<W>(y + i * W);
        Lanes<W> d = load<W>(grad + i * W);
        for (int k = 0; k < W; k++) d.v[k] = v.v[k] <= 0.0f ? 0.0f : d.v[k];
        store(dx + i * W, d);
    }
}

KERNEL(relu_gradient_1)(const T *y, const T *grad, T *dx, u32 count) { relu_gradient_of<1>(y, grad, dx, count); }
KERNEL(relu_gradient_4)(const T *y, const T *grad, T *dx, u32 count) { relu_gradient_of<4>(y, grad, dx, count); }

// `out = x + y`, or its ReLU.
template <int W, bool RELU>
__device__ inline void sum_of(const T *x, const T *y, T *out, u32 count) {
    for (u32 i = blockIdx.x * blockDim.x + threadIdx.x; i < count; i += gridDim.x * blockDim.x) {
        Lanes<W> v = load<W>(x + i * W);
        const Lanes<W> w = load<W>(y + i * W);
        for (int k = 0; k < W; k++) v.v[k] = RELU ? relu(v.v[k] + w.v[k]) : v.v[k] + w.v[k];
        store(out + i * W, v);
    }
}

KERNEL(add_1)(const T *x, const T *y, T *out, u32 count) { sum_of<1, false>(x, y, out, count); }
KERNEL(add_4)(const T *x, const T *y, T *out, u32 count) { sum_of<4, false>(x, y, out, count); }
KERNEL(add_relu_1)(const T *x, const T *y, T *out, u32 count) { sum_of<1, true>(x, y, out, count); }
KERNEL(add_relu_4)(const T *x, const T *y, T *out, u32 count) { sum_of<4, true>(x, y, out, count); }
