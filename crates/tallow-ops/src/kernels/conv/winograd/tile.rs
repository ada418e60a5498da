//! The one-dimensional transforms of F(2, 3) and F(4, 3) on vectors of channels (Lavin & Gray 2015, arXiv 1509.09308).
//!
//! `M` outputs of a three-tap filter need `T = M + 2` multiplications. With the matrices of the paper, for one dimension:
//! `y = A^T [(G g) * (B^T d)]`. The gradients use the transposes: `A dy` and `G^T du`.

use std::ops::Range;

use pulp::Simd;

/// The most pixels or frequencies a tile has in one dimension.
pub(super) const MOST: usize = 9;

/// A linear map of `FROM` vectors to `TO` vectors: one dimension of a transform. What is beyond them is neither read nor meant.
pub(super) trait Line: Copy + Send + Sync + 'static {
    const FROM: usize;
    const TO: usize;
    fn apply<S: Simd>(simd: S, v: [S::f32s; MOST]) -> [S::f32s; MOST];
}

/// A way to cut a convolution with three taps a dimension into tiles.
pub(super) trait Tile: Copy + Send + Sync + 'static {
    /// Input pixels from one output to the next.
    const STRIDE: usize;
    /// Outputs per dimension.
    const M: usize;
    /// Frequencies per dimension that the filters have; several of the tile's may share one.
    const FILTERS: usize;
    /// `B^T d`: input pixels to frequencies.
    type Input: Line;
    /// `A^T m`: frequencies to `M` outputs.
    type Output: Line;
    /// `A dy`: `M` output gradients to frequencies.
    type OutputGrad: Line;
    /// Output gradients to the frequencies of the input gradient, whose filters are turned.
    type Back: Line;
    /// The frequencies of the input gradient to `M * STRIDE` input gradients.
    type BackOutput: Line;
    /// `G g`: three taps to the filters' frequencies, six at most.
    fn weight<S: Simd>(simd: S, g: [S::f32s; 3]) -> [S::f32s; 6];
    /// `G^T du`: the filters' frequencies to three taps.
    fn weight_grad<S: Simd>(simd: S, u: [S::f32s; 6]) -> [S::f32s; 3];
    /// The tile's frequencies that take this one of the filters'.
    #[inline(always)]
    fn frequencies(filter: usize) -> Range<usize> {
        filter..filter + 1
    }
}

/// Fills up with zeros.
#[inline(always)]
pub(super) fn padded<S: Simd, const N: usize>(simd: S, v: [S::f32s; N]) -> [S::f32s; MOST] {
    let mut all = [simd.splat_f32s(0.0); MOST];
    all[..N].copy_from_slice(&v);
    all
}

/// F(4, 3): 36 multiplications for 4x4 outputs where direct convolution needs 144.
#[derive(Clone, Copy)]
pub(super) struct F4;

impl Tile for F4 {
    const STRIDE: usize = 1;
    const M: usize = 4;
    const FILTERS: usize = 6;
    type Input = F4Input;
    type Output = F4Output;
    type OutputGrad = F4OutputGrad;
    type Back = F4Input;
    type BackOutput = F4Output;

    #[inline(always)]
    fn weight<S: Simd>(s: S, g: [S::f32s; 3]) -> [S::f32s; 6] {
        macro_rules! k {
            ($x:expr) => {
                s.splat_f32s($x)
            };
        }
        let even = s.mul_f32s(s.add_f32s(g[0], g[2]), k!(-1.0 / 6.0));
        let odd = s.mul_f32s(g[1], k!(1.0 / 6.0));
        let even4 = s.mul_add_e_f32s(g[0], k!(1.0 / 24.0), s.mul_f32s(g[2], k!(1.0 / 6.0)));
        let odd4 = s.mul_f32s(g[1], k!(1.0 / 12.0));
        [
            s.mul_f32s(g[0], k!(0.25)),
            s.sub_f32s(even, odd),
            s.add_f32s(even, odd),
            s.add_f32s(even4, odd4),
            s.sub_f32s(even4, odd4),
            g[2],
        ]
    }

    #[inline(always)]
    fn weight_grad<S: Simd>(s: S, u: [S::f32s; 6]) -> [S::f32s; 3] {
        macro_rules! k {
            ($x:expr) => {
                s.splat_f32s($x)
            };
        }
        let a = s.add_f32s(u[1], u[2]);
        let b = s.sub_f32s(u[2], u[1]);
        let c = s.add_f32s(u[3], u[4]);
        let e = s.sub_f32s(u[3], u[4]);
        [
            s.mul_add_e_f32s(
                u[0],
                k!(0.25),
                s.mul_add_e_f32s(a, k!(-1.0 / 6.0), s.mul_f32s(c, k!(1.0 / 24.0))),
            ),
            s.mul_add_e_f32s(b, k!(1.0 / 6.0), s.mul_f32s(e, k!(1.0 / 12.0))),
            s.mul_add_e_f32s(s.sub_f32s(c, a), k!(1.0 / 6.0), u[5]),
        ]
    }
}

#[derive(Clone, Copy)]
pub(super) struct F4Input;

impl Line for F4Input {
    const FROM: usize = 6;
    const TO: usize = 6;

