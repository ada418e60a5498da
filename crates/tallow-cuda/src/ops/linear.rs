//! Products of a linear layer by cuBLAS.
//!
//! In `bf16` the factors are copied in it, and results and sums are floats.

use std::ffi::c_void;

use candle_core::CudaStorage;
use candle_core::cuda_backend::cudarc::cublas::{result as cublas, sys};
use half::bf16;

use super::convert::Narrow;
use super::counted;
use crate::call::{Address, Numbers, Precision};
use crate::engine::{Engine, Memory};
use crate::error::{Error, Result, driver};
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

/// `x * w^T` in floats. `x` is of either type in [`Precision::Bf16`], and else floats, as `w` is.
pub fn forward(
    x: View,
    w: View,
    sizes: Sizes,
    precision: Precision,
) -> Result<(CudaStorage, Copies)> {
    let engine = Engine::of(x.device())?;
    let [inputs, weights, outputs] = sizes.elements();
    x.expect(OP, "the input", inputs)?;
    w.expect_kind(OP, "the weight", Numbers::F32)?;
    w.expect(OP, "the weight", weights)?;
    counted(OP, outputs)?;
    let y = engine.uninit::<f32>(outputs)?;
    let x = Factor::of(&engine, x, precision)?;
    let w = Factor::of(&engine, w, precision)?;
    let product = Product {
        sizes: [sizes.rows, sizes.outputs, sizes.inputs],
        a: (x.address(), false),
        b: (w.address(), true),
        c: (y.address(), Numbers::F32),
    };
    // SAFETY: the factors and the result have the numbers of the sizes.
    unsafe { product.run(&engine, precision)? };
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
            sizes: [rows, columns, outputs],
            a: (dy.address(), false),
            b: (w.address(), false),
            c: (dx.address(), of_x),
        };
        // SAFETY: the factors and the result have the numbers of the sizes.
        unsafe { product.run(&engine, precision)? };
        gradients[0] = Some(engine.storage_of(dx));
    }
    if needed[1] {
        let x = Factor::kept(&engine, x, &copies.x, precision)?;
        let dw = engine.uninit::<f32>(weights)?;
        let product = Product {
            sizes: [outputs, columns, rows],
            a: (dy.address(), true),
            b: (x.address(), false),
            c: (dw.address(), Numbers::F32),
        };
        // SAFETY: the factors and the result have the numbers of the sizes.
        unsafe { product.run(&engine, precision)? };
        gradients[1] = Some(engine.storage(dw));
    }
    Ok(gradients)
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

/// Product of matrices with their rows one behind the other: `c = a * b`.
struct Product {
    /// Rows and columns of `c`, and the columns of `a`, which are the rows of `b`.
    sizes: [usize; 3],
    /// Address, and whether the matrix lies transposed.
    a: (Address, bool),
    b: (Address, bool),
    /// Address and type.
    c: (Address, Numbers),
}

impl Product {
    /// Queues the product.
    ///
    /// # Safety
    /// The addresses must be of memory of the device with as many numbers as the sizes say, the factors in the type of the precision.
    unsafe fn run(&self, engine: &Engine, precision: Precision) -> Result<()> {
        let [m, n, k] = self.sizes.map(|size| counted(OP, size));
        let (m, n, k) = (m? as i32, n? as i32, k? as i32);
        let kind = |numbers| match numbers {
            Numbers::F32 => sys::cudaDataType::CUDA_R_32F,
            Numbers::Bf16 => sys::cudaDataType::CUDA_R_16BF,
        };
        let compute = match precision {
            Precision::Tf32 => sys::cublasComputeType_t::CUBLAS_COMPUTE_32F_FAST_TF32,
            Precision::F32 | Precision::Bf16 => sys::cublasComputeType_t::CUBLAS_COMPUTE_32F,
        };
        // cuBLAS has the columns one behind the other, so that it sees every matrix transposed, and computes `c^T = b^T * a^T`.
        let turned = |transposed| match transposed {
            true => sys::cublasOperation_t::CUBLAS_OP_T,
            false => sys::cublasOperation_t::CUBLAS_OP_N,
        };
        let (lda, ldb) = (if self.a.1 { m } else { k }, if self.b.1 { k } else { n });
        let at = |address: Address| address as usize as *mut c_void;
        let factors = kind(precision.numbers());
        let (one, zero) = (1f32, 0f32);
        let (one, zero) = (std::ptr::from_ref(&one), std::ptr::from_ref(&zero));
        let context = engine.stream().context();
        driver("cuCtxSetCurrent", context.bind_to_thread())?;
        let blas = engine.cublas();
        let queue = || {
            // SAFETY: by the contract; the handle is that of the device, on its stream, and reads the two numbers at once.
            let queued = unsafe {
                cublas::gemm_ex(
                    *blas.handle(),
                    turned(self.b.1),
                    turned(self.a.1),
                    n,
                    m,
                    k,
                    one.cast(),
                    at(self.b.0),
                    factors,
                    ldb,
                    at(self.a.0),
                    factors,
                    lda,
                    zero.cast(),
                    at(self.c.0),
                    kind(self.c.1),
                    n,
                    compute,
                    sys::cublasGemmAlgo_t::CUBLAS_GEMM_DFALT,
                )
            };
            queued.map_err(|source| Error::Cublas {
                call: "cublasGemmEx",
                source,
            })
        };
        let name = || format!("product {precision:?} {m}x{k} by {k}x{n}");
        engine.clock().time(engine.stream(), name, queue)
    }
}
