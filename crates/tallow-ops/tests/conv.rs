//! The convolution against its reference, PyTorch and finite differences.

use candle_core::{DType, Device, Tensor, Var};
use proptest::prelude::*;
use tallow_ops::{Conv2dConfig, Error, Layout, Result, conv2d, gradcheck, reference};

/// One convolution, sizes in NCHW terms.
#[derive(Clone, Debug)]
struct Case {
    batch: usize,
    group_in: usize,
    group_out: usize,
    size: (usize, usize),
    kernel: (usize, usize),
    bias: bool,
    config: Conv2dConfig,
}

impl Case {
    fn x_shape(&self) -> [usize; 4] {
        let (c, (h, w)) = (self.group_in * self.config.groups, self.size);
        match self.config.layout {
            Layout::Nchw => [self.batch, c, h, w],
            Layout::Nhwc => [self.batch, h, w, c],
        }
    }

    fn w_shape(&self) -> [usize; 4] {
        [
            self.group_out * self.config.groups,
            self.group_in,
            self.kernel.0,
            self.kernel.1,
        ]
    }

    fn valid(&self) -> bool {
        let Conv2dConfig {
            padding, dilation, ..
        } = self.config;
        dilation.0 * (self.kernel.0 - 1) < self.size.0 + 2 * padding.0
            && dilation.1 * (self.kernel.1 - 1) < self.size.1 + 2 * padding.1
    }

    /// Input, weight and bias in `dtype`, the same numbers in both types.
    fn arguments(&self, dtype: DType) -> Vec<Tensor> {
        let mut arguments = vec![values(&self.x_shape(), 1), values(&self.w_shape(), 2)];
        if self.bias {
            arguments.push(values(&[self.w_shape()[0]], 3));
        }
        arguments
            .iter()
            .map(|t| t.to_dtype(DType::F32).unwrap().to_dtype(dtype).unwrap())
            .collect()
    }
}

/// Numbers in (-1, 1) that look random.
fn values(shape: &[usize], seed: u64) -> Tensor {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let next = |_| {
        state = state
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        (state >> 11) as f64 / (1u64 << 52) as f64 - 1.0
    };
    let values: Vec<f64> = (0..shape.iter().product()).map(next).collect();
    Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
}

type Convolution = fn(&Tensor, &Tensor, Option<&Tensor>, &Conv2dConfig) -> Result<Tensor>;

/// The output and the gradients of `sum(y * dy)` for a fixed `dy`. With `view` the arguments are views of other tensors.
fn run(f: Convolution, case: &Case, arguments: &[Tensor], view: bool) -> Vec<Tensor> {
    let variables: Vec<Var> = arguments
        .iter()
        .map(|t| Var::from_tensor(t).unwrap())
        .collect();
    let tensors: Vec<Tensor> = variables
        .iter()
        .map(|v| {
            if view {
                viewed(v)
            } else {
                v.as_tensor().clone()
            }
        })
        .collect();
    let y = f(&tensors[0], &tensors[1], tensors.get(2), &case.config).unwrap();
    let dy = values(y.dims(), 4)
        .to_dtype(DType::F32)
        .unwrap()
        .to_dtype(y.dtype())
        .unwrap();
    let gradients = (&y * dy).unwrap().sum_all().unwrap().backward().unwrap();
    let gradient = |v: &Var| gradients.get(v).unwrap().clone();
    std::iter::once(y)
        .chain(variables.iter().map(gradient))
        .collect()
}

/// The same values as a strided, offset view.
fn viewed(t: &Tensor) -> Tensor {
    let last = t.rank() - 1;
    let turned = t
        .transpose(0, last)
        .unwrap()
        .contiguous()
        .unwrap()
        .transpose(0, last)
        .unwrap();
    Tensor::cat(&[&turned.zeros_like().unwrap(), &turned], 0)
        .unwrap()
        .narrow(0, t.dims()[0], t.dims()[0])
        .unwrap()
}

/// The largest difference over the largest value (at least one).
fn difference(a: &Tensor, b: &Tensor) -> f64 {
    assert_eq!(a.dims(), b.dims());
    let flat = |t: &Tensor| {
        t.to_dtype(DType::F64)
            .unwrap()
            .flatten_all()
            .unwrap()
            .to_vec1::<f64>()
            .unwrap()
    };
    let (a, b) = (flat(a), flat(b));
    let scale = b.iter().fold(1f64, |m, v| m.max(v.abs()));
    assert!(a.iter().chain(&b).all(|v| v.is_finite()));
    a.iter()
        .zip(&b)
        .fold(0f64, |m, (a, b)| m.max((a - b).abs()))
        / scale
}

