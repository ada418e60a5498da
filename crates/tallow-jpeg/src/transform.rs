//! Inverse discrete cosine transform of 8x8 blocks.

/// `jpeg_idct_islow`: Loeffler, Ligtenberg and Moschytz 1989 in integers, columns first. Writes 8 rows of 8 samples.
pub(crate) fn inverse_transform(coefficients: &[i32; 64], samples: &mut [u8], stride: usize) {
    let mut work = [0i64; 64];
    for x in 0..8 {
        let column = butterfly(|y| coefficients[8 * y + x].into());
        for (y, value) in column.into_iter().enumerate() {
            work[8 * y + x] = descale(value, 11);
        }
    }
    for y in 0..8 {
        let row = butterfly(|x| work[8 * y + x]);
        for (x, value) in row.into_iter().enumerate() {
            samples[y * stride + x] = (descale(value, 18) + 128).clamp(0, 255) as u8;
        }
    }
}

fn descale(value: i64, bits: u32) -> i64 {
    (value + (1 << (bits - 1))) >> bits
}

/// Eight values from eight coefficients, times 2^13; the constants are cosines and their sums times 2^13.
fn butterfly(c: impl Fn(usize) -> i64) -> [i64; 8] {
    let z = (c(2) + c(6)) * 4433;
    let (even2, even3) = (z - c(6) * 15137, z + c(2) * 6270);
    let (even0, even1) = ((c(0) + c(4)) << 13, (c(0) - c(4)) << 13);
    let even = [even0 + even3, even1 + even2, even1 - even2, even0 - even3];

    let (t0, t1, t2, t3) = (c(7), c(5), c(3), c(1));
    let z5 = (t0 + t2 + t1 + t3) * 9633;
    let (z1, z2) = ((t0 + t3) * -7373, (t1 + t2) * -20995);
    let (z3, z4) = ((t0 + t2) * -16069 + z5, (t1 + t3) * -3196 + z5);
    let odd = [
        t3 * 12299 + z1 + z4,
        t2 * 25172 + z2 + z3,
        t1 * 16819 + z2 + z4,
        t0 * 2446 + z1 + z3,
    ];
    let mut out = [0; 8];
    for i in 0..4 {
        out[i] = even[i] + odd[i];
        out[7 - i] = even[i] - odd[i];
    }
    out
}
