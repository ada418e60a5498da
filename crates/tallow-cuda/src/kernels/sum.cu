// Sum of the terms of several processes, element by element and in place. Term `t` has the elements `t * length` and up. A pair has the term
// that is added to in its lower half and the one that is added in its upper half; the order of the pairs is that of the additions, which
// the host chooses for the memory of both.
KERNEL(sum_terms)(float *terms, const u64 *pairs, u32 count, u32 length) {
    const u32 stride = gridDim.x * blockDim.x;
    for (u32 i = blockIdx.x * blockDim.x + threadIdx.x; i < length; i += stride) {
        for (u32 k = 0; k < count; k++) {
            const u64 left = pairs[k] & 0xffffffffu, right = pairs[k] >> 32;
            terms[left * length + i] += terms[right * length + i];
        }
    }
}