fn assert_agrees(case: &Case, view: bool) {
    let truth = run(reference::conv2d, case, &case.arguments(DType::F64), false);
    for (dtype, tolerance) in [(DType::F64, 1e-10), (DType::F32, 1e-5)] {
        let ours = run(conv2d, case, &case.arguments(dtype), view);
        let names = [
            "output",
            "input gradient",
            "weight gradient",
            "bias gradient",
        ];
        for (name, (ours, truth)) in names.iter().zip(ours.iter().zip(&truth)) {
            let error = difference(ours, truth);
            assert!(
                error <= tolerance,
                "{name} in {dtype:?} is off by {error:e}: {case:?}"
            );
        }
    }
}

fn pair(range: std::ops::RangeInclusive<usize>) -> impl Strategy<Value = (usize, usize)> {
    (range.clone(), range)
}

fn cases() -> impl Strategy<Value = (Case, bool)> {
    let channels = (
        1usize..6,
        prop_oneof![3 => Just(1), 2 => 2usize..5],
        1usize..6,
        1usize..10,
    );
    let depthwise = (1usize..4, 2usize..9, Just(1), 1usize..4);
    let channels = prop_oneof![3 => channels, 1 => depthwise];
    let stride = prop_oneof![2 => Just((1, 1)), 1 => pair(1..=3)];
    let dilation = prop_oneof![2 => Just((1, 1)), 1 => pair(1..=3)];
    let kernel = prop_oneof![1 => Just((1, 1)), 3 => pair(1..=6)];
    let settings = (stride, pair(0..=3), dilation, any::<bool>());
    let case = (
        channels,
        pair(1..=13),
        kernel,
        settings,
        any::<bool>(),
        any::<bool>(),
    );
    let case = case.prop_map(
        |((batch, groups, group_in, group_out), size, kernel, settings, bias, view)| {
            let (stride, padding, dilation, nhwc) = settings;
            let layout = if nhwc { Layout::Nhwc } else { Layout::Nchw };
            let config = Conv2dConfig {
                stride,
                padding,
                dilation,
                groups,
                layout,
            };
            (
                Case {
                    batch,
                    group_in,
                    group_out,
                    size,
                    kernel,
                    bias,
                    config,
                },
                view,
            )
        },
    );
    case.prop_filter("the kernel must fit", |(case, _)| case.valid())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn values_and_gradients_agree_with_the_reference((case, view) in cases()) {
        assert_agrees(&case, view);
    }
}

fn case(shape: [usize; 4], group_out: usize, kernel: (usize, usize), config: Conv2dConfig) -> Case {
    let [batch, channels, h, w] = shape;
    Case {
        batch,
        group_in: channels / config.groups,
        group_out,
        size: (h, w),
        kernel,
        bias: true,
        config,
    }
}

/// Convolutions large enough for several threads, several blocks of rows and several images to a block.
fn large() -> Vec<Case> {
    let mut cases = Vec::new();
    for layout in [Layout::Nchw, Layout::Nhwc] {
        let plain = Conv2dConfig {
            layout,
            ..Default::default()
        };
        let same = Conv2dConfig {
            padding: (1, 1),
            ..plain
        };
        cases.extend([
            case([9, 17, 14, 15], 33, (3, 3), same),
            case([9, 35, 14, 15], 33, (3, 3), same),
            case([1, 33, 40, 37], 20, (3, 3), same),
            case(
                [2, 3, 90, 110],
                40,
                (3, 3),
                Conv2dConfig {
                    stride: (2, 2),
                    ..same
                },
            ),
            case([70, 64, 2, 2], 72, (3, 3), same),
            case([5, 24, 20, 20], 70, (1, 1), plain),
            case([40, 24, 5, 6], 40, (1, 1), plain),
            case(
                [3, 24, 31, 30],
                12,
                (3, 3),
                Conv2dConfig {
                    groups: 2,
                    dilation: (2, 3),
                    padding: (2, 3),
                    ..plain
                },
            ),
            case(
                [6, 24, 31, 30],
                2,
                (3, 3),
                Conv2dConfig { groups: 24, ..same },
            ),
            case([17, 1, 28, 28], 6, (5, 5), plain),
            case([19, 6, 12, 12], 16, (5, 5), plain),
            case([5, 16, 24, 30], 21, (3, 3), same),
        ]);
    }
    cases
}

