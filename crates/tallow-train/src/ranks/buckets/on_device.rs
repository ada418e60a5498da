//! Values of a rank that stay in the memory of their device.

use std::collections::VecDeque;
use std::mem;
use std::sync::Arc;

use candle_core::{Tensor, Var};

use super::super::device_sums::{DeviceSum, DeviceSums};
use crate::error::Result;

/// Tensors of a device that are sent together.
pub(super) struct DeviceBucket {
    sums: Arc<dyn DeviceSums>,
    /// Vectors, in their order.
    parts: Vec<Tensor>,
    /// Values of all of them.
    len: usize,
    /// Values of a full bucket.
    full: usize,
}

impl DeviceBucket {
    pub fn new(sums: Arc<dyn DeviceSums>) -> Self {
        let full = (sums.bucket_bytes() / size_of::<f32>()).max(1);
        Self {
            sums,
            parts: Vec::new(),
            len: 0,
            full,
        }
    }

    /// Adds the values of a tensor, and passes the bucket on to `send` each time it is full.
    pub fn put(
        &mut self,
        tensor: &Tensor,
        mut send: impl FnMut(DeviceSum) -> Result<()>,
    ) -> Result<()> {
        let values = tensor.detach().flatten_all()?;
        let (mut from, count) = (0, values.elem_count());
        while from < count {
            let now = (count - from).min(self.full - self.len);
            self.parts.push(values.narrow(0, from, now)?);
            self.len += now;
            from += now;
            if self.len == self.full {
                send(self.begin()?)?;
            }
        }
        Ok(())
    }

    /// Sum of what is left, if there is something.
    pub fn finish(mut self) -> Result<Option<DeviceSum>> {
        match self.len {
            0 => Ok(None),
            _ => self.begin().map(Some),
        }
    }

    /// Begins the sum of what is in the bucket, and empties it. The values are copied: others may know of the memory of a gradient.
    fn begin(&mut self) -> Result<DeviceSum> {
        self.len = 0;
        let values = match mem::take(&mut self.parts).as_slice() {
            [part] => part.force_contiguous()?,
            parts => Tensor::cat(parts, 0)?,
        };
        self.sums.begin(values)
    }
}

/// Sums in the memory of a device, read in the order in which the values were put.
#[derive(Default)]
pub(super) struct DeviceStream {
    buckets: VecDeque<Tensor>,
    /// Values of the first bucket that were read.
    read: usize,
}

impl DeviceStream {
    /// Adds the sums of the next bucket.
    pub fn push(&mut self, sums: Tensor) {
        self.buckets.push_back(sums);
    }

    /// The next values as a tensor like `var`.
    pub fn take(&mut self, var: &Var) -> Result<Tensor> {
        let (mut left, mut parts) = (var.elem_count(), Vec::new());
        while left > 0
            && let Some(bucket) = self.buckets.front()
        {
            let len = bucket.elem_count();
            let now = left.min(len - self.read);
            parts.push(bucket.narrow(0, self.read, now)?);
            self.read += now;
            left -= now;
            if self.read == len {
                self.buckets.pop_front();
                self.read = 0;
            }
        }
        match parts.is_empty() {
            true => Ok(var.zeros_like()?),
            false => Ok(Tensor::cat(&parts, 0)?.reshape(var.shape())?),
        }
    }
}
