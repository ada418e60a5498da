use candle_core::Tensor;
use tallow_cuda::Numbers::{self, Bf16, F32};
use tallow_cuda::calls::norm::{
    self, Affine, Constants, Finished, Forward, Maps, Parameters, Tail,
};
use tallow_ops::{
    BatchNormConfig, Layout, Pool2dConfig, add, batch_norm_eval, batch_norm_train, max_pool2d, relu,
};

use crate::emulator::{Buffer, Emulator, Values, emulator};
use crate::support::{assert_close, bits, flat, floats, in_both_orders, rounded, values, variable};

const EPS: f64 = 1e-5;
const MOMENTUM: f64 = 0.1;

/// Inputs of a norm and what follows it.
struct Input {
    maps: Maps,
    tail: Tail,
    y: Vec<f32>,
    weight: Vec<f32>,
    bias: Vec<f32>,
    conv_bias: Option<Vec<f32>>,
    running: [Vec<f32>; 2],
    shortcut: Vec<f32>,
    grad: Vec<f32>,
    /// Values before the first of `y`: with one, it does not lie on 16 bytes.
    shift: usize,
}

impl Input {
    fn new(size: (usize, usize, usize, usize), tail: Tail) -> Self {
        Self::of(F32, size, tail)
    }

    fn of(numbers: Numbers, (n, h, w, c): (usize, usize, usize, usize), tail: Tail) -> Self {
        let maps = Maps {
            numbers,
            n,
            h,
            w,
            c,
        };
        let outputs = match tail {
            Tail::ReluPool => maps.pooled(),
            _ => maps,
        };
        // A mean that is large beside the spread.
        let y: Vec<f32> = values(maps.elements(), 1).iter().map(|y| y + 3.).collect();
        let positive = |seed| values(c, seed).iter().map(|v| v.abs() + 0.5).collect();
        Self {
            maps,
            tail,
            y: rounded(numbers, &y),
            weight: values(c, 2),
            bias: values(c, 3),
            conv_bias: None,
            running: [values(c, 4), positive(5)],
            shortcut: rounded(numbers, &values(maps.elements(), 6)),
            grad: rounded(numbers, &values(outputs.elements(), 7)),
            shift: 0,
        }
    }
}

/// Results, in the order of names in [`compare`].
type Results = [Vec<f32>; 7];

const NAMES: [&str; 7] = [
    "output",
    "running mean",
    "running variance",
    "gradient of the input",
    "gradient of the weight",
    "gradient of the bias",
    "gradient of the shortcut",
];

/// The launches of a forward and a backward pass; with `batch`, by the statistics of the batch.
fn on_the_device(e: &Emulator, input: &Input, batch: bool, in_place: bool) -> Results {
    let results = in_both_orders(|backwards| {
        let (maps, c, numbers) = (input.maps, input.maps.c, input.maps.numbers);
        let mut shifted = vec![0.; input.shift];
        shifted.extend(&input.y);
        let mut y = Values::of(numbers, &shifted);
        let y_at = y.at(input.shift);
        let mut weight = Buffer::floats(&input.weight);
        let mut bias = Buffer::floats(&input.bias);
        let mut conv_bias = input.conv_bias.as_ref().map(|b| Buffer::floats(b));
        let [mut mean, mut var] = [0, 1].map(|i| Buffer::floats(&input.running[i]));
        let mut shortcut = Values::of(numbers, &input.shortcut);
        let mut grad = Values::of(numbers, &input.grad);
        let mut out = Values::unset(numbers, input.grad.len());
        let mut constants = Buffer::unset(Constants::len(c));
        let parameters = Parameters {
            weight: weight.address(),
            bias: bias.address(),
            conv_bias: conv_bias.as_mut().map_or(0, Buffer::address),
            running_mean: mean.address(),
            running_var: var.address(),
        };
        let norm = Constants {
            address: constants.address(),
            channels: c,
        };

        let partition = norm::by_pixel(maps, &[y_at]).unwrap();
        let mut partial = Buffer::doubles(partition.partial_sums());
        let mut calls = Vec::new();
        if batch {
            calls.push(norm::statistics(y_at, partial.address(), &partition));
            calls.push(norm::finish(
                partial.address(),
                &partition,
                y_at,
                &parameters,
                (EPS, MOMENTUM),
                norm.address,
            ));
        } else {
            calls.push(norm::constants(
                F32,
                &parameters,
                c as u32,
                EPS,
                norm.address,
            ));
        }
        let added = match input.tail {
            Tail::AddRelu => shortcut.address(),
            _ => 0,
        };
        let affine = norm.affine();
        calls.push(norm::apply(y_at, maps, &affine, input.tail, added, out.address()).unwrap());

        let f = Forward {
            y: y_at,
            maps,
            affine,
            tail: input.tail,
        };
        let masked = match input.tail {
            Tail::AddRelu => maps.elements(),
            _ => 0,
        };
        let mut masked = Values::unset(numbers, masked);
        let pair = (out.address(), masked.address());
        let of = [y_at, grad.address(), pair.0, pair.1];
        let partition = norm::gradient_partition(&f, &of).unwrap();
        let mut sums = Buffer::doubles(partition.partial_sums());
        calls.push(norm::gradient_sums(
            &f,
            grad.address(),
            pair,
            &partition,
            sums.address(),
        ));
        let mut through = Buffer::unset(2 * c);
        let (mut dweight, mut dbias) = (Buffer::unset(c), Buffer::unset(c));
        let into = Finished {
            through: if batch { through.address() } else { 0 },
            weight: dweight.address(),
            bias: dbias.address(),
        };
        let pixels = maps.pixels();
        calls.push(norm::gradient_finish(
            sums.address(),
            &partition,
            norm.inverse(),
            pixels,
            &into,
        ));
        let d = match input.tail {
            Tail::AddRelu => masked.address(),
            _ => grad.address(),
        };
        let elements = if in_place { 0 } else { maps.elements() };
        let mut dy = Values::unset(numbers, elements);
        let to = if in_place { y_at } else { dy.address() };
        calls.push(norm::gradient(&f, d, into.through, to).unwrap());
        e.run(&calls, backwards);

        // Reads look at the guards.
        grad.read();
        weight.read();
        bias.read();
        shortcut.read();
        partial.read();
        sums.read();
        through.read();
        constants.read();
        let dy = match in_place {
            true => y.read().split_off(input.shift),
            false => dy.read(),
        };
        [
            bits(&out.read()),
            bits(mean.read()),
            bits(var.read()),
            bits(&dy),
            bits(dweight.read()),
            bits(dbias.read()),
            bits(&masked.read()),
        ]
    });
    results.map(floats)
}

