// Changes between the types of numbers.

template <typename From, typename To, int W>
__device__ inline void convert(const From *x, To *y, u32 count) {
    for (u32 i = blockIdx.x * blockDim.x + threadIdx.x; i < count; i += gridDim.x * blockDim.x) store(y + i * W, load<W>(x + i * W));
}

KERNEL(narrow_1)(const float *x, bf16 *y, u32 count) { convert<float, bf16, 1>(x, y, count); }
KERNEL(narrow_4)(const float *x, bf16 *y, u32 count) { convert<float, bf16, 4>(x, y, count); }
KERNEL(widen_1)(const bf16 *x, float *y, u32 count) { convert<bf16, float, 1>(x, y, count); }
KERNEL(widen_4)(const bf16 *x, float *y, u32 count) { convert<bf16, float, 4>(x, y, count); }

// Filters `(outputs, inputs, taps)`, as the parameters lie, to `(outputs, taps, inputs)`, as tensor cores read them; `count` is the number of
// outputs times that of inputs.
KERNEL(filters_narrow)(const float *w, bf16 *out, u32 count, u32 inputs, u32 taps) {
    for (u32 i = blockIdx.x * blockDim.x + threadIdx.x; i < count; i += gridDim.x * blockDim.x) {
        const u32 to = i / inputs * taps * inputs + i % inputs;
        for (u32 k = 0; k < taps; k++) out[to + k * inputs] = narrow(w[i * taps + k]);
    }
}

// The way back, for their gradients.
KERNEL(filters_widen)(const bf16 *g, float *out, u32 count, u32 inputs, u32 taps) {
    for (u32 i = blockIdx.x * blockDim.x + threadIdx.x; i < count; i += gridDim.x * blockDim.x) {
        const u32 from = i / inputs * taps * inputs + i % inputs;
        for (u32 k = 0; k < taps; k++) out[i * taps + k] = wide(g[from + k * inputs]);
    }
}
