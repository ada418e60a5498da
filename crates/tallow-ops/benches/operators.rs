//! The operators at the sizes that the models have them in: `cargo bench -p tallow-ops`.
//!
//! Cases ending in `_backward` time the gradients of input and parameters without the forward pass before them, by candle's `backward`
//! and so with the zeros that it adds every gradient to. `cargo xtask bench` compares with PyTorch; this is for seeing what a change to one kernel does.

use candle_core::{DType, Device, Tensor, Var};
use divan::{Bencher, black_box};
use tallow_ops::{
    BatchNormConfig, Conv2dConfig, CrossEntropyConfig, Generator, Layout, Norm, Pool2dConfig,
    Result, batch_norm_train, conv_bn_relu_train, conv_relu, conv2d, cross_entropy, layer_norm,
    linear, max_pool2d,
};

/// The runner's: with the system's, large results would mostly be page faults.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    divan::main();
}

fn normal(std: f64, shape: &[usize]) -> Var {
    let values = Generator::new(0).normal(0.0, std, shape, DType::F32, &Device::Cpu);
    Var::from_tensor(&values.unwrap()).unwrap()
}

fn labels(count: usize) -> Tensor {
    let labels = (0..count as u32).map(|i| i % 10).collect();
    Tensor::from_vec(labels, count, &Device::Cpu).unwrap()
}

fn forward(bencher: Bencher, f: impl Fn() -> Result<Tensor> + Sync) {
    bencher.bench(|| black_box(f().unwrap()));
}

fn backward(bencher: Bencher, f: impl Fn() -> Result<Tensor> + Sync) {
    bencher
        .with_inputs(|| f().unwrap().sum_all().unwrap())
        .bench_refs(|loss| black_box(loss.backward().unwrap()));
}

/// A convolution of a batch, padded so that stride 1 keeps the size.
#[derive(Clone, Copy)]
struct Conv {
    name: &'static str,
    batch: usize,
    size: usize,
    channels: (usize, usize),
    kernel: usize,
    stride: usize,
    groups: usize,
    layout: Layout,
}

impl std::fmt::Display for Conv {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

impl Conv {
    fn x(&self) -> Var {
        let (n, c, s) = (self.batch, self.channels.0, self.size);
        normal(
            1.0,
            &match self.layout {
                Layout::Nchw => [n, c, s, s],
                Layout::Nhwc => [n, s, s, c],
            },
        )
    }

    fn w(&self) -> Var {
        let (c, o) = self.channels;
        normal(0.05, &[o, c / self.groups, self.kernel, self.kernel])
    }

