//! The one-dimensional transforms of Winograd's F(4, 5) on vectors of images (Lavin & Gray 2015, arXiv 1509.09308).
//!
//! Four outputs of a five-tap filter take eight multiplications: `y = A^T [(G g) * (B^T d)]`, with the interpolation points
//! 0, 1, -1, 2, -2, 1/2, -1/2 and infinity. The gradients use the transposes.

use pulp::Simd;

/// Outputs per dimension.
pub(super) const M: usize = 4;
/// Inputs, and frequencies, per dimension.
pub(super) const T: usize = 8;
/// Taps per dimension.
pub(super) const R: usize = 5;

macro_rules! constants {
    ($simd:ident: $($name:ident = $value:expr),*) => {
        $(let $name = $simd.splat_f32s($value);)*
    };
}

/// A transform in both dimensions: of the values that `load` gives for row `i` and column `j` of `N x N`, first down the columns and
/// then along the rows; `store` gets the `M x M` results. A macro, since closures do not inherit the instruction set.
macro_rules! in_both_dimensions {
    (
        $simd:ident, $transform:path, $n:ident => $m:ident,
        |$i:ident, $j:ident| $load:expr,
        |$row:ident, $column:ident, $value:ident| $store:expr $(,)?
    ) => {{
        let zero = $simd.splat_f32s(0.0);
        let mut half = [[zero; $n]; $m];
        for $j in 0..$n {
            let mut values = [zero; $n];
            for $i in 0..$n {
                values[$i] = $load;
            }
            let values = $transform($simd, values);
            for i in 0..$m {
                half[i][$j] = values[i];
            }
        }
        for $row in 0..$m {
            let values = $transform($simd, half[$row]);
            for $column in 0..$m {
                let $value = values[$column];
                $store;
            }
        }
    }};
}
pub(super) use in_both_dimensions;

/// `B^T d`.
#[inline(always)]
pub(super) fn input<S: Simd>(s: S, d: [S::f32s; T]) -> [S::f32s; T] {
    constants!(s: p21 = 5.25, m17 = -4.25, m5 = -5.0, m5h = -2.5, m5q = -1.25, four = 4.0, two = 2.0, half = 0.5, quarter = 0.25);
    let e1 = s.mul_add_e_f32s(d[4], m17, s.add_f32s(d[2], d[6]));
    let o1 = s.mul_add_e_f32s(d[3], m17, s.add_f32s(d[1], d[5]));
    let e2 = s.mul_add_e_f32s(d[4], m5q, s.mul_add_e_f32s(d[2], quarter, d[6]));
    let o2 = s.mul_add_e_f32s(
        d[5],
        two,
        s.mul_add_e_f32s(d[3], m5h, s.mul_f32s(d[1], half)),
    );
    let e3 = s.mul_add_e_f32s(d[4], m5, s.mul_add_e_f32s(d[2], four, d[6]));
    let o3 = s.mul_add_e_f32s(
        d[5],
        half,
        s.mul_add_e_f32s(d[3], m5h, s.mul_f32s(d[1], two)),
    );
    [
        s.mul_add_e_f32s(s.sub_f32s(d[4], d[2]), p21, s.sub_f32s(d[0], d[6])),
        s.add_f32s(e1, o1),
        s.sub_f32s(e1, o1),
        s.add_f32s(e2, o2),
        s.sub_f32s(e2, o2),
        s.add_f32s(e3, o3),
        s.sub_f32s(e3, o3),
        s.mul_add_e_f32s(s.sub_f32s(d[3], d[5]), p21, s.sub_f32s(d[7], d[1])),
    ]
}

/// `B r`.
#[inline(always)]
pub(super) fn input_grad<S: Simd>(s: S, r: [S::f32s; T]) -> [S::f32s; T] {
    constants!(s: p21 = 5.25, m21 = -5.25, m17 = -4.25, m5 = -5.0, m5h = -2.5, m5q = -1.25, four = 4.0, two = 2.0, half = 0.5, quarter = 0.25);
    let (a1, b1) = (s.add_f32s(r[1], r[2]), s.sub_f32s(r[1], r[2]));
    let (a2, b2) = (s.add_f32s(r[3], r[4]), s.sub_f32s(r[3], r[4]));
    let (a3, b3) = (s.add_f32s(r[5], r[6]), s.sub_f32s(r[5], r[6]));
    [
        r[0],
        s.mul_add_e_f32s(b2, half, s.mul_add_e_f32s(b3, two, s.sub_f32s(b1, r[7]))),
        s.mul_add_e_f32s(
            r[0],
            m21,
            s.mul_add_e_f32s(a2, quarter, s.mul_add_e_f32s(a3, four, a1)),
        ),
        s.mul_add_e_f32s(
            b1,
            m17,
            s.mul_add_e_f32s(s.add_f32s(b2, b3), m5h, s.mul_f32s(r[7], p21)),
        ),
        s.mul_add_e_f32s(
            a1,
            m17,
            s.mul_add_e_f32s(a2, m5q, s.mul_add_e_f32s(a3, m5, s.mul_f32s(r[0], p21))),
        ),
        s.mul_add_e_f32s(
            r[7],
            m21,
            s.mul_add_e_f32s(b2, two, s.mul_add_e_f32s(b3, half, b1)),
        ),
        s.add_f32s(s.sub_f32s(a1, r[0]), s.add_f32s(a2, a3)),
        r[7],
    ]
}

