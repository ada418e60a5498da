//! Batch norm of the chunks of a batch, each in a thread, against batch norm of the whole batch.

use std::sync::{Arc, Barrier, Mutex};
use std::thread;

use candle_core::{DType, Device, Tensor, Var};
use tallow_ops::{
    BatchNormConfig, Conv2dConfig, Layout, Norm, NormExchange, Result, add,
    batch_norm_add_relu_train, batch_norm_train, conv_bn_relu_train, conv2d, gradcheck, reference,
    relu, with_norm_exchange,
};

use crate::torch::{LAYOUTS, arrange, assert_close, bits, differentiate, noise, values};

/// Meeting of the chunks, in which each learns the numbers of all.
struct Meeting {
    barrier: Barrier,
    numbers: Mutex<Vec<Vec<f64>>>,
}

/// Exchanges of the chunks with samples, of so many chunks.
fn exchanges(lens: &[usize]) -> Vec<Option<Arc<NormExchange>>> {
    let meeting = Arc::new(Meeting {
        barrier: Barrier::new(lens.iter().filter(|&&len| len > 0).count()),
        numbers: Mutex::new(vec![Vec::new(); lens.len()]),
    });
    let exchange = |chunk: usize| -> Arc<NormExchange> {
        let meeting = Arc::clone(&meeting);
        Arc::new(move |own: &[f64]| {
            meeting.numbers.lock().unwrap()[chunk] = own.to_vec();
            meeting.barrier.wait();
            let all = meeting.numbers.lock().unwrap().clone();
            meeting.barrier.wait();
            Ok(Arc::new(all))
        })
    };
    let lens = lens.iter().enumerate();
    lens.map(|(chunk, &len)| (len > 0).then(|| exchange(chunk)))
        .collect()
}

/// Layers of an input, weight, bias and running statistics.
type Layers<'a> = dyn Fn(&[Tensor], [&Var; 2]) -> Result<Tensor> + Sync + 'a;

/// Output, gradients of `sum(output * up)`, running mean and running variance.
type Found = (Tensor, Vec<Tensor>, [Tensor; 2]);

/// Runs layers on a whole batch. `inputs` are the batch and parameters.
fn whole(layers: &Layers, inputs: &[Tensor], up: &Tensor) -> Result<Found> {
    let running = [
        Var::from_tensor(&inputs[1].zeros_like()?)?,
        Var::from_tensor(&inputs[1].ones_like()?)?,
    ];
    let f = |t: &[Tensor]| layers(t, [&running[0], &running[1]]);
    let (y, grads) = differentiate(f, inputs, Some(up))?;
    Ok((y, grads, running.each_ref().map(Var::as_detached_tensor)))
}

/// Runs layers on the chunks of a batch, and joins outputs and gradients.
fn in_chunks(
    layers: &Layers,
    lens: &[usize],
    inputs: &[Tensor],
    up: &Tensor,
) -> Result<Vec<Found>> {
    let mut start = 0;
    thread::scope(|scope| -> Result<Vec<Found>> {
        let mut threads = Vec::new();
        for (exchange, &len) in exchanges(lens).into_iter().zip(lens) {
            let Some(exchange) = exchange else { continue };
            let part = |t: &Tensor| t.narrow(0, start, len)?.contiguous();
            let own: Vec<Tensor> = std::iter::once(part(&inputs[0])?)
                .chain(inputs[1..].iter().cloned())
                .collect();
            let up = part(up)?;
            start += len;
            threads.push(
                scope.spawn(move || with_norm_exchange(exchange, || whole(layers, &own, &up))),
            );
        }
        threads.into_iter().map(|t| t.join().unwrap()).collect()
    })
}

/// Chunks as one batch: outputs and gradients of the input one after another, gradients of the parameters added.
fn joined(found: &[Found]) -> Result<Found> {
    let y: Vec<&Tensor> = found.iter().map(|(y, ..)| y).collect();
    let dx: Vec<&Tensor> = found.iter().map(|(_, grads, _)| &grads[0]).collect();
    let mut grads = vec![Tensor::cat(&dx, 0)?];
    for i in 1..found[0].1.len() {
        let mut sum = found[0].1[i].clone();
        for (_, grads, _) in &found[1..] {
            sum = (sum + &grads[i])?;
        }
        grads.push(sum);
    }
    Ok((Tensor::cat(&y, 0)?, grads, found[0].2.clone()))
}

fn norm(config: BatchNormConfig) -> impl Fn(&[Tensor], [&Var; 2]) -> Result<Tensor> + Sync {
    move |t: &[Tensor], [mean, var]: [&Var; 2]| {
        batch_norm_train(&t[0], &t[1], &t[2], mean, var, &config)
    }
}

