// One step of all parameters in one launch. CPU: `Update::apply` of the optimizers of tallow-train, with the same operations in the same
// order.

// Values that a block updates.
#define PIECE 4096

// Parameter, its gradient and state, and the numbers of its step; `first` is its first block.
struct Entry {
    float *param;
    const float *grad;
    float *state[3];
    u32 first, length;
    float c[10];
    u32 flags, unused;
};

// The entry of this block: the last one whose first block is not after it.
__device__ inline const Entry &mine(const Entry *entries, u32 count) {
    u32 low = 0, high = count;
    while (high - low > 1) {
        const u32 middle = (low + high) / 2;
        if (entries[middle].first <= blockIdx.x) {
            low = middle;
        } else {
            high = middle;
        }
    }
    return entries[low];
}

__device__ inline u32 end_of(const Entry &e, u32 start) { return start + PIECE < e.length ? start + PIECE : e.length; }

// Numbers: learning rate, sign, weight decay, momentum, share of the gradient. Flags: 1 momentum, 2 Nesterov's.
KERNEL(sgd)(const Entry *entries, u32 count) {
    const Entry &e = mine(entries, count);
    const u32 start = (blockIdx.x - e.first) * PIECE, end = end_of(e, start);
    const float lr = e.c[0], sign = e.c[1], decay = e.c[2], momentum = e.c[3], share = e.c[4];
    for (u32 i = start + threadIdx.x; i < end; i += blockDim.x) {
        const float p = e.param[i];
        const float g = sign * e.grad[i] + decay * p;
        float direction = g;
        if (e.flags & 1) {
            const float m = momentum * e.state[0][i] + share * g;
            e.state[0][i] = m;
            direction = e.flags & 2 ? g + momentum * m : m;
        }
        e.param[i] = p - lr * direction;
    }
}

// Numbers: factor of the parameter, weight decay, epsilon, sign, 1 - beta1, beta2, 1 - beta2, step size, root of the correction of the second
// moment. Flags: 1 AMSGrad.
KERNEL(adam)(const Entry *entries, u32 count) {
    const Entry &e = mine(entries, count);
    const u32 start = (blockIdx.x - e.first) * PIECE, end = end_of(e, start);
    const float keep = e.c[0], decay = e.c[1], eps = e.c[2], sign = e.c[3], new1 = e.c[4], beta2 = e.c[5], new2 = e.c[6];
    const float step_size = e.c[7], root2 = e.c[8];
    for (u32 i = start + threadIdx.x; i < end; i += blockDim.x) {
        const float p = e.param[i], kept = keep * p;
        const float g = sign * e.grad[i] + decay * p;
        float m = e.state[0][i], v = e.state[1][i];
        m = m + new1 * (g - m);
        v = beta2 * v + new2 * g * g;
        e.state[0][i] = m;
        e.state[1][i] = v;
        if (e.flags & 1) {
            const float largest = e.state[2][i];
            v = v > largest ? v : largest;
            e.state[2][i] = v;
        }
        e.param[i] = kept - step_size * m / (sqrtf(v) / root2 + eps);
    }
}

// Adds 1 to counters, such as that of the batches of a norm.
KERNEL(increment)(long long *counters, u32 count) {
    for (u32 i = blockIdx.x * blockDim.x + threadIdx.x; i < count; i += gridDim.x * blockDim.x) counters[i] += 1;
}
