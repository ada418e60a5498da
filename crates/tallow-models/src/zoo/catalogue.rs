//! Table of the built-in models, in the order of the documentation.

use std::sync::LazyLock;

use tallow_ops::{Layout, ParamPath};

use crate::config::ModelConfig;
use crate::error::Result;
use crate::model::Model;
use crate::nn::{Sequential, Shortcut, WeightInit};
use crate::registry::{Entry, Registry};
use crate::zoo::resnet::{Block, ResNet};
use crate::zoo::vgg::{Head, Vgg};
use crate::zoo::{cnn, convnet, convnext, efficientnet, lenet, mlp, mobilenet, nin, speedrun};

/// Registry of the built-in models.
pub fn registry() -> &'static Registry {
    static REGISTRY: LazyLock<Registry> = LazyLock::new(Registry::default);
    &REGISTRY
}

/// Built-in model of this name.
///
/// # Errors
/// [`Error::UnknownModel`](crate::Error::UnknownModel), with the closest name.
pub fn find(name: &str) -> Result<&'static Entry> {
    registry().find(name)
}

impl Model {
    /// Builds the built-in model of this name, initialised as in PyTorch from the configuration's seed. Models of your own are built
    /// by [`Registry::build`].
    ///
    /// # Errors
    /// As [`Registry::build`].
    pub fn build(name: &str, config: &ModelConfig) -> Result<Self> {
        registry().build(name, config)
    }

    /// Built-in model of this name whose weights will be loaded; see [`Entry::skip_init`].
    ///
    /// # Errors
    /// As [`Registry::build`].
    pub fn skip_init(name: &str, config: &ModelConfig) -> Result<Self> {
        registry().skip_init(name, config)
    }
}

impl Default for Registry {
    fn default() -> Self {
        let mut registry = Self::empty();
        for model in MODELS {
            let added = registry.add(model.entry());
            debug_assert!(added.is_ok(), "`{}` stands in the table twice", model.name);
        }
        registry
    }
}

/// Row of the table.
struct BuiltIn {
    made_for: MadeFor,
    name: &'static str,
    description: &'static str,
    parameters: usize,
    multiply_adds: u64,
    layout: Layout,
    hidden: bool,
    width_divisor: bool,
    dropout: bool,
    stochastic_depth: bool,
    build: Build,
}

type Build = fn(&ParamPath, &ModelConfig) -> Result<Sequential>;

/// Image shape `(C, H, W)` and number of classes.
type MadeFor = ((usize, usize, usize), usize);
const MNIST: MadeFor = ((1, 28, 28), 10);
const DIGITS_16: MadeFor = ((1, 16, 16), 10);
const DIGITS_32: MadeFor = ((1, 32, 32), 10);
const CIFAR: MadeFor = ((3, 32, 32), 10);
const IMAGENET: MadeFor = ((3, 224, 224), 1000);

/// Build function of a described network.
macro_rules! of {
    ($network:expr) => {
        |p, config| $network.network(p, config)
    };
}

