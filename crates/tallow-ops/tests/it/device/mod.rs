//! Every operator on an accelerator gives what the kernels give on the CPU.
//!
//! Runs in a build for CUDA or Metal where there is a device: `cargo test --release -p tallow-ops --test it device --features cuda`. Elsewhere
//! each test prints that it was skipped.

mod precision;

use std::io::Write;
use std::sync::OnceLock;

use candle_core::{DType, Device, Tensor, Var};
use tallow_ops::{
    BatchNormConfig, Conv2dConfig, CrossEntropyConfig, Generator, Init, Layout, Norm, ParamStore,
    Pool2dConfig, Result, Tape, adaptive_avg_pool2d, add, add_relu, avg_pool2d,
    batch_norm_add_relu_train, batch_norm_eval, batch_norm_train, conv_bn_add_relu_eval,
    conv_bn_eval, conv_bn_relu_eval, conv_bn_relu_train, conv_relu, conv2d, cross_entropy,
    cross_entropy_soft, cuda_device, dropout, flatten, has_gpu_kernels, linear, linear_relu,
    max_pool2d, no_grad, pad_with_zeros, relu, to_layout, zero_pad_shortcut,
};

/// The largest difference allowed, as a share of the largest value.
const TOLERANCE: f64 = 1e-4;

fn accelerator() -> Option<Device> {
    // One for all tests, since a device finds its plans anew.
    static DEVICE: OnceLock<Option<Device>> = OnceLock::new();
    let open = || cuda_device(0).ok().or_else(|| Device::new_metal(0).ok());
    let found = DEVICE.get_or_init(open).clone();
    if found.is_none() {
        // Straight to standard error: what `eprintln` writes is swallowed when a test passes.
        let word = b"SKIPPED: no CUDA or Metal device, or candle was built without\n";
        std::io::stderr().write_all(word).unwrap();
    }
    found
}

/// Numbers in (-1, 1) that look random and are `f32`s.
fn values(shape: &[usize], seed: u64) -> Tensor {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let next = |_| {
        state = state
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        (state >> 40) as f32 / (1u32 << 23) as f32 - 1.0
    };
    let values: Vec<f32> = (0..shape.iter().product()).map(next).collect();
    Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
}

fn arguments(shapes: &[&[usize]]) -> Vec<Tensor> {
    let seeded = |(seed, shape): (usize, &&[usize])| values(shape, seed as u64 + 1);
    shapes.iter().enumerate().map(seeded).collect()
}

fn flat(t: &Tensor) -> Vec<f64> {
    t.to_device(&Device::Cpu)
        .unwrap()
        .to_dtype(DType::F64)
        .unwrap()
        .flatten_all()
        .unwrap()
        .to_vec1()
        .unwrap()
}

fn error(found: &Tensor, expected: &Tensor) -> f64 {
    assert_eq!(found.dims(), expected.dims());
    let (found, expected) = (flat(found), flat(expected));
    let scale = expected.iter().fold(1e-3f64, |most, v| most.max(v.abs()));
    let pairs = found.iter().zip(&expected);
    // A NaN is no small difference.
    pairs.fold(0., |worst: f64, (a, b)| {
        let error = (a - b).abs() / scale;
        if error.is_nan() {
            f64::INFINITY
        } else {
            worst.max(error)
        }
    })
}

type Operator<'a> = &'a dyn Fn(&[Tensor]) -> Result<Tensor>;

/// The output, then the gradients of `sum(y * dy)` with respect to the arguments.
fn outcome(f: Operator, arguments: &[Tensor], device: &Device, dtype: DType) -> Vec<Tensor> {
    let there = |t: &Tensor| t.to_dtype(dtype).unwrap().to_device(device).unwrap();
    let variables: Vec<Var> = arguments
        .iter()
        .map(|t| Var::from_tensor(&there(t)).unwrap())
        .collect();
    let tensors: Vec<Tensor> = variables.iter().map(|v| v.as_tensor().clone()).collect();
    let y = f(&tensors).unwrap();
    let dy = there(&values(y.dims(), 99));
    let loss = (&y * dy).unwrap().sum_all().unwrap();
    let gradients = loss.backward().unwrap();
    std::iter::once(y)
        .chain(variables.iter().map(|v| gradients.get(v).unwrap().clone()))
        .collect()
}

