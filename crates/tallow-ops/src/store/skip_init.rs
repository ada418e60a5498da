//! Stores whose random values are left out, for weights that are loaded.

use std::sync::PoisonError;

use candle_core::{DType, Device};

use super::ParamStore;
use crate::error::{Error, Result};

impl ParamStore {
    /// Empty store that does not draw initial values, as `torch.nn.utils.skip_init`: for a model whose weights are loaded.
    ///
    /// Parameters and buffers for which [`new`](Self::new) would draw random numbers are uninitialized: they are zeros until they are
    /// loaded, or drawn by [`init_missing`](Self::init_missing). Constants are set as ever. The memory of zeros on the CPU is supplied by
    /// the system when it is first written, so that a large model is made at once.
    ///
    /// The generator moves on as if it had drawn them. So whatever is drawn from it afterwards, such as the masks of dropout, has the bits
    /// that it has in a store by [`new`](Self::new) with the same seed.
    ///
    /// Only loading and drawing count as initialization, and `Var::set` does not. A layer that computes its initial values itself
    /// makes the parameter with [`Init::Const`](crate::Init::Const) and sets it, and is complete at once.
    ///
    /// ```
    /// use candle_core::{DType, Device};
    /// use tallow_ops::{Init, ParamStore};
    ///
    /// let model = |store: ParamStore| {
    ///     let normal = Init::Normal { mean: 0., std: 0.1 };
    ///     store.root().pp("fc").param("weight", (10, 64), normal)?;
    ///     store.root().pp("fc").param("bias", 10, Init::Const(0.))?;
    ///     Ok::<_, tallow_ops::Error>(store)
    /// };
    /// let trained = model(ParamStore::new(DType::F32, &Device::Cpu, 0))?;
    ///
    /// let store = model(ParamStore::skip_init(DType::F32, &Device::Cpu, 0))?;
    /// let error = store.state_dict().unwrap_err().to_string();
    /// assert!(error.contains("fc.weight"));
    /// store.load_state_dict(&trained.state_dict()?, true)?;
    /// assert_eq!(store.state_dict()?.len(), 2);
    /// # Ok::<(), tallow_ops::Error>(())
    /// ```
    pub fn skip_init(dtype: DType, device: &Device, seed: u64) -> Self {
        Self {
            skips_init: true,
            ..Self::new(dtype, device, seed)
        }
    }

    /// Draws the parameters and buffers that are uninitialized, in place, with the bits that they have in a store by [`new`](Self::new)
    /// with the same seed. The generator does not move.
    ///
    /// # Errors
    /// As [`Init::tensor`](crate::Init::tensor), on devices without room.
    pub fn init_missing(&self) -> Result<()> {
        for (index, entry) in self.entries().iter().enumerate() {
            if let Some(skipped) = &entry.skipped {
                let var = &entry.var;
                var.set(&skipped.tensor(var.shape(), var.dtype(), var.device())?)?;
                self.mark_initialized(index);
            }
        }
        Ok(())
    }

    /// Checks that all parameters and buffers have values.
    ///
    /// # Errors
    /// [`Error::Uninitialized`] when the store is one by [`skip_init`](Self::skip_init) and has parameters that were neither loaded nor
    /// drawn.
    pub fn check_initialized(&self) -> Result<()> {
        // Models ask before each forward pass.
        if !self.skips_init {
            return Ok(());
        }
        let entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let missing = entries.iter().filter(|entry| entry.skipped.is_some());
        let names: Vec<String> = missing.map(|entry| entry.name.clone()).collect();
        match names.is_empty() {
            true => Ok(()),
            false => Err(Error::Uninitialized { names }),
        }
    }

    /// Notes that the variable at this place of the list has values. Places do not change: the list only grows.
    pub(super) fn mark_initialized(&self, index: usize) {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(entry) = entries.get_mut(index) {
            entry.skipped = None;
        }
    }
}
