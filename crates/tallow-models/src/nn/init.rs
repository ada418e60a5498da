use tallow_ops::Init;

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
}

impl WeightInit {
    /// Initialisation of the weights. `fan_in` is the number of inputs of one output, `fan_out` the number of outputs of one input.
    pub(super) fn weight(self, fan_in: usize, fan_out: usize) -> Init {
        let normal = |std| Init::Normal { mean: 0., std };
        match self {
            Self::Uniform => Init::KaimingUniform {
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
        }
    }

    /// Initialisation of the biases.
    pub(super) fn bias(self, fan_in: usize) -> Init {
        match self {
            Self::Uniform | Self::KaimingFanIn => {
                let bound = 1. / (fan_in as f64).sqrt();
                Init::Uniform {
                    lo: -bound,
                    up: bound,
                }
            }
            Self::KaimingFanOut | Self::FanInRange { .. } | Self::Normal { .. } => Init::Const(0.),
        }
    }
}
