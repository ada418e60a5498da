//! Changes between `f32` and `bf16`.

use candle_core::CudaStorage;
use half::bf16;

use super::counted;
use crate::call::{Address, Numbers};
use crate::calls::convert as calls;
use crate::engine::{Engine, Memory};
use crate::error::Result;
use crate::view::View;

const OP: &str = "convert";

/// `x` as the other type.
pub fn convert(x: View) -> Result<CudaStorage> {
    let engine = Engine::of(x.device())?;
    let to = match x.kind() {
        Numbers::F32 => Numbers::Bf16,
        Numbers::Bf16 => Numbers::F32,
    };
    let count = counted(OP, x.len())?;
    let y = engine.values(to, x.len())?;
    let call = calls::convert(x.kind(), x.address(), y.address(), count);
    // SAFETY: both have as many numbers as are counted.
    unsafe { engine.launch(&call)? };
    Ok(engine.storage_of(y))
}

/// `bf16` for a product: a view that has them already, or a copy.
pub(crate) struct Narrow<'a> {
    address: Address,
    _view: Option<View<'a>>,
    copy: Option<Memory<bf16>>,
}

impl<'a> Narrow<'a> {
    /// Of either type.
    pub(crate) fn of(engine: &Engine, x: View<'a>) -> Result<Self> {
        if x.kind() == Numbers::Bf16 {
            return Ok(Self {
                address: x.address(),
                _view: Some(x),
                copy: None,
            });
        }
        let copy = copy(engine, x)?;
        Ok(Self {
            address: copy.address(),
            _view: None,
            copy: Some(copy),
        })
    }

    /// Address of the first.
    pub(crate) fn address(&self) -> Address {
        self.address
    }

    /// The copy, if one was made.
    pub(crate) fn into_copy(self) -> Option<Memory<bf16>> {
        self.copy
    }
}

/// Copy of floats in `bf16`.
fn copy(engine: &Engine, x: View) -> Result<Memory<bf16>> {
    let count = counted(OP, x.len())?;
    let y = engine.uninit::<bf16>(x.len())?;
    let call = calls::convert(Numbers::F32, x.address(), y.address(), count);
    // SAFETY: both have as many numbers as are counted.
    unsafe { engine.launch(&call)? };
    Ok(y)
}
