use crate::error::{Error, Result};
use crate::proto::TensorProto;
use crate::value::ElementType;

/// Constant array of a graph: weights, or settings that an operator takes as input.
#[derive(Clone, Debug, PartialEq)]
pub struct Array {
    kind: ElementType,
    dims: Vec<usize>,
    /// Little-endian values.
    bytes: Vec<u8>,
}

impl Array {
    /// Array of 32-bit floats in row-major order.
    ///
    /// # Errors
    /// [`Error::Array`] when the number of values is not the product of the sizes.
    pub fn f32(dims: &[usize], values: &[f32]) -> Result<Self> {
        check(dims, values.len())?;
        Ok(Self {
            kind: ElementType::F32,
            dims: dims.to_vec(),
            bytes: values
                .iter()
                .flat_map(|value| value.to_le_bytes())
                .collect(),
        })
    }

    /// One 32-bit float without axes.
    pub fn scalar(value: f32) -> Self {
        Self {
            kind: ElementType::F32,
            dims: Vec::new(),
            bytes: value.to_le_bytes().to_vec(),
        }
    }

    /// Row of 64-bit integers: a shape, axes, or indices.
    pub fn integers(values: impl IntoIterator<Item = i64>) -> Self {
        let bytes: Vec<u8> = values.into_iter().flat_map(i64::to_le_bytes).collect();
        Self {
            kind: ElementType::I64,
            dims: vec![bytes.len() / 8],
            bytes,
        }
    }

    /// The same values in another shape.
    ///
    /// # Errors
    /// [`Error::Array`] when the number of values is not the product of the sizes.
    pub fn reshaped(mut self, dims: &[usize]) -> Result<Self> {
        check(dims, self.dims.iter().product())?;
        self.dims = dims.to_vec();
        Ok(self)
    }

    pub(crate) fn into_proto(self, name: &str) -> TensorProto {
        TensorProto {
            dims: self.dims.iter().map(|n| *n as i64).collect(),
            data_type: Some(self.kind.code()),
            name: Some(name.into()),
            raw_data: Some(self.bytes),
        }
    }

    /// Whether it has the content of an array that is in a graph already.
    pub(crate) fn is(&self, known: &TensorProto) -> bool {
        known.data_type == Some(self.kind.code())
            && known.raw_data.as_ref() == Some(&self.bytes)
            && known
                .dims
                .iter()
                .map(|n| *n as usize)
                .eq(self.dims.iter().copied())
    }
}

fn check(dims: &[usize], values: usize) -> Result<()> {
    let product = dims
        .iter()
        .try_fold(1usize, |product, n| product.checked_mul(*n));
    if product == Some(values) {
        return Ok(());
    }
    Err(Error::Array {
        dims: dims.to_vec(),
        values,
    })
}
