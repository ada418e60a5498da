use tallow_ops::{Layout, ParamPath};

use crate::{Error, ModelConfig, Module, Result, zoo};

/// A model that can be built by name.
#[derive(Debug)]
pub struct Entry {
    /// What to ask for.
    pub name: &'static str,
    /// One line on what it is.
    pub description: &'static str,
    /// The images it was made for, `(C, H, W)`.
    pub default_input: (usize, usize, usize),
    /// The number of classes it was made for.
    pub default_classes: usize,
    /// The axis order it works in on the CPU unless the configuration says otherwise; elsewhere that is `(N, C, H, W)`.
    pub default_layout: Layout,
    /// Whether [`ModelConfig::hidden`] means something to it.
    pub takes_hidden: bool,
    /// Whether [`ModelConfig::width_divisor`] means something to it.
    pub takes_width_divisor: bool,
    /// Makes the network with its parameters under the given path. [`crate::Model::build`] checks the configuration first.
    pub build: fn(&ParamPath, &ModelConfig) -> Result<Box<dyn Module>>,
}

impl Entry {
    /// The configuration it was made for: seed 0, `f32` on the CPU.
    pub fn config(&self) -> ModelConfig {
        ModelConfig::new(self.default_classes, self.default_input)
    }
}

/// Every model, in the order worth reading.
pub fn registry() -> &'static [Entry] {
    const MNIST: (usize, usize, usize) = (1, 28, 28);
    const CIFAR: (usize, usize, usize) = (3, 32, 32);
    &[
        Entry {
            name: "mlp",
            description: "fully connected, two hidden layers of 8; other widths by `hidden`",
            default_input: MNIST,
            default_classes: 10,
            default_layout: Layout::Nchw,
            takes_hidden: true,
            takes_width_divisor: false,
            build: zoo::mlp,
        },
        Entry {
            name: "cnn",
            description: "two 5x5 convolutions of 6 maps, linear layers of 50",
            default_input: MNIST,
            default_classes: 10,
            default_layout: Layout::Nchw,
            takes_hidden: false,
            takes_width_divisor: false,
            build: zoo::cnn,
        },
        Entry {
            name: "cifar-cnn",
            description: "the network of PyTorch's CIFAR-10 tutorial: 5x5 convolutions of 6 and 16 maps, linear layers of 120 and 84",
            default_input: CIFAR,
            default_classes: 10,
            default_layout: Layout::Nchw,
            takes_hidden: false,
            takes_width_divisor: false,
            build: zoo::cifar_cnn,
        },
        Entry {
            name: "lenet",
            description: "cifar-cnn with 16 and 32 maps",
            default_input: CIFAR,
            default_classes: 10,
            default_layout: Layout::Nchw,
            takes_hidden: false,
            takes_width_divisor: false,
            build: zoo::lenet,
        },
        Entry {
            name: "vgg16-slim",
            description: "VGG of eight 3x3 convolutions with batch norm, 64 to 512 maps, one linear layer; narrower by `width_divisor`",
            default_input: CIFAR,
            default_classes: 10,
            default_layout: Layout::Nhwc,
            takes_hidden: false,
            takes_width_divisor: true,
            build: zoo::vgg16_slim,
        },
        Entry {
            name: "vgg16-bn-cifar",
            description: "torchvision's vgg16_bn, thirteen 3x3 convolutions, with one linear layer as its head",
            default_input: CIFAR,
            default_classes: 10,
            default_layout: Layout::Nhwc,
            takes_hidden: false,
            takes_width_divisor: true,
            build: zoo::vgg16_bn_cifar,
        },
        Entry {
            name: "resnet18-cifar",
            description: "torchvision's resnet18 with a 3x3 stem and no pooling before the blocks",
            default_input: CIFAR,
            default_classes: 10,
            default_layout: Layout::Nhwc,
            takes_hidden: false,
            takes_width_divisor: true,
            build: zoo::resnet18_cifar,
        },
        Entry {
            name: "resnet20",
            description: "the CIFAR network of He et al., 16 to 64 maps, shortcuts without parameters (option A)",
            default_input: CIFAR,
            default_classes: 10,
            default_layout: Layout::Nhwc,
            takes_hidden: false,
            takes_width_divisor: true,
            build: zoo::resnet20,
        },
    ]
}

/// The model of that name. Fails with the nearest name there is.
pub fn find(name: &str) -> Result<&'static Entry> {
    registry()
        .iter()
        .find(|entry| entry.name == name)
        .ok_or_else(|| Error::UnknownModel {
            name: name.into(),
            nearest: nearest(name),
            known: registry().iter().map(|entry| entry.name).collect(),
        })
}

/// Jaro and Winkler's measure likes a common beginning, Damerau and Levenshtein's a slip of two letters.
fn nearest(name: &str) -> Option<&'static str> {
    let name = name.to_lowercase();
    let likeness = |known| {
        strsim::jaro_winkler(&name, known).max(strsim::normalized_damerau_levenshtein(&name, known))
    };
    registry()
        .iter()
        .map(|entry| (likeness(entry.name), entry.name))
        .max_by(|a, b| a.0.total_cmp(&b.0))
        // Below this two names have little but a few letters in common.
        .filter(|(likeness, _)| *likeness > 0.66)
        .map(|(_, name)| name)
}