/// Holds an operator on the device, in `f32`, against the CPU's in `f64`; and that it builds no graph inside `no_grad`.
fn assert_same(name: &str, device: &Device, arguments: &[Tensor], f: Operator) {
    let found = outcome(f, arguments, device, DType::F32);
    let expected = outcome(f, arguments, &Device::Cpu, DType::F64);
    for (i, (found, expected)) in found.iter().zip(&expected).enumerate() {
        let error = error(found, expected);
        println!("{name} {i}: {error:.1e}");
        assert!(error < TOLERANCE, "{name}, result {i}: {error}");
    }
    let variables: Vec<Tensor> = arguments
        .iter()
        .map(|t| Var::from_tensor(&t.to_device(device).unwrap()).unwrap())
        .map(|v| v.as_tensor().clone())
        .collect();
    assert!(!no_grad(|| f(&variables)).unwrap().track_op(), "{name}");
}

#[test]
fn convolutions() {
    let Some(device) = accelerator() else { return };
    let plain = Conv2dConfig::default();
    let cases = [
        (
            "3x3",
            [3, 4, 9, 8],
            [6, 4, 3, 3],
            Conv2dConfig {
                padding: (1, 1),
                ..plain
            },
        ),
        ("5x5", [2, 1, 28, 28], [6, 1, 5, 5], plain),
        ("1x1", [2, 16, 7, 7], [8, 16, 1, 1], plain),
        ("one channel, one filter", [2, 1, 5, 5], [1, 1, 1, 1], plain),
        ("whole image", [2, 3, 4, 4], [5, 3, 4, 4], plain),
        ("one image", [1, 3, 6, 6], [5, 3, 3, 3], plain),
        // Rests that differ: candle's own gradient fails here.
        (
            "strided",
            [2, 3, 7, 8],
            [4, 3, 3, 3],
            Conv2dConfig {
                stride: (2, 2),
                padding: (1, 1),
                ..plain
            },
        ),
        (
            "uneven",
            [2, 3, 11, 9],
            [4, 3, 3, 2],
            Conv2dConfig {
                stride: (2, 1),
                padding: (0, 1),
                dilation: (1, 2),
                ..plain
            },
        ),
        (
            "grouped",
            [2, 8, 6, 6],
            [12, 2, 3, 3],
            Conv2dConfig {
                groups: 4,
                padding: (1, 1),
                ..plain
            },
        ),
        (
            "depthwise",
            [2, 6, 6, 6],
            [6, 1, 3, 3],
            Conv2dConfig {
                groups: 6,
                padding: (1, 1),
                ..plain
            },
        ),
        (
            "channels last",
            [2, 6, 7, 5],
            [4, 5, 3, 3],
            Conv2dConfig {
                padding: (1, 1),
                layout: Layout::Nhwc,
                ..plain
            },
        ),
    ];
    for (name, x, weight, config) in cases {
        let shapes: [&[usize]; 3] = [&x, &weight, &weight[..1]];
        let with_bias = |t: &[Tensor]| conv2d(&t[0], &t[1], Some(&t[2]), &config);
        assert_same(name, &device, &arguments(&shapes), &with_bias);
        let without = |t: &[Tensor]| conv2d(&t[0], &t[1], None, &config);
        assert_same(name, &device, &arguments(&shapes[..2]), &without);
    }
    let padded = Conv2dConfig {
        padding: (1, 1),
        ..plain
    };
    for pool in [false, true] {
        let f = |t: &[Tensor]| conv_relu(&t[0], &t[1], Some(&t[2]), &padded, pool);
        let shapes: [&[usize]; 3] = [&[2, 3, 8, 8], &[4, 3, 3, 3], &[4]];
        assert_same("conv_relu", &device, &arguments(&shapes), &f);
    }
}