/// Input shape and classes, name, description, parameters and multiply-adds for these (checked by `tests/it/table.rs`), build function.
#[rustfmt::skip]
const MODELS: &[BuiltIn] = &[
    // Small networks.
    entry(MNIST, "mlp", "linear layers, two hidden ones of 8; other widths by `hidden`, dropout after each by `dropout`",
        6_442, 6_416, mlp::mlp).with_hidden().with_dropout(),
    entry(MNIST, "cnn", "two 5x5 convolutions of 6 channels, a hidden linear layer of 50",
        6_422, 149_300, cnn::cnn),
    entry(CIFAR, "cifar-cnn", "the network of PyTorch's CIFAR-10 tutorial: 5x5 convolutions of 6 and 16 channels, linear layers of 120 and 84",
        62_006, 651_720, cnn::cifar_cnn),
    entry(CIFAR, "lenet", "cifar-cnn with 16 and 32 channels",
        121_182, 2_327_720, cnn::lenet),
    entry(CIFAR, "cifar-cnn-bn", "cifar-cnn with batch norm after each convolution",
        62_050, 651_720, cnn::cifar_cnn_bn),
    entry(CIFAR, "convnet-fc", "three 3x3 convolutions of 32, 64 and 128 channels with batch norm, and a linear layer; narrower by `width_divisor`",
        114_186, 10_342_400, convnet::convnet_fc).deep(),
    entry(CIFAR, "convnet-gap", "convnet-fc with a 1x1 convolution and global average pooling in place of the linear layer",
        94_986, 10_342_400, convnet::convnet_gap).deep(),
    // LeNet's lineage.
    entry(DIGITS_16, "lenet-1989", "LeCun et al. 1989: 16x16 pixels, biases for each unit, partial connections, tanh output for the squared error",
        9_760, 63_660, lenet::lenet_1989),
    entry(DIGITS_32, "lenet5-1998", "LeNet-5 as published: trained subsampling, partial connections, scaled tanh; a linear layer for the softmax",
        60_850, 326_520, lenet::lenet5_1998),
    entry(DIGITS_32, "lenet5-1998-rbf", "lenet5-1998 with the distances from ten images of digits as output",
        60_000, 326_520, lenet::lenet5_1998_rbf),
    entry(MNIST, "lenet5", "LeNet-5 as usually written today: ReLU, max pooling, full connections",
        61_706, 416_520, cnn::lenet5),
    // Network in network.
    entry(CIFAR, "nin", "network in network: 1x1 convolutions after each convolution, and one before global average pooling as head; narrower by `width_divisor`",
        966_986, 222_486_528, nin::nin).deep().with_dropout(),
    entry(CIFAR, "nin-fc", "nin with a linear layer after global average pooling",
        966_986, 222_365_568, nin::nin_fc).deep().with_dropout(),
    // VGG.
    entry(CIFAR, "vgg16-slim", "VGG of eight 3x3 convolutions with batch norm, 64 to 512 channels, one linear layer; narrower by `width_divisor`",
        9_231_114, 152_769_536, SLIM).deep(),
    entry(IMAGENET, "vgg11", "torchvision's vgg11: 8 3x3 convolutions, three linear layers",
        132_863_336, 7_609_090_048, of!(Vgg::new([1, 1, 2, 2, 2], false, Head::Large))).deep().with_dropout(),
    entry(CIFAR, "vgg11-cifar", "the convolutions of vgg11 with one linear layer",
        9_225_610, 152_769_536, of!(Vgg::new([1, 1, 2, 2, 2], false, Head::Small))).deep(),
    entry(IMAGENET, "vgg11-bn", "torchvision's vgg11_bn: 8 3x3 convolutions with batch norm, three linear layers",
        132_868_840, 7_609_090_048, of!(Vgg::new([1, 1, 2, 2, 2], true, Head::Large))).deep().with_dropout(),
    entry(CIFAR, "vgg11-bn-cifar", "the convolutions of vgg11-bn with one linear layer",
        9_231_114, 152_769_536, of!(Vgg::new([1, 1, 2, 2, 2], true, Head::Small))).deep(),
    entry(IMAGENET, "vgg13", "torchvision's vgg13: 10 3x3 convolutions, three linear layers",
        133_047_848, 11_308_466_176, of!(Vgg::new([2, 2, 2, 2, 2], false, Head::Large))).deep().with_dropout(),
    entry(CIFAR, "vgg13-cifar", "the convolutions of vgg13 with one linear layer",
        9_410_122, 228_267_008, of!(Vgg::new([2, 2, 2, 2, 2], false, Head::Small))).deep(),
    entry(IMAGENET, "vgg13-bn", "torchvision's vgg13_bn: 10 3x3 convolutions with batch norm, three linear layers",
        133_053_736, 11_308_466_176, of!(Vgg::new([2, 2, 2, 2, 2], true, Head::Large))).deep().with_dropout(),
    entry(CIFAR, "vgg13-bn-cifar", "the convolutions of vgg13-bn with one linear layer",
        9_416_010, 228_267_008, of!(Vgg::new([2, 2, 2, 2, 2], true, Head::Small))).deep(),
    entry(IMAGENET, "vgg16", "torchvision's vgg16: 13 3x3 convolutions, three linear layers",
        138_357_544, 15_470_264_320, of!(Vgg::new([2, 2, 3, 3, 3], false, Head::Large))).deep().with_dropout(),
    entry(CIFAR, "vgg16-cifar", "the convolutions of vgg16 with one linear layer",
        14_719_818, 313_201_664, of!(Vgg::new([2, 2, 3, 3, 3], false, Head::Small))).deep(),
    entry(IMAGENET, "vgg16-bn", "torchvision's vgg16_bn: 13 3x3 convolutions with batch norm, three linear layers",
        138_365_992, 15_470_264_320, of!(Vgg::new([2, 2, 3, 3, 3], true, Head::Large))).deep().with_dropout(),
    entry(CIFAR, "vgg16-bn-cifar", "the convolutions of vgg16-bn with one linear layer",
        14_728_266, 313_201_664, of!(Vgg::new([2, 2, 3, 3, 3], true, Head::Small))).deep(),
    entry(IMAGENET, "vgg19", "torchvision's vgg19: 16 3x3 convolutions, three linear layers",
        143_667_240, 19_632_062_464, of!(Vgg::new([2, 2, 4, 4, 4], false, Head::Large))).deep().with_dropout(),
    entry(CIFAR, "vgg19-cifar", "the convolutions of vgg19 with one linear layer",
        20_029_514, 398_136_320, of!(Vgg::new([2, 2, 4, 4, 4], false, Head::Small))).deep(),
    entry(IMAGENET, "vgg19-bn", "torchvision's vgg19_bn: 16 3x3 convolutions with batch norm, three linear layers",
        143_678_248, 19_632_062_464, of!(Vgg::new([2, 2, 4, 4, 4], true, Head::Large))).deep().with_dropout(),
    entry(CIFAR, "vgg19-bn-cifar", "the convolutions of vgg19-bn with one linear layer",
        20_040_522, 398_136_320, of!(Vgg::new([2, 2, 4, 4, 4], true, Head::Small))).deep(),
    // torchvision's residual networks.
    entry(IMAGENET, "resnet18", "torchvision's network of basic blocks",
        11_689_512, 1_814_073_344, of!(ResNet::torchvision(Block::Basic, &[2, 2, 2, 2]))).deep(),
    entry(CIFAR, "resnet18-cifar", "resnet18 with a 3x3 stem and no pooling before the blocks",
        11_173_962, 555_422_720, of!(ResNet::torchvision_cifar(Block::Basic, &[2, 2, 2, 2]))).deep(),
    entry(IMAGENET, "resnet34", "torchvision's network of basic blocks",
        21_797_672, 3_663_761_408, of!(ResNet::torchvision(Block::Basic, &[3, 4, 6, 3]))).deep(),
    entry(CIFAR, "resnet34-cifar", "resnet34 with a 3x3 stem and no pooling before the blocks",
        21_282_122, 1_159_402_496, of!(ResNet::torchvision_cifar(Block::Basic, &[3, 4, 6, 3]))).deep(),
    entry(IMAGENET, "resnet50", "torchvision's network of bottlenecks",
        25_557_032, 4_089_184_256, of!(ResNet::torchvision(Block::Bottleneck, &[3, 4, 6, 3]))).deep(),
    entry(CIFAR, "resnet50-cifar", "resnet50 with a 3x3 stem and no pooling before the blocks",
        23_520_842, 1_297_829_888, of!(ResNet::torchvision_cifar(Block::Bottleneck, &[3, 4, 6, 3]))).deep(),
    entry(IMAGENET, "resnet101", "torchvision's network of bottlenecks",
        44_549_160, 7_801_405_440, of!(ResNet::torchvision(Block::Bottleneck, &[3, 4, 23, 3]))).deep(),
    entry(CIFAR, "resnet101-cifar", "resnet101 with a 3x3 stem and no pooling before the blocks",
        42_512_970, 2_509_983_744, of!(ResNet::torchvision_cifar(Block::Bottleneck, &[3, 4, 23, 3]))).deep(),
    entry(IMAGENET, "resnet152", "torchvision's network of bottlenecks",
        60_192_808, 11_513_626_624, of!(ResNet::torchvision(Block::Bottleneck, &[3, 8, 36, 3]))).deep(),
    entry(CIFAR, "resnet152-cifar", "resnet152 with a 3x3 stem and no pooling before the blocks",
        58_156_618, 3_722_137_600, of!(ResNet::torchvision_cifar(Block::Bottleneck, &[3, 8, 36, 3]))).deep(),
    entry(IMAGENET, "wide-resnet50-2", "torchvision's resnet50 with twice the channels inside its blocks",
        68_883_240, 11_398_021_120, of!(groups(&[3, 4, 6, 3], 1, 128))).deep(),
    entry(IMAGENET, "wide-resnet101-2", "torchvision's resnet101 with twice the channels inside its blocks",
        126_886_696, 22_753_050_624, of!(groups(&[3, 4, 23, 3], 1, 128))).deep(),
    entry(IMAGENET, "resnext50-32x4d", "torchvision's resnet50 with 32 groups of 4 channels",
        25_028_904, 4_230_479_872, of!(groups(&[3, 4, 6, 3], 32, 4))).deep(),
    entry(IMAGENET, "resnext101-32x8d", "torchvision's resnet101 with 32 groups of 8 channels",
        88_791_336, 16_414_015_488, of!(groups(&[3, 4, 23, 3], 32, 8))).deep(),
    entry(IMAGENET, "resnext101-64x4d", "torchvision's resnet101 with 64 groups of 4 channels",
        83_455_272, 15_460_270_080, of!(groups(&[3, 4, 23, 3], 64, 4))).deep(),
    // torchvision's networks of inverted residual blocks, and ConvNeXt.
    entry(IMAGENET, "mobilenet-v3-small", "torchvision's mobilenet_v3_small: inverted residual blocks with squeeze-and-excite and hard-swish",
        2_542_856, 56_510_400, of!(mobilenet::SMALL)).deep().with_dropout(),
    entry(IMAGENET, "mobilenet-v3-large", "torchvision's mobilenet_v3_large: inverted residual blocks with squeeze-and-excite and hard-swish",
        5_483_032, 216_589_760, of!(mobilenet::LARGE)).deep().with_dropout(),
    entry(IMAGENET, "efficientnet-b0", "torchvision's efficientnet_b0: inverted residual blocks with squeeze-and-excite, SiLU and stochastic depth",
        5_288_548, 385_814_752, efficientnet::efficientnet_b0).deep().with_dropout().with_stochastic_depth(),
    entry(IMAGENET, "convnext-tiny", "torchvision's convnext_tiny: depthwise 7x7 convolutions, layer norm, GELU and stochastic depth",
        28_589_128, 4_455_531_264, convnext::convnext_tiny).deep().with_stochastic_depth(),
    // Networks made for short training.
    entry(MNIST, "mnist-cnn", "four convolutions of 32 to 128 channels with batch norm, the first with stride 2, and a linear layer",
        135_530, 5_281_280, cnn::mnist_cnn).deep().with_dropout(),
    entry(CIFAR, "cifar-speedrun", "the network of airbench94: whitened 2x2 patches, six 3x3 convolutions of 64 and 256 channels with batch norm and GELU",
        1_971_352, 118_147_360, speedrun::cifar_speedrun).deep(),
    // Residual networks of He et al. for CIFAR, 16 to 64 channels.
    entry(CIFAR, "resnet20", "He et al. for CIFAR: 20 layers of 16 to 64 channels, shortcuts without parameters (option A)",
        269_722, 40_551_040, of!(ResNet::cifar(Block::Basic, &[3, 3, 3]))).deep(),
    entry(CIFAR, "resnet20-b", "resnet20 with 1x1 convolutions where the shape changes (option B)",
        272_474, 40_813_184, of!(with_shortcut(&[3, 3, 3], Shortcut::Projection))).deep(),
    entry(CIFAR, "resnet20-c", "resnet20 with 1x1 convolutions in every shortcut (option C)",
        283_962, 42_648_192, of!(with_shortcut(&[3, 3, 3], Shortcut::ProjectionEverywhere))).deep(),
    entry(CIFAR, "resnet20-d", "resnet20 with average pooling before the 1x1 convolutions of its shortcuts (ResNet-D)",
        272_474, 40_813_184, of!(with_shortcut(&[3, 3, 3], Shortcut::PooledProjection))).deep(),
    entry(CIFAR, "resnet20-t", "resnet20 with shortcuts of pooling and a transposed convolution",
        280_154, 40_813_184, of!(with_shortcut(&[3, 3, 3], Shortcut::Transposed))).deep(),
    entry(CIFAR, "plain-20", "the convolutions of resnet20 without shortcuts",
        269_722, 40_551_040, of!(ResNet::cifar(Block::Plain, &[3, 3, 3]))).deep(),
    entry(CIFAR, "preact-resnet20", "resnet20 with batch norm and ReLU before each convolution",
        269_722, 40_551_040, of!(ResNet::cifar(Block::PreAct, &[3, 3, 3]))).deep(),
    entry(CIFAR, "resnet32", "He et al. for CIFAR: 32 layers of 16 to 64 channels, shortcuts without parameters (option A)",
        464_154, 68_862_592, of!(ResNet::cifar(Block::Basic, &[5, 5, 5]))).deep(),
    entry(CIFAR, "resnet32-b", "resnet32 with 1x1 convolutions where the shape changes (option B)",
        466_906, 69_124_736, of!(with_shortcut(&[5, 5, 5], Shortcut::Projection))).deep(),
    entry(CIFAR, "resnet32-c", "resnet32 with 1x1 convolutions in every shortcut (option C)",
        489_594, 72_532_608, of!(with_shortcut(&[5, 5, 5], Shortcut::ProjectionEverywhere))).deep(),
    entry(CIFAR, "resnet32-d", "resnet32 with average pooling before the 1x1 convolutions of its shortcuts (ResNet-D)",
        466_906, 69_124_736, of!(with_shortcut(&[5, 5, 5], Shortcut::PooledProjection))).deep(),
    entry(CIFAR, "resnet32-t", "resnet32 with shortcuts of pooling and a transposed convolution",
        474_586, 69_124_736, of!(with_shortcut(&[5, 5, 5], Shortcut::Transposed))).deep(),
    entry(CIFAR, "plain-32", "the convolutions of resnet32 without shortcuts",
        464_154, 68_862_592, of!(ResNet::cifar(Block::Plain, &[5, 5, 5]))).deep(),
    entry(CIFAR, "preact-resnet32", "resnet32 with batch norm and ReLU before each convolution",
        464_154, 68_862_592, of!(ResNet::cifar(Block::PreAct, &[5, 5, 5]))).deep(),
    entry(CIFAR, "resnet44", "He et al. for CIFAR: 44 layers of 16 to 64 channels, shortcuts without parameters (option A)",
        658_586, 97_174_144, of!(ResNet::cifar(Block::Basic, &[7, 7, 7]))).deep(),
    entry(CIFAR, "resnet44-b", "resnet44 with 1x1 convolutions where the shape changes (option B)",
        661_338, 97_436_288, of!(with_shortcut(&[7, 7, 7], Shortcut::Projection))).deep(),
    entry(CIFAR, "resnet44-c", "resnet44 with 1x1 convolutions in every shortcut (option C)",
        695_226, 102_417_024, of!(with_shortcut(&[7, 7, 7], Shortcut::ProjectionEverywhere))).deep(),
    entry(CIFAR, "resnet44-d", "resnet44 with average pooling before the 1x1 convolutions of its shortcuts (ResNet-D)",
        661_338, 97_436_288, of!(with_shortcut(&[7, 7, 7], Shortcut::PooledProjection))).deep(),
    entry(CIFAR, "resnet44-t", "resnet44 with shortcuts of pooling and a transposed convolution",
        669_018, 97_436_288, of!(with_shortcut(&[7, 7, 7], Shortcut::Transposed))).deep(),
    entry(CIFAR, "plain-44", "the convolutions of resnet44 without shortcuts",
        658_586, 97_174_144, of!(ResNet::cifar(Block::Plain, &[7, 7, 7]))).deep(),
    entry(CIFAR, "preact-resnet44", "resnet44 with batch norm and ReLU before each convolution",
        658_586, 97_174_144, of!(ResNet::cifar(Block::PreAct, &[7, 7, 7]))).deep(),
    entry(CIFAR, "resnet56", "He et al. for CIFAR: 56 layers of 16 to 64 channels, shortcuts without parameters (option A)",
        853_018, 125_485_696, of!(ResNet::cifar(Block::Basic, &[9, 9, 9]))).deep(),
    entry(CIFAR, "resnet56-b", "resnet56 with 1x1 convolutions where the shape changes (option B)",
        855_770, 125_747_840, of!(with_shortcut(&[9, 9, 9], Shortcut::Projection))).deep(),
    entry(CIFAR, "resnet56-c", "resnet56 with 1x1 convolutions in every shortcut (option C)",
        900_858, 132_301_440, of!(with_shortcut(&[9, 9, 9], Shortcut::ProjectionEverywhere))).deep(),
    entry(CIFAR, "resnet56-d", "resnet56 with average pooling before the 1x1 convolutions of its shortcuts (ResNet-D)",
        855_770, 125_747_840, of!(with_shortcut(&[9, 9, 9], Shortcut::PooledProjection))).deep(),
    entry(CIFAR, "resnet56-t", "resnet56 with shortcuts of pooling and a transposed convolution",
        863_450, 125_747_840, of!(with_shortcut(&[9, 9, 9], Shortcut::Transposed))).deep(),
    entry(CIFAR, "plain-56", "the convolutions of resnet56 without shortcuts",
        853_018, 125_485_696, of!(ResNet::cifar(Block::Plain, &[9, 9, 9]))).deep(),
    entry(CIFAR, "preact-resnet56", "resnet56 with batch norm and ReLU before each convolution",
        853_018, 125_485_696, of!(ResNet::cifar(Block::PreAct, &[9, 9, 9]))).deep(),
    entry(CIFAR, "resnet110", "He et al. for CIFAR: 110 layers of 16 to 64 channels, shortcuts without parameters (option A)",
        1_727_962, 252_887_680, of!(ResNet::cifar(Block::Basic, &[18, 18, 18]))).deep(),
    entry(CIFAR, "resnet110-b", "resnet110 with 1x1 convolutions where the shape changes (option B)",
        1_730_714, 253_149_824, of!(with_shortcut(&[18, 18, 18], Shortcut::Projection))).deep(),
    entry(CIFAR, "resnet110-c", "resnet110 with 1x1 convolutions in every shortcut (option C)",
        1_826_202, 266_781_312, of!(with_shortcut(&[18, 18, 18], Shortcut::ProjectionEverywhere))).deep(),
    entry(CIFAR, "resnet110-d", "resnet110 with average pooling before the 1x1 convolutions of its shortcuts (ResNet-D)",
        1_730_714, 253_149_824, of!(with_shortcut(&[18, 18, 18], Shortcut::PooledProjection))).deep(),
    entry(CIFAR, "resnet110-t", "resnet110 with shortcuts of pooling and a transposed convolution",
        1_738_394, 253_149_824, of!(with_shortcut(&[18, 18, 18], Shortcut::Transposed))).deep(),
    entry(CIFAR, "plain-110", "the convolutions of resnet110 without shortcuts",
        1_727_962, 252_887_680, of!(ResNet::cifar(Block::Plain, &[18, 18, 18]))).deep(),
    entry(CIFAR, "preact-resnet110", "resnet110 with batch norm and ReLU before each convolution",
        1_727_962, 252_887_680, of!(ResNet::cifar(Block::PreAct, &[18, 18, 18]))).deep(),
    entry(CIFAR, "preact-resnet18-cifar", "resnet18-cifar with batch norm and ReLU before each convolution",
        11_172_170, 555_422_720, of!(PREACT18)).deep(),
    entry(CIFAR, "wrn-28-10", "Wide ResNet (Zagoruyko and Komodakis 2016): 28 layers, ten times as wide",
        36_479_194, 5_243_328_768, of!(WRN_28_10)).deep(),
];

