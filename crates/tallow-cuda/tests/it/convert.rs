use half::bf16;
use tallow_cuda::Numbers::{Bf16, F32};
use tallow_cuda::calls::convert::{Filters, convert};
use tallow_cuda::calls::dropout::{Mask, dropout};
use tallow_cuda::calls::pool::{self, Axis, Divisor, Windows};
use tallow_cuda::calls::{elementwise, layout};

use crate::emulator::{Buffer, Values, emulator};
use crate::support::{bits, in_both_orders, rounded, values};

/// Floats of many exponents, those between two numbers of 16 bits, and what is no number.
fn odd_numbers() -> Vec<f32> {
    let mut all = vec![
        0.,
        -0.,
        f32::INFINITY,
        f32::NEG_INFINITY,
        f32::NAN,
        f32::MAX,
        f32::MIN_POSITIVE,
        1e-42,
    ];
    let patterns = (0..4096u32).map(|i| f32::from_bits(i.wrapping_mul(0x9E37_79B1)));
    all.extend(patterns);
    // Halfway, where the even one is taken, and beside.
    for upper in [0x3f80u32, 0x3f81, 0xc2ff] {
        all.extend([0x7fff, 0x8000, 0x8001].map(|lower| f32::from_bits(upper << 16 | lower)));
    }
    all
}

#[test]
fn numbers_are_rounded_and_come_back() {
    let Some(e) = emulator() else { return };
    let all = odd_numbers();
    // Lengths that four divides and others, and a view that does not lie on 16 bytes.
    for (start, len) in [(0, all.len()), (0, 4096), (1, 100), (3, 7)] {
        let part = &all[start..start + len];
        let [narrow, wide] = in_both_orders(|backwards| {
            let mut x = Buffer::floats(&all);
            let (mut y, mut back) = (Buffer::unset_halves(len), Buffer::unset(len));
            let calls = [
                convert(F32, x.at(start), y.address(), len as u32),
                convert(Bf16, y.address(), back.address(), len as u32),
            ];
            e.run(&calls, backwards);
            let narrow = y.read().iter().map(|v| u32::from(v.to_bits())).collect();
            [narrow, bits(back.read())]
        });
        let expected: Vec<bf16> = part.iter().map(|&v| bf16::from_f32(v)).collect();
        let to_bits: Vec<u32> = expected.iter().map(|v| u32::from(v.to_bits())).collect();
        assert_eq!(narrow, to_bits);
        let floats: Vec<f32> = expected.iter().map(|v| v.to_f32()).collect();
        // A NaN that signals may become a quiet one on the way.
        for (found, expected) in wide.into_iter().zip(floats) {
            let found = f32::from_bits(found);
            assert!(found.to_bits() == expected.to_bits() || found.is_nan() && expected.is_nan());
        }
    }
}

#[test]
fn filters_change_their_order_and_come_back() {
    let Some(e) = emulator() else { return };
    for (outputs, inputs, taps) in [(1, 1, 1), (5, 3, 9), (2, 64, 25), (300, 7, 1)] {
        let w = rounded(Bf16, &values(outputs * inputs * taps, 3));
        let filters = Filters {
            outputs: outputs as u32,
            inputs: inputs as u32,
            taps: taps as u32,
        };
        let (copy, back) = in_both_orders(|backwards| {
            let mut from = Buffer::floats(&w);
            let (mut copy, mut back) = (Buffer::unset_halves(w.len()), Buffer::unset(w.len()));
            let calls = [
                filters.narrow(from.address(), copy.address()),
                filters.widen(copy.address(), back.address()),
            ];
            e.run(&calls, backwards);
            let copy: Vec<f32> = copy.read().iter().map(|v| v.to_f32()).collect();
            (copy, back.read().to_vec())
        });
        for o in 0..outputs {
            for i in 0..inputs {
                for k in 0..taps {
                    let found = copy[(o * taps + k) * inputs + i];
                    assert_eq!(found, w[(o * inputs + i) * taps + k]);
                }
            }
        }
        assert_eq!(back, w);
    }
}

/// Operators on maps of either type compute in floats, and round once.
#[test]
fn operators_on_numbers_of_16_bits() {
    let Some(e) = emulator() else { return };
    let (n, h, w, c) = (2usize, 6usize, 5usize, 4usize);
    let len = n * h * w * c;
    let axis = |input: usize, output: usize| Axis {
        input: input as u32,
        output: output as u32,
        kernel: 3,
        stride: 2,
        padding: 1,
        dilation: 1,
    };
    let windows = |numbers| Windows {
        numbers,
        batch: n as u32,
        channels: c as u32,
        channels_last: true,
        rows: axis(h, 3),
        columns: axis(w, 3),
    };
    let mask = Mask {
        key: [1, 2, 3, 4, 5, 6, 7, 8],
        start: 5,
        threshold: 1 << 31,
        scale: 2.,
    };
    let pooled = windows(F32).outputs();
    let x = rounded(Bf16, &values(len, 1));
    let y = rounded(Bf16, &values(len, 2));
    let grad = rounded(Bf16, &values(pooled, 3));
    let results = |numbers| {
        in_both_orders(|backwards| {
            let (mut a, mut b) = (Values::of(numbers, &x), Values::of(numbers, &y));
            let mut g = Values::of(numbers, &grad);
            let mut whole: Vec<Values> = (0..7).map(|_| Values::unset(numbers, len)).collect();
            let mut small: Vec<Values> = (0..2).map(|_| Values::unset(numbers, pooled)).collect();
            let mut winner = Buffer::words(&vec![0; pooled]);
            let at: Vec<u64> = whole.iter_mut().map(Values::address).collect();
            let to: Vec<u64> = small.iter_mut().map(Values::address).collect();
            let (a, b, g, winner) = (a.address(), b.address(), g.address(), winner.address());
            let (count, sizes, windows) = (len as u32, (12, 20), windows(numbers));
            let calls = [
                elementwise::relu(numbers, a, at[0], count),
                elementwise::relu_gradient(numbers, a, b, at[1], count),
                elementwise::add(numbers, a, b, at[2], count),
                elementwise::add_relu(numbers, a, b, at[3], count),
                layout::transpose(numbers, a, at[4], count, sizes),
                dropout(numbers, a, at[5], count, &mask, 0),
                pool::max(a, to[0], winner, &windows),
                pool::max_gradient(g, winner, at[6], &windows),
                pool::average(a, to[1], &windows, Divisor::Padded),
            ];
            e.run(&calls, backwards);
            let read: Vec<Vec<f32>> = whole.iter().chain(&small).map(Values::read).collect();
            read
        })
    };
    for (i, (found, expected)) in results(Bf16).iter().zip(&results(F32)).enumerate() {
        assert_eq!(found, &rounded(Bf16, expected), "result {i}");
    }
}