#[test]
fn linear_and_elementwise() {
    let Some(device) = accelerator() else { return };
    let shapes: [&[usize]; 3] = [&[5, 7], &[3, 7], &[3]];
    let f = |t: &[Tensor]| linear(&t[0], &t[1], Some(&t[2]));
    assert_same("linear", &device, &arguments(&shapes), &f);
    let f = |t: &[Tensor]| linear(&t[0], &t[1], None);
    assert_same("linear", &device, &arguments(&shapes[..2]), &f);
    // A block takes all rows of the first one, and not those of the second.
    for rows in [64, 1030] {
        let shapes: [&[usize]; 3] = [&[rows, 20], &[36, 20], &[36]];
        let f = |t: &[Tensor]| linear_relu(&t[0], &t[1], Some(&t[2]));
        assert_same("linear_relu", &device, &arguments(&shapes), &f);
        let f = |t: &[Tensor]| linear_relu(&t[0], &t[1], None);
        assert_same("linear_relu", &device, &arguments(&shapes[..2]), &f);
        let f = |t: &[Tensor]| linear(&t[0], &t[1], Some(&t[2]));
        assert_same("linear", &device, &arguments(&shapes), &f);
    }

    let maps: [&[usize]; 2] = [&[2, 3, 4, 5], &[2, 3, 4, 5]];
    let one = arguments(&maps[..1]);
    assert_same("relu", &device, &one, &|t| relu(&t[0]));
    assert_same("relu of a view", &device, &one, &|t| {
        relu(&t[0].transpose(1, 3)?)
    });
    assert_same("dropout", &device, &one, &|t| {
        dropout(&t[0], 0.4, &Generator::new(5))
    });
    assert_same("flatten", &device, &one, &|t| flatten(&t[0], Layout::Nhwc));
    assert_same("to_layout", &device, &one, &|t| {
        to_layout(&t[0], Layout::Nchw, Layout::Nhwc)
    });
    assert_same("pad", &device, &one, &|t| pad_with_zeros(&t[0], 2, 1, 2));
    for layout in [Layout::Nchw, Layout::Nhwc] {
        assert_same("zero_pad_shortcut", &device, &one, &|t| {
            zero_pad_shortcut(&t[0], 2, 12, layout)
        });
    }
    assert_same("add", &device, &arguments(&maps), &|t| add(&t[0], &t[1]));
    assert_same("add_relu", &device, &arguments(&maps), &|t| {
        add_relu(&t[0], &t[1])
    });
}

#[test]
fn pooling() {
    let Some(device) = accelerator() else { return };
    let halves = Pool2dConfig::new(2);
    let overlapping = Pool2dConfig {
        stride: (2, 2),
        padding: (1, 1),
        ..Pool2dConfig::new(3)
    };
    let hanging = Pool2dConfig {
        ceil_mode: true,
        ..Pool2dConfig::new(3)
    };
    for layout in [Layout::Nchw, Layout::Nhwc] {
        for config in [halves, overlapping, hanging] {
            let config = Pool2dConfig { layout, ..config };
            let x = arguments(&[&[2, 5, 7, 8]]);
            assert_same("max_pool2d", &device, &x, &|t| max_pool2d(&t[0], &config));
            for padding in [false, true] {
                assert_same("avg_pool2d", &device, &x, &|t| {
                    avg_pool2d(&t[0], &config, padding)
                });
            }
        }
        for output in [(1, 1), (3, 2), (7, 7)] {
            let x = arguments(&[&[2, 5, 7, 8]]);
            assert_same("adaptive_avg_pool2d", &device, &x, &|t| {
                adaptive_avg_pool2d(&t[0], output, layout)
            });
        }
    }
}

