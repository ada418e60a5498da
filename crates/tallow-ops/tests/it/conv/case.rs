//! One convolution on made-up numbers, and how it is compared.

use candle_core::{DType, Device, Tensor, Var};
use tallow_ops::{Conv2dConfig, Layout, Result, conv2d, reference};

/// One convolution, sizes in NCHW terms.
#[derive(Clone, Debug)]
pub struct Case {
    pub batch: usize,
    pub group_in: usize,
    pub group_out: usize,
    pub size: (usize, usize),
    pub kernel: (usize, usize),
    pub bias: bool,
    pub config: Conv2dConfig,
}

impl Case {
    pub fn x_shape(&self) -> [usize; 4] {
        let (c, (h, w)) = (self.group_in * self.config.groups, self.size);
        match self.config.layout {
            Layout::Nchw => [self.batch, c, h, w],
            Layout::Nhwc => [self.batch, h, w, c],
        }
    }

    pub fn w_shape(&self) -> [usize; 4] {
        [
            self.group_out * self.config.groups,
            self.group_in,
            self.kernel.0,
            self.kernel.1,
        ]
    }

    pub fn valid(&self) -> bool {
        let Conv2dConfig {
            padding, dilation, ..
        } = self.config;
        dilation.0 * (self.kernel.0 - 1) < self.size.0 + 2 * padding.0
            && dilation.1 * (self.kernel.1 - 1) < self.size.1 + 2 * padding.1
    }

    /// Tolerance of `f32`. Winograd's algorithm, which runs this kind of convolution, costs a digit.
    fn tolerance(&self) -> f64 {
        let Conv2dConfig {
            stride,
            dilation,
            groups,
            layout,
            ..
        } = self.config;
        let kind = (self.kernel, stride, dilation, groups, layout);
        match kind == ((3, 3), (1, 1), (1, 1), 1, Layout::Nhwc) {
            true => 1e-4,
            false => 1e-5,
        }
    }

    /// Input, weight and bias in `dtype`, the same numbers in both types.
    pub fn arguments(&self, dtype: DType) -> Vec<Tensor> {
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
pub fn values(shape: &[usize], seed: u64) -> Tensor {
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

pub type Convolution = fn(&Tensor, &Tensor, Option<&Tensor>, &Conv2dConfig) -> Result<Tensor>;

/// The output and the gradients of `sum(y * dy)` for a fixed `dy`. With `view` the arguments are views of
/// other tensors.
pub fn run(f: Convolution, case: &Case, arguments: &[Tensor], view: bool) -> Vec<Tensor> {
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
    let terms = if view {
        // The output gradient arrives turned, too.
        let turn = |t: &Tensor| t.transpose(0, 3).unwrap();
        turn(&y) * turn(&dy)
    } else {
        &y * &dy
    };
    let gradients = terms.unwrap().sum_all().unwrap().backward().unwrap();
    let gradient = |v: &Var| gradients.get(v).unwrap().clone();
    std::iter::once(y)
        .chain(variables.iter().map(gradient))
        .collect()
}

/// The same values as a strided, offset view.
pub fn viewed(t: &Tensor) -> Tensor {
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
pub fn difference(a: &Tensor, b: &Tensor) -> f64 {
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

/// Values and gradients in both types are those of the reference in `f64`.
pub fn assert_agrees(case: &Case, view: bool) {
    let truth = run(reference::conv2d, case, &case.arguments(DType::F64), false);
    for (dtype, tolerance) in [(DType::F64, 1e-10), (DType::F32, case.tolerance())] {
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

/// With a bias; `shape` is `(N, C, H, W)` whatever the layout.
pub fn case(
    shape: [usize; 4],
    group_out: usize,
    kernel: (usize, usize),
    config: Conv2dConfig,
) -> Case {
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
