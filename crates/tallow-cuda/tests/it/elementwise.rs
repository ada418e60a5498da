use tallow_cuda::Numbers::{self, F32};
use tallow_cuda::calls::{elementwise, layout};

use crate::emulator::{Buffer, Values, emulator};
use crate::support::{bits, in_both_orders, rounded, values};

fn relu(z: f32) -> f32 {
    if z <= 0. { 0. } else { z }
}

#[test]
fn relu_and_its_gradient() {
    let Some(e) = emulator() else { return };
    for len in [1usize, 7, 64, 4097] {
        let (mut x, grad) = (values(len, 1), values(len, 2));
        x[0] = f32::NAN;
        let [y, dx] = in_both_orders(|backwards| {
            let (mut from, mut to) = (Buffer::floats(&x), Buffer::unset(len));
            let (mut g, mut dx) = (Buffer::floats(&grad), Buffer::unset(len));
            let count = len as u32;
            let calls = [
                elementwise::relu(F32, from.address(), to.address(), count),
                elementwise::relu_gradient(F32, to.address(), g.address(), dx.address(), count),
            ];
            e.run(&calls, backwards);
            [bits(to.read()), bits(dx.read())]
        });
        let expected: Vec<f32> = x.iter().map(|&x| relu(x)).collect();
        assert_eq!(y, bits(&expected));
        let through = expected.iter().zip(&grad);
        let expected: Vec<f32> = through
            .map(|(&y, &g)| if y <= 0. { 0. } else { g })
            .collect();
        assert_eq!(dx, bits(&expected));
    }
}

/// Tensors that do not lie on 16 bytes are taken value by value.
#[test]
fn views_that_are_not_aligned() {
    let Some(e) = emulator() else { return };
    let x = values(65, 3);
    let mut from = Buffer::floats(&x);
    let mut to = Buffer::unset(64);
    let call = elementwise::relu(F32, from.at(1), to.address(), 64);
    assert_eq!(call.kernel, "relu_1");
    e.run(&[call], false);
    let expected: Vec<f32> = x[1..].iter().map(|&x| relu(x)).collect();
    assert_eq!(bits(to.read()), bits(&expected));
    let mut aligned = Buffer::floats(&x[..64]);
    let call = elementwise::relu(F32, aligned.address(), to.address(), 64);
    assert_eq!(call.kernel, "relu_4");
}

#[test]
fn sums_before_a_relu() {
    let Some(e) = emulator() else { return };
    for len in [5usize, 256] {
        let (x, y) = (values(len, 4), values(len, 5));
        let out = in_both_orders(|backwards| {
            let (mut a, mut b) = (Buffer::floats(&x), Buffer::floats(&y));
            let mut out = Buffer::unset(len);
            let mut sum = Buffer::unset(len);
            let (x, y, count) = (a.address(), b.address(), len as u32);
            let calls = [
                elementwise::add(F32, x, y, sum.address(), count),
                elementwise::add_relu(F32, x, y, out.address(), count),
            ];
            e.run(&calls, backwards);
            [bits(sum.read()), bits(out.read())]
        });
        let sums: Vec<f32> = x.iter().zip(&y).map(|(x, y)| x + y).collect();
        let expected: Vec<f32> = sums.iter().map(|&sum| relu(sum)).collect();
        assert_eq!(out, [bits(&sums), bits(&expected)]);
    }
}

#[test]
fn axes_change_places_and_back() {
    let Some(e) = emulator() else { return };
    for (batch, rows, columns) in [(1, 1, 1), (2, 3, 20), (3, 49, 5), (40, 32, 33)] {
        let len = batch * rows * columns;
        let x = values(len, 6);
        let (y, back) = in_both_orders(|backwards| {
            let mut from = Buffer::floats(&x);
            let (mut to, mut back) = (Buffer::unset(len), Buffer::unset(len));
            let (count, r, c) = (len as u32, rows as u32, columns as u32);
            let calls = [
                layout::transpose(F32, from.address(), to.address(), count, (r, c)),
                layout::transpose(F32, to.address(), back.address(), count, (c, r)),
            ];
            e.run(&calls, backwards);
            (to.read().to_vec(), back.read().to_vec())
        });
        for b in 0..batch {
            for r in 0..rows {
                for c in 0..columns {
                    assert_eq!(
                        y[(b * columns + c) * rows + r],
                        x[(b * rows + r) * columns + c]
                    );
                }
            }
        }
        assert_eq!(back, x);
    }
}

#[test]
fn shortcuts_without_parameters_and_their_gradients() {
    let Some(e) = emulator() else { return };
    // Images, rows, columns, channels, channels after it, stride.
    for [n, h, w, c, outputs, stride] in [
        [2usize, 8, 8, 16, 32, 2],
        [3, 5, 7, 3, 6, 2],
        [1, 4, 3, 2, 5, 1],
        [2, 3, 3, 4, 4, 5],
    ] {
        for numbers in Numbers::ALL {
            let s = layout::Shortcut {
                numbers,
                batch: n as u32,
                size: (h as u32, w as u32),
                channels: c as u32,
                outputs: outputs as u32,
                stride: stride as u32,
            };
            let x = rounded(numbers, &values(s.inputs(), 1));
            let grad = rounded(numbers, &values(s.outputs(), 2));
            let [y, dx] = in_both_orders(|backwards| {
                let mut from = Values::of(numbers, &x);
                let mut to = Values::unset(numbers, s.outputs());
                let mut g = Values::of(numbers, &grad);
                let mut dx = Values::unset(numbers, s.inputs());
                let calls = [
                    layout::shortcut(from.address(), to.address(), &s),
                    layout::shortcut_gradient(g.address(), dx.address(), &s),
                ];
                e.run(&calls, backwards);
                [to.read(), dx.read()]
            });
            let (high, across) = (h.div_ceil(stride), w.div_ceil(stride));
            let before = (outputs - c) / 2;
            let mut expected = [vec![0f32; s.outputs()], vec![0f32; s.inputs()]];
            for image in 0..n {
                for (row, column) in (0..high).flat_map(|r| (0..across).map(move |c| (r, c))) {
                    for channel in 0..c {
                        let from = (image * h + row * stride) * w + column * stride;
                        let to = (image * high + row) * across + column;
                        let (from, to) = (from * c + channel, to * outputs + before + channel);
                        expected[0][to] = x[from];
                        expected[1][from] = grad[to];
                    }
                }
            }
            assert_eq!([y, dx], expected, "{s:?}");
        }
    }
}