/// Of two equal maxima the first takes the gradient, and a NaN wins, as in PyTorch.
#[test]
fn maxima_that_are_equal_and_nan() {
    let Some(device) = accelerator() else { return };
    let x = [1f32, 3., 3., 0., 2., f32::NAN, 5., 5.];
    let x = Tensor::new(&x, &device).unwrap().reshape((1, 1, 2, 4));
    let x = Var::from_tensor(&x.unwrap()).unwrap();
    let y = max_pool2d(&x, &Pool2dConfig::new(2)).unwrap();
    let found = flat(&y);
    assert!(found[0].is_nan() && found[1] == 5., "{found:?}");
    let gradients = y.sum_all().unwrap().backward().unwrap();
    let expected = [0., 0., 0., 0., 0., 1., 1., 0.];
    assert_eq!(flat(gradients.get(&x).unwrap()), expected);
}

#[test]
fn batch_norm() {
    let Some(device) = accelerator() else { return };
    for layout in [Layout::Nchw, Layout::Nhwc] {
        let config = BatchNormConfig {
            layout,
            ..Default::default()
        };
        let c = if layout == Layout::Nchw { 5 } else { 6 };
        let shapes: [&[usize]; 3] = [&[4, 5, 3, 6], &[c], &[c]];
        let all = arguments(&shapes);
        // What is normalised does not depend on the running statistics in training.
        let running = |t: &Tensor| {
            let mean = Var::from_tensor(&t.affine(0.5, 0.1)?.detach())?;
            let var = Var::from_tensor(&t.affine(0.4, 1.)?.detach())?;
            Ok::<_, candle_core::Error>((mean, var))
        };
        let statistics = values(&[c], 40);
        let on = |t: &Tensor| statistics.to_dtype(t.dtype())?.to_device(t.device());
        assert_same("batch_norm_train", &device, &all, &|t| {
            let (mean, var) = running(&on(&t[0])?)?;
            batch_norm_train(&t[0], &t[1], &t[2], &mean, &var, &config)
        });
        assert_same("batch_norm_eval", &device, &all, &|t| {
            let (mean, var) = running(&on(&t[0])?)?;
            batch_norm_eval(&t[0], &t[1], &t[2], &mean, &var, &config)
        });
        let moved = |device: &Device, dtype: DType| {
            let there = |t: &Tensor| t.to_dtype(dtype).unwrap().to_device(device).unwrap();
            let (mean, var) = running(&there(&statistics)).unwrap();
            let [x, weight, bias] = [0, 1, 2].map(|i| there(&all[i]));
            batch_norm_train(&x, &weight, &bias, &mean, &var, &config).unwrap();
            [mean, var]
        };
        let pairs = moved(&device, DType::F32).into_iter();
        for (found, expected) in pairs.zip(moved(&Device::Cpu, DType::F64)) {
            assert!(error(&found, &expected) < TOLERANCE);
        }
    }
}

