//! Products with a bias and a ReLU by cuBLASLt.

use std::collections::HashMap;
use std::ffi::c_void;

use candle_core::CudaDevice;
use candle_core::cuda_backend::cudarc::cublaslt::result::CublasError;
use candle_core::cuda_backend::cudarc::cublaslt::sys::{
    cublasLtEpilogue_t as Epilogue, cublasLtMatmulDescAttributes_t as Attribute,
    cublasLtMatmulPreferenceAttributes_t as Limit,
};
use candle_core::cuda_backend::cudarc::cublaslt::{result as lt, sys};
use candle_core::cuda_backend::cudarc::driver::CudaStream;

use crate::call::{Address, Numbers, Precision};
use crate::error::{Error, Result, driver};
use crate::recordings::Recordings;
use crate::workspace::Workspace;

/// Bytes of workspace that an algorithm may ask for: as much as NVIDIA recommends for Hopper.
const MOST_WORKSPACE: usize = 32 << 20;

/// Alignment that is looked at, in bytes; more does not matter.
const ALIGNMENT: u32 = 256;

/// Product of matrices with their rows one behind the other: `c = after(a * b)`.
///
/// cuBLAS has the columns one behind the other, so that it sees every matrix transposed, and computes `c^T = b^T * a^T`.
pub(crate) struct Product {
    /// Rows and columns of `c`, and the columns of `a`, which are the rows of `b`.
    pub sizes: [i32; 3],
    /// Address, and whether the matrix lies transposed.
    pub a: (Address, bool),
    /// The same.
    pub b: (Address, bool),
    /// Address and type.
    pub c: (Address, Numbers),
    /// Bias and ReLU.
    pub after: After,
}

/// Bias and ReLU after a product. The default is neither.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct After {
    /// Floats that are added to the columns of the result; 0 for none.
    pub bias: Address,
    /// Whether there is a ReLU.
    pub relu: bool,
}

/// cuBLASLt, with the plans of products that it has run.
pub(crate) struct BlasLt {
    handle: sys::cublasLtHandle_t,
    /// `None` for products for which there is no algorithm.
    plans: HashMap<Key, Option<Plan>>,
    workspace: Workspace,
}

// SAFETY: neither the handle nor descriptors belong to a thread, and the struct is kept behind a mutex.
unsafe impl Send for BlasLt {}

/// All that the choice of an algorithm depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Key {
    /// Rows and columns of the result, as cuBLAS sees it, and the length of the sums.
    sizes: [i32; 3],
    /// Whether each factor is transposed.
    turned: [bool; 2],
    result: Numbers,
    precision: Precision,
    bias: bool,
    relu: bool,
    /// Bytes on which factors and result lie.
    alignments: [u32; 3],
}

impl BlasLt {
    /// cuBLASLt on the device of `stream`.
    pub fn new(stream: &CudaStream, recordings: &Recordings) -> Result<Self> {
        driver("cuCtxSetCurrent", stream.context().bind_to_thread())?;
        Ok(Self {
            handle: lt::create_handle().map_err(|source| Error::CublasLt {
                call: "cublasLtCreate",
                source,
            })?,
            plans: HashMap::new(),
            workspace: Workspace::new(recordings),
        })
    }

    /// Queues a product with all that follows it. False, and nothing is queued, if there is no algorithm for it.
    ///
    /// # Safety
    /// The addresses must be of memory of the device with as many numbers as the sizes say, the factors in the type of the precision.
    pub unsafe fn run(
        &mut self,
        device: &CudaDevice,
        product: &Product,
        precision: Precision,
    ) -> Result<bool> {
        let key = Key::of(product, precision);
        let handle = self.handle;
        let plan = self.plans.entry(key).or_insert_with(|| {
            let plan = Plan::new(handle, &key);
            match &plan {
                Ok(plan) => {
                    tracing::debug!("{key:?}: cuBLASLt, {} bytes of workspace", plan.workspace)
                }
                Err(error) => tracing::debug!("{key:?}: not by cuBLASLt: {error}"),
            }
            plan.ok()
        });
        let Some(plan) = plan else { return Ok(false) };
        let workspace = self.workspace.at_least(device, plan.workspace)?;
        let stream = device.cuda_stream().cu_stream().cast();
        // SAFETY: the addresses are those of the caller, for the sizes of the plan; the workspace is as large as the algorithm asks for, and is
        // used by one product after another on one stream.
        let queued = unsafe { plan.queue(handle, product, workspace, stream) };
        if let Err(error) = queued {
            tracing::warn!("{key:?}: cublasLtMatmul: {error}; it runs by cuBLAS");
            self.plans.insert(key, None);
        }
        Ok(queued.is_ok())
    }
}

