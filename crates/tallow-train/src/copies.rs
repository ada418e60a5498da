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

    /// Whether these copies have the bits of other ones of the same variables.
    pub fn have_bits_of(&self, others: &Self) -> candle_core::Result<bool> {
        for ((_, own), (_, other)) in self.0.iter().zip(&others.0) {
            if !same_bits(own, other)? {
                return Ok(false);
            }
        }
        Ok(self.0.len() == others.0.len())
    }
}

/// Whether two tensors have the same type, shape and bits.
pub(crate) fn same_bits(a: &Tensor, b: &Tensor) -> candle_core::Result<bool> {
    let bytes = |tensor: &Tensor| -> candle_core::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        tensor.write_bytes(&mut bytes)?;
        Ok(bytes)
    };
    Ok(a.dtype() == b.dtype() && a.shape() == b.shape() && bytes(a)? == bytes(b)?)
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    #[test]
    fn copies_are_compared_by_their_bits() {
        let of = |values: &[f32]| {
            let var = Var::new(values, &Device::Cpu).unwrap();
            let count = Var::new(&[3u32], &Device::Cpu).unwrap();
            Copies::of([("mean".to_string(), var), ("count".to_string(), count)]).unwrap()
        };
        let copies = of(&[0.5, f32::NAN]);
        assert!(copies.have_bits_of(&of(&[0.5, f32::NAN])).unwrap());
        let zero = of(&[0.0, 1.0]);
        for other in [&of(&[-0.0, 1.0]), &of(&[0.0, 1.5]), &Copies(Vec::new())] {
            assert!(!zero.have_bits_of(other).unwrap());
        }
    }
}