#[test]
fn blocks() {
    let Some(device) = accelerator() else { return };
    for layout in [Layout::Nchw, Layout::Nhwc] {
        let conv = Conv2dConfig {
            padding: (1, 1),
            layout,
            ..Default::default()
        };
        let config = BatchNormConfig {
            layout,
            ..Default::default()
        };
        let maps: &[usize] = match layout {
            Layout::Nchw => &[3, 4, 6, 8],
            Layout::Nhwc => &[3, 6, 8, 4],
        };
        // Input, filters, weight and bias of the norm, shortcut.
        let shapes: [&[usize]; 5] = [maps, &[4, 4, 3, 3], &[4], &[4], maps];
        let all = arguments(&shapes);
        let statistics = |like: &Tensor| -> Result<[Var; 2]> {
            let of = |seed, add: f64| -> Result<Var> {
                let t = values(&[4], seed).affine(0.5, add)?;
                let t = t.to_dtype(like.dtype())?.to_device(like.device())?;
                Ok(Var::from_tensor(&t)?)
            };
            Ok([of(41, 0.)?, of(42, 1.)?])
        };
        let with_norm = |t: &[Tensor], f: &dyn Fn(Norm) -> Result<Tensor>| {
            let [running_mean, running_var] = &statistics(&t[0])?;
            f(Norm {
                weight: &t[2],
                bias: &t[3],
                running_mean,
                running_var,
                config,
            })
        };
        for pool in [false, true] {
            assert_same("conv_bn_relu_train", &device, &all[..4], &|t| {
                with_norm(t, &|norm| {
                    conv_bn_relu_train(&t[0], &t[1], None, norm, &conv, pool)
                })
            });
            assert_same("conv_bn_relu_eval", &device, &all[..4], &|t| {
                with_norm(t, &|norm| {
                    conv_bn_relu_eval(&t[0], &t[1], None, norm, &conv, pool)
                })
            });
        }
        // The convolution's bias is left out of it, and comes back in the norm.
        let biased: [&[usize]; 5] = [maps, &[4, 4, 3, 3], &[4], &[4], &[4]];
        let biased = arguments(&biased);
        assert_same("conv_bn_relu_eval with a bias", &device, &biased, &|t| {
            with_norm(t, &|norm| {
                conv_bn_relu_eval(&t[0], &t[1], Some(&t[4]), norm, &conv, true)
            })
        });
        let zero = |t: &[Tensor]| {
            with_norm(t, &|norm| {
                conv_bn_relu_train(&t[0], &t[1], Some(&t[4]), norm, &conv, false)
            })
        };
        let found = outcome(&zero, &biased, &device, DType::F32);
        let expected = outcome(&zero, &biased, &Device::Cpu, DType::F64);
        for (found, expected) in found.iter().zip(&expected).take(5) {
            assert!(error(found, expected) < TOLERANCE, "{layout}");
        }
        // The norm takes the bias away again: its gradient is nothing.
        assert!(flat(&found[5]).iter().all(|g| g.abs() < 1e-5), "{layout}");
        assert_same("conv_bn_eval", &device, &all[..4], &|t| {
            with_norm(t, &|norm| conv_bn_eval(&t[0], &t[1], None, norm, &conv))
        });
        assert_same("conv_bn_add_relu_eval", &device, &all, &|t| {
            with_norm(t, &|norm| {
                conv_bn_add_relu_eval(&t[0], &t[1], None, norm, &conv, &t[4])
            })
        });
        let residual = [&all[0], &all[4], &all[2], &all[3]].map(Tensor::clone);
        assert_same("batch_norm_add_relu_train", &device, &residual, &|t| {
            with_norm(t, &|norm| batch_norm_add_relu_train(&t[0], &t[1], norm))
        });
    }
}

#[test]
fn losses() {
    let Some(device) = accelerator() else { return };
    let labels = Tensor::new(&[2u32, 0, 9, 4], &Device::Cpu).unwrap();
    let logits = [values(&[4, 10], 1).affine(8., 0.).unwrap()];
    for label_smoothing in [0., 0.1] {
        let config = CrossEntropyConfig { label_smoothing };
        assert_same("cross_entropy", &device, &logits, &|t| {
            cross_entropy(&t[0], &labels.to_device(t[0].device())?, &config)
        });
    }
    let soft = [logits[0].clone(), values(&[4, 10], 2)];
    assert_same("cross_entropy_soft", &device, &soft, &|t| {
        cross_entropy_soft(&t[0], &t[1])
    });
    // A label that is out of range does not end the program.
    let logits = logits[0].to_device(&device).unwrap();
    let labels = Tensor::new(&[2u32, 0, 10, 4], &device).unwrap();
    let loss = cross_entropy(&logits, &labels, &Default::default()).unwrap();
    assert!(flat(&loss)[0].is_nan());
}