/// `A^T m`.
#[inline(always)]
pub(super) fn output<S: Simd>(s: S, m: [S::f32s; T]) -> [S::f32s; M] {
    constants!(s: eight = 8.0, four = 4.0, two = 2.0, half = 0.5, quarter = 0.25, eighth = 0.125);
    let (a1, b1) = (s.add_f32s(m[1], m[2]), s.sub_f32s(m[1], m[2]));
    let (a2, b2) = (s.add_f32s(m[3], m[4]), s.sub_f32s(m[3], m[4]));
    let (a3, b3) = (s.add_f32s(m[5], m[6]), s.sub_f32s(m[5], m[6]));
    [
        s.add_f32s(s.add_f32s(m[0], a1), s.add_f32s(a2, a3)),
        s.mul_add_e_f32s(b2, two, s.mul_add_e_f32s(b3, half, b1)),
        s.mul_add_e_f32s(a2, four, s.mul_add_e_f32s(a3, quarter, a1)),
        s.mul_add_e_f32s(
            b2,
            eight,
            s.mul_add_e_f32s(b3, eighth, s.add_f32s(b1, m[7])),
        ),
    ]
}

/// `A y`.
#[inline(always)]
pub(super) fn output_grad<S: Simd>(s: S, y: [S::f32s; M]) -> [S::f32s; T] {
    constants!(s: four = 4.0, two = 2.0, half = 0.5, quarter = 0.25);
    let (e1, o1) = (s.add_f32s(y[0], y[2]), s.add_f32s(y[1], y[3]));
    let e2 = s.mul_add_e_f32s(y[2], four, y[0]);
    let o2 = s.mul_f32s(s.mul_add_e_f32s(y[3], four, y[1]), two);
    let e3 = s.mul_add_e_f32s(y[2], quarter, y[0]);
    let o3 = s.mul_f32s(s.mul_add_e_f32s(y[3], quarter, y[1]), half);
    [
        y[0],
        s.add_f32s(e1, o1),
        s.sub_f32s(e1, o1),
        s.add_f32s(e2, o2),
        s.sub_f32s(e2, o2),
        s.add_f32s(e3, o3),
        s.sub_f32s(e3, o3),
        y[3],
    ]
}

/// `G g`.
#[inline(always)]
pub(super) fn weight<S: Simd>(s: S, g: [S::f32s; R]) -> [S::f32s; T] {
    constants!(s: n1 = -2.0 / 9.0, n2 = 1.0 / 90.0, n3 = 32.0 / 45.0, sixteen = 16.0, four = 4.0, two = 2.0, half = 0.5, quarter = 0.25, sixteenth = 0.0625);
    let e1 = s.mul_f32s(s.add_f32s(s.add_f32s(g[0], g[2]), g[4]), n1);
    let o1 = s.mul_f32s(s.add_f32s(g[1], g[3]), n1);
    let e2 = s.mul_f32s(
        s.mul_add_e_f32s(g[4], sixteen, s.mul_add_e_f32s(g[2], four, g[0])),
        n2,
    );
    let o2 = s.mul_f32s(s.mul_f32s(s.mul_add_e_f32s(g[3], four, g[1]), two), n2);
    let e3 = s.mul_f32s(
        s.mul_add_e_f32s(g[4], sixteenth, s.mul_add_e_f32s(g[2], quarter, g[0])),
        n3,
    );
    let o3 = s.mul_f32s(s.mul_f32s(s.mul_add_e_f32s(g[3], quarter, g[1]), half), n3);
    [
        g[0],
        s.add_f32s(e1, o1),
        s.sub_f32s(e1, o1),
        s.add_f32s(e2, o2),
        s.sub_f32s(e2, o2),
        s.add_f32s(e3, o3),
        s.sub_f32s(e3, o3),
        g[4],
    ]
}

/// `G^T u`.
#[inline(always)]
pub(super) fn weight_grad<S: Simd>(s: S, u: [S::f32s; T]) -> [S::f32s; R] {
    constants!(s: n1 = -2.0 / 9.0, n2 = 1.0 / 90.0, n3 = 32.0 / 45.0, sixteen = 16.0, eight = 8.0, four = 4.0, two = 2.0, half = 0.5, quarter = 0.25, eighth = 0.125, sixteenth = 0.0625);
    let a1 = s.mul_f32s(s.add_f32s(u[1], u[2]), n1);
    let b1 = s.mul_f32s(s.sub_f32s(u[1], u[2]), n1);
    let a2 = s.mul_f32s(s.add_f32s(u[3], u[4]), n2);
    let b2 = s.mul_f32s(s.sub_f32s(u[3], u[4]), n2);
    let a3 = s.mul_f32s(s.add_f32s(u[5], u[6]), n3);
    let b3 = s.mul_f32s(s.sub_f32s(u[5], u[6]), n3);
    [
        s.add_f32s(s.add_f32s(u[0], a1), s.add_f32s(a2, a3)),
        s.mul_add_e_f32s(b2, two, s.mul_add_e_f32s(b3, half, b1)),
        s.mul_add_e_f32s(a2, four, s.mul_add_e_f32s(a3, quarter, a1)),
        s.mul_add_e_f32s(b2, eight, s.mul_add_e_f32s(b3, eighth, b1)),
        s.mul_add_e_f32s(
            a2,
            sixteen,
            s.mul_add_e_f32s(a3, sixteenth, s.add_f32s(a1, u[7])),
        ),
    ]
}
