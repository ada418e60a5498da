use tallow_cuda::calls::rows::{MOST_ROWS, gradient};

use crate::emulator::{Buffer, emulator};
use crate::support::{assert_close, bits, floats, in_both_orders, values};

/// Gradient before the ReLU, or that after it where there is none, and its sums; in place or not, and each alone.
#[test]
fn gradients_before_a_bias() {
    let Some(e) = emulator() else { return };
    for (rows, columns) in [(1, 1), (7, 33), (64, 10), (37, 64), (MOST_ROWS, 3)] {
        let grad = values(rows * columns, 1);
        let mut out: Vec<f32> = values(rows * columns, 2)
            .iter()
            .map(|&y| y.max(0.0))
            .collect();
        out[0] = f32::NAN;
        for relu in [false, true] {
            let expected: Vec<f32> = grad
                .iter()
                .zip(&out)
                .map(|(&g, &y)| if relu && y <= 0.0 { 0.0 } else { g })
                .collect();
            let sums: Vec<f64> = (0..columns)
                .map(|c| {
                    let column = expected.iter().skip(c).step_by(columns);
                    column.map(|&d| f64::from(d)).sum()
                })
                .collect();
            for in_place in [false, true] {
                let [masked, found] = in_both_orders(|backwards| {
                    let (mut y, mut g) = (Buffer::floats(&out), Buffer::floats(&grad));
                    let mut masked = Buffer::unset(rows * columns);
                    let mut sums = Buffer::unset(columns);
                    let y = if relu { y.address() } else { 0 };
                    let from = g.address();
                    let to = if in_place { from } else { masked.address() };
                    let sizes = (rows as u32, columns as u32);
                    e.run(&[gradient(y, from, to, sums.address(), sizes)], backwards);
                    let masked = if in_place { g } else { masked };
                    [masked.read().to_vec(), sums.read().to_vec()].map(|found| bits(&found))
                });
                assert_eq!(masked, bits(&expected), "{rows} x {columns}, {relu}");
                assert_close("sums", &floats(found), &sums, 1e-7);
            }
        }
    }
}

#[test]
fn what_is_not_asked_for_is_not_written() {
    let Some(e) = emulator() else { return };
    let grad = values(20, 3);
    let mut g = Buffer::floats(&grad);
    let mut sums = Buffer::unset(4);
    e.run(
        &[gradient(0, g.address(), 0, sums.address(), (5, 4))],
        false,
    );
    assert_eq!(bits(g.read()), bits(&grad));
    let mut masked = Buffer::unset(20);
    e.run(
        &[gradient(0, g.address(), masked.address(), 0, (5, 4))],
        false,
    );
    assert_eq!(bits(masked.read()), bits(&grad));
}
