// Text that goes before each file of kernels.
//
// The same text is compiled by NVRTC for a device and by a C++ compiler for the tests, so that it uses no header, no functions of
// warps and no atomics: sums go through shared memory in a fixed order. Both compilers are told not to contract products and sums, so
// that a kernel without exponentials gives the same bits on both, and the bits of the CPU where it does the same operations.

typedef unsigned int u32;
typedef unsigned long long u64;

#define KERNEL extern "C" __global__ void

// NVRTC has no header that defines them.
#define POSITIVE_INFINITY __int_as_float(0x7f800000)
#define NOT_A_NUMBER __int_as_float(0x7fc00000)

// Values of neighbouring channels that a thread takes at a time: one, or four that lie on 16 bytes.
template <int W>
struct Lanes {
    float v[W];
};

template <int W>
__device__ inline Lanes<W> load(const float *at);

template <>
__device__ inline Lanes<1> load<1>(const float *at) {
    Lanes<1> out;
    out.v[0] = *at;
    return out;
}

template <>
__device__ inline Lanes<4> load<4>(const float *at) {
    const float4 q = *reinterpret_cast<const float4 *>(at);
    Lanes<4> out;
    out.v[0] = q.x;
    out.v[1] = q.y;
    out.v[2] = q.z;
    out.v[3] = q.w;
    return out;
}

__device__ inline void store(float *at, const Lanes<1> &in) { *at = in.v[0]; }

__device__ inline void store(float *at, const Lanes<4> &in) {
    float4 q;
    q.x = in.v[0];
    q.y = in.v[1];
    q.z = in.v[2];
    q.w = in.v[3];
    *reinterpret_cast<float4 *>(at) = q;
}

// ReLU that keeps NaN, as PyTorch's.
__device__ inline float relu(float z) { return z <= 0.0f ? 0.0f : z; }

// Part of a matrix of rows and channels that a thread works on: every `lanes`-th row from `first` to `end`, one column of lanes of
// channels. `Partition` in partition.rs chooses the sizes.
struct Part {
    u32 column, columns, lane, lanes, first, end;
    bool inside;
};

__device__ inline Part part(u32 rows, u32 vectors, u32 columns, u32 depth) {
    Part p;
    p.columns = columns;
    p.lanes = blockDim.x / columns;
    p.lane = threadIdx.x / columns;
    p.column = blockIdx.x * columns + threadIdx.x % columns;
    p.first = blockIdx.y * depth + p.lane;
    const u32 end = (blockIdx.y + 1) * depth;
    p.end = end < rows ? end : rows;
    p.inside = p.column < vectors;
    return p;
}
