//! State of a model, to be restored after something was tried on it.

use tallow_ops::{GeneratorState, ParamStore};

use crate::copies::Copies;
use crate::error::Result;

/// Copy of the parameters, buffers and generator of a store.
pub(crate) struct Snapshot {
    vars: Copies,
    generator: GeneratorState,
}

impl Snapshot {
    pub fn of(store: &ParamStore) -> Result<Self> {
        Ok(Self {
            vars: Copies::of(store.parameters().into_iter().chain(store.buffers()))?,
            generator: store.generator().state(),
        })
    }

    pub fn restore(&self, store: &ParamStore) -> Result<()> {
        self.vars.restore()?;
        store.generator().set_state(&self.generator);
        Ok(())
    }
}