    fn config(&self) -> Conv2dConfig {
        Conv2dConfig {
            stride: (self.stride, self.stride),
            padding: (self.kernel / 2, self.kernel / 2),
            groups: self.groups,
            layout: self.layout,
            ..Default::default()
        }
    }
}

const fn deep(
    name: &'static str,
    size: usize,
    channels: (usize, usize),
    kernel: usize,
    stride: usize,
) -> Conv {
    Conv {
        name,
        batch: 32,
        size,
        channels,
        kernel,
        stride,
        groups: 1,
        layout: Layout::Nhwc,
    }
}

/// As in `cargo xtask bench`.
const fn depthwise(
    name: &'static str,
    size: usize,
    channels: usize,
    kernel: usize,
    stride: usize,
) -> Conv {
    Conv {
        batch: 128,
        groups: channels,
        ..deep(name, size, (channels, channels), kernel, stride)
    }
}

const fn small(name: &'static str, size: usize, channels: (usize, usize)) -> Conv {
    Conv {
        name,
        batch: 64,
        size,
        channels,
        kernel: 5,
        stride: 1,
        groups: 1,
        layout: Layout::Nchw,
    }
}

const CONVOLUTIONS: [Conv; 8] = [
    deep("3x3_32x32_64_64", 32, (64, 64), 3, 1),
    deep("3x3_8x8_256_256", 8, (256, 256), 3, 1),
    deep("3x3_2x2_512_512", 2, (512, 512), 3, 1),
    deep("3x3_first_layer", 32, (3, 64), 3, 1),
    deep("3x3_stride_2", 32, (64, 128), 3, 2),
    deep("1x1_16x16_128_256", 16, (128, 256), 1, 1),
    small("5x5_28x28_1_6", 28, (1, 6)),
    small("5x5_14x14_6_16", 14, (6, 16)),
];

const DEPTHWISE: [Conv; 5] = [
    depthwise("3x3_16x16_128", 16, 128, 3, 1),
    depthwise("3x3_32x32_96_stride_2", 32, 96, 3, 2),
    depthwise("5x5_14x14_240", 14, 240, 5, 1),
    depthwise("7x7_32x32_96", 32, 96, 7, 1),
    depthwise("7x7_7x7_768", 7, 768, 7, 1),
];

const SMALL: [Conv; 3] = [
    small("5x5_28x28_1_6", 28, (1, 6)),
    small("5x5_14x14_6_16", 14, (6, 16)),
    small("5x5_14x14_16_32", 14, (16, 32)),
];

const BLOCKS: [Conv; 2] = [
    deep("3x3_32x32_64_64", 32, (64, 64), 3, 1),
    deep("3x3_8x8_256_256", 8, (256, 256), 3, 1),
];

#[divan::bench(args = CONVOLUTIONS)]
fn conv2d_forward(bencher: Bencher, conv: Conv) {
    let (x, w, config) = (conv.x(), conv.w(), conv.config());
    forward(bencher, || conv2d(&x, &w, None, &config));
}

#[divan::bench(args = CONVOLUTIONS)]
fn conv2d_backward(bencher: Bencher, conv: Conv) {
    let (x, w, config) = (conv.x(), conv.w(), conv.config());
    backward(bencher, || conv2d(&x, &w, None, &config));
}

#[divan::bench(args = DEPTHWISE)]
fn depthwise_forward(bencher: Bencher, conv: Conv) {
    let (x, w, config) = (conv.x(), conv.w(), conv.config());
    forward(bencher, || conv2d(&x, &w, None, &config));
}

#[divan::bench(args = DEPTHWISE)]
fn depthwise_backward(bencher: Bencher, conv: Conv) {
    let (x, w, config) = (conv.x(), conv.w(), conv.config());
    backward(bencher, || conv2d(&x, &w, None, &config));
}

#[divan::bench(args = SMALL)]
fn conv_relu_pool_forward(bencher: Bencher, conv: Conv) {
    let (x, w, config) = (conv.x(), conv.w(), conv.config());
    forward(bencher, || conv_relu(&x, &w, None, &config, true));
}

#[divan::bench(args = SMALL)]
fn conv_relu_pool_backward(bencher: Bencher, conv: Conv) {
    let (x, w, config) = (conv.x(), conv.w(), conv.config());
    backward(bencher, || conv_relu(&x, &w, None, &config, true));
}

/// Weight, bias and running statistics of a batch norm.
struct BatchNorm([Var; 4]);

impl BatchNorm {
    fn new(channels: usize) -> Self {
        let constant = |value: f32| {
            let values = Tensor::full(value, channels, &Device::Cpu).unwrap();
            Var::from_tensor(&values).unwrap()
        };
        Self([constant(1.0), constant(0.0), constant(0.0), constant(1.0)])
    }

    fn norm(&self) -> Norm<'_> {
        let [weight, bias, running_mean, running_var] = &self.0;
        Norm {
            weight,
            bias,
            running_mean,
            running_var,
            config: CHANNELS_LAST,
        }
    }

    fn train(&self, x: &Tensor) -> Result<Tensor> {
        let [weight, bias, mean, var] = &self.0;
        batch_norm_train(x, weight, bias, mean, var, &CHANNELS_LAST)
    }
}

const CHANNELS_LAST: BatchNormConfig = BatchNormConfig {
    momentum: 0.1,
    eps: 1e-5,
    layout: Layout::Nhwc,
};

#[divan::bench(args = BLOCKS)]
fn conv_bn_relu_forward(bencher: Bencher, conv: Conv) {
    let (x, w, config, norm) = (
        conv.x(),
        conv.w(),
        conv.config(),
        BatchNorm::new(conv.channels.1),
    );
    forward(bencher, || {
        conv_bn_relu_train(&x, &w, None, norm.norm(), &config, false)
    });
}

