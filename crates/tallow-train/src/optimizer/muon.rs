//! Orthogonalized momentum: which parameters it takes, and its step.

use candle_core::{Tensor, Var};

use super::config::{MuonConfig, OptimizerConfig};
use super::newton_schulz::orthogonalize;
use super::norm::norm;
use super::params::Settings;
use super::rule::Member;
use super::update::{Moments, lerp, previous};
use crate::error::{Error, Result, not_negative};
use crate::freeze::freezes;

impl MuonConfig {
    pub(super) fn validate(&self) -> Result<()> {
        let wrong = |setting, message: String| Err(Error::config(setting, message));
        not_negative("optimizer.eps", self.eps)?;
        if !(0.0..1.0).contains(&self.momentum) {
            let message = format!("{} is not in [0, 1)", self.momentum);
            return wrong("optimizer.momentum", message);
        }
        let (a, b, c) = self.ns_coefficients;
        if ![a, b, c].into_iter().all(f64::is_finite) {
            return wrong(
                "optimizer.ns_coefficients",
                format!("{a}, {b}, {c}: expected three finite numbers"),
            );
        }
        if self.ns_steps >= 100 {
            let message = format!("{}, expected fewer than 100", self.ns_steps);
            return wrong("optimizer.ns_steps", message);
        }
        if self.min_dims < 2 {
            let message = format!("{}, but Muon needs matrices: at least 2", self.min_dims);
            return wrong("optimizer.min_dims", message);
        }
        if matches!(*self.others, OptimizerConfig::Muon(_)) {
            return wrong(
                "optimizer.others",
                "muon cannot take the parameters that are no matrices: use sgd, adamw or another"
                    .into(),
            );
        }
        if self.lr == 0.0 && self.others.lr() != 0.0 {
            return wrong(
                "optimizer.lr",
                "0, so that the rate of `others` cannot follow it through a schedule; freeze the filters instead, or set \
                 `others.lr` to 0 too"
                    .into(),
            );
        }
        self.others.validate()
    }

    /// Parameters of Muon, and those of `others`.
    pub(super) fn split(&self, members: Vec<Member>) -> Result<(Vec<Member>, Vec<Member>)> {
        for pattern in &self.exclude {
            if !members.iter().any(|member| freezes(pattern, &member.name)) {
                let message = format!("`{pattern}` matches no parameter");
                return Err(Error::config("optimizer.exclude", message));
            }
        }
        let (own, others): (Vec<_>, Vec<_>) = members
            .into_iter()
            .partition(|member| self.takes(&member.name, &member.var));
        if own.is_empty() {
            return Err(Error::config(
                "optimizer.min_dims",
                format!(
                    "no parameter is left for Muon: none that `exclude` does not name has at least {} dimensions, the first two above 1; \
                     lower `min_dims`, or use another optimizer",
                    self.min_dims
                ),
            ));
        }
        Ok((own, others))
    }

    fn takes(&self, name: &str, var: &Var) -> bool {
        let dims = var.dims();
        dims.len() >= self.min_dims
            && dims[..2].iter().all(|&dim| dim > 1)
            && !self.exclude.iter().any(|pattern| freezes(pattern, name))
    }

    /// Updates the momentum, and returns the new parameter.
    pub(super) fn step(
        &self,
        at: &Settings,
        param: &Tensor,
        grad: &Tensor,
        state: &mut Moments<Option<Tensor>>,
    ) -> candle_core::Result<Tensor> {
        let average = lerp(&previous(&state[0], param)?, grad, 1.0 - self.momentum)?;
        let direction = match self.nesterov {
            true => lerp(grad, &average, self.momentum)?,
            false => average.clone(),
        };
        state[0] = Some(average);
        let matrix = direction.flatten_from(1)?;
        let (rows, columns) = matrix.dims2()?;
        let step = orthogonalize(&matrix, self.ns_coefficients, self.ns_steps, self.eps)?
            .reshape(param.shape())?;
        let mut keep = 1.0 - at.lr * at.weight_decay;
        if self.normalize_weights {
            let norm = norm(param)?;
            // Nothing can scale zeros.
            if norm > 0.0 {
                keep *= (rows as f64).sqrt() / norm;
            }
        }
        let size = at.lr * self.adjust_lr_fn.factor(rows, columns);
        (param * keep)? - (step * size)?
    }
}
