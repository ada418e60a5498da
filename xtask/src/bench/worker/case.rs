//! Benchmark and its work.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use tallow_train::OptimizerConfig;

/// One benchmark. It is sent as JSON to the processes that run it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Case {
    /// Name for --filter, which a network's training step and inference share.
    pub name: String,
    /// Kind of benchmark.
    pub kind: Kind,
    /// Images, or rows, at a time.
    pub batch: usize,
    /// The work.
    pub work: Work,
}

/// The sorts of benchmarks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Forward pass, loss, backward pass and the optimizer's step.
    Step,
    /// The forward pass in evaluation mode.
    Inference,
    /// A single operator.
    Operator,
    /// Loading and transforming; times are per batch.
    Loader,
    /// A whole epoch with loading and evaluation.
    Epoch,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.pad(match self {
            Self::Step => "step",
            Self::Inference => "inference",
            Self::Operator => "operator",
            Self::Loader => "loader",
            Self::Epoch => "epoch",
        })
    }
}

/// Work of a benchmark.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "lowercase")]
pub enum Work {
    /// A network of ten classes; the case's kind says whether it is trained.
    Network {
        /// Its name in the registry.
        model: String,
        /// `(C, H, W)`.
        input: (usize, usize, usize),
        /// Optimizer.
        optimizer: OptimizerConfig,
    },
    /// One operator on images or rows of normal noise.
    Operator {
        /// Operator.
        op: Operator,
    },
    /// Random crop, flip and normalisation of made-up 32x32 RGB images.
    Loader {
        /// Number of images.
        images: usize,
        /// Threads that load, in Tallow.
        workers: usize,
    },
    /// The `cnn` on MNIST, as `mnist-pixel-order` trains it.
    Epoch {
        /// The folder with MNIST.
        data: PathBuf,
        /// Threads that load, in Tallow.
        workers: usize,
        /// Optimizer.
        optimizer: OptimizerConfig,
    },
}

/// An operator. With `backward`, the gradients of input and parameters are computed too.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "kebab-case")]
pub enum Operator {
    /// `torch.nn.Conv2d` with a bias.
    Conv {
        /// Channels in.
        input: usize,
        /// Channels out.
        output: usize,
        /// Height and width of the images.
        side: usize,
        /// Height and width of the filters.
        kernel: usize,
        stride: usize,
        padding: usize,
        groups: usize,
        backward: bool,
    },
    /// `torch.nn.MaxPool2d(2)`.
    MaxPool {
        /// Channels.
        maps: usize,
        /// Height and width of the images.
        side: usize,
        backward: bool,
    },
    /// `torch.nn.BatchNorm2d` in training.
    BatchNorm {
        /// Channels.
        maps: usize,
        /// Height and width of the images.
        side: usize,
        backward: bool,
    },
    /// `torch.nn.Linear` with a bias.
    Linear {
        inputs: usize,
        outputs: usize,
        backward: bool,
    },
    /// `torch.nn.LayerNorm` over the last axis of `(N, H, W, C)`.
    LayerNorm {
        /// Channels.
        maps: usize,
        /// Height and width of the images.
        side: usize,
        backward: bool,
    },
    /// Activation function of `torch.nn.functional`.
    Activation {
        function: Function,
        /// Channels.
        maps: usize,
        /// Height and width of the images.
        side: usize,
        backward: bool,
    },
    /// `torchvision.ops.SqueezeExcitation`.
    SqueezeExcite {
        /// Channels.
        maps: usize,
        /// Channels between the two layers.
        squeezed: usize,
        /// Height and width of the images.
        side: usize,
        backward: bool,
    },
    /// `torch.nn.functional.cross_entropy`.
    CrossEntropy { classes: usize, backward: bool },
    /// Adam's step for all parameters of a network.
    Adam {
        /// A network's name here and in the registry.
        network: String,
    },
}

/// Activation function, with the name of `torch.nn.functional`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Function {
    Gelu,
    Silu,
    HardSwish,
}