/// The mask is that of the CPU, and the generator stands where it stands there.
#[test]
fn masks_of_dropout() {
    let Some(device) = accelerator() else { return };
    let x = values(&[37, 41], 3);
    let masked = |device: &Device| {
        let generator = Generator::new(12);
        let there = x.to_device(device).unwrap();
        let first = dropout(&there, 0.3, &generator).unwrap();
        let second = dropout(&there, 0.7, &generator).unwrap();
        (flat(&first), flat(&second), generator.state())
    };
    assert_eq!(masked(&device), masked(&Device::Cpu));
}

/// Kernels work on what a build with them and cuDNN has; without, the operators are composed, and the other tests hold them as well.
#[test]
fn kernels_are_there_for_f32_alone() {
    let Some(device) = accelerator() else { return };
    let found = has_gpu_kernels(&device, DType::F32);
    let word = format!("the operators have kernels on this device: {found}\n");
    std::io::stderr().write_all(word.as_bytes()).unwrap();
    assert!(!has_gpu_kernels(&device, DType::F64));
    assert!(!has_gpu_kernels(&Device::Cpu, DType::F32));
}

/// A step of training twice: the tape gives candle's gradients, and the same bits every time.
#[test]
fn gradients_are_the_same_on_a_tape_and_every_time() {
    let Some(device) = accelerator() else { return };
    let shapes: [&[usize]; 4] = [&[8, 3, 12, 12], &[6, 3, 3, 3], &[10, 216], &[10]];
    let variables: Vec<Var> = arguments(&shapes)
        .iter()
        .map(|t| Var::from_tensor(&t.to_device(&device).unwrap()).unwrap())
        .collect();
    let labels = Tensor::arange(0u32, 8, &device).unwrap();
    let padded = Conv2dConfig {
        padding: (1, 1),
        ..Default::default()
    };
    let gradients = |taped: bool| -> Result<Vec<Vec<f64>>> {
        let tape = taped.then(Tape::record);
        let y = conv_relu(&variables[0], &variables[1], None, &padded, true)?;
        let y = flatten(&y, Layout::Nchw)?;
        let y = linear(&y, &variables[2], Some(&variables[3]))?;
        let loss = cross_entropy(&y, &labels, &Default::default())?;
        let store = match tape {
            Some(tape) => tape.backward(&loss)?,
            None => loss.backward()?,
        };
        Ok(variables
            .iter()
            .map(|v| flat(store.get(v).unwrap()))
            .collect())
    };
    let first = gradients(true).unwrap();
    assert!(first.iter().flatten().any(|v| *v != 0.));
    assert_eq!(first, gradients(true).unwrap());
    assert_eq!(first, gradients(false).unwrap());
}

/// A model begins with the same bits everywhere, and its file can be read everywhere.
#[test]
fn parameters_start_and_are_saved_as_on_the_cpu() {
    let Some(device) = accelerator() else { return };
    let dir = tempfile::tempdir().unwrap();
    let saved = |device: &Device, seed: u64| {
        let store = ParamStore::new(DType::F32, device, seed);
        let init = Init::KaimingUniform { fan_in: 27, a: 1. };
        store.root().param("weight", (4, 3, 3, 3), init).unwrap();
        let normal = Init::Normal { mean: 0., std: 1. };
        store.root().buffer("other", 7, normal).unwrap();
        let path = dir.path().join(format!("{seed}.safetensors"));
        store.save(&path).unwrap();
        (store, std::fs::read(path).unwrap())
    };
    let (store, there) = saved(&device, 3);
    assert_eq!(there, saved(&Device::Cpu, 3).1);
    saved(&Device::Cpu, 4);
    let path = dir.path().join("4.safetensors");
    assert!(store.load(&path, true).unwrap().is_clean());
    let (other, _) = saved(&Device::Cpu, 4);
    for ((_, a), (_, b)) in store
        .state_dict()
        .unwrap()
        .iter()
        .zip(&other.state_dict().unwrap())
    {
        assert_eq!(flat(a), flat(b));
    }
}