#[test]
fn large_convolutions_agree_for_any_number_of_threads() {
    for threads in [1, 2, 5] {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap();
        pool.install(|| large().iter().for_each(|case| assert_agrees(case, false)));
    }
}

#[test]
fn the_same_call_gives_the_same_bits() {
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(3)
        .build()
        .unwrap();
    for case in large() {
        let arguments = case.arguments(DType::F32);
        let bits = || -> Vec<u32> {
            let tensors = pool.install(|| run(conv2d, &case, &arguments, false));
            let flat = |t: &Tensor| t.flatten_all().unwrap().to_vec1::<f32>().unwrap();
            tensors.iter().flat_map(flat).map(f32::to_bits).collect()
        };
        let first = bits();
        for _ in 0..3 {
            assert!(first == bits(), "bits differ: {case:?}");
        }
    }
}

#[test]
fn gradients_agree_with_finite_differences() {
    let plain = Conv2dConfig::default();
    for layout in [Layout::Nchw, Layout::Nhwc] {
        for case in [
            case(
                [2, 2, 5, 6],
                3,
                (3, 2),
                Conv2dConfig {
                    layout,
                    padding: (1, 2),
                    ..plain
                },
            ),
            case(
                [2, 4, 5, 4],
                3,
                (2, 2),
                Conv2dConfig {
                    layout,
                    stride: (2, 1),
                    dilation: (1, 2),
                    groups: 2,
                    ..plain
                },
            ),
            case(
                [2, 3, 4, 5],
                2,
                (3, 3),
                Conv2dConfig {
                    layout,
                    stride: (1, 2),
                    padding: (1, 1),
                    groups: 3,
                    ..plain
                },
            ),
            case([2, 3, 3, 3], 2, (1, 1), Conv2dConfig { layout, ..plain }),
        ] {
            for f in [conv2d as Convolution, reference::conv2d] {
                let error = gradcheck::max_relative_error(
                    |t| f(&t[0], &t[1], t.get(2), &case.config),
                    &case.arguments(DType::F64),
                );
                let error = error.unwrap();
                assert!(error < 1e-8, "{error:e}: {case:?}");
            }
        }
    }
}

#[test]
fn pytorch_agrees_to_the_bit() {
    let cases: Vec<serde_json::Value> =
        serde_json::from_str(include_str!("fixtures/conv.json")).unwrap();
    assert_eq!(cases.len(), 15);
    let read = |case: &serde_json::Value, name: &str, shape: &str| -> Option<Tensor> {
        let list = |v: &serde_json::Value| {
            Some(
                v.as_array()?
                    .iter()
                    .map(|v| v.as_f64().unwrap())
                    .collect::<Vec<_>>(),
            )
        };
        let shape: Vec<usize> = list(&case[shape])?
            .into_iter()
            .map(|v| v as usize)
            .collect();
        let values = list(&case[name])?.into_iter().map(|v| v as f32).collect();
        Some(Tensor::from_vec(values, shape, &Device::Cpu).unwrap())
    };
    for case in &cases {
        let pair = |name: &str| {
            (
                case[name][0].as_u64().unwrap() as usize,
                case[name][1].as_u64().unwrap() as usize,
            )
        };
        let groups = case["groups"].as_u64().unwrap() as usize;
        let expect = |name, shape| read(case, name, shape).unwrap();
        for layout in [Layout::Nchw, Layout::Nhwc] {
            let to_layout = |t: Tensor| {
                if layout == Layout::Nhwc {
                    t.permute((0, 2, 3, 1)).unwrap()
                } else {
                    t
                }
            };
            let config = Conv2dConfig {
                stride: pair("stride"),
                padding: pair("padding"),
                dilation: pair("dilation"),
                groups,
                layout,
            };
            for (f, dtype) in [
                (conv2d as Convolution, DType::F32),
                (conv2d, DType::F64),
                (reference::conv2d, DType::F32),
            ] {
                let variable = |t: &Tensor| Var::from_tensor(&t.to_dtype(dtype).unwrap()).unwrap();
                let x = variable(&to_layout(expect("x", "x_shape")));
                let w = variable(&expect("w", "w_shape"));
                let b = read(case, "b", "b_shape").map(|b| variable(&b));
                let y = f(&x, &w, b.as_ref().map(|b| b.as_tensor()), &config).unwrap();
                let dy = to_layout(expect("dy", "y_shape")).to_dtype(dtype).unwrap();
                let gradients = (&y * dy).unwrap().sum_all().unwrap().backward().unwrap();
                let same = |what: &str, ours: &Tensor, theirs: Tensor| {
                    let flat = |t: &Tensor| {
                        t.to_dtype(DType::F64)
                            .unwrap()
                            .flatten_all()
                            .unwrap()
                            .to_vec1::<f64>()
                            .unwrap()
                    };
                    assert_eq!(ours.dims(), theirs.dims());
                    assert_eq!(
                        flat(ours),
                        flat(&theirs),
                        "{what} of {} in {layout:?}, {dtype:?}",
                        case["name"]
                    );
                };
                same("output", &y, to_layout(expect("y", "y_shape")));
                same(
                    "input gradient",
                    gradients.get(&x).unwrap(),
                    to_layout(expect("dx", "x_shape")),
                );
                same(
                    "weight gradient",
                    gradients.get(&w).unwrap(),
                    expect("dw", "w_shape"),
                );
                if let Some(b) = b {
                    same(
                        "bias gradient",
                        gradients.get(&b).unwrap(),
                        expect("db", "b_shape"),
                    );
                }
            }
        }
    }
}

