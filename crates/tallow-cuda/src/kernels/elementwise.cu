// Element-wise operators over `count` vectors of one or four values.

template <int W>
__device__ inline void relu_of(const float *x, float *y, u32 count) {
    for (u32 i = blockIdx.x * blockDim.x + threadIdx.x; i < count; i += gridDim.x * blockDim.x) {
        Lanes<W> v = load<W>(x + i * W);
        for (int k = 0; k < W; k++) v.v[k] = relu(v.v[k]);
        store(y + i * W, v);
    }
}

KERNEL relu_1(const float *x, float *y, u32 count) { relu_of<1>(x, y, count); }
KERNEL relu_4(const float *x, float *y, u32 count) { relu_of<4>(x, y, count); }

// Gradient of a ReLU, from its output.
template <int W>
__device__ inline void relu_gradient_of(const float *y, const float *grad, float *dx, u32 count) {
    for (u32 i = blockIdx.x * blockDim.x + threadIdx.x; i < count; i += gridDim.x * blockDim.x) {
        const Lanes<W> v = load<W>(y + i * W);
        Lanes<W> d = load<W>(grad + i * W);
        for (int k = 0; k < W; k++) d.v[k] = v.v[k] <= 0.0f ? 0.0f : d.v[k];
        store(dx + i * W, d);
    }
}

KERNEL relu_gradient_1(const float *y, const float *grad, float *dx, u32 count) { relu_gradient_of<1>(y, grad, dx, count); }
KERNEL relu_gradient_4(const float *y, const float *grad, float *dx, u32 count) { relu_gradient_of<4>(y, grad, dx, count); }

template <int W>
__device__ inline void add_relu_of(const float *x, const float *y, float *out, u32 count) {
    for (u32 i = blockIdx.x * blockDim.x + threadIdx.x; i < count; i += gridDim.x * blockDim.x) {
        Lanes<W> v = load<W>(x + i * W);
        const Lanes<W> w = load<W>(y + i * W);
        for (int k = 0; k < W; k++) v.v[k] = relu(v.v[k] + w.v[k]);
        store(out + i * W, v);
    }
}

KERNEL add_relu_1(const float *x, const float *y, float *out, u32 count) { add_relu_of<1>(x, y, out, count); }
KERNEL add_relu_4(const float *x, const float *y, float *out, u32 count) { add_relu_of<4>(x, y, out, count); }