#[divan::bench(args = BLOCKS)]
fn conv_bn_relu_backward(bencher: Bencher, conv: Conv) {
    let (x, w, config, norm) = (
        conv.x(),
        conv.w(),
        conv.config(),
        BatchNorm::new(conv.channels.1),
    );
    backward(bencher, || {
        conv_bn_relu_train(&x, &w, None, norm.norm(), &config, false)
    });
}

#[divan::bench]
fn batch_norm_forward(bencher: Bencher) {
    let (x, norm) = (normal(1.0, &[32, 32, 32, 64]), BatchNorm::new(64));
    forward(bencher, || norm.train(&x));
}

#[divan::bench]
fn batch_norm_backward(bencher: Bencher) {
    let (x, norm) = (normal(1.0, &[32, 32, 32, 64]), BatchNorm::new(64));
    backward(bencher, || norm.train(&x));
}

/// (rows, elements of a row): the first and the last stage of ConvNeXt.
const ROWS: [(usize, usize); 2] = [(128 * 32 * 32, 96), (128 * 7 * 7, 768)];

#[divan::bench(args = ROWS)]
fn layer_norm_forward(bencher: Bencher, (rows, size): (usize, usize)) {
    let (x, w, b) = (
        normal(1.0, &[rows, size]),
        normal(1.0, &[size]),
        normal(1.0, &[size]),
    );
    forward(bencher, || layer_norm(&x, Some(&w), Some(&b), 1e-6));
}

#[divan::bench(args = ROWS)]
fn layer_norm_backward(bencher: Bencher, (rows, size): (usize, usize)) {
    let (x, w, b) = (
        normal(1.0, &[rows, size]),
        normal(1.0, &[size]),
        normal(1.0, &[size]),
    );
    backward(bencher, || layer_norm(&x, Some(&w), Some(&b), 1e-6));
}

const POOL: Pool2dConfig = Pool2dConfig {
    kernel: (2, 2),
    stride: (2, 2),
    padding: (0, 0),
    dilation: (1, 1),
    ceil_mode: false,
    layout: Layout::Nhwc,
};

#[divan::bench]
fn max_pool_forward(bencher: Bencher) {
    let x = normal(1.0, &[32, 32, 32, 64]);
    forward(bencher, || max_pool2d(&x, &POOL));
}

#[divan::bench]
fn max_pool_backward(bencher: Bencher) {
    let x = normal(1.0, &[32, 32, 32, 64]);
    backward(bencher, || max_pool2d(&x, &POOL));
}

#[divan::bench]
fn cross_entropy_forward(bencher: Bencher) {
    let (x, labels) = (normal(1.0, &[128, 10]), labels(128));
    forward(bencher, || cross_entropy(&x, &labels, &SMOOTH));
}

#[divan::bench]
fn cross_entropy_backward(bencher: Bencher) {
    let (x, labels) = (normal(1.0, &[128, 10]), labels(128));
    backward(bencher, || cross_entropy(&x, &labels, &SMOOTH));
}

const SMOOTH: CrossEntropyConfig = CrossEntropyConfig {
    label_smoothing: 0.1,
};

/// (batch, inputs, outputs): the head of `cnn`, the layer before it in `cifar-cnn`, and one of VGG16's.
const LINEAR: [(usize, usize, usize); 3] = [(64, 50, 10), (64, 400, 120), (128, 512, 4096)];

#[divan::bench(args = LINEAR)]
fn linear_forward(bencher: Bencher, (n, i, o): (usize, usize, usize)) {
    let (x, w, b) = (
        normal(1.0, &[n, i]),
        normal(0.1, &[o, i]),
        normal(0.1, &[o]),
    );
    forward(bencher, || linear(&x, &w, Some(&b)));
}

#[divan::bench(args = LINEAR)]
fn linear_backward(bencher: Bencher, (n, i, o): (usize, usize, usize)) {
    let (x, w, b) = (
        normal(1.0, &[n, i]),
        normal(0.1, &[o, i]),
        normal(0.1, &[o]),
    );
    backward(bencher, || linear(&x, &w, Some(&b)));
}