/// The same by the operators of tallow-ops in `f64`.
fn reference(input: &Input, batch: bool) -> [Vec<f64>; 7] {
    let Maps { n, h, w, c, .. } = input.maps;
    let shape = [n, h, w, c];
    let y = variable(&input.y, &shape);
    let (weight, bias) = (variable(&input.weight, &[c]), variable(&input.bias, &[c]));
    let [mean, var] = [0, 1].map(|i| variable(&input.running[i], &[c]));
    let shortcut = variable(&input.shortcut, &shape);
    let config = BatchNormConfig {
        eps: EPS,
        momentum: MOMENTUM,
        layout: Layout::Nhwc,
    };
    let conv_bias = variable(input.conv_bias.as_ref().unwrap_or(&vec![0.; c]), &[c]);
    let x = y.broadcast_add(&conv_bias.as_detached_tensor()).unwrap();
    let z = if batch {
        batch_norm_train(&x, &weight, &bias, &mean, &var, &config)
    } else {
        batch_norm_eval(&x, &weight, &bias, &mean, &var, &config)
    }
    .unwrap();
    let out = match input.tail {
        Tail::Linear => z,
        Tail::Relu => relu(&z).unwrap(),
        Tail::AddRelu => relu(&add(&z, &shortcut).unwrap()).unwrap(),
        Tail::ReluPool => {
            let pool = Pool2dConfig {
                layout: Layout::Nhwc,
                ..Pool2dConfig::new(2)
            };
            max_pool2d(&relu(&z).unwrap(), &pool).unwrap()
        }
    };
    let grad = variable(&input.grad, out.dims()).as_detached_tensor();
    let store = (&out * grad)
        .unwrap()
        .sum_all()
        .unwrap()
        .backward()
        .unwrap();
    let gradient = |of: &Tensor| store.get(of).map(flat).unwrap_or_default();
    [
        flat(&out),
        flat(&mean),
        flat(&var),
        gradient(&y),
        gradient(&weight),
        gradient(&bias),
        gradient(&shortcut),
    ]
}

fn compare(found: &Results, expected: &[Vec<f64>; 7]) {
    for ((name, found), expected) in NAMES.iter().zip(found).zip(expected) {
        assert_close(name, found, expected, 2e-5);
    }
}

const TAILS: [Tail; 4] = [Tail::Linear, Tail::Relu, Tail::AddRelu, Tail::ReluPool];

/// Few and many channels, numbers that four does not divide, odd maps, several blocks along the rows and along the channels.
const SIZES: [(usize, usize, usize, usize); 7] = [
    (2, 3, 2, 1),
    (1, 2, 2, 4),
    (3, 5, 7, 6),
    (2, 4, 4, 64),
    (5, 7, 6, 36),
    (2, 3, 3, 260),
    (9, 16, 15, 8),
];

