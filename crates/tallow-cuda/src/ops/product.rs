//! Products of matrices by cuBLAS, with a bias and a ReLU.

use std::ffi::c_void;
use std::sync::PoisonError;

use candle_core::cuda_backend::cudarc::cublas::{result as cublas, sys};

use crate::call::{Address, Numbers, Precision};
use crate::calls::norm::{self as calls, Affine, Maps, Tail};
use crate::engine::Engine;
use crate::error::{Error, Result, driver};
use crate::lt::{After, Product};

/// Queues a product and what follows it: as one by cuBLASLt, or else one after the other.
///
/// # Safety
/// The addresses must be of memory of the device with as many numbers as the sizes say, the factors in the type of the precision.
pub(super) unsafe fn run(
    product: &Product,
    engine: &Engine,
    op: &'static str,
    precision: Precision,
) -> Result<()> {
    let context = engine.stream().context();
    driver("cuCtxSetCurrent", context.bind_to_thread())?;
    let [m, n, k] = product.sizes;
    let name = || format!("product {precision:?} {m}x{k} by {k}x{n}");
    // Whether nothing is left to do.
    let queue = || -> Result<bool> {
        // SAFETY: by the contract.
        if unsafe { by_lt(product, engine, precision)? } {
            return Ok(true);
        }
        // SAFETY: the same.
        unsafe { by_blas(product, engine, precision)? };
        Ok(product.after == After::default())
    };
    match engine.clock().time(engine.stream(), name, queue)? {
        true => Ok(()),
        // SAFETY: the same. The clock times the kernel that follows by itself.
        false => unsafe { follow(product, engine, op) },
    }
}

/// Queues all by cuBLASLt; false if it has no algorithm for it, or nothing follows the product.
///
/// # Safety
/// As [`run`].
unsafe fn by_lt(product: &Product, engine: &Engine, precision: Precision) -> Result<bool> {
    if product.after == After::default() || !product.after.bias.is_multiple_of(16) {
        return Ok(false);
    }
    let Some(lt) = engine.blas_lt() else {
        return Ok(false);
    };
    let mut lt = lt.lock().unwrap_or_else(PoisonError::into_inner);
    // SAFETY: by the contract.
    unsafe { lt.run(engine.device(), product, precision) }
}

/// Queues the product by cuBLAS.
///
/// # Safety
/// As [`run`].
unsafe fn by_blas(product: &Product, engine: &Engine, precision: Precision) -> Result<()> {
    let ([m, n, k], a, b, c) = (product.sizes, product.a, product.b, product.c);
    let kind = |numbers| match numbers {
        Numbers::F32 => sys::cudaDataType::CUDA_R_32F,
        Numbers::Bf16 => sys::cudaDataType::CUDA_R_16BF,
    };
    let compute = match precision {
        Precision::Tf32 => sys::cublasComputeType_t::CUBLAS_COMPUTE_32F_FAST_TF32,
        Precision::F32 | Precision::Bf16 => sys::cublasComputeType_t::CUBLAS_COMPUTE_32F,
    };
    let turned = |transposed| match transposed {
        true => sys::cublasOperation_t::CUBLAS_OP_T,
        false => sys::cublasOperation_t::CUBLAS_OP_N,
    };
    let (lda, ldb) = (if a.1 { m } else { k }, if b.1 { k } else { n });
    let at = |address: Address| address as usize as *mut c_void;
    let factors = kind(precision.numbers());
    let (one, zero) = (1f32, 0f32);
    let blas = engine.cublas();
    // SAFETY: by the contract; the handle is that of the device, on its stream, and reads the two numbers at once.
    let queued = unsafe {
        cublas::gemm_ex(
            *blas.handle(),
            turned(b.1),
            turned(a.1),
            n,
            m,
            k,
            std::ptr::from_ref(&one).cast(),
            at(b.0),
            factors,
            ldb,
            at(a.0),
            factors,
            lda,
            std::ptr::from_ref(&zero).cast(),
            at(c.0),
            kind(c.1),
            n,
            compute,
            sys::cublasGemmAlgo_t::CUBLAS_GEMM_DFALT,
        )
    };
    queued.map_err(|source| Error::Cublas {
        call: "cublasGemmEx",
        source,
    })
}

/// Queues what follows a product, in place.
///
/// # Safety
/// As [`run`].
unsafe fn follow(product: &Product, engine: &Engine, op: &'static str) -> Result<()> {
    let ([m, n, _], (c, numbers)) = (product.sizes, product.c);
    let maps = Maps {
        numbers,
        n: m as usize,
        h: 1,
        w: 1,
        c: n as usize,
    };
    let affine = Affine {
        shift: product.after.bias,
        ..Default::default()
    };
    let tail = match product.after.relu {
        true => Tail::Relu,
        false => Tail::Linear,
    };
    let call = calls::apply(c, maps, &affine, tail, 0, c).ok_or(Error::Size {
        op,
        elements: maps.elements(),
    })?;
    // SAFETY: the result is changed value by value, and the bias has a float for each of its columns.
    unsafe { engine.launch(&call) }
}
