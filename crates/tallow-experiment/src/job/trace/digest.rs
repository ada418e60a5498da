//! Digest of tensors and indices.

use candle_core::{DType, Device, Tensor};
use sha2::{Digest as _, Sha256};
use tallow_regress::Entry;

/// SHA-256 of all that was added.
#[derive(Clone, Default)]
pub(super) struct Digest(Sha256);

impl Digest {
    /// Adds a text, with its length.
    pub fn text(&mut self, text: &str) {
        self.indices(&[text.len()]);
        self.0.update(text);
    }

    /// Adds indices.
    pub fn indices(&mut self, indices: &[usize]) {
        for &index in indices {
            self.0.update((index as u64).to_le_bytes());
        }
    }

    /// Adds the shape and the values of a tensor, to the bit.
    pub fn tensor(&mut self, tensor: &Tensor) -> candle_core::Result<()> {
        self.indices(tensor.dims());
        let tensor = tensor.detach().flatten_all()?.to_device(&Device::Cpu)?;
        let bytes = match tensor.dtype() {
            DType::U32 => bytes(&tensor.to_vec1()?, u32::to_le_bytes),
            DType::I64 => bytes(&tensor.to_vec1()?, i64::to_le_bytes),
            DType::F64 => bytes(&tensor.to_vec1()?, f64::to_le_bytes),
            // Every value of the smaller types is one of f32.
            _ => bytes(&tensor.to_dtype(DType::F32)?.to_vec1()?, f32::to_le_bytes),
        };
        self.0.update(&bytes);
        Ok(())
    }

    /// In hexadecimal digits.
    pub fn hex(&self) -> String {
        format!("{:x}", self.0.clone().finalize())
    }

    /// Entry of a trace.
    pub fn entry(&self) -> Entry {
        Entry::Text(self.hex())
    }
}

fn bytes<T: Copy, const N: usize>(values: &[T], of: impl Fn(T) -> [u8; N]) -> Vec<u8> {
    let mut bytes = vec![0; N * values.len()];
    for (bytes, &value) in bytes.chunks_exact_mut(N).zip(values) {
        bytes.copy_from_slice(&of(value));
    }
    bytes
}
