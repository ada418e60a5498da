//! The tile of 3x3 filters with stride 2, of which `M = 4` outputs see nine input pixels a dimension.
//!
//! The odd pixels, from the one before the first output's on, meet the outer two taps, as a convolution with stride 1: that is
//! F(4, 2), with five multiplications at the points 0, 1, -1, 2 and infinity. The even ones meet the middle tap and nothing else,
//! four multiplications that need no transform. Nine for four outputs make 81 for 4x4, where direct convolution needs 144. The four
//! frequencies of the even pixels have the same filters.
//!
//! The gradient of the input is the same thing backwards: its even pixels come from one tap, and its odd ones from two, of the
//! gradients before and after them.

use std::ops::Range;

use pulp::Simd;

use super::tile::{Line, MOST, Tile, padded};

/// F(4, 2) and one tap: 81 multiplications for 4x4 outputs.
#[derive(Clone, Copy)]
pub(super) struct S4;

impl Tile for S4 {
    const STRIDE: usize = 2;
    const M: usize = 4;
    const FILTERS: usize = 6;
    type Input = S4Input;
    type Output = S4Output;
    type OutputGrad = S4OutputGrad;
    type Back = S4Back;
    type BackOutput = S4BackOutput;

    #[inline(always)]
    fn weight<S: Simd>(s: S, [a, middle, b]: [S::f32s; 3]) -> [S::f32s; 6] {
        let half = s.mul_f32s(s.add_f32s(a, b), s.splat_f32s(-0.5));
        let sixth = s.splat_f32s(1.0 / 6.0);
        [
            s.mul_f32s(a, s.splat_f32s(0.5)),
            half,
            s.mul_f32s(s.sub_f32s(b, a), sixth),
            s.mul_f32s(s.mul_add_e_f32s(b, s.splat_f32s(2.0), a), sixth),
            b,
            middle,
        ]
    }

    #[inline(always)]
    fn weight_grad<S: Simd>(s: S, u: [S::f32s; 6]) -> [S::f32s; 3] {
        let (half, sixth) = (s.splat_f32s(0.5), s.splat_f32s(1.0 / 6.0));
        let first = s.mul_f32s(s.sub_f32s(u[3], u[2]), sixth);
        let last = s.mul_f32s(s.mul_add_e_f32s(u[3], s.splat_f32s(2.0), u[2]), sixth);
        [
            s.mul_add_e_f32s(s.sub_f32s(u[0], u[1]), half, first),
            u[5],
            s.add_f32s(s.mul_add_e_f32s(u[1], s.splat_f32s(-0.5), last), u[4]),
        ]
    }

    #[inline(always)]
    fn frequencies(filter: usize) -> Range<usize> {
        if filter < 5 { filter..filter + 1 } else { 5..9 }
    }
}

/// `B^T d` of F(4, 2).
#[inline(always)]
fn input<S: Simd>(s: S, d: [S::f32s; 5]) -> [S::f32s; 5] {
    let two = s.splat_f32s(2.0);
    let (odd, even) = (s.sub_f32s(d[1], d[3]), s.sub_f32s(d[0], d[2]));
    let middle = s.sub_f32s(d[3], d[2]);
    [
        s.sub_f32s(s.mul_f32s(even, two), odd),
        s.mul_add_e_f32s(d[1], s.splat_f32s(-2.0), middle),
        s.mul_add_e_f32s(s.sub_f32s(d[1], d[2]), two, middle),
        s.sub_f32s(d[3], d[1]),
        s.mul_add_e_f32s(odd, two, s.sub_f32s(d[4], d[2])),
    ]
}

/// `A^T m` of F(4, 2).
#[inline(always)]
fn output<S: Simd>(s: S, m: [S::f32s; 5]) -> [S::f32s; 4] {
    let (sum, difference) = (s.add_f32s(m[1], m[2]), s.sub_f32s(m[1], m[2]));
    [
        s.add_f32s(s.add_f32s(m[0], m[3]), sum),
        s.mul_add_e_f32s(m[3], s.splat_f32s(2.0), difference),
        s.mul_add_e_f32s(m[3], s.splat_f32s(4.0), sum),
        s.mul_add_e_f32s(m[3], s.splat_f32s(8.0), s.add_f32s(difference, m[4])),
    ]
}

#[derive(Clone, Copy)]
pub(super) struct S4Input;

impl Line for S4Input {
    const FROM: usize = 9;
    const TO: usize = 9;

    #[inline(always)]
    fn apply<S: Simd>(s: S, d: [S::f32s; MOST]) -> [S::f32s; MOST] {
        let [a, b, c, e, f] = input(s, [d[0], d[2], d[4], d[6], d[8]]);
        [a, b, c, e, f, d[1], d[3], d[5], d[7]]
    }
}

#[derive(Clone, Copy)]
pub(super) struct S4Output;

impl Line for S4Output {
    const FROM: usize = 9;
    const TO: usize = 4;

    #[inline(always)]
    fn apply<S: Simd>(s: S, m: [S::f32s; MOST]) -> [S::f32s; MOST] {
        let y = output(s, [m[0], m[1], m[2], m[3], m[4]]);
        let y = [
            s.add_f32s(y[0], m[5]),
            s.add_f32s(y[1], m[6]),
            s.add_f32s(y[2], m[7]),
            s.add_f32s(y[3], m[8]),
        ];
        padded(s, y)
    }
}

#[derive(Clone, Copy)]
pub(super) struct S4OutputGrad;

impl Line for S4OutputGrad {
    const FROM: usize = 4;
    const TO: usize = 9;

    #[inline(always)]
    fn apply<S: Simd>(s: S, y: [S::f32s; MOST]) -> [S::f32s; MOST] {
        let (even, odd) = (s.add_f32s(y[0], y[2]), s.add_f32s(y[1], y[3]));
        let even4 = s.mul_add_e_f32s(y[2], s.splat_f32s(4.0), y[0]);
        let odd4 = s.mul_add_e_f32s(y[3], s.splat_f32s(4.0), y[1]);
        [
            y[0],
            s.add_f32s(even, odd),
            s.sub_f32s(even, odd),
            s.mul_add_e_f32s(odd4, s.splat_f32s(2.0), even4),
            y[3],
            y[0],
            y[1],
            y[2],
            y[3],
        ]
    }
}

#[derive(Clone, Copy)]
pub(super) struct S4Back;

impl Line for S4Back {
    const FROM: usize = 5;
    const TO: usize = 9;

    #[inline(always)]
    fn apply<S: Simd>(s: S, y: [S::f32s; MOST]) -> [S::f32s; MOST] {
        let [a, b, c, d, e] = input(s, [y[0], y[1], y[2], y[3], y[4]]);
        [a, b, c, d, e, y[0], y[1], y[2], y[3]]
    }
}

#[derive(Clone, Copy)]
pub(super) struct S4BackOutput;

impl Line for S4BackOutput {
    const FROM: usize = 9;
    const TO: usize = 8;

    #[inline(always)]
    fn apply<S: Simd>(s: S, m: [S::f32s; MOST]) -> [S::f32s; MOST] {
        let [a, b, c, d] = output(s, [m[0], m[1], m[2], m[3], m[4]]);
        padded(s, [m[5], a, m[6], b, m[7], c, m[8], d])
    }
}
