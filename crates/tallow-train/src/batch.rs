//! Batches on the device of the parameters.

use candle_core::{Device, Tensor};
use tallow_datasets::Batch;
use tallow_ops::ParamStore;

/// Images and labels on the device of the parameters, the images in their type.
pub(crate) fn to_store(batch: &Batch, store: &ParamStore) -> candle_core::Result<(Tensor, Tensor)> {
    let device: &Device = match batch.labels.elem_count() {
        // Of a rank without samples of a small last batch: a GPU has no memory of no bytes.
        0 => &Device::Cpu,
        _ => store.device(),
    };
    let images = batch.images.to_device(device)?.to_dtype(store.dtype())?;
    Ok((images, batch.labels.to_device(device)?))
}
