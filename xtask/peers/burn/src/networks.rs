//! The networks as anyone would write them with burn.

use burn::module::Module;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::pool::{MaxPool2d, MaxPool2dConfig};
use burn::nn::{BatchNorm, BatchNormConfig, Linear, LinearConfig, PaddingConfig2d, Relu};
use burn::tensor::activation::relu;
use burn::tensor::{Device, Int, Tensor};

/// Layers on images, perhaps the mean of each map, and linear layers with rectifiers between them.
#[derive(Module, Debug)]
pub struct Net {
    layers: Vec<Layer>,
    mean: bool,
    linear: Vec<Linear>,
}

#[derive(Module, Debug)]
enum Layer {
    Conv(Conv2d),
    Norm(BatchNorm),
    Relu(Relu),
    Pool(MaxPool2d),
    Block(Block),
}

/// Residual block. A shortcut that changes the size is a convolution and a norm (torchvision), or every second pixel with maps of zeros
/// (He et al., option A).
#[derive(Module, Debug)]
struct Block {
    conv1: Conv2d,
    norm1: BatchNorm,
    conv2: Conv2d,
    norm2: BatchNorm,
    down: Option<Conv2d>,
    down_norm: Option<BatchNorm>,
    /// Maps of zeros on each side.
    pad: usize,
}

/// The network of this name, and the number of its running statistics.
pub fn network(name: &str, device: &Device) -> Result<(Net, usize), String> {
    let mut make = Make { device, running: 0 };
    let net = match name {
        "fc" => make.net(Vec::new(), false, &[784, 8, 8, 10]),
        "cnn" => {
            let layers = make.five(&[1, 6, 6]);
            make.net(layers, false, &[6 * 16, 50, 10])
        }
        "cifar-cnn" => {
            let layers = make.five(&[3, 6, 16]);
            make.net(layers, false, &[16 * 25, 120, 84, 10])
        }
        "lenet" => {
            let layers = make.five(&[3, 16, 32]);
            make.net(layers, false, &[32 * 25, 120, 84, 10])
        }
        "vgg16-slim" => {
            let layers = make.vgg(&[64, 0, 128, 0, 256, 256, 0, 512, 512, 0, 512, 512, 0]);
            make.net(layers, false, &[512, 10])
        }
        "vgg16-bn" => {
            let layers = make.vgg(&[
                64, 64, 0, 128, 128, 0, 256, 256, 256, 0, 512, 512, 512, 0, 512, 512, 512, 0,
            ]);
            make.net(layers, false, &[512, 10])
        }
        "resnet18" => {
            let layers = make.resnet(&[(64, 2), (128, 2), (256, 2), (512, 2)], true);
            make.net(layers, true, &[512, 10])
        }
        "resnet20" => {
            let layers = make.resnet(&[(16, 3), (32, 3), (64, 3)], false);
            make.net(layers, true, &[64, 10])
        }
        _ => return Err(format!("no network `{name}` for burn")),
    };
    Ok((net, make.running))
}

struct Make<'a> {
    device: &'a Device,
    /// Running statistics so far.
    running: usize,
}

