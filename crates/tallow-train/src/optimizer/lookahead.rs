use std::collections::HashMap;

use candle_core::backprop::GradStore;
use candle_core::{Device, Tensor, Var};
use serde::{Deserialize, Serialize};

use super::Optimizer;
use crate::error::{Error, Result};

/// Settings of [`Lookahead`], with timm's names and defaults.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct LookaheadConfig {
    /// Steps between two updates of the slow weights, at least 1.
    pub k: u64,
    /// Share of the way to the parameters that the slow weights go, in `[0, 1]`.
    pub alpha: f64,
    /// Power of the share of the run that has passed with which that share falls from 1 to `alpha`; 0 for a constant one.
    ///
    /// airbench94 has `k = 5`, `alpha = 0.2262190625` (1 - 0.95^5) and `power = 3`.
    #[serde(skip_serializing_if = "crate::unset::is_default")]
    pub power: f64,
}

impl Default for LookaheadConfig {
    fn default() -> Self {
        Self {
            k: 6,
            alpha: 0.5,
            power: 0.0,
        }
    }
}

impl LookaheadConfig {
    /// Checks the ranges of the settings.
    pub fn validate(&self) -> Result<()> {
        if self.k == 0 {
            return Err(Error::config("lookahead.k", "0, expected at least 1"));
        }
        if !(0.0..=1.0).contains(&self.alpha) {
            let message = format!("{} is not in [0, 1]", self.alpha);
            return Err(Error::config("lookahead.alpha", message));
        }
        crate::error::not_negative("lookahead.power", self.power)
    }
}

/// Lookahead (Zhang et al. 2019): slow weights that go a part of the way to the parameters every `k` steps, from where the optimizer goes
/// on. Around any optimizer.
///
/// The slow weights begin at the initial parameters, as in the paper; timm's begin at those after the first `k` steps. The state of the
/// optimizer goes on, as in timm. With a `power` above 0, the parameters are the slow weights after the last step, as in airbench94.
pub struct Lookahead<O> {
    optimizer: O,
    config: LookaheadConfig,
    slow: Vec<Slow>,
    /// Steps taken.
    steps: u64,
    /// Steps of the run, if known.
    total: Option<u64>,
}

struct Slow {
    name: String,
    param: Var,
    weights: Tensor,
}

const STEP: &str = "lookahead_step";

impl<O: Optimizer> Lookahead<O> {
    /// Lookahead around an optimizer of these named parameters.
    ///
    /// # Errors
    /// [`Error::Config`] when a setting is out of range.
    pub fn new(optimizer: O, params: Vec<(String, Var)>, config: LookaheadConfig) -> Result<Self> {
        config.validate()?;
        let slow = |(name, param): (String, Var)| {
            let weights = param.as_detached_tensor().copy()?;
            Ok(Slow {
                name,
                param,
                weights,
            })
        };
        Ok(Self {
            optimizer,
            config,
            slow: params.into_iter().map(slow).collect::<Result<_>>()?,
            steps: 0,
            total: None,
        })
    }

    /// Share of the way to the parameters after the steps so far.
    fn alpha(&self) -> Result<f64> {
        let LookaheadConfig { alpha, power, .. } = self.config;
        if power == 0.0 {
            return Ok(alpha);
        }
        let Some(total) = self.total else {
            return Err(Error::config(
                "lookahead.power",
                format!(
                    "{power}, but the number of steps is unknown: call `Optimizer::set_total_steps`"
                ),
            ));
        };
        let passed = self.steps as f64 / total as f64;
        Ok(1.0 - (1.0 - alpha) * passed.powf(power))
    }
}

impl<O: Optimizer> Optimizer for Lookahead<O> {
    fn step(&mut self, grads: &GradStore) -> Result<()> {
        self.optimizer.step(grads)?;
        self.steps += 1;
        if self.steps.is_multiple_of(self.config.k) {
            let alpha = self.alpha()?;
            for slow in &mut self.slow {
                let fast = slow.param.as_detached_tensor();
                let way = (fast - &slow.weights)?;
                slow.weights = (&slow.weights + (way * alpha)?)?;
                slow.param.set(&slow.weights)?;
            }
        } else if self.config.power > 0.0 && Some(self.steps) == self.total {
            for slow in &self.slow {
                slow.param.set(&slow.weights)?;
            }
        }
        Ok(())
    }

    fn lr(&self) -> f64 {
        self.optimizer.lr()
    }

    fn set_lr(&mut self, lr: f64) {
        self.optimizer.set_lr(lr);
    }

    fn momentum(&self) -> Option<f64> {
        self.optimizer.momentum()
    }

    fn set_momentum(&mut self, momentum: f64) {
        self.optimizer.set_momentum(momentum);
    }

    fn set_total_steps(&mut self, total: u64) {
        self.total = Some(total);
        self.optimizer.set_total_steps(total);
    }

    /// State of the optimizer, the slow weights as `<parameter>.lookahead_slow_buff`, and the number of steps.
    fn state_dict(&self) -> Result<Vec<(String, Tensor)>> {
        let mut tensors = self.optimizer.state_dict()?;
        for slow in &self.slow {
            let weights = slow.weights.to_device(&Device::Cpu)?;
            tensors.push((slow.key(), weights));
        }
        let steps = Tensor::new(self.steps as i64, &Device::Cpu)?;
        tensors.push((STEP.into(), steps));
        Ok(tensors)
    }

    fn load_state_dict(&mut self, tensors: &[(String, Tensor)]) -> Result<()> {
        let wrong = |message: String| Error::config("optimizer state", message);
        let keys: HashMap<String, usize> = self
            .slow
            .iter()
            .enumerate()
            .map(|(index, slow)| (slow.key(), index))
            .collect();
        let mut weights: Vec<Option<Tensor>> = vec![None; self.slow.len()];
        let mut steps = None;
        let mut rest = Vec::new();
        for (name, tensor) in tensors {
            if name == STEP {
                let found = tensor.to_scalar::<i64>()?;
                let found =
                    u64::try_from(found).map_err(|_| wrong(format!("{STEP} is {found}")))?;
                steps = Some(found);
            } else if let Some(&index) = keys.get(name) {
                let slow = &self.slow[index];
                if tensor.shape() != slow.param.shape() {
                    return Err(wrong(format!(
                        "{name} has shape {:?}, the parameter {:?}",
                        tensor.shape(),
                        slow.param.shape()
                    )));
                }
                let moved = tensor.to_device(slow.param.device())?;
                weights[index] = Some(moved.to_dtype(slow.param.dtype())?);
            } else {
                rest.push((name.clone(), tensor.clone()));
            }
        }
        let steps = steps.ok_or_else(|| wrong(format!("{STEP} is missing")))?;
        let missing = |slow: &Slow| wrong(format!("{} is missing", slow.key()));
        let weights = weights
            .into_iter()
            .zip(&self.slow)
            .map(|(weights, slow)| weights.ok_or_else(|| missing(slow)))
            .collect::<Result<Vec<_>>>()?;
        self.optimizer.load_state_dict(&rest)?;
        self.steps = steps;
        for (slow, weights) in self.slow.iter_mut().zip(weights) {
            slow.weights = weights;
        }
        Ok(())
    }
}

impl Slow {
    fn key(&self) -> String {
        format!("{}.lookahead_slow_buff", self.name)
    }
}
