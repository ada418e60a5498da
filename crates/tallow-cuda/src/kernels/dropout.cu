// Dropout with the mask that the generator of tallow-ops draws on the CPU: word `start + i` of the ChaCha stream (8 rounds, 64-bit block
// counter, stream 0) decides about element `i`. Nothing is stored: the gradient draws the words again.

struct Key {
    u32 w[8];
};

__device__ inline u32 turned(u32 x, int by) { return (x << by) | (x >> (32 - by)); }

__device__ inline void quarter(u32 *s, int a, int b, int c, int d) {
    s[a] += s[b];
    s[d] = turned(s[d] ^ s[a], 16);
    s[c] += s[d];
    s[b] = turned(s[b] ^ s[c], 12);
    s[a] += s[b];
    s[d] = turned(s[d] ^ s[a], 8);
    s[c] += s[d];
    s[b] = turned(s[b] ^ s[c], 7);
}

// The sixteen words of a block (Bernstein 2008).
__device__ inline void words(const Key &key, u64 block, u32 *out) {
    u32 first[16] = {0x61707865u, 0x3320646eu, 0x79622d32u, 0x6b206574u};
    for (int i = 0; i < 8; i++) first[4 + i] = key.w[i];
    first[12] = (u32)block;
    first[13] = (u32)(block >> 32);
    first[14] = 0;
    first[15] = 0;
    for (int i = 0; i < 16; i++) out[i] = first[i];
    for (int round = 0; round < 4; round++) {
        quarter(out, 0, 4, 8, 12);
        quarter(out, 1, 5, 9, 13);
        quarter(out, 2, 6, 10, 14);
        quarter(out, 3, 7, 11, 15);
        quarter(out, 0, 5, 10, 15);
        quarter(out, 1, 6, 11, 12);
        quarter(out, 2, 7, 8, 13);
        quarter(out, 3, 4, 9, 14);
    }
    for (int i = 0; i < 16; i++) out[i] += first[i];
}

// `y = x * scale` where the word is below the threshold, else `x * 0`. A thread takes the words of one block, and of others behind the last
// thread. The first word is `*moved` words behind `start`, if there is a `moved`.
KERNEL(dropout)(const T *x, T *y, u32 count, u64 start, u64 threshold, float scale, Key key, const u64 *moved) {
    if (moved) start += *moved;
    const u64 first = start / 16, blocks = (start + count + 15) / 16 - first;
    for (u64 b = blockIdx.x * blockDim.x + threadIdx.x; b < blocks; b += gridDim.x * blockDim.x) {
        u32 drawn[16];
        words(key, first + b, drawn);
        for (u32 k = 0; k < 16; k++) {
            const u64 word = (first + b) * 16 + k;
            if (word >= start && word < start + count) {
                const u64 i = word - start;
                put(y + i, wide(x[i]) * (drawn[k] < threshold ? scale : 0.0f));
            }
        }
    }
}