    #[inline(always)]
    fn apply<S: Simd>(s: S, d: [S::f32s; MOST]) -> [S::f32s; MOST] {
        macro_rules! k {
            ($x:expr) => {
                s.splat_f32s($x)
            };
        }
        let a = s.mul_add_e_f32s(d[2], k!(-4.0), d[4]);
        let b = s.mul_add_e_f32s(d[1], k!(-4.0), d[3]);
        let c = s.sub_f32s(d[4], d[2]);
        let e = s.mul_f32s(s.sub_f32s(d[3], d[1]), k!(2.0));
        padded(
            s,
            [
                s.mul_add_e_f32s(d[0], k!(4.0), s.mul_add_e_f32s(d[2], k!(-5.0), d[4])),
                s.add_f32s(a, b),
                s.sub_f32s(a, b),
                s.add_f32s(c, e),
                s.sub_f32s(c, e),
                s.mul_add_e_f32s(d[1], k!(4.0), s.mul_add_e_f32s(d[3], k!(-5.0), d[5])),
            ],
        )
    }
}

#[derive(Clone, Copy)]
pub(super) struct F4Output;

impl Line for F4Output {
    const FROM: usize = 6;
    const TO: usize = 4;

    #[inline(always)]
    fn apply<S: Simd>(s: S, m: [S::f32s; MOST]) -> [S::f32s; MOST] {
        macro_rules! k {
            ($x:expr) => {
                s.splat_f32s($x)
            };
        }
        let a = s.add_f32s(m[1], m[2]);
        let b = s.sub_f32s(m[1], m[2]);
        let c = s.add_f32s(m[3], m[4]);
        let e = s.sub_f32s(m[3], m[4]);
        padded(
            s,
            [
                s.add_f32s(s.add_f32s(m[0], a), c),
                s.mul_add_e_f32s(e, k!(2.0), b),
                s.mul_add_e_f32s(c, k!(4.0), a),
                s.add_f32s(s.mul_add_e_f32s(e, k!(8.0), b), m[5]),
            ],
        )
    }
}

#[derive(Clone, Copy)]
pub(super) struct F4OutputGrad;

impl Line for F4OutputGrad {
    const FROM: usize = 4;
    const TO: usize = 6;

    #[inline(always)]
    fn apply<S: Simd>(s: S, y: [S::f32s; MOST]) -> [S::f32s; MOST] {
        macro_rules! k {
            ($x:expr) => {
                s.splat_f32s($x)
            };
        }
        let even = s.add_f32s(y[0], y[2]);
        let odd = s.add_f32s(y[1], y[3]);
        let even4 = s.mul_add_e_f32s(y[2], k!(4.0), y[0]);
        let odd4 = s.mul_f32s(s.mul_add_e_f32s(y[3], k!(4.0), y[1]), k!(2.0));
        padded(
            s,
            [
                y[0],
                s.add_f32s(even, odd),
                s.sub_f32s(even, odd),
                s.add_f32s(even4, odd4),
                s.sub_f32s(even4, odd4),
                y[3],
            ],
        )
    }
}

/// F(2, 3): 16 multiplications for 2x2 outputs where direct convolution needs 36; for maps of three pixels or fewer.
#[derive(Clone, Copy)]
pub(super) struct F2;

impl Tile for F2 {
    const STRIDE: usize = 1;
    const M: usize = 2;
    const FILTERS: usize = 4;
    type Input = F2Input;
    type Output = F2Output;
    type OutputGrad = F2OutputGrad;
    type Back = F2Input;
    type BackOutput = F2Output;

    #[inline(always)]
    fn weight<S: Simd>(s: S, g: [S::f32s; 3]) -> [S::f32s; 6] {
        let zero = s.splat_f32s(0.0);
        let half = s.splat_f32s(0.5);
        let even = s.mul_f32s(s.add_f32s(g[0], g[2]), half);
        let odd = s.mul_f32s(g[1], half);
        [
            g[0],
            s.add_f32s(even, odd),
            s.sub_f32s(even, odd),
            g[2],
            zero,
            zero,
        ]
    }

    #[inline(always)]
    fn weight_grad<S: Simd>(s: S, u: [S::f32s; 6]) -> [S::f32s; 3] {
        let half = s.splat_f32s(0.5);
        let sum = s.mul_f32s(s.add_f32s(u[1], u[2]), half);
        [
            s.add_f32s(u[0], sum),
            s.mul_f32s(s.sub_f32s(u[1], u[2]), half),
            s.add_f32s(sum, u[3]),
        ]
    }
}

#[derive(Clone, Copy)]
pub(super) struct F2Input;

impl Line for F2Input {
    const FROM: usize = 4;
    const TO: usize = 4;

    #[inline(always)]
    fn apply<S: Simd>(s: S, d: [S::f32s; MOST]) -> [S::f32s; MOST] {
        padded(
            s,
            [
                s.sub_f32s(d[0], d[2]),
                s.add_f32s(d[1], d[2]),
                s.sub_f32s(d[2], d[1]),
                s.sub_f32s(d[1], d[3]),
            ],
        )
    }
}

#[derive(Clone, Copy)]
pub(super) struct F2Output;

impl Line for F2Output {
    const FROM: usize = 4;
    const TO: usize = 2;

    #[inline(always)]
    fn apply<S: Simd>(s: S, m: [S::f32s; MOST]) -> [S::f32s; MOST] {
        padded(
            s,
            [
                s.add_f32s(s.add_f32s(m[0], m[1]), m[2]),
                s.sub_f32s(s.sub_f32s(m[1], m[2]), m[3]),
            ],
        )
    }
}

#[derive(Clone, Copy)]
pub(super) struct F2OutputGrad;

impl Line for F2OutputGrad {
    const FROM: usize = 2;
    const TO: usize = 4;

    #[inline(always)]
    fn apply<S: Simd>(s: S, y: [S::f32s; MOST]) -> [S::f32s; MOST] {
        let zero = s.splat_f32s(0.0);
        padded(
            s,
            [
                y[0],
                s.add_f32s(y[0], y[1]),
                s.sub_f32s(y[0], y[1]),
                s.sub_f32s(zero, y[1]),
            ],
        )
    }
}
