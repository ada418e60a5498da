//! Products of a linear layer by cuBLAS.
//!
//! In `bf16` the factors are copied in it, and results and sums are floats.

use candle_core::CudaStorage;
use half::bf16;

use super::convert::Narrow;
use super::{counted, product};
use crate::call::{Address, Numbers, Precision};
use crate::engine::{Engine, Memory};
use crate::error::Result;
use crate::lt::{After, Product};
use crate::view::View;

const OP: &str = "linear";

/// Sizes of a linear layer: `(rows, inputs)` to `(rows, outputs)`, with a weight `(outputs, inputs)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// Rows of the input.
    pub rows: usize,
    /// Columns of the input.
    pub inputs: usize,
    /// Columns of the output.
    pub outputs: usize,
}

impl Sizes {
    /// Elements of the input, the weight and the output.
    fn elements(&self) -> [usize; 3] {
        [
            self.rows * self.inputs,
            self.outputs * self.inputs,
            self.rows * self.outputs,
        ]
    }
}

/// Copies of input and weight in `bf16` that a forward pass made, for the backward pass.
#[derive(Default)]
pub struct Copies {
    x: Option<Memory<bf16>>,
    w: Option<Memory<bf16>>,
}

/// `x * w^T + bias` in floats, or the ReLU of it. `x` is of either type in [`Precision::Bf16`], and else floats, as `w` is.
pub fn forward(
    x: View,
    w: View,
    bias: Option<View>,
    relu: bool,
    sizes: Sizes,
    precision: Precision,
) -> Result<(CudaStorage, Copies)> {
    let engine = Engine::of(x.device())?;
    let [inputs, weights, outputs] = sizes.elements();
    x.expect(OP, "the input", inputs)?;
    w.expect_kind(OP, "the weight", Numbers::F32)?;
    w.expect(OP, "the weight", weights)?;
    counted(OP, outputs)?;
    let bias = match bias {
        Some(bias) => {
            bias.expect_kind(OP, "the bias", Numbers::F32)?;
            bias.expect(OP, "the bias", sizes.outputs)?
        }
        None => 0,
    };
    let y = engine.uninit::<f32>(outputs)?;
    let x = Factor::of(&engine, x, precision)?;
    let w = Factor::of(&engine, w, precision)?;
    let product = Product {
        sizes: measures([sizes.rows, sizes.outputs, sizes.inputs])?,
        a: (x.address(), false),
        b: (w.address(), true),
        c: (y.address(), Numbers::F32),
        after: After { bias, relu },
    };
    // SAFETY: the factors, the result and the bias have the numbers of the sizes.
    unsafe { product::run(&product, &engine, OP, precision)? };
    let copies = Copies {
        x: x.into_copy(),
        w: w.into_copy(),
    };
    Ok((engine.storage(y), copies))
}

/// Gradients of input and weight, if they are `needed`. `dy` and the gradient of the weight are floats, and the gradient of the input is of its
/// type.
pub fn backward(
    x: View,
    w: View,
    copies: &Copies,
    dy: View,
    sizes: Sizes,
    precision: Precision,
    needed: [bool; 2],
) -> Result<[Option<CudaStorage>; 2]> {
    let engine = Engine::of(dy.device())?;
    let [inputs, weights, outputs] = sizes.elements();
    x.expect(OP, "the input", inputs)?;
    w.expect_kind(OP, "the weight", Numbers::F32)?;
    w.expect(OP, "the weight", weights)?;
    dy.expect_kind(OP, "the gradient", Numbers::F32)?;
    dy.expect(OP, "the gradient", outputs)?;
    let Sizes {
        rows,
        inputs: columns,
        outputs,
    } = sizes;
    let mut gradients = [None, None];
    if needed == [false, false] {
        return Ok(gradients);
    }
    let of_x = x.kind();
    let dy = Factor::of(&engine, dy, precision)?;
    if needed[0] {
        let w = Factor::kept(&engine, w, &copies.w, precision)?;
        let dx = engine.values(of_x, inputs)?;
        let product = Product {
            sizes: measures([rows, columns, outputs])?,
            a: (dy.address(), false),
            b: (w.address(), false),
            c: (dx.address(), of_x),
            after: After::default(),
        };
        // SAFETY: the factors and the result have the numbers of the sizes.
        unsafe { product::run(&product, &engine, OP, precision)? };
        gradients[0] = Some(engine.storage_of(dx));
    }
    if needed[1] {
        let x = Factor::kept(&engine, x, &copies.x, precision)?;
        let dw = engine.uninit::<f32>(weights)?;
        let product = Product {
            sizes: measures([outputs, columns, rows])?,
            a: (dy.address(), true),
            b: (x.address(), false),
            c: (dw.address(), Numbers::F32),
            after: After::default(),
        };
        // SAFETY: the factors and the result have the numbers of the sizes.
        unsafe { product::run(&product, &engine, OP, precision)? };
        gradients[1] = Some(engine.storage(dw));
    }
    Ok(gradients)
}

/// Sizes as cuBLAS takes them.
fn measures(sizes: [usize; 3]) -> Result<[i32; 3]> {
    let [m, n, k] = sizes.map(|size| counted(OP, size));
    Ok([m? as i32, n? as i32, k? as i32])
}

/// Factor of a product, in the type of the precision.
enum Factor<'a> {
    Floats(View<'a>),
    Narrow(Narrow<'a>),
    /// Copy of a forward pass.
    Kept(Address),
}

impl<'a> Factor<'a> {
    fn of(engine: &Engine, view: View<'a>, precision: Precision) -> Result<Self> {
        match precision.numbers() {
            Numbers::F32 => {
                view.expect_kind(OP, "a factor", Numbers::F32)?;
                Ok(Self::Floats(view))
            }
            Numbers::Bf16 => Ok(Self::Narrow(Narrow::of(engine, view)?)),
        }
    }

    fn kept(
        engine: &Engine,
        view: View<'a>,
        copy: &Option<Memory<bf16>>,
        precision: Precision,
    ) -> Result<Self> {
        match copy {
            Some(copy) if precision == Precision::Bf16 && copy.len() == view.len() => {
                Ok(Self::Kept(copy.address()))
            }
            _ => Self::of(engine, view, precision),
        }
    }

    fn address(&self) -> Address {
        match self {
            Self::Floats(view) => view.address(),
            Self::Narrow(narrow) => narrow.address(),
            Self::Kept(address) => *address,
        }
    }

    fn into_copy(self) -> Option<Memory<bf16>> {
        match self {
            Self::Narrow(narrow) => narrow.into_copy(),
            _ => None,
        }
    }
}