#[test]
fn only_what_is_a_variable_gets_a_gradient() {
    let case = case([2, 3, 6, 6], 4, (3, 3), Conv2dConfig::default());
    let arguments = case.arguments(DType::F32);
    for tracked in 0..3 {
        let variable = Var::from_tensor(&arguments[tracked]).unwrap();
        let mut tensors = arguments.clone();
        tensors[tracked] = variable.as_tensor().clone();
        let y = conv2d(&tensors[0], &tensors[1], Some(&tensors[2]), &case.config).unwrap();
        let gradients = y.sum_all().unwrap().backward().unwrap();
        for (i, tensor) in tensors.iter().enumerate() {
            assert_eq!(gradients.get(tensor).is_some(), i == tracked);
        }
    }
}

#[test]
fn an_empty_batch_has_an_empty_output_and_zero_gradients() {
    for layout in [Layout::Nchw, Layout::Nhwc] {
        for groups in [1, 4] {
            let case = case(
                [0, 4, 6, 5],
                8,
                (3, 3),
                Conv2dConfig {
                    layout,
                    groups,
                    ..Default::default()
                },
            );
            let tensors = run(conv2d, &case, &case.arguments(DType::F32), false);
            assert_eq!(tensors[0].elem_count(), 0);
            assert_eq!(tensors[1].dims(), case.x_shape());
            for t in &tensors[2..] {
                assert!(
                    t.flatten_all()
                        .unwrap()
                        .to_vec1::<f32>()
                        .unwrap()
                        .iter()
                        .all(|&v| v == 0.0)
                );
            }
        }
    }
}

#[test]
fn other_types_run_the_reference() {
    let case = case([1, 2, 4, 4], 2, (3, 3), Conv2dConfig::default());
    let f16 = case.arguments(DType::F16);
    let ours = conv2d(&f16[0], &f16[1], Some(&f16[2]), &case.config).unwrap();
    assert_eq!(ours.dtype(), DType::F16);
    let f64 = case.arguments(DType::F64);
    assert!(
        difference(
            &ours,
            &conv2d(&f64[0], &f64[1], Some(&f64[2]), &case.config).unwrap()
        ) < 5e-3
    );
}

