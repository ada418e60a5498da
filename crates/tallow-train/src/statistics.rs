//! Running statistics of batch norm over all training data.

use candle_nn::ModuleT;
use tallow_datasets::DataLoader;
use tallow_ops::{ParamStore, no_grad, with_running_momentum};

use crate::batch::to_store;
use crate::error::Result;

/// Computes the running statistics of batch norm anew, as
/// [`torch.optim.swa_utils.update_bn`](https://docs.pytorch.org/docs/stable/generated/torch.optim.swa_utils.update_bn.html): for weights
/// that were averaged, whose statistics are not those of any weights that were trained.
///
/// The model runs in training mode on all batches of `epoch` of `loader`; the statistics become the means of those of the batches.
/// Batch norm of this project only: that of candle-nn moves by its momentum. The generator of dropout is set back. Without buffers
/// nothing is run.
///
/// # Errors
/// Errors of the loader and of the model.
pub fn update_batch_norm(
    model: &dyn ModuleT,
    store: &ParamStore,
    loader: &DataLoader,
    epoch: usize,
) -> Result<()> {
    if store.buffers().is_empty() {
        return Ok(());
    }
    let generator = store.generator();
    let state = generator.state();
    for (done, batch) in loader.epoch(epoch as u64).enumerate() {
        let (images, _) = to_store(&batch?, store)?;
        let momentum = 1.0 / (done + 1) as f64;
        with_running_momentum(momentum, || no_grad(|| model.forward_t(&images, true)))?;
    }
    generator.set_state(&state);
    Ok(())
}
