//! Copies of variables, to set them back.

use candle_core::{Tensor, Var};

/// Copies of variables: of parameters, or of buffers such as the running statistics of batch norm.
pub(crate) struct Copies(Vec<(Var, Tensor)>);

impl Copies {
    /// Copies of these variables.
    pub fn of(vars: impl IntoIterator<Item = (String, Var)>) -> candle_core::Result<Self> {
        let copies = vars.into_iter().map(|(_, var)| {
            let copy = var.as_detached_tensor().copy()?;
            Ok((var, copy))
        });
        Ok(Self(copies.collect::<candle_core::Result<_>>()?))
    }

    /// Sets the variables back.
    pub fn restore(&self) -> candle_core::Result<()> {
        self.0.iter().try_for_each(|(var, copy)| var.set(copy))
    }
}
