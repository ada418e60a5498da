//! Values of a rank in buckets, each of which is sent when it is full.

mod on_device;

use std::collections::VecDeque;
use std::mem;
use std::sync::Arc;

use candle_core::{DType, Device, Tensor, Var};

use self::on_device::{DeviceBucket, DeviceStream};
use super::device_sums::DeviceSums;
use super::link::{Bucket, Link, Sums};
use crate::elements::slice;
use crate::error::{Error, Result};

/// Stream of the values of a rank. It is cut into buckets, which does not change the sums of the values.
pub(super) struct Buckets {
    /// Bytes of a full bucket.
    bytes: usize,
    f32: Vec<f32>,
    /// Values of every other type: exact for integers too, which only buffers have.
    f64: Vec<f64>,
    /// Tensors of `f32`, where there are sums in the memory of their device. Otherwise they are copied to the host.
    device: Option<DeviceBucket>,
    link: Link,
}

impl Buckets {
    /// Buckets of at most so many bytes; one value if that is more. Tensors stay on their device if it has sums.
    pub fn new(link: Link, bytes: usize, device: Option<Arc<dyn DeviceSums>>) -> Self {
        Self {
            bytes,
            f32: Vec::new(),
            f64: Vec::new(),
            device: device.map(DeviceBucket::new),
            link,
        }
    }

    pub fn put_f32(&mut self, values: &[f32]) -> Result<()> {
        let full = (self.bytes / size_of::<f32>()).max(1);
        let (bucket, link) = (&mut self.f32, &mut self.link);
        fill(bucket, full, values, |bucket| {
            link.send(Bucket::F32(bucket))
        })
    }

    pub fn put_f64(&mut self, values: &[f64]) -> Result<()> {
        let full = (self.bytes / size_of::<f64>()).max(1);
        let (bucket, link) = (&mut self.f64, &mut self.link);
        fill(bucket, full, values, |bucket| {
            link.send(Bucket::F64(bucket))
        })
    }

    /// Gradient or value of a variable, which is called `name` in messages.
    pub fn put_tensor(&mut self, name: &str, var: &Var, tensor: &Tensor) -> Result<()> {
        if tensor.shape() != var.shape() {
            return Err(Error::GradientShape {
                name: name.to_string(),
                expected: var.shape().clone(),
                found: tensor.shape().clone(),
            });
        }
        if tensor.dtype() != var.dtype() {
            return Err(Error::GradientType {
                name: name.to_string(),
                expected: var.dtype(),
                found: tensor.dtype(),
            });
        }
        if var.dtype() == DType::F32 && self.device.is_some() {
            return self.put_on_device(tensor);
        }
        let tensor = tensor.detach().to_device(&Device::Cpu)?;
        match var.dtype() {
            DType::F32 => slice(&tensor, |values: &[f32]| self.put_f32(values))?,
            _ => {
                let wide = tensor.to_dtype(DType::F64)?;
                slice(&wide, |values: &[f64]| self.put_f64(values))?
            }
        }
    }

    fn put_on_device(&mut self, tensor: &Tensor) -> Result<()> {
        let (bucket, link) = (&mut self.device, &mut self.link);
        match bucket {
            Some(bucket) => bucket.put(tensor, |sum| link.send(Bucket::Device(sum))),
            None => Ok(()),
        }
    }

    /// As many values as `var` has.
    pub fn put_constant(&mut self, var: &Var, value: f64) -> Result<()> {
        let count = var.elem_count();
        match var.dtype() {
            // A device has no memory of no values.
            DType::F32 if self.device.is_some() && count > 0 => {
                self.put_on_device(&Tensor::full(value as f32, count, var.device())?)
            }
            DType::F32 => self.put_f32(&vec![value as f32; count]),
            _ => self.put_f64(&vec![value; count]),
        }
    }

    /// Sums over the ranks. Waits for them.
    pub fn finish(self) -> Result<Added> {
        let mut last = Vec::new();
        let mut added = Added::default();
        if let Some(bucket) = self.device {
            last.extend(bucket.finish()?.map(Bucket::Device));
            added.device = Some(DeviceStream::default());
        }
        if !self.f32.is_empty() {
            last.push(Bucket::F32(self.f32));
        }
        if !self.f64.is_empty() {
            last.push(Bucket::F64(self.f64));
        }
        for sums in self.link.finish(last)? {
            match (sums, &mut added.device) {
                (Sums::F32(values), _) => added.f32.buckets.push_back(values),
                (Sums::F64(values), _) => added.f64.buckets.push_back(values),
                (Sums::Device(values), Some(stream)) => stream.push(values),
                (Sums::Device(_), None) => {}
            }
        }
        Ok(added)
    }
}

/// Adds values to a bucket, and passes it on to `send` each time it has `full` of them.
fn fill<T: Copy>(
    bucket: &mut Vec<T>,
    full: usize,
    mut values: &[T],
    mut send: impl FnMut(Vec<T>) -> Result<()>,
) -> Result<()> {
    while !values.is_empty() {
        let (now, later) = values.split_at(values.len().min(full - bucket.len()));
        bucket.extend_from_slice(now);
        values = later;
        if bucket.len() == full {
            send(mem::take(bucket))?;
        }
    }
    Ok(())
}

/// Sums over the ranks, read in the order in which the values were put.
#[derive(Default)]
pub(super) struct Added {
    f32: Stream<f32>,
    f64: Stream<f64>,
    /// Tensors of `f32`, if they have stayed on their device.
    device: Option<DeviceStream>,
}

impl Added {
    pub fn take_f32(&mut self, count: usize) -> Vec<f32> {
        self.f32.take(count)
    }

    pub fn take_f64(&mut self, count: usize) -> Vec<f64> {
        self.f64.take(count)
    }

    /// Tensor like `var`.
    pub fn take_tensor(&mut self, var: &Var) -> Result<Tensor> {
        let (count, shape) = (var.elem_count(), var.shape());
        Ok(match (var.dtype(), &mut self.device) {
            (DType::F32, Some(stream)) => stream.take(var)?,
            (DType::F32, None) => Tensor::from_vec(self.take_f32(count), shape, var.device())?,
            (dtype, _) => {
                let wide = Tensor::from_vec(self.take_f64(count), shape, &Device::Cpu)?;
                wide.to_dtype(dtype)?.to_device(var.device())?
            }
        })
    }
}

/// Values in buckets, read as one.
#[derive(Default)]
struct Stream<T> {
    buckets: VecDeque<Vec<T>>,
    /// Values of the first bucket that were read.
    read: usize,
}

impl<T: Copy> Stream<T> {
    /// The next values; fewer at the end.
    fn take(&mut self, count: usize) -> Vec<T> {
        let mut values = Vec::with_capacity(count);
        while values.len() < count
            && let Some(bucket) = self.buckets.front()
        {
            let end = bucket.len().min(self.read + count - values.len());
            values.extend_from_slice(&bucket[self.read..end]);
            self.read = end;
            if end == bucket.len() {
                self.buckets.pop_front();
                self.read = 0;
            }
        }
        values
    }
}
