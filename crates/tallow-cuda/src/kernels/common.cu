// Text that goes before each file of kernels.
//
// The same text is compiled by NVRTC for a device and by a C++ compiler for the tests, so that it uses no header, no functions of
// warps and no atomics: sums go through shared memory in a fixed order. Both compilers are told not to contract products and sums, so
// that a kernel without exponentials gives the same bits on both, and the bits of the CPU where it does the same operations.

typedef unsigned int u32;
typedef unsigned long long u64;

// A file of kernels is compiled for one type of the numbers that lie in memory, `T`, and its kernels have the suffix of the type. Arithmetic
// is done in float or double. `source.rs` writes what defines the two before the text of the file.
#define JOINED(A, B) A##B
#define NAMED(NAME, SUFFIX) JOINED(NAME, SUFFIX)
#define KERNEL(NAME) extern "C" __global__ void NAMED(NAME, SUFFIX)

// NVRTC has no header that defines them.
#define POSITIVE_INFINITY __int_as_float(0x7f800000)
#define NOT_A_NUMBER __int_as_float(0x7fc00000)

// Number with the upper 16 bits of a float.
struct bf16 {
    unsigned short bits;
};

__device__ inline float wide(float x) { return x; }
__device__ inline float wide(bf16 x) { return __int_as_float((int)((u32)x.bits << 16)); }

// Nearest number of 16 bits, of two that are as near the even one. A NaN stays one.
__device__ inline bf16 narrow(float x) {
    const u32 bits = (u32)__float_as_int(x);
    bf16 out;
    if ((bits & 0x7fffffffu) > 0x7f800000u) {
        out.bits = (unsigned short)((bits >> 16) | 0x40u);
    } else {
        out.bits = (unsigned short)((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
    }
    return out;
}

__device__ inline void put(float *at, float x) { *at = x; }
__device__ inline void put(bf16 *at, float x) { *at = narrow(x); }

// Values of neighbouring channels that a thread takes at a time: one, or four, which lie on 16 bytes as floats and on 8 as bf16.
template <int W>
struct Lanes {
    float v[W];
};

template <typename N, int W>
struct Access;

template <>
struct Access<float, 1> {
    static __device__ inline Lanes<1> load(const float *at) {
        Lanes<1> out;
        out.v[0] = *at;
        return out;
    }
    static __device__ inline void store(float *at, const Lanes<1> &in) { *at = in.v[0]; }
};

template <>
struct Access<float, 4> {
    static __device__ inline Lanes<4> load(const float *at) {
        const float4 q = *reinterpret_cast<const float4 *>(at);
        Lanes<4> out;
        out.v[0] = q.x;
        out.v[1] = q.y;
        out.v[2] = q.z;
        out.v[3] = q.w;
        return out;
    }
    static __device__ inline void store(float *at, const Lanes<4> &in) {
        float4 q;
        q.x = in.v[0];
        q.y = in.v[1];
        q.z = in.v[2];
        q.w = in.v[3];
        *reinterpret_cast<float4 *>(at) = q;
    }
};

template <>
struct Access<bf16, 1> {
    static __device__ inline Lanes<1> load(const bf16 *at) {
        Lanes<1> out;
        out.v[0] = wide(*at);
        return out;
    }
    static __device__ inline void store(bf16 *at, const Lanes<1> &in) { *at = narrow(in.v[0]); }
};

template <>
struct Access<bf16, 4> {
    static __device__ inline Lanes<4> load(const bf16 *at) {
        const u64 q = *reinterpret_cast<const u64 *>(at);
        Lanes<4> out;
        for (int k = 0; k < 4; k++) out.v[k] = __int_as_float((int)((u32)(q >> (16 * k)) << 16));
        return out;
    }
    static __device__ inline void store(bf16 *at, const Lanes<4> &in) {
        u64 q = 0;
        for (int k = 0; k < 4; k++) q |= (u64)narrow(in.v[k]).bits << (16 * k);
        *reinterpret_cast<u64 *>(at) = q;
    }
};

template <int W, typename N>
__device__ inline Lanes<W> load(const N *at) {
    return Access<N, W>::load(at);
}

template <typename N, int W>
__device__ inline void store(N *at, const Lanes<W> &in) {
    Access<N, W>::store(at, in);
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
