//! A tape gives the gradients that candle's backward pass gives.

use candle_core::{DType, Device, Tensor, Var};
use tallow_ops::{
    BatchNormConfig, Conv2dConfig, CrossEntropyConfig, Generator, Layout, Norm, Pool2dConfig,
    Result, Tape, add, add_relu, avg_pool2d, batch_norm_add_relu_train, batch_norm_eval,
    batch_norm_train, conv_bn_relu_train, conv2d, cross_entropy, dropout, flatten, linear,
    max_pool2d, no_grad, pad_with_zeros, relu, to_layout,
};

struct Net {
    vars: Vec<Var>,
    running: [Var; 2],
}

fn var(generator: &Generator, shape: &[usize]) -> Var {
    Var::from_tensor(
        &generator
            .normal(0.3, 0.5, shape, DType::F32, &Device::Cpu)
            .unwrap(),
    )
    .unwrap()
}

impl Net {
    fn new() -> Self {
        let generator = Generator::new(5);
        let shapes: [&[usize]; 8] = [
            &[4, 3, 3, 3],
            &[4],
            &[4],
            &[4, 4, 3, 3],
            &[4],
            &[4],
            &[5, 6 * 6 * 8],
            &[5],
        ];
        Self {
            vars: shapes.map(|shape| var(&generator, shape)).into(),
            running: [var(&generator, &[4]), var(&generator, &[4])],
        }
    }

    /// A residual block, a widened shortcut, a linear layer: every kind of entry of a tape.
    fn loss(&self, foreign: bool) -> Tensor {
        let generator = Generator::new(6);
        let x = generator
            .normal(0., 1., &[3, 3, 6, 6][..], DType::F32, &Device::Cpu)
            .unwrap();
        let labels = Tensor::new(&[1u32, 4, 0], &Device::Cpu).unwrap();
        let v = &self.vars;
        let norm = |weight, bias| Norm {
            weight,
            bias,
            running_mean: &self.running[0],
            running_var: &self.running[1],
            config: BatchNormConfig {
                layout: Layout::Nhwc,
                ..Default::default()
            },
        };
        let conv = Conv2dConfig {
            padding: (1, 1),
            layout: Layout::Nhwc,
            ..Default::default()
        };
        let x = to_layout(&x, Layout::Nchw, Layout::Nhwc).unwrap();
        let a = conv_bn_relu_train(&x, &v[0], None, norm(&v[1], &v[2]), &conv, false).unwrap();
        let b = conv2d(&a, &v[3], None, &conv).unwrap();
        let b = batch_norm_add_relu_train(&b, &a, norm(&v[4], &v[5])).unwrap();
        let b = add_relu(&b, &a).unwrap();
        let b = if foreign {
            b.affine(0.5, 0.1).unwrap()
        } else {
            b
        };
        let b = add(&b, &relu(&a).unwrap()).unwrap();
        let b = pad_with_zeros(&b, 3, 1, 3).unwrap();
        let b = flatten(&b, Layout::Nhwc).unwrap();
        let logits = linear(&b, &v[6], Some(&v[7])).unwrap();
        cross_entropy(&logits, &labels, &CrossEntropyConfig::default()).unwrap()
    }
}

fn values(t: &Tensor) -> Vec<f32> {
    t.flatten_all().unwrap().to_vec1().unwrap()
}

#[test]
fn gradients_are_candles() {
    // With an operator of candle's in the way, the tape leaves the work to candle.
    for foreign in [false, true] {
        let net = Net::new();
        let expected = net.loss(foreign).backward().unwrap();
        let tape = Tape::record();
        let loss = net.loss(foreign);
        let found = tape.backward(&loss).unwrap();
        for (i, v) in net.vars.iter().enumerate() {
            let (a, b) = (
                values(found.get(v).unwrap()),
                values(expected.get(v).unwrap()),
            );
            let largest = b.iter().fold(0f32, |m, v| m.max(v.abs()));
            assert!(largest > 1e-6, "parameter {i} has no gradient to compare");
            for (a, b) in a.iter().zip(&b) {
                assert!((a - b).abs() <= 1e-6 * largest, "{i}: {a} is not {b}");
            }
        }
        if !foreign {
            assert_eq!(
                found.get_ids().count(),
                net.vars.len(),
                "variables and nothing else"
            );
        }
    }
}

