//! Batches of an epoch, for training and evaluation, on the device of the parameters.

use candle_core::Tensor;
use tallow_datasets::DataLoader;
use tallow_ops::ParamStore;

use crate::batch::to_store;
use crate::error::Result;

/// Batches of a loader on the device of the parameters.
///
/// A CUDA device that has room for the data set gets it once, and makes the images itself of what the transforms draw: it computes the same
/// bits, and nothing but a few numbers of each image is copied in a step. Copying the images would make the host wait for the device.
pub(crate) struct Input<'a> {
    loader: DataLoader,
    store: &'a ParamStore,
    #[cfg(feature = "cuda")]
    set: Option<std::cell::RefCell<tallow_cuda::ops::images::Images>>,
}

impl<'a> Input<'a> {
    /// Batches of `loader` for the parameters of `store`.
    pub fn new(loader: DataLoader, store: &'a ParamStore) -> Result<Self> {
        Ok(Self {
            #[cfg(feature = "cuda")]
            set: device::upload(&loader, store)?.map(std::cell::RefCell::new),
            loader,
            store,
        })
    }

    /// The loader.
    pub fn loader(&self) -> &DataLoader {
        &self.loader
    }

    /// Images, in the type of the parameters, and labels of each batch of an epoch, from batch `first` on.
    pub fn epoch_from(
        &self,
        epoch: u64,
        first: usize,
    ) -> Box<dyn Iterator<Item = Result<(Tensor, Tensor)>> + '_> {
        #[cfg(feature = "cuda")]
        if let Some(set) = &self.set
            && let Some(batches) = self.loader.arranged_from(epoch, first)
        {
            return Box::new(batches.map(|batch| device::make(&mut set.borrow_mut(), &batch?)));
        }
        let batches = self.loader.epoch_from(epoch, first);
        Box::new(batches.map(|batch| Ok(to_store(&batch?, self.store)?)))
    }
}

#[cfg(feature = "cuda")]
mod device {
    use candle_core::op::BackpropOp;
    use candle_core::{DType, Device, Tensor};
    use tallow_cuda::ops::images::{Drawn, Images};
    use tallow_datasets::{ArrangedBatch, DataLoader};
    use tallow_ops::ParamStore;

    use crate::error::Result;

    /// Most bytes of a data set that a device gets.
    const MOST: usize = 2 << 30;

    /// Share of the free memory of a device that a data set may take.
    const SHARE: usize = 4;

    /// The data set of a loader on the device of the parameters; `None` where its images are made on the host.
    pub(super) fn upload(loader: &DataLoader, store: &ParamStore) -> Result<Option<Images>> {
        let Device::Cuda(device) = store.device() else {
            return Ok(None);
        };
        let set = loader.dataset();
        let (Some(shape), Some(tables)) = (set.shape(), loader.transform().tables()) else {
            return Ok(None);
        };
        let size = shape.0 * shape.1 * shape.2;
        let bytes = size.saturating_mul(set.len());
        // A data set that is streamed does not fit into memory at all.
        if store.dtype() != DType::F32 || set.blocks().is_some() || !(1..=MOST).contains(&bytes) {
            return Ok(None);
        }
        let free = tallow_cuda::memory::free(device).map_err(candle_core::Error::from)?;
        if bytes > free / SHARE {
            return Ok(None);
        }
        let (mut pixels, mut labels) = (Vec::with_capacity(bytes), Vec::with_capacity(set.len()));
        let mut scratch = Vec::new();
        for index in 0..set.len() {
            let image = set.image(index, &mut scratch)?;
            if image.shape() != shape {
                // Not what the data set says: the loader finds out, and says which it is.
                return Ok(None);
            }
            pixels.extend_from_slice(image.data);
            labels.push(set.label(index)?);
        }
        match Images::upload(device, shape, &pixels, &labels, tables) {
            Ok(images) => Ok(Some(images)),
            Err(error) => {
                tracing::warn!("the images of each batch are copied to the device: {error}");
                Ok(None)
            }
        }
    }

    /// Images and labels of a batch.
    pub(super) fn make(set: &mut Images, batch: &ArrangedBatch) -> Result<(Tensor, Tensor)> {
        let drawn = Drawn {
            indices: &batch.indices,
            rows: &batch.rows,
            columns: &batch.columns,
            fills: &batch.fills,
        };
        let (images, labels, shape) = set.batch(&drawn).map_err(candle_core::Error::from)?;
        let [n, c, h, w] = shape;
        let tensor = |storage, shape: candle_core::Shape| {
            Tensor::from_storage(storage, shape, BackpropOp::none(), false)
        };
        Ok((
            tensor(images, (n, c, h, w).into()),
            tensor(labels, n.into()),
        ))
    }
}