#[test]
fn bad_shapes_and_settings_are_typed_errors() {
    let t = |shape: &[usize]| Tensor::zeros(shape, DType::F32, &Device::Cpu).unwrap();
    let plain = Conv2dConfig::default();
    let shape =
        |x: &[usize], w: &[usize], b: Option<&[usize]>, config: Conv2dConfig, name: &str| {
            for f in [conv2d as Convolution, reference::conv2d] {
                match f(&t(x), &t(w), b.map(t).as_ref(), &config) {
                    Err(Error::Shape {
                        op: "conv2d",
                        argument,
                        ..
                    }) => assert_eq!(argument, name),
                    other => panic!("{x:?} {w:?} {config:?} gave {other:?}"),
                }
            }
        };
    let setting = |x: &[usize], w: &[usize], config: Conv2dConfig| {
        for f in [conv2d as Convolution, reference::conv2d] {
            assert!(
                matches!(
                    f(&t(x), &t(w), None, &config),
                    Err(Error::Config { op: "conv2d", .. })
                ),
                "{x:?} {w:?} {config:?}"
            );
        }
    };
    shape(&[3, 8, 8], &[4, 3, 3, 3], None, plain, "x");
    shape(&[1, 3, 8, 8], &[4, 3, 3], None, plain, "weight");
    shape(&[1, 4, 8, 8], &[4, 3, 3, 3], None, plain, "weight");
    shape(
        &[1, 8, 8, 4],
        &[4, 8, 3, 3],
        None,
        Conv2dConfig {
            layout: Layout::Nhwc,
            ..plain
        },
        "weight",
    );
    shape(
        &[1, 4, 8, 8],
        &[4, 4, 3, 3],
        None,
        Conv2dConfig { groups: 2, ..plain },
        "weight",
    );
    shape(&[1, 3, 8, 8], &[4, 3, 3, 3], Some(&[3]), plain, "bias");
    shape(&[1, 3, 8, 8], &[4, 3, 3, 3], Some(&[1, 4]), plain, "bias");
    shape(&[1, 3, 2, 8], &[4, 3, 3, 3], None, plain, "x");
    shape(&[1, 3, 8, 2], &[4, 3, 3, 3], None, plain, "x");
    shape(
        &[1, 3, 5, 5],
        &[4, 3, 3, 3],
        None,
        Conv2dConfig {
            dilation: (1, 3),
            ..plain
        },
        "x",
    );
    shape(
        &[1, 3, 0, 5],
        &[4, 3, 3, 3],
        None,
        Conv2dConfig {
            padding: (2, 2),
            ..plain
        },
        "x",
    );
    shape(&[1, 0, 5, 5], &[4, 0, 3, 3], None, plain, "x");
    shape(&[1, 3, 5, 5], &[4, 3, 0, 3], None, plain, "weight");
    shape(&[1, 3, 5, 5], &[0, 3, 3, 3], None, plain, "weight");
    setting(
        &[1, 3, 8, 8],
        &[4, 1, 3, 3],
        Conv2dConfig { groups: 2, ..plain },
    );
    setting(
        &[1, 4, 8, 8],
        &[3, 2, 3, 3],
        Conv2dConfig { groups: 2, ..plain },
    );
    setting(
        &[1, 3, 8, 8],
        &[4, 3, 3, 3],
        Conv2dConfig { groups: 0, ..plain },
    );
    setting(
        &[1, 3, 8, 8],
        &[4, 3, 3, 3],
        Conv2dConfig {
            stride: (0, 1),
            ..plain
        },
    );
    setting(
        &[1, 3, 8, 8],
        &[4, 3, 3, 3],
        Conv2dConfig {
            stride: (1, 0),
            ..plain
        },
    );
    setting(
        &[1, 3, 8, 8],
        &[4, 3, 3, 3],
        Conv2dConfig {
            dilation: (1, 0),
            ..plain
        },
    );
    setting(
        &[1, 3, 8, 8],
        &[4, 3, 3, 3],
        Conv2dConfig {
            padding: (usize::MAX / 2, 0),
            ..plain
        },
    );
    setting(
        &[1, 3, 8, 8],
        &[4, 3, 3, 3],
        Conv2dConfig {
            padding: (1 << 31, 1 << 31),
            ..plain
        },
    );
    setting(
        &[1, 3, 8, 8],
        &[4, 3, 3, 3],
        Conv2dConfig {
            dilation: (usize::MAX, 1),
            ..plain
        },
    );

    let mixed = conv2d(
        &t(&[1, 3, 8, 8]),
        &t(&[4, 3, 3, 3]).to_dtype(DType::F64).unwrap(),
        None,
        &plain,
    );
    assert!(
        matches!(
            mixed,
            Err(Error::Candle(
                candle_core::Error::DTypeMismatchBinaryOp { .. }
            ))
        ),
        "{mixed:?}"
    );
}
