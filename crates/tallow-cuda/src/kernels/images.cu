// Images of a batch from the bytes of a data set on the device. `codes` are what the CPU drew: the index of each image in the data set, then a
// code for each row of each image, then one for each column. A code is a row or column of the image, or -1 - i for the fill i, which covers
// the fills before it.

KERNEL(images)(const unsigned char *pixels, const u32 *all_labels, const int *codes, const float *tables, const float *fills, float *out,
               u32 *labels, u32 count, u32 batch, u32 channels, u32 height, u32 width, u32 high, u32 wide, u32 different) {
    const int *rows = codes + batch, *columns = rows + batch * high;
    for (u32 i = blockIdx.x * blockDim.x + threadIdx.x; i < count; i += gridDim.x * blockDim.x) {
        const u32 x = i % wide, y = i / wide % high, c = i / wide / high % channels, n = i / wide / high / channels;
        const u32 index = (u32)codes[n];
        const int row = rows[n * high + y], column = columns[n * wide + x];
        const int code = row < column ? row : column;
        float value;
        if (code < 0) {
            value = fills[(u32)(-1 - code) * channels + c];
        } else {
            const u64 place = (((u64)index * channels + c) * height + (u32)row) * width + (u32)column;
            value = tables[(c % different) * 256 + pixels[place]];
        }
        out[i] = value;
        if (c == 0 && y == 0 && x == 0) labels[n] = all_labels[index];
    }
}