const SLIM: Build = |p, config| {
    let torchvision = Vgg::new([1, 1, 2, 2, 2], true, Head::Small);
    let network = Vgg {
        init: WeightInit::Uniform,
        ..torchvision
    };
    network.network(p, config)
};

const PREACT18: ResNet = ResNet {
    block: Block::PreAct,
    stem_width: 64,
    width: 64,
    ..with_shortcut(&[2, 2, 2, 2], Shortcut::Projection)
};

const WRN_28_10: ResNet = ResNet {
    block: Block::PreAct,
    width: 160,
    ..with_shortcut(&[4, 4, 4], Shortcut::Projection)
};

/// torchvision's network of bottlenecks with these groups.
const fn groups(
    depths: &'static [usize],
    groups: usize,
    width_per_group: usize,
) -> ResNet<'static> {
    ResNet {
        groups,
        width_per_group,
        ..ResNet::torchvision(Block::Bottleneck, depths)
    }
}

const fn with_shortcut(depths: &'static [usize], shortcut: Shortcut) -> ResNet<'static> {
    ResNet {
        shortcut,
        ..ResNet::cifar(Block::Basic, depths)
    }
}

const fn entry(
    made_for: MadeFor,
    name: &'static str,
    description: &'static str,
    parameters: usize,
    multiply_adds: u64,
    build: Build,
) -> BuiltIn {
    BuiltIn {
        made_for,
        name,
        description,
        parameters,
        multiply_adds,
        layout: Layout::Nchw,
        hidden: false,
        width_divisor: false,
        dropout: false,
        stochastic_depth: false,
        build,
    }
}

impl BuiltIn {
    const fn with_hidden(self) -> Self {
        Self {
            hidden: true,
            ..self
        }
    }

    const fn with_dropout(self) -> Self {
        Self {
            dropout: true,
            ..self
        }
    }

    const fn with_stochastic_depth(self) -> Self {
        Self {
            stochastic_depth: true,
            ..self
        }
    }

    /// With convolutions so wide that channels last are faster, and that can be narrowed.
    const fn deep(self) -> Self {
        Self {
            layout: Layout::Nhwc,
            width_divisor: true,
            ..self
        }
    }

    fn entry(&self) -> Entry {
        let mut entry = Entry::new(self.name, self.build);
        entry.description = self.description.into();
        entry.default_input = Some(self.made_for.0);
        entry.default_classes = Some(self.made_for.1);
        entry.default_layout = self.layout;
        // All networks of the zoo work in either order.
        entry.gpu_layout = Layout::Nhwc;
        entry.parameters = Some(self.parameters);
        entry.multiply_adds = Some(self.multiply_adds);
        entry.takes_hidden = self.hidden;
        entry.takes_width_divisor = self.width_divisor;
        entry.takes_dropout = self.dropout;
        entry.takes_stochastic_depth = self.stochastic_depth;
        entry.skips_init = true;
        entry
    }
}