impl Key {
    fn of(product: &Product, precision: Precision) -> Self {
        // cuBLAS sees every matrix transposed.
        let [m, n, k] = product.sizes;
        let alignment = |address: Address| 1 << address.trailing_zeros().min(ALIGNMENT.ilog2());
        Self {
            sizes: [n, m, k],
            turned: [product.b.1, product.a.1],
            result: product.c.1,
            precision,
            bias: product.after.bias != 0,
            relu: product.after.relu,
            alignments: [product.b.0, product.a.0, product.c.0].map(alignment),
        }
    }

    fn epilogue(&self) -> Epilogue {
        match (self.bias, self.relu) {
            (false, false) => Epilogue::CUBLASLT_EPILOGUE_DEFAULT,
            (false, true) => Epilogue::CUBLASLT_EPILOGUE_RELU,
            (true, false) => Epilogue::CUBLASLT_EPILOGUE_BIAS,
            (true, true) => Epilogue::CUBLASLT_EPILOGUE_RELU_BIAS,
        }
    }
}

/// Algorithm of a product, and its descriptors.
struct Plan {
    product: Description,
    /// Of both factors and the result.
    matrices: [Matrix; 3],
    algorithm: sys::cublasLtMatmulAlgo_t,
    /// Bytes.
    workspace: usize,
}

impl Plan {
    /// The algorithm that cuBLASLt proposes first.
    fn new(handle: sys::cublasLtHandle_t, key: &Key) -> Result<Self, CublasError> {
        let kind = |numbers| match numbers {
            Numbers::F32 => sys::cudaDataType::CUDA_R_32F,
            Numbers::Bf16 => sys::cudaDataType::CUDA_R_16BF,
        };
        let compute = match key.precision {
            Precision::Tf32 => sys::cublasComputeType_t::CUBLAS_COMPUTE_32F_FAST_TF32,
            Precision::F32 | Precision::Bf16 => sys::cublasComputeType_t::CUBLAS_COMPUTE_32F,
        };
        let product = Description::new(compute)?;
        // 0 is as it lies, 1 transposed.
        product.set(
            Attribute::CUBLASLT_MATMUL_DESC_TRANSA,
            &i32::from(key.turned[0]),
        )?;
        product.set(
            Attribute::CUBLASLT_MATMUL_DESC_TRANSB,
            &i32::from(key.turned[1]),
        )?;
        product.set(
            Attribute::CUBLASLT_MATMUL_DESC_EPILOGUE,
            &(key.epilogue() as u32),
        )?;
        // As they lie in memory, one column behind the other.
        let [m, n, k] = key.sizes.map(i64::from);
        let factors = kind(key.precision.numbers());
        let matrix = |kind, (rows, columns): (i64, i64)| Matrix::new(kind, rows, columns);
        let of_factor = |turned: bool, (rows, columns): (i64, i64)| match turned {
            true => (columns, rows),
            false => (rows, columns),
        };
        let matrices = [
            matrix(factors, of_factor(key.turned[0], (m, k)))?,
            matrix(factors, of_factor(key.turned[1], (k, n)))?,
            matrix(kind(key.result), (m, n))?,
        ];
        let preference = Preference::new()?;
        preference.set(
            Limit::CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES,
            &(MOST_WORKSPACE as u64),
        )?;
        let [a, b, c] = key.alignments;
        for (limit, alignment) in [
            (Limit::CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, a),
            (Limit::CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, b),
            (Limit::CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, c),
            (Limit::CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, c),
        ] {
            preference.set(limit, &alignment)?;
        }
        // SAFETY: all descriptors live.
        let found = unsafe {
            let [Matrix(a), Matrix(b), Matrix(c)] = &matrices;
            lt::get_matmul_algo_heuristic(handle, product.0, *a, *b, *c, *c, preference.0)?
        };
        Ok(Self {
            product,
            matrices,
            algorithm: found.algo,
            workspace: found.workspaceSize,
        })
    }

