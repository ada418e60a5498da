//! Sums of products over vectors and their lanes, for every pair of channels.

use pulp::Simd;

use crate::kernels::panel::load;

/// `sums[k][c] += a[k] . b[c]` over `count` vectors and their lanes.
///
/// # Safety
/// `a` and `b` hold `count` vectors of that many channels.
#[inline(always)]
pub(super) unsafe fn outer<S: Simd>(
    simd: S,
    (a, k): (*const f32, usize),
    (b, c): (*const f32, usize),
    count: usize,
    sums: &mut [f32],
) {
    let mut row = 0;
    macro_rules! rows {
        ($($rows:literal)*) => {$(
            while k - row >= $rows {
                let mut col = 0;
                // SAFETY: promised by the caller.
                unsafe {
                    while col + 4 <= c {
                        dots::<S, $rows, 4>(simd, a, b, count, (row, col, c), sums);
                        col += 4;
                    }
                    while col + 3 <= c {
                        dots::<S, $rows, 3>(simd, a, b, count, (row, col, c), sums);
                        col += 3;
                    }
                    while col < c {
                        dots::<S, $rows, 1>(simd, a, b, count, (row, col, c), sums);
                        col += 1;
                    }
                }
                row += $rows;
            }
        )*};
    }
    if S::REGISTER_COUNT >= 32 {
        rows!(4 2 1);
    } else {
        rows!(2 1);
    }
}

/// As [`outer`], for `ROWS` and `COLS` channels from `(row, col)` on.
#[inline(always)]
unsafe fn dots<S: Simd, const ROWS: usize, const COLS: usize>(
    simd: S,
    a: *const f32,
    b: *const f32,
    count: usize,
    (row, col, c): (usize, usize, usize),
    sums: &mut [f32],
) {
    let l = S::F32_LANES;
    let mut acc = [[simd.splat_f32s(0.0); COLS]; ROWS];
    let (a, b) = (
        a.wrapping_add(row * count * l),
        b.wrapping_add(col * count * l),
    );
    for t in 0..count {
        // SAFETY: promised by the caller.
        unsafe {
            let mut right = [simd.splat_f32s(0.0); COLS];
            for j in 0..COLS {
                right[j] = load::<S>(b.add((j * count + t) * l));
            }
            for i in 0..ROWS {
                let left = load::<S>(a.add((i * count + t) * l));
                for j in 0..COLS {
                    acc[i][j] = simd.mul_add_e_f32s(left, right[j], acc[i][j]);
                }
            }
        }
    }
    #[cfg(target_arch = "x86_64")]
    if (S::F32_LANES, ROWS, COLS) == (16, 4, 4) {
        // SAFETY: vectors of sixteen floats are AVX-512's, and the accumulators are sixteen of them.
        let all = unsafe { sums16((&raw const acc).cast()) };
        for i in 0..ROWS {
            let to = &mut sums[(row + i) * c + col..][..COLS];
            for j in 0..COLS {
                to[j] += all[i * COLS + j];
            }
        }
        return;
    }
    for i in 0..ROWS {
        for j in 0..COLS {
            sums[(row + i) * c + col + j] += simd.reduce_sum_f32s(acc[i][j]);
        }
    }
}

/// The sum of each of sixteen vectors: two are added into one of half sums, and so on, in three instructions a vector.
///
/// # Safety
/// `v` points to sixteen vectors.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
#[inline]
unsafe fn sums16(v: *const std::arch::x86_64::__m512) -> [f32; 16] {
    use std::arch::x86_64::*;
    let mut a = [_mm512_setzero_ps(); 16];
    for i in 0..16 {
        // SAFETY: promised by the caller.
        a[i] = unsafe { *v.add(i) };
    }
    let mut b = [_mm512_setzero_ps(); 8];
    for i in 0..8 {
        let (x, y) = (a[2 * i], a[2 * i + 1]);
        b[i] = _mm512_add_ps(_mm512_unpacklo_ps(x, y), _mm512_unpackhi_ps(x, y));
    }
    let mut d = [_mm512_setzero_ps(); 4];
    for i in 0..4 {
        let (x, y) = (_mm512_castps_pd(b[2 * i]), _mm512_castps_pd(b[2 * i + 1]));
        d[i] = _mm512_add_ps(
            _mm512_castpd_ps(_mm512_unpacklo_pd(x, y)),
            _mm512_castpd_ps(_mm512_unpackhi_pd(x, y)),
        );
    }
    // Each quarter of `d[i]` has a part of the sums `4 i..4 i + 4`.
    let mut e = [_mm512_setzero_ps(); 2];
    for i in 0..2 {
        let (x, y) = (d[2 * i], d[2 * i + 1]);
        e[i] = _mm512_add_ps(
            _mm512_shuffle_f32x4::<0x88>(x, y),
            _mm512_shuffle_f32x4::<0xdd>(x, y),
        );
    }
    let sums = _mm512_add_ps(
        _mm512_shuffle_f32x4::<0x88>(e[0], e[1]),
        _mm512_shuffle_f32x4::<0xdd>(e[0], e[1]),
    );
    let mut out = [0f32; 16];
    // SAFETY: sixteen floats.
    unsafe { _mm512_storeu_ps(out.as_mut_ptr(), sums) };
    out
}
