//! Sharpness-aware minimization.

use candle_core::{Tensor, Var};
use serde::{Deserialize, Serialize};

use crate::copies::Copies;
use crate::elements::{sum_of_squares, weighted_sum};
use crate::error::{Error, Result};
use crate::step::{StepInput, StepOutput, TrainStep};

/// Sharpness-aware minimization (Foret et al. 2020, arXiv 2010.01412): the gradients at the point of highest loss within a distance
/// `rho`, to first order. Each step has two forward and backward passes.
///
/// In TOML: `sam = { rho = 0.05 }`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct SamConfig {
    /// Distance, above 0; 0.05 by default.
    #[serde(default = "default_rho")]
    pub rho: f64,
    /// Distances relative to the size of each parameter, as ASAM (Kwon et al. 2021, arXiv 2102.11600); a `rho` of 0.5 to 2 suits it.
    #[serde(default)]
    pub adaptive: bool,
}

fn default_rho() -> f64 {
    0.05
}

impl Default for SamConfig {
    fn default() -> Self {
        Self {
            rho: default_rho(),
            adaptive: false,
        }
    }
}

impl SamConfig {
    /// Checks that the distance is finite and above 0.
    pub fn validate(&self) -> Result<()> {
        if self.rho.is_finite() && self.rho > 0.0 {
            return Ok(());
        }
        let message = format!("{} is not a finite number above 0", self.rho);
        Err(Error::config("sam.rho", message))
    }
}

/// Training step of [`SamConfig`] around another one.
///
/// Loss and logits are those of the first pass. Running statistics of batch norm are updated by the first pass only, so that they are
/// those of the weights and not of the point nearby. Dropout draws anew in the second.
pub struct Sam<'a> {
    config: SamConfig,
    parameters: Vec<(String, Var)>,
    inner: Box<dyn TrainStep + 'a>,
}

impl<'a> Sam<'a> {
    /// Step that moves these parameters, those that are trained, between two steps of `inner`.
    pub fn new(
        config: SamConfig,
        parameters: Vec<(String, Var)>,
        inner: impl TrainStep + 'a,
    ) -> Self {
        Self {
            config,
            parameters,
            inner: Box::new(inner),
        }
    }
}

impl TrainStep for Sam<'_> {
    fn step(&mut self, input: &StepInput) -> Result<StepOutput> {
        let first = self.inner.step(input)?;
        let adaptive = self.config.adaptive;
        let mut square = 0.0;
        let mut moves: Vec<(Var, Tensor)> = Vec::new();
        for (_, parameter) in &self.parameters {
            let Some(grad) = first.grads.get(parameter) else {
                continue;
            };
            let grad = grad.detach();
            let value = parameter.as_detached_tensor();
            if adaptive {
                square += sum_of_squares(&(&value * &grad)?)?;
                moves.push((parameter.clone(), (value.sqr()? * grad)?));
            } else {
                square += sum_of_squares(&grad)?;
                moves.push((parameter.clone(), grad));
            }
        }
        // The gradients of the first pass are no longer needed, except as directions.
        let StepOutput { loss, logits, .. } = first;
        let scale = self.config.rho / (square.sqrt() + 1e-12);
        let moved = moves.iter().map(|(var, _)| (String::new(), var.clone()));
        let before = Copies::of(moved)?;
        let buffers = Copies::of(input.store.buffers())?;
        for (parameter, direction) in &moves {
            let value = parameter.as_detached_tensor();
            parameter.set(&weighted_sum((&value, 1.0), (direction, scale))?)?;
        }
        drop(moves);
        let second = self.inner.step(input);
        before.restore()?;
        buffers.restore()?;
        Ok(StepOutput {
            loss,
            logits,
            grads: second?.grads,
        })
    }
}
