//! State of a model, to be restored after something was tried on it.

use candle_core::{Tensor, Var};
use tallow_ops::{GeneratorState, ParamStore};

use crate::error::Result;

/// Copy of the parameters, buffers and generator of a store.
pub(crate) struct Snapshot {
    vars: Vec<(Var, Tensor)>,
    generator: GeneratorState,
}

impl Snapshot {
    pub fn of(store: &ParamStore) -> Result<Self> {
        let vars = store.parameters().into_iter().chain(store.buffers());
        let vars = vars.map(|(_, var)| {
            let copy = var.as_detached_tensor().copy()?;
            Ok((var, copy))
        });
        Ok(Self {
            vars: vars.collect::<candle_core::Result<_>>()?,
            generator: store.generator().state(),
        })
    }

    pub fn restore(&self, store: &ParamStore) -> Result<()> {
        for (var, value) in &self.vars {
            var.set(value)?;
        }
        store.generator().set_state(&self.generator);
        Ok(())
    }
}
