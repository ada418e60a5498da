//! Transposing sixteen by sixteen.

use pulp::Simd;

/// Sixteen rows of sixteen floats, transposed; rows are `.1` apart.
///
/// # Safety
/// The rows of `from` can be read and those of `to` written.
#[inline(always)]
pub(crate) unsafe fn square16<S: Simd>(_simd: S, from: (*const f32, usize), to: (*mut f32, usize)) {
    #[cfg(target_arch = "x86_64")]
    if S::F32_LANES == 16 {
        // SAFETY: vectors of sixteen floats are AVX-512's; the rest is promised by the caller.
        return unsafe { shuffle(from, to) };
    }
    #[cfg(target_arch = "x86_64")]
    if S::F32_LANES == 8 {
        for i in [0, 8] {
            for j in [0, 8] {
                let from = (from.0.wrapping_add(i * from.1 + j), from.1);
                // SAFETY: vectors of eight floats are AVX2's; the rest is promised by the caller.
                unsafe { shuffle8(from, (to.0.wrapping_add(j * to.1 + i), to.1)) };
            }
        }
        return;
    }
    for i in 0..16 {
        for j in 0..16 {
            // SAFETY: promised by the caller.
            unsafe { *to.0.add(j * to.1 + i) = *from.0.add(i * from.1 + j) };
        }
    }
}

/// Eight rows of eight: pairs, fours, and halves of vectors change places.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
#[inline]
unsafe fn shuffle8(from: (*const f32, usize), to: (*mut f32, usize)) {
    use std::arch::x86_64::*;
    let mut a = [_mm256_setzero_ps(); 8];
    for i in 0..8 {
        // SAFETY: promised by the caller.
        a[i] = unsafe { _mm256_loadu_ps(from.0.add(i * from.1)) };
    }
    let mut b = a;
    for i in (0..8).step_by(2) {
        b[i] = _mm256_unpacklo_ps(a[i], a[i + 1]);
        b[i + 1] = _mm256_unpackhi_ps(a[i], a[i + 1]);
    }
    for i in (0..8).step_by(4) {
        for j in 0..2 {
            let (x, y) = (_mm256_castps_pd(b[i + j]), _mm256_castps_pd(b[i + j + 2]));
            a[i + 2 * j] = _mm256_castpd_ps(_mm256_unpacklo_pd(x, y));
            a[i + 2 * j + 1] = _mm256_castpd_ps(_mm256_unpackhi_pd(x, y));
        }
    }
    // Now half `q` of `a[4 i + j]` is column `4 q + j` of rows `4 i..4 i + 4`.
    for j in 0..4 {
        b[j] = _mm256_permute2f128_ps::<0x20>(a[j], a[4 + j]);
        b[4 + j] = _mm256_permute2f128_ps::<0x31>(a[j], a[4 + j]);
    }
    for j in 0..8 {
        // SAFETY: promised by the caller.
        unsafe { _mm256_storeu_ps(to.0.add(j * to.1), b[j]) };
    }
}

/// [`square16`]: pairs, fours, and quarters of vectors change places.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
#[inline]
unsafe fn shuffle(from: (*const f32, usize), to: (*mut f32, usize)) {
    use std::arch::x86_64::*;
    let mut a = [_mm512_setzero_ps(); 16];
    for i in 0..16 {
        // SAFETY: promised by the caller.
        a[i] = unsafe { _mm512_loadu_ps(from.0.add(i * from.1)) };
    }
    let mut b = a;
    for i in (0..16).step_by(2) {
        b[i] = _mm512_unpacklo_ps(a[i], a[i + 1]);
        b[i + 1] = _mm512_unpackhi_ps(a[i], a[i + 1]);
    }
    for i in (0..16).step_by(4) {
        for j in 0..2 {
            let (x, y) = (_mm512_castps_pd(b[i + j]), _mm512_castps_pd(b[i + j + 2]));
            a[i + 2 * j] = _mm512_castpd_ps(_mm512_unpacklo_pd(x, y));
            a[i + 2 * j + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(x, y));
        }
    }
    // Now quarter `q` of `a[4 i + j]` is column `4 q + j` of rows `4 i..4 i + 4`.
    for j in 0..4 {
        let (low, high) = (
            (
                _mm512_shuffle_f32x4::<0x88>(a[j], a[4 + j]),
                _mm512_shuffle_f32x4::<0xdd>(a[j], a[4 + j]),
            ),
            (
                _mm512_shuffle_f32x4::<0x88>(a[8 + j], a[12 + j]),
                _mm512_shuffle_f32x4::<0xdd>(a[8 + j], a[12 + j]),
            ),
        );
        b[j] = _mm512_shuffle_f32x4::<0x88>(low.0, high.0);
        b[8 + j] = _mm512_shuffle_f32x4::<0xdd>(low.0, high.0);
        b[4 + j] = _mm512_shuffle_f32x4::<0x88>(low.1, high.1);
        b[12 + j] = _mm512_shuffle_f32x4::<0xdd>(low.1, high.1);
    }
    for j in 0..16 {
        // SAFETY: promised by the caller.
        unsafe { _mm512_storeu_ps(to.0.add(j * to.1), b[j]) };
    }
}