    /// Queues the product.
    ///
    /// # Safety
    /// The product must be of the key of the plan, with memory as in [`BlasLt::run`], and the workspace have as many bytes as the plan says.
    unsafe fn queue(
        &self,
        handle: sys::cublasLtHandle_t,
        product: &Product,
        workspace: Address,
        stream: sys::cudaStream_t,
    ) -> Result<(), CublasError> {
        if product.after.bias != 0 {
            self.product.set(
                Attribute::CUBLASLT_MATMUL_DESC_BIAS_POINTER,
                &product.after.bias,
            )?;
        }
        let at = |address: Address| address as usize as *mut c_void;
        let (one, zero) = (1f32, 0f32);
        let [Matrix(a), Matrix(b), Matrix(c)] = &self.matrices;
        // SAFETY: by the contract; the two numbers are read at once.
        unsafe {
            lt::matmul(
                handle,
                self.product.0,
                std::ptr::from_ref(&one).cast(),
                std::ptr::from_ref(&zero).cast(),
                at(product.b.0),
                *a,
                at(product.a.0),
                *b,
                at(product.c.0),
                *c,
                at(product.c.0),
                *c,
                &self.algorithm,
                at(workspace),
                self.workspace,
                stream,
            )
        }
    }
}

/// Descriptor of a product.
struct Description(sys::cublasLtMatmulDesc_t);

impl Description {
    fn new(compute: sys::cublasComputeType_t) -> Result<Self, CublasError> {
        lt::create_matmul_desc(compute, sys::cudaDataType::CUDA_R_32F).map(Self)
    }

    fn set<T>(&self, attribute: Attribute, value: &T) -> Result<(), CublasError> {
        let at = std::ptr::from_ref(value).cast();
        // SAFETY: the descriptor lives, and the value is copied; cuBLASLt refuses one of another size.
        unsafe { lt::set_matmul_desc_attribute(self.0, attribute, at, size_of::<T>()) }
    }
}

impl Drop for Description {
    fn drop(&mut self) {
        // SAFETY: it lives until here. An error would leave it be.
        let _ = unsafe { lt::destroy_matmul_desc(self.0) };
    }
}

/// Descriptor of a matrix whose columns lie one behind the other.
struct Matrix(sys::cublasLtMatrixLayout_t);

impl Matrix {
    fn new(kind: sys::cudaDataType, rows: i64, columns: i64) -> Result<Self, CublasError> {
        lt::create_matrix_layout(kind, rows as u64, columns as u64, rows).map(Self)
    }
}

impl Drop for Matrix {
    fn drop(&mut self) {
        // SAFETY: it lives until here. An error would leave it be.
        let _ = unsafe { lt::destroy_matrix_layout(self.0) };
    }
}

/// Limits of an algorithm.
struct Preference(sys::cublasLtMatmulPreference_t);

impl Preference {
    fn new() -> Result<Self, CublasError> {
        lt::create_matmul_pref().map(Self)
    }

    fn set<T>(&self, attribute: Limit, value: &T) -> Result<(), CublasError> {
        let at = std::ptr::from_ref(value).cast();
        // SAFETY: the preference lives, and the value is copied; cuBLASLt refuses one of another size.
        unsafe { lt::set_matmul_pref_attribute(self.0, attribute, at, size_of::<T>()) }
    }
}

impl Drop for Preference {
    fn drop(&mut self) {
        // SAFETY: it lives until here. An error would leave it be.
        let _ = unsafe { lt::destroy_matmul_pref(self.0) };
    }
}