impl Make<'_> {
    fn net(&self, layers: Vec<Layer>, mean: bool, sizes: &[usize]) -> Net {
        let linear = sizes.windows(2);
        Net {
            layers,
            mean,
            linear: linear
                .map(|pair| LinearConfig::new(pair[0], pair[1]).init(self.device))
                .collect(),
        }
    }

    /// Without a bias, as before a batch norm of a residual network, if `bias` is false.
    fn conv(
        &self,
        maps: [usize; 2],
        kernel: usize,
        stride: usize,
        pad: usize,
        bias: bool,
    ) -> Conv2d {
        Conv2dConfig::new(maps, [kernel, kernel])
            .with_stride([stride, stride])
            .with_padding(PaddingConfig2d::Explicit(pad, pad, pad, pad))
            .with_bias(bias)
            .init(self.device)
    }

    fn norm(&mut self, maps: usize) -> BatchNorm {
        self.running += 2 * maps;
        BatchNormConfig::new(maps).init(self.device)
    }

    /// 5x5 convolutions between so many maps, each with a rectifier and pooling.
    fn five(&self, maps: &[usize]) -> Vec<Layer> {
        let layers = maps.windows(2).flat_map(|pair| {
            let conv = self.conv([pair[0], pair[1]], 5, 1, 0, true);
            [Layer::Conv(conv), Layer::Relu(Relu::new()), pool()]
        });
        layers.collect()
    }

    /// 0 is a pooling.
    fn vgg(&mut self, widths: &[usize]) -> Vec<Layer> {
        let (mut layers, mut maps) = (Vec::new(), 3);
        for &width in widths {
            if width == 0 {
                layers.push(pool());
                continue;
            }
            layers.push(Layer::Conv(self.conv([maps, width], 3, 1, 1, true)));
            layers.push(Layer::Norm(self.norm(width)));
            layers.push(Layer::Relu(Relu::new()));
            maps = width;
        }
        layers
    }

    /// A 3x3 stem and stages of so many maps and blocks.
    fn resnet(&mut self, stages: &[(usize, usize)], convolved: bool) -> Vec<Layer> {
        let mut inputs = stages[0].0;
        let mut layers = vec![
            Layer::Conv(self.conv([3, inputs], 3, 1, 1, false)),
            Layer::Norm(self.norm(inputs)),
            Layer::Relu(Relu::new()),
        ];
        for (stage, &(maps, blocks)) in stages.iter().enumerate() {
            for block in 0..blocks {
                let stride = if stage > 0 && block == 0 { 2 } else { 1 };
                layers.push(Layer::Block(self.block(inputs, maps, stride, convolved)));
                inputs = maps;
            }
        }
        layers
    }

    fn block(&mut self, inputs: usize, maps: usize, stride: usize, convolved: bool) -> Block {
        let convolved = convolved && (stride != 1 || inputs != maps);
        Block {
            conv1: self.conv([inputs, maps], 3, stride, 1, false),
            norm1: self.norm(maps),
            conv2: self.conv([maps, maps], 3, 1, 1, false),
            norm2: self.norm(maps),
            down: convolved.then(|| self.conv([inputs, maps], 1, stride, 0, false)),
            down_norm: convolved.then(|| self.norm(maps)),
            pad: if convolved { 0 } else { (maps - inputs) / 2 },
        }
    }
}

fn pool() -> Layer {
    Layer::Pool(MaxPool2dConfig::new([2, 2]).with_strides([2, 2]).init())
}

impl Net {
    /// Logits of images `(N, C, H, W)`.
    pub fn forward(&self, images: Tensor<4>) -> Tensor<2> {
        let layers = self.layers.iter();
        let x = layers.fold(images, |x, layer| layer.forward(x));
        let x = if self.mean {
            x.mean_dim(2).mean_dim(3)
        } else {
            x
        };
        let mut x: Tensor<2> = x.flatten(1, 3);
        for (place, linear) in self.linear.iter().enumerate() {
            x = linear.forward(if place > 0 { relu(x) } else { x });
        }
        x
    }
}

impl Layer {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        match self {
            Self::Conv(conv) => conv.forward(x),
            Self::Norm(norm) => norm.forward(x),
            Self::Relu(relu) => relu.forward(x),
            Self::Pool(pool) => pool.forward(x),
            Self::Block(block) => block.forward(x),
        }
    }
}

impl Block {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let y = relu(self.norm1.forward(self.conv1.forward(x.clone())));
        let y = self.norm2.forward(self.conv2.forward(y));
        relu(y + self.shortcut(x))
    }

    fn shortcut(&self, x: Tensor<4>) -> Tensor<4> {
        if let (Some(conv), Some(norm)) = (&self.down, &self.down_norm) {
            return norm.forward(conv.forward(x));
        }
        if self.pad == 0 {
            return x;
        }
        let device = x.device();
        let [_, _, h, w] = x.dims();
        let even = |side: usize| Tensor::<1, Int>::arange_step(0..side as i64, 2, &device);
        let x = x.select(2, even(h)).select(3, even(w));
        let [n, _, h, w] = x.dims();
        let zeros = Tensor::<4>::zeros([n, self.pad, h, w], &device);
        Tensor::cat(vec![zeros.clone(), x, zeros], 1)
    }
}