fn assert_same(what: &str, found: &Found, expected: &Found, tolerance: f64) {
    assert_close(&format!("{what}: output"), &found.0, &expected.0, tolerance);
    for (i, (a, b)) in found.1.iter().zip(&expected.1).enumerate() {
        assert_close(&format!("{what}: gradient {i}"), a, b, tolerance);
    }
    for (i, (a, b)) in found.2.iter().zip(&expected.2).enumerate() {
        assert_close(&format!("{what}: running {i}"), a, b, tolerance);
    }
}

/// Chunks of unequal sizes, of one sample, and empty ones; the mean is large beside the deviation.
#[test]
fn chunks_have_the_values_of_the_whole_batch() {
    for lens in [
        &[8usize][..],
        &[4, 4],
        &[1, 3, 0, 2],
        &[0, 1, 1],
        &[3, 2, 3, 2, 1],
    ] {
        let samples: usize = lens.iter().sum();
        for layout in LAYOUTS {
            let config = BatchNormConfig {
                layout,
                eps: 1e-2,
                momentum: 0.3,
            };
            let x = (noise(&[samples, 5, 3, 2], 3, 64.) + 20.).unwrap();
            let inputs = [
                arrange(&x, layout),
                noise(&[5], 4, 64.),
                noise(&[5], 5, 64.),
            ];
            let up = noise(inputs[0].dims(), 6, 64.);
            let truth = |t: &[Tensor], [mean, var]: [&Var; 2]| {
                reference::batch_norm_train(&t[0], &t[1], &t[2], mean, var, &config)
            };
            let expected = whole(&truth, &inputs, &up).unwrap();
            for (dtype, tolerance) in [(DType::F32, 2e-4), (DType::F64, 1e-11)] {
                let inputs = inputs.each_ref().map(|t| t.to_dtype(dtype).unwrap());
                let up = up.to_dtype(dtype).unwrap();
                let found = in_chunks(&norm(config), lens, &inputs, &up).unwrap();
                let what = format!("{lens:?} {layout:?} {dtype:?}");
                assert_same(&what, &joined(&found).unwrap(), &expected, tolerance);
                // All chunks have the same running statistics, to the bit.
                for (_, _, running) in &found[1..] {
                    for (a, b) in running.iter().zip(&found[0].2) {
                        assert_eq!(bits(a), bits(b), "{what}");
                    }
                }
            }
        }
    }
}

#[test]
fn gradients_equal_finite_differences() {
    let lens = [2, 1];
    let inputs = [
        noise(&[3, 2, 2, 1], 21, 64.),
        noise(&[2], 22, 64.),
        noise(&[2], 23, 64.),
    ];
    let up = noise(inputs[0].dims(), 24, 64.);
    let layers = norm(BatchNormConfig::default());
    let run = |inputs: &[Tensor]| {
        let found = in_chunks(&layers, &lens, inputs, &up).unwrap();
        joined(&found).unwrap()
    };
    let loss = |inputs: &[Tensor]| {
        let y = run(inputs).0;
        (y * &up)
            .unwrap()
            .sum_all()
            .unwrap()
            .to_scalar::<f64>()
            .unwrap()
    };
    let grads = run(&inputs).1;
    for (i, input) in inputs.iter().enumerate() {
        for (element, (value, grad)) in values(input).iter().zip(values(&grads[i])).enumerate() {
            let at = |value: f64| {
                let mut moved = values(input);
                moved[element] = value;
                let mut arguments = inputs.to_vec();
                arguments[i] = Tensor::from_vec(moved, input.shape(), &Device::Cpu).unwrap();
                loss(&arguments)
            };
            let step = gradcheck::STEP;
            let numeric = (at(value + step) - at(value - step)) / (2. * step);
            let error = (grad - numeric).abs() / grad.abs().max(1.);
            assert!(
                error < 1e-7,
                "input {i}, element {element}: {grad}, {numeric}"
            );
        }
    }
}