/// With an operator of candle's too, and from an output of any shape.
#[test]
fn a_backward_pass_may_start_from_a_given_gradient() {
    for foreign in [false, true] {
        let net = Net::new();
        let expected = net.loss(foreign).affine(-0.25, 0.).unwrap();
        let expected = expected.backward().unwrap();
        let tape = Tape::record();
        let loss = net.loss(foreign);
        let gradient = Tensor::new(-0.25f32, &Device::Cpu).unwrap();
        let found = tape.backward_from(&loss, &gradient).unwrap();
        for (i, v) in net.vars.iter().enumerate() {
            let (a, b) = (
                values(found.get(v).unwrap()),
                values(expected.get(v).unwrap()),
            );
            let largest = b.iter().fold(0f32, |m, v| m.max(v.abs()));
            assert!(largest > 1e-6, "parameter {i} has no gradient to compare");
            for (a, b) in a.iter().zip(&b) {
                assert!((a - b).abs() <= 1e-6 * largest, "{i}: {a} is not {b}");
            }
        }
    }
    let generator = Generator::new(3);
    let x = var(&generator, &[2, 3]);
    let gradient = var(&generator, &[2, 3]).as_detached_tensor();
    let tape = Tape::record();
    let y = add(&x, &x).unwrap();
    let wrong = Tensor::ones((3, 2), DType::F32, &Device::Cpu).unwrap();
    let error = Tape::record().backward_from(&y, &wrong).unwrap_err();
    assert!(error.to_string().contains("as the output"), "{error}");
    let found = tape.backward_from(&y, &gradient).unwrap();
    let twice: Vec<f32> = values(&gradient).iter().map(|g| 2. * g).collect();
    assert_eq!(values(found.get(&x).unwrap()), twice);
}

type Values = Vec<f32>;

/// Places in `vars` of the variables whose gradients are handed over, with these, in their order; and the gradients of the result.
fn handed_over(
    vars: &[Var],
    loss: impl Fn() -> Tensor,
) -> (Vec<(usize, Values)>, Vec<Option<Values>>) {
    let tape = Tape::record();
    let loss = loss();
    let mut handed = Vec::new();
    let found = tape.backward_with(&loss, &mut |variable, gradient| {
        let at = vars.iter().position(|var| var.id() == variable.id());
        handed.push((at.unwrap(), values(gradient)));
    });
    let found = found.unwrap();
    let all = vars.iter().map(|var| found.get(var).map(values));
    (handed, all.collect())
}

#[test]
fn gradients_are_handed_over_when_they_are_final() {
    let net = Net::new();
    let (handed, all) = handed_over(&net.vars, || net.loss(false));
    let mut order: Vec<usize> = handed.iter().map(|(at, _)| *at).collect();
    // Layer by layer from the last one on; within a layer any order will do.
    for layer in [0..2, 2..4, 4..5, 5..8] {
        order[layer].sort();
    }
    assert_eq!(order, [6, 7, 4, 5, 3, 0, 1, 2]);
    for (at, gradient) in handed {
        assert_eq!(all[at].as_ref(), Some(&gradient), "{at}");
    }
    // candle's backward pass hands nothing over.
    let (handed, all) = handed_over(&net.vars, || net.loss(true));
    assert!(handed.is_empty() && all.iter().all(Option::is_some));
}

/// The first weight is used again behind the second one, and both inputs of the sum are the third.
#[test]
fn a_variable_that_is_used_twice_is_handed_over_after_its_first_use() {
    let generator = Generator::new(3);
    let vars = [(); 3].map(|()| var(&generator, &[2, 2]));
    let [first, second, third] = &vars;
    let x = Tensor::new(&[[0.5f32, 1.5], [2.5, 1.0]], &Device::Cpu).unwrap();
    let net = || {
        let y = linear(&x, first, None).unwrap();
        let y = linear(&relu(&y).unwrap(), second, None).unwrap();
        let y = linear(&y, first, None).unwrap();
        add(&y, &add(third, third).unwrap()).unwrap()
    };
    let expected = net().backward().unwrap();
    let (handed, all) = handed_over(&vars, net);
    let order: Vec<usize> = handed.iter().map(|(at, _)| *at).collect();
    assert_eq!(order, [2, 1, 0]);
    for (at, gradient) in handed {
        assert_eq!(all[at].as_ref(), Some(&gradient));
        assert_eq!(gradient, values(expected.get(&vars[at]).unwrap()), "{at}");
    }
    assert_eq!(all[2], Some(vec![2.0; 4]));
}

#[test]
fn a_tape_dropped_or_left_behind_disturbs_nothing() {
    let net = Net::new();
    drop(Tape::record());
    let outer = Tape::record();
    let before = net.loss(false);
    let inner = Tape::record();
    let loss = net.loss(false);
    let expected = values(inner.backward(&loss).unwrap().get(&net.vars[0]).unwrap());
    assert!(!expected.is_empty());
    let found = outer.backward(&before).unwrap();
    assert_eq!(values(found.get(&net.vars[0]).unwrap()), expected);
}

