use candle_core::{Device, Tensor};
use tallow_ops::Init;

use crate::error::Result;

/// Initialisation of the weight and bias of a convolution or a linear layer.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum WeightInit {
    /// `reset_parameters` of PyTorch's layers: weights and biases uniform in `±1 / sqrt(fan_in)`.
    #[default]
    Uniform,
    /// `kaiming_normal_(mode="fan_in")`: weights normal with standard deviation `sqrt(2 / fan_in)` (He et al. 2015), biases uniform as
    /// above.
    KaimingFanIn,
    /// `kaiming_normal_(mode="fan_out", nonlinearity="relu")` and biases 0: torchvision's initialisation of convolutions.
    KaimingFanOut,
    /// Weights uniform in `±scale / fan_in^power` and biases 0: LeCun's networks, with scale 2.4.
    FanInRange {
        /// Bound for a fan-in of 1.
        scale: f64,
        /// Exponent of the fan-in.
        power: f64,
    },
    /// Weights normal with this standard deviation and biases 0: torchvision's linear layers of a VGG, with 0.01.
    Normal {
        /// Standard deviation.
        std: f64,
    },
    /// Weights uniform in `±1 / sqrt(fan_out)` and biases 0: torchvision's linear layers of an EfficientNet.
    FanOutRange,
    /// `dirac_(weight[:inputs])` after the initialisation of `Uniform`: the first output channels of a convolution repeat the input
    /// channels (Zagoruyko and Komodakis 2017; airbench).
    Dirac,
}

impl WeightInit {
    /// Initialisation of the weights. `fan_in` is the number of inputs of one output, `fan_out` the number of outputs of one input.
    pub(super) fn weight(self, fan_in: usize, fan_out: usize) -> Init {
        let normal = |std| Init::Normal { mean: 0., std };
        match self {
            Self::Uniform | Self::Dirac => Init::KaimingUniform {
                fan_in,
                a: 5f64.sqrt(),
            },
            Self::KaimingFanIn => normal((2. / fan_in as f64).sqrt()),
            Self::KaimingFanOut => normal((2. / fan_out as f64).sqrt()),
            Self::FanInRange { scale, power } => {
                let bound = scale / (fan_in as f64).powf(power);
                Init::Uniform {
                    lo: -bound,
                    up: bound,
                }
            }
            Self::Normal { std } => normal(std),
            Self::FanOutRange => {
                let bound = 1. / (fan_out as f64).sqrt();
                Init::Uniform {
                    lo: -bound,
                    up: bound,
                }
            }
        }
    }

    /// Initialisation of the biases.
    pub(super) fn bias(self, fan_in: usize) -> Init {
        match self {
            Self::Uniform | Self::KaimingFanIn | Self::Dirac => {
                let bound = 1. / (fan_in as f64).sqrt();
                Init::Uniform {
                    lo: -bound,
                    up: bound,
                }
            }
            Self::KaimingFanOut
            | Self::FanInRange { .. }
            | Self::Normal { .. }
            | Self::FanOutRange => Init::Const(0.),
        }
    }
}

/// Weight `(O, I, K, K)` of a convolution whose first output channels, at most `I`, are those that repeat the input channels:
/// `torch.nn.init.dirac_(weight[:I])`.
pub(super) fn dirac(weight: &Tensor) -> Result<Tensor> {
    let (outputs, inputs, rows, columns) = weight.dims4()?;
    let identities = outputs.min(inputs);
    let size = inputs * rows * columns;
    let mut values = vec![0f32; identities * size];
    for channel in 0..identities {
        values[channel * size + (channel * rows + rows / 2) * columns + columns / 2] = 1.;
    }
    let shape = (identities, inputs, rows, columns);
    let identity = Tensor::from_vec(values, shape, &Device::Cpu)?;
    let identity = identity
        .to_dtype(weight.dtype())?
        .to_device(weight.device())?;
    let rest = weight.narrow(0, identities, outputs - identities)?;
    Ok(Tensor::cat(&[&identity, &rest], 0)?)
}