/// Operators that are fused otherwise normalize by the whole batch too.
#[test]
fn fused_blocks_take_the_statistics_of_all_chunks() {
    let config = BatchNormConfig {
        layout: Layout::Nhwc,
        ..BatchNormConfig::default()
    };
    let conv = Conv2dConfig {
        layout: Layout::Nhwc,
        ..Conv2dConfig::default()
    };
    let float = |t: Tensor| t.to_dtype(DType::F32).unwrap();
    let x = float(noise(&[5, 6, 6, 4], 31, 64.));
    let parameters = [32, 33].map(|seed| float(noise(&[4], seed, 64.)));
    let filters = float(noise(&[4, 4, 3, 3], 34, 64.));
    let [weight, bias] = parameters;
    let inputs = [x, weight, bias, filters];
    fn of<'a>(t: &'a [Tensor], running: [&'a Var; 2], config: BatchNormConfig) -> Norm<'a> {
        Norm {
            weight: &t[1],
            bias: &t[2],
            running_mean: running[0],
            running_var: running[1],
            config,
        }
    }
    let plain =
        |t: &[Tensor], r: [&Var; 2]| batch_norm_train(&t[0], &t[1], &t[2], r[0], r[1], &config);
    let block = |t: &[Tensor], r: [&Var; 2]| {
        conv_bn_relu_train(&t[0], &t[3], None, of(t, r, config), &conv, false)
    };
    let block_in_parts = |t: &[Tensor], r: [&Var; 2]| {
        let y = conv2d(&t[0], &t[3], None, &conv)?;
        relu(&plain(&[y, t[1].clone(), t[2].clone()], r)?)
    };
    let end = |t: &[Tensor], r: [&Var; 2]| {
        // The filters take part, for a gradient.
        let y = conv2d(&t[0], &t[3], None, &conv)?;
        batch_norm_add_relu_train(&y, &y, of(t, r, config))
    };
    let end_in_parts = |t: &[Tensor], r: [&Var; 2]| {
        let y = conv2d(&t[0], &t[3], None, &conv)?;
        let normed = plain(&[y.clone(), t[1].clone(), t[2].clone()], r)?;
        relu(&add(&normed, &y)?)
    };
    let pairs: [(&str, &Layers, &Layers); 2] = [
        ("block", &block, &block_in_parts),
        ("end", &end, &end_in_parts),
    ];
    for (name, fused, parts) in pairs {
        let up = float(noise(&[5, 4, 4, 4], 35, 64.));
        let expected = whole(parts, &inputs, &up).unwrap();
        let found = in_chunks(fused, &[2, 3], &inputs, &up).unwrap();
        assert_same(name, &joined(&found).unwrap(), &expected, 2e-4);
    }
}

#[test]
fn a_single_value_in_all_chunks_is_refused() {
    let c = Tensor::ones(2, DType::F32, &Device::Cpu).unwrap();
    let x = |n: usize| Tensor::ones((n, 2, 1, 1), DType::F32, &Device::Cpu).unwrap();
    let layers = norm(BatchNormConfig::default());
    let run = |lens: &[usize]| {
        let samples = x(lens.iter().sum());
        in_chunks(
            &layers,
            lens,
            &[samples.clone(), c.clone(), c.clone()],
            &samples,
        )
    };
    // One in each of two chunks is enough.
    assert!(run(&[1, 1]).is_ok());
    let message = run(&[0, 1]).unwrap_err().to_string();
    assert!(
        message.contains("more than 1 value per channel"),
        "{message}"
    );
}

/// Result of an exchange.
type All = candle_core::Result<Arc<Vec<Vec<f64>>>>;

/// Error of a norm of `x` with this exchange.
fn error_of(x: &Tensor, exchange: Arc<NormExchange>) -> String {
    let c = Tensor::ones(2, x.dtype(), &Device::Cpu).unwrap();
    let (mean, var) = (
        Var::zeros(2, DType::F32, &Device::Cpu).unwrap(),
        Var::ones(2, DType::F32, &Device::Cpu).unwrap(),
    );
    let config = BatchNormConfig::default();
    let error = with_norm_exchange(exchange, || {
        batch_norm_train(x, &c, &c, &mean, &var, &config).unwrap_err()
    });
    assert_eq!(mean.to_vec1::<f32>().unwrap(), [0.; 2]);
    // Outside nothing is exchanged.
    assert!(batch_norm_train(x, &c, &c, &mean, &var, &config).is_ok());
    error.to_string()
}

#[test]
fn errors_of_the_exchange_end_the_norm() {
    let x = noise(&[3, 2, 2, 2], 1, 64.).to_dtype(DType::F32).unwrap();
    let gone = |_: &[f64]| -> All { Err(candle_core::Error::Msg("a chunk has ended".into())) };
    assert!(error_of(&x, Arc::new(gone)).contains("a chunk has ended"));

    let other_layer = |own: &[f64]| -> All {
        let mut other = own.to_vec();
        other[0] += 2.;
        Ok(Arc::new(vec![own.to_vec(), other]))
    };
    let message = error_of(&x, Arc::new(other_layer));
    assert!(
        message.contains("another chunk is at another layer"),
        "{message}"
    );

    let fewer_channels =
        |own: &[f64]| -> All { Ok(Arc::new(vec![own[..4].to_vec(), own.to_vec()])) };
    let message = error_of(&x, Arc::new(fewer_channels));
    assert!(
        message.contains("another chunk is at another layer"),
        "{message}"
    );

    let nothing = |_: &[f64]| -> All { Ok(Arc::new(vec![Vec::new(), Vec::new()])) };
    let message = error_of(&x, Arc::new(nothing));
    assert!(message.contains("no chunk has samples"), "{message}");

    let half = x.to_dtype(DType::BF16).unwrap();
    let unused = |_: &[f64]| -> All { panic!("nothing to exchange") };
    let message = error_of(&half, Arc::new(unused));
    assert!(message.contains("f32 or f64 on the CPU"), "{message}");
}