#[test]
fn a_loss_made_before_the_tape_still_has_gradients() {
    let net = Net::new();
    let loss = net.loss(false);
    let gradients = Tape::record().backward(&loss).unwrap();
    assert!(gradients.get(&net.vars[0]).is_some());
}

#[test]
fn batch_norm_add_relu_equals_its_parts_in_both_layouts() {
    for (layout, shape) in [(Layout::Nchw, [3, 4, 5, 2]), (Layout::Nhwc, [3, 5, 2, 4])] {
        let generator = Generator::new(9);
        let f64s = |mean, shape: &[usize]| {
            Var::from_tensor(
                &generator
                    .normal(mean, 1., shape, DType::F64, &Device::Cpu)
                    .unwrap(),
            )
            .unwrap()
        };
        let (x, s) = (f64s(2., &shape), f64s(0., &shape));
        let (weight, bias) = (f64s(1., &[4]), f64s(0., &[4]));
        let factor = f64s(0., &shape);
        let run = |fused: bool| {
            let (mean, var) = (f64s(0., &[4]), f64s(5., &[4]));
            let (mean, var) = (
                Var::from_tensor(&mean.zeros_like().unwrap()).unwrap(),
                Var::from_tensor(&var.ones_like().unwrap()).unwrap(),
            );
            let config = BatchNormConfig {
                layout,
                ..Default::default()
            };
            let out = if fused {
                let norm = Norm {
                    weight: &weight,
                    bias: &bias,
                    running_mean: &mean,
                    running_var: &var,
                    config,
                };
                batch_norm_add_relu_train(&x, &s, norm).unwrap()
            } else {
                let y = batch_norm_train(&x, &weight, &bias, &mean, &var, &config).unwrap();
                relu(&(y + s.as_tensor()).unwrap()).unwrap()
            };
            let loss = (&out * factor.as_tensor()).unwrap().sum_all().unwrap();
            let gradients = loss.backward().unwrap();
            let gradients = [&x, &s, &weight, &bias].map(|v| gradients.get(v).unwrap().clone());
            [out]
                .into_iter()
                .chain(gradients)
                .chain([mean.as_tensor().clone(), var.as_tensor().clone()])
                .collect::<Vec<_>>()
        };
        for (i, (a, b)) in run(true).iter().zip(&run(false)).enumerate() {
            let off = (a - b)
                .unwrap()
                .abs()
                .unwrap()
                .flatten_all()
                .unwrap()
                .max(0)
                .unwrap()
                .to_scalar::<f64>()
                .unwrap();
            assert!(off < 1e-12, "{layout:?} {i}: {off}");
        }
    }
}

/// Operators composed of candle's, as all are away from the CPU and for half types, build no graph inside `no_grad` either.
#[test]
fn no_grad_holds_where_there_are_no_kernels() {
    let half = |shape: &[usize]| {
        let x = Tensor::ones(shape, DType::F16, &Device::Cpu).unwrap();
        Var::from_tensor(&x).unwrap()
    };
    let (x, filters, norm) = (half(&[2, 3, 4, 4]), half(&[3, 3, 3, 3]), half(&[3]));
    let (flat, weight) = (half(&[2, 3]), half(&[5, 3]));
    let labels = Tensor::new(&[0u32, 2], &Device::Cpu).unwrap();
    let mask = Generator::new(0);
    let operators: [&dyn Fn() -> Result<Tensor>; 10] = [
        &|| conv2d(&x, &filters, None, &Conv2dConfig::default()),
        &|| batch_norm_train(&x, &norm, &norm, &norm, &norm, &Default::default()),
        &|| batch_norm_eval(&x, &norm, &norm, &norm, &norm, &Default::default()),
        &|| relu(&x),
        &|| max_pool2d(&x, &Pool2dConfig::new(2)),
        &|| avg_pool2d(&x, &Pool2dConfig::new(2), true),
        &|| to_layout(&x, Layout::Nchw, Layout::Nhwc),
        &|| dropout(&x, 0.5, &mask),
        &|| linear(&flat, &weight, None),
        &|| cross_entropy(&flat, &labels, &Default::default()),
    ];
    for (i, operator) in operators.iter().enumerate() {
        assert!(operator().unwrap().track_op(), "operator {i}");
        assert!(!no_grad(operator).unwrap().track_op(), "operator {i}");
    }
}