#[test]
fn norms_of_a_batch() {
    let Some(e) = emulator() else { return };
    for size in SIZES {
        for tail in TAILS {
            let input = Input::new(size, tail);
            let found = on_the_device(e, &input, true, false);
            compare(&found, &reference(&input, true));
            let again = on_the_device(e, &input, true, true);
            assert_eq!(
                bits(&found[3]),
                bits(&again[3]),
                "{size:?} {tail:?} in place"
            );
        }
    }
}

/// Maps of `bf16` are rounded, and statistics and gradients of parameters are as exact as those of floats.
#[test]
fn norms_of_numbers_of_16_bits() {
    let Some(e) = emulator() else { return };
    for size in SIZES {
        for tail in TAILS {
            for batch in [true, false] {
                let mut input = Input::of(Bf16, size, tail);
                let expected = reference(&input, batch);
                for shift in [0, 1] {
                    input.shift = shift;
                    let found = on_the_device(e, &input, batch, false);
                    for ((name, found), expected) in NAMES.iter().zip(&found).zip(&expected) {
                        let is_map = ["output", "gradient of the input"].contains(name);
                        let tolerance = if is_map { 4e-3 } else { 2e-5 };
                        assert_close(name, found, expected, tolerance);
                    }
                }
            }
        }
    }
}

#[test]
fn norms_by_running_statistics() {
    let Some(e) = emulator() else { return };
    for size in SIZES {
        for tail in TAILS {
            let input = Input::new(size, tail);
            let found = on_the_device(e, &input, false, false);
            compare(&found, &reference(&input, false));
        }
    }
}

/// The bias of the convolution before is left out of it, and comes back in the running mean and, in evaluation, in the values.
#[test]
fn biases_of_the_convolution_before() {
    let Some(e) = emulator() else { return };
    for batch in [true, false] {
        let mut input = Input::new((3, 4, 5, 12), Tail::Relu);
        input.conv_bias = Some(values(12, 9));
        let found = on_the_device(e, &input, batch, false);
        compare(&found, &reference(&input, batch));
    }
}

#[test]
fn maps_that_are_not_aligned() {
    let Some(e) = emulator() else { return };
    for tail in TAILS {
        let mut input = Input::new((2, 5, 4, 8), tail);
        let expected = reference(&input, true);
        input.shift = 1;
        let call = norm::apply(20, input.maps, &Affine::default(), tail, 0, 32).unwrap();
        assert!(call.kernel.ends_with("_1"), "{}", call.kernel);
        compare(&on_the_device(e, &input, true, false), &expected);
    }
}

/// A bias alone: no mean, no scale, no statistics.
#[test]
fn biases_and_their_gradients() {
    let Some(e) = emulator() else { return };
    let (rows, outputs) = (37, 10);
    let (y, bias, grad) = (
        values(rows * outputs, 1),
        values(outputs, 2),
        values(rows * outputs, 3),
    );
    let maps = Maps {
        numbers: F32,
        n: rows,
        h: 1,
        w: 1,
        c: outputs,
    };
    let [out, dbias] = in_both_orders(|backwards| {
        let (mut y, mut shift) = (Buffer::floats(&y), Buffer::floats(&bias));
        let (mut g, mut db) = (Buffer::floats(&grad), Buffer::unset(outputs));
        let affine = Affine {
            shift: shift.address(),
            ..Default::default()
        };
        let f = Forward {
            y: g.address(),
            maps,
            affine: Affine::default(),
            tail: Tail::Linear,
        };
        let partition = norm::gradient_partition(&f, &[g.address()]).unwrap();
        let mut partial = Buffer::doubles(partition.partial_sums());
        let into = Finished {
            bias: db.address(),
            ..Default::default()
        };
        let calls = [
            norm::apply(y.address(), maps, &affine, Tail::Linear, 0, y.address()).unwrap(),
            norm::gradient_sums(&f, g.address(), (0, 0), &partition, partial.address()),
            norm::gradient_finish(partial.address(), &partition, 0, rows, &into),
        ];
        e.run(&calls, backwards);
        [y.read().to_vec(), db.read().to_vec()]
    });
    let sums: Vec<f32> = y
        .iter()
        .enumerate()
        .map(|(i, y)| y + bias[i % outputs])
        .collect();
    assert_eq!(bits(&out), bits(&sums));
    let column = |c: usize| {
        grad.iter()
            .skip(c)
            .step_by(outputs)
            .map(|&g| f64::from(g))
            .sum()
    };
    let columns: Vec<f64> = (0..outputs).map(column).collect();
    assert_close("gradient of the bias", &dbias, &columns, 1e-6);
}

#[test]
fn numbers_that_are_not_finite_stay_so() {
    let Some(e) = emulator() else { return };
    let mut input = Input::new((2, 2, 2, 4), Tail::ReluPool);
    input.y[5] = f32::NAN;
    let found = on_the_device(e, &input, true, false);
    // Channel 1 alone has it.
    for (i, value) in found[0].iter().enumerate() {
        assert_eq!(value.is_nan(), i % 4 == 1, "output {i}: {value}");
    }
}
