use std::collections::BTreeMap;

use candle_core::backprop::GradStore;
use candle_core::{Tensor, Var};

use super::adam::AVERAGES;
use super::config::OptimizerConfig;
use super::params::Params;
use super::rule::{Groups, Member, members};
use super::{Optimizer, ParamRule};
use crate::error::{Error, Result};

/// Optimizer that [`OptimizerConfig`] names.
pub(super) struct BuiltIn {
    config: OptimizerConfig,
    pub(super) params: Params,
    /// Whether there is a momentum, which may be 0 for some steps.
    has_momentum: bool,
    /// Optimizer of the parameters that Muon does not take.
    others: Option<Box<BuiltIn>>,
}

impl BuiltIn {
    pub(super) fn new(config: OptimizerConfig, mut members: Vec<Member>) -> Result<Self> {
        use OptimizerConfig as C;
        let moments: &[&str] = match &config {
            C::Sgd(c) => c.moments(),
            C::Adam(c) => c.moments(),
            C::AdamW(c) => c.moments(),
            C::NAdam(_) | C::RAdam(_) | C::Lamb(_) => AVERAGES,
            C::RmsProp(c) => c.moments(),
            C::Lion(_) => &["exp_avg"],
            C::Lars(c) => c.moments(),
            C::Muon(_) => &["momentum_buffer"],
        };
        let mut others = None;
        if let C::Muon(muon) = &config {
            let (own, rest) = muon.split(members)?;
            members = own;
            if !rest.is_empty() {
                others = Some(Box::new(Self::new((*muon.others).clone(), rest)?));
            }
        }
        let mut params = Params::new(members, config.lr(), config.weight_decay(), moments);
        match config {
            C::NAdam(_) => params = params.keep_mu_product(),
            C::Muon(_) => params = params.use_tensors(),
            _ => {}
        }
        Ok(Self {
            params,
            has_momentum: config.keeps_momentum(),
            others,
            config,
        })
    }

    /// Updates the parameters that have a gradient, and tells whether there was any.
    fn update(&mut self, grads: &GradStore) -> Result<bool> {
        use OptimizerConfig as C;
        let params = &mut self.params;
        let mut found = match &self.config {
            C::Sgd(c) => params.step(grads, |at| c.update(at)),
            C::Adam(c) => params.step(grads, |at| c.update(at)),
            C::AdamW(c) => params.step(grads, |at| c.update(at)),
            C::NAdam(c) => params.step(grads, |at| c.update(at)),
            C::RAdam(c) => params.step(grads, |at| c.update(at)),
            C::RmsProp(c) => params.step(grads, |at| c.update(at)),
            C::Lion(c) => params.step(grads, |at| c.update(at)),
            C::Lars(c) => params.step(grads, |at| c.update(at)),
            C::Lamb(c) => {
                let clip = c.clip(params.gradients(grads))?;
                params.step(grads, |at| c.update(at, clip))
            }
            C::Muon(c) => params.step_tensors(grads, |at, param, grad, state| {
                c.step(at, param, grad, state)
            }),
        }?;
        if let Some(others) = &mut self.others {
            found |= others.update(grads)?;
        }
        Ok(found)
    }
}

impl Optimizer for BuiltIn {
    fn step(&mut self, grads: &GradStore) -> Result<()> {
        match self.update(grads)? {
            true => Ok(()),
            false => Err(Error::NoGradients),
        }
    }

    fn lr(&self) -> f64 {
        self.params.lr
    }

    fn set_lr(&mut self, lr: f64) {
        self.params.lr = lr;
        if let Some(others) = &mut self.others {
            // `config` has the rates before any schedule.
            let factor = match self.config.lr() {
                0.0 => 0.0,
                base => lr / base,
            };
            others.set_lr(others.config.lr() * factor);
        }
    }

    fn momentum(&self) -> Option<f64> {
        self.has_momentum.then(|| self.config.momentum())
    }

    fn set_momentum(&mut self, momentum: f64) {
        if self.has_momentum {
            self.config.set_momentum(momentum);
        }
    }

    fn state_dict(&self) -> Result<Vec<(String, Tensor)>> {
        let mut tensors = self.params.state_dict()?;
        if let Some(others) = &self.others {
            tensors.extend(others.state_dict()?);
        }
        Ok(tensors)
    }

    fn load_state_dict(&mut self, tensors: &[(String, Tensor)]) -> Result<()> {
        let state = match &mut self.others {
            None => self.params.check_state(tensors)?,
            Some(others) => {
                let names = self.params.state_names();
                let (own, rest): (Vec<_>, Vec<_>) =
                    (tensors.iter().cloned()).partition(|(name, _)| names.contains(name));
                let state = self.params.check_state(&own)?;
                others.load_state_dict(&rest)?;
                state
            }
        };
        self.params.accept(state);
        Ok(())
    }
}

impl OptimizerConfig {
    /// The optimizer of these named parameters, all with the same settings.
    ///
    /// # Errors
    /// As [`build_with_rules`](Self::build_with_rules).
    pub fn build(&self, params: Vec<(String, Var)>) -> Result<Box<dyn Optimizer>> {
        self.build_with_rules(params, &[])
    }

    /// The optimizer of these named parameters, with other learning rates and weight decays for some of them.
    ///
    /// # Errors
    /// [`Error::Config`] when a setting is out of range, or when a rule matches no parameter, as after a typing mistake.
    /// [`Error::NoParameters`] when there is none.
    pub fn build_with_rules(
        &self,
        params: Vec<(String, Var)>,
        rules: &[ParamRule],
    ) -> Result<Box<dyn Optimizer>> {
        let groups = Groups {
            rules,
            decay_norm_and_bias: true,
            lr_scales: &BTreeMap::new(),
        };
        self.build_with_groups(params, &groups)
    }

    /// [`build_with_rules`](Self::build_with_rules), with all settings that differ between parameters.
    pub(crate) fn build_with_groups(
        &self,
        params: Vec<(String, Var)>,
        groups: &Groups,
    ) -> Result<Box<dyn Optimizer>> {
        self.validate()?;
        let members = members(params, groups)?;
        Ok(Box::new(self.build_members(members)?))
    }

    pub(super) fn build_members(&self, members: Vec<Member>) -> Result<BuiltIn> {
        if members.is_empty() {
            return Err(Error::NoParameters);
        }
        BuiltIn::new(self.clone(), members)
    }
}
