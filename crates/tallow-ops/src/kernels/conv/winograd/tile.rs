//! The one-dimensional transforms of F(2, 3) and F(4, 3) on vectors of channels (Lavin & Gray 2015, arXiv 1509.09308).
//!
//! `M` outputs of a three-tap filter need `T = M + 2` multiplications. With the matrices of the paper, for one dimension:
//! `y = A^T [(G g) * (B^T d)]`. The gradients use the transposes: `A dy` and `G^T du`.

use pulp::Simd;

/// A tile size: `M` outputs from `T` inputs.
pub(super) trait Tile: Copy + Send + Sync + 'static {
    /// Outputs per dimension.
    const M: usize;
    /// Inputs, and frequencies, per dimension.
    const T: usize;
    /// `B^T d`: `T` inputs to `T` frequencies.
    fn input<S: Simd>(simd: S, d: [S::f32s; 6]) -> [S::f32s; 6];
    /// `A^T m`: `T` frequencies to `M` outputs.
    fn output<S: Simd>(simd: S, m: [S::f32s; 6]) -> [S::f32s; 4];
    /// `A dy`: `M` output gradients to `T` frequencies.
    fn output_grad<S: Simd>(simd: S, y: [S::f32s; 4]) -> [S::f32s; 6];
    /// `G g`: three taps to `T` frequencies.
    fn weight<S: Simd>(simd: S, g: [S::f32s; 3]) -> [S::f32s; 6];
    /// `G^T du`: `T` frequencies to three taps.
    fn weight_grad<S: Simd>(simd: S, u: [S::f32s; 6]) -> [S::f32s; 3];
}

/// F(4, 3): 36 multiplications for 4x4 outputs where direct convolution needs 144.
#[derive(Clone, Copy)]
pub(super) struct F4;

impl Tile for F4 {
    const M: usize = 4;
    const T: usize = 6;

    #[inline(always)]
    fn input<S: Simd>(s: S, d: [S::f32s; 6]) -> [S::f32s; 6] {
        macro_rules! k {
            ($x:expr) => {
                s.splat_f32s($x)
            };
        }
        let a = s.mul_add_e_f32s(d[2], k!(-4.0), d[4]);
        let b = s.mul_add_e_f32s(d[1], k!(-4.0), d[3]);
        let c = s.sub_f32s(d[4], d[2]);
        let e = s.mul_f32s(s.sub_f32s(d[3], d[1]), k!(2.0));
        [
            s.mul_add_e_f32s(d[0], k!(4.0), s.mul_add_e_f32s(d[2], k!(-5.0), d[4])),
            s.add_f32s(a, b),
            s.sub_f32s(a, b),
            s.add_f32s(c, e),
            s.sub_f32s(c, e),
            s.mul_add_e_f32s(d[1], k!(4.0), s.mul_add_e_f32s(d[3], k!(-5.0), d[5])),
        ]
    }

    #[inline(always)]
    fn output<S: Simd>(s: S, m: [S::f32s; 6]) -> [S::f32s; 4] {
        macro_rules! k {
            ($x:expr) => {
                s.splat_f32s($x)
            };
        }
        let a = s.add_f32s(m[1], m[2]);
        let b = s.sub_f32s(m[1], m[2]);
        let c = s.add_f32s(m[3], m[4]);
        let e = s.sub_f32s(m[3], m[4]);
        [
            s.add_f32s(s.add_f32s(m[0], a), c),
            s.mul_add_e_f32s(e, k!(2.0), b),
            s.mul_add_e_f32s(c, k!(4.0), a),
            s.add_f32s(s.mul_add_e_f32s(e, k!(8.0), b), m[5]),
        ]
    }

    #[inline(always)]
    fn output_grad<S: Simd>(s: S, y: [S::f32s; 4]) -> [S::f32s; 6] {
        macro_rules! k {
            ($x:expr) => {
                s.splat_f32s($x)
            };
        }
        let even = s.add_f32s(y[0], y[2]);
        let odd = s.add_f32s(y[1], y[3]);
        let even4 = s.mul_add_e_f32s(y[2], k!(4.0), y[0]);
        let odd4 = s.mul_f32s(s.mul_add_e_f32s(y[3], k!(4.0), y[1]), k!(2.0));
        [
            y[0],
            s.add_f32s(even, odd),
            s.sub_f32s(even, odd),
            s.add_f32s(even4, odd4),
            s.sub_f32s(even4, odd4),
            y[3],
        ]
    }

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

/// F(2, 3): 16 multiplications for 2x2 outputs where direct convolution needs 36; for maps of three pixels or fewer.
#[derive(Clone, Copy)]
pub(super) struct F2;

impl Tile for F2 {
    const M: usize = 2;
    const T: usize = 4;

    #[inline(always)]
    fn input<S: Simd>(s: S, d: [S::f32s; 6]) -> [S::f32s; 6] {
        let zero = s.splat_f32s(0.0);
        [
            s.sub_f32s(d[0], d[2]),
            s.add_f32s(d[1], d[2]),
            s.sub_f32s(d[2], d[1]),
            s.sub_f32s(d[1], d[3]),
            zero,
            zero,
        ]
    }

    #[inline(always)]
    fn output<S: Simd>(s: S, m: [S::f32s; 6]) -> [S::f32s; 4] {
        let zero = s.splat_f32s(0.0);
        [
            s.add_f32s(s.add_f32s(m[0], m[1]), m[2]),
            s.sub_f32s(s.sub_f32s(m[1], m[2]), m[3]),
            zero,
            zero,
        ]
    }

    #[inline(always)]
    fn output_grad<S: Simd>(s: S, y: [S::f32s; 4]) -> [S::f32s; 6] {
        let zero = s.splat_f32s(0.0);
        [
            y[0],
            s.add_f32s(y[0], y[1]),
            s.sub_f32s(y[0], y[1]),
            s.sub_f32s(zero, y[1]),
            zero,
            zero,
        ]
    }

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
