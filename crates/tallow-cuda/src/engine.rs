//! State of each device: compiled kernels and cuDNN.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, OnceLock, PoisonError};

use candle_core::CudaDevice;
use candle_core::cuda_backend::cudarc::cublas::{CudaBlas, sys as cublas};
use candle_core::cuda_backend::cudarc::driver::{
    CudaFunction, CudaModule, CudaSlice, CudaStream, DeviceRepr, LaunchConfig, PushKernelArg,
};
use candle_core::cuda_backend::cudarc::nvrtc::Ptx;
use candle_core::cuda_backend::{CudaDType, CudaStorage, DeviceId};
use half::bf16;

use crate::call::{Address, Arg, Call, Numbers};
use crate::clock::Clock;
use crate::compile::cubin;
use crate::cudnn::Cudnn;
use crate::error::{Error, Result, driver};
use crate::lt::BlasLt;
use crate::recordings::Recordings;
use crate::source;
use crate::view::address;

/// State of a device, which lives as long as the process.
pub(crate) struct Engine {
    device: CudaDevice,
    stream: Arc<CudaStream>,
    /// Such as `sm_90`.
    architecture: String,
    modules: Mutex<HashMap<(&'static str, Numbers), Arc<CudaModule>>>,
    functions: Mutex<HashMap<&'static str, CudaFunction>>,
    clock: Clock,
    recordings: Recordings,
    /// Scratch memory of cuBLAS.
    _blas_workspace: Option<CudaSlice<u8>>,
    /// cuDNN, when it has been looked for; `None` if it cannot be used.
    cudnn: OnceLock<Option<Mutex<Cudnn>>>,
    /// cuBLASLt, when it has been used; `None` if it cannot be.
    blas_lt: OnceLock<Option<Mutex<BlasLt>>>,
}

static ENGINES: LazyLock<Mutex<HashMap<DeviceId, Arc<Engine>>>> = LazyLock::new(Mutex::default);

/// Architecture, file of kernels and numbers that machine code is compiled for.
type CubinKey = (String, &'static str, Numbers);

/// Machine code by architecture, file and numbers: a program that makes several devices, as tests do, compiles each file once.
static CUBINS: LazyLock<Mutex<HashMap<CubinKey, Vec<u8>>>> = LazyLock::new(Mutex::default);

impl Engine {
    /// State of `device`.
    pub(crate) fn of(device: &CudaDevice) -> Result<Arc<Self>> {
        let mut engines = ENGINES.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(engine) = engines.get(&device.id()) {
            return Ok(engine.clone());
        }
        let stream = device.cuda_stream();
        let capability = stream.context().compute_capability();
        let (major, minor) = driver("cuDeviceGetAttribute", capability)?;
        let engine = Arc::new(Self {
            device: device.clone(),
            stream,
            architecture: format!("sm_{major}{minor}"),
            modules: Mutex::default(),
            functions: Mutex::default(),
            clock: Clock::default(),
            recordings: Recordings::default(),
            _blas_workspace: blas_workspace(device, major),
            cudnn: OnceLock::new(),
            blas_lt: OnceLock::new(),
        });
        engines.insert(device.id(), engine.clone());
        Ok(engine)
    }

    /// The device.
    pub(crate) fn device(&self) -> &CudaDevice {
        &self.device
    }

    /// Stream on which all work of the device is queued.
    pub(crate) fn stream(&self) -> &Arc<CudaStream> {
        &self.stream
    }

    /// cuBLAS on this device.
    pub(crate) fn cublas(&self) -> Arc<CudaBlas> {
        self.device.cublas_handle()
    }

    /// cuBLASLt on this device; `None`, with a warning the first time, if it cannot be used.
    pub(crate) fn blas_lt(&self) -> Option<&Mutex<BlasLt>> {
        let found =
            self.blas_lt
                .get_or_init(|| match BlasLt::new(&self.stream, &self.recordings) {
                    Ok(lt) => Some(Mutex::new(lt)),
                    Err(error) => {
                        tracing::warn!("linear layers take more launches on the GPU: {error}");
                        None
                    }
                });
        found.as_ref()
    }

    /// cuDNN on this device; `None`, with a warning the first time, if it cannot be used.
    pub(crate) fn cudnn(&self) -> Option<&Mutex<Cudnn>> {
        let found = self
            .cudnn
            .get_or_init(|| match Cudnn::new(&self.stream, &self.recordings) {
                Ok(cudnn) => Some(Mutex::new(cudnn)),
                Err(error) => {
                    tracing::warn!("convolutions are slow on the GPU: {error}");
                    None
                }
            });
        found.as_ref()
    }

    /// Queues a kernel.
    ///
    /// # Safety
    /// Every address must be of memory of this device with as many values as the kernel reads or writes there, which is not freed before on
    /// another stream; what it writes must not be read at the same time.
    pub(crate) unsafe fn launch(&self, call: &Call) -> Result<()> {
        self.clock.time(
            &self.stream,
            || call.kernel.to_string(),
            || {
                // SAFETY: by the contract.
                unsafe { self.launch_on(&self.stream, call) }
            },
        )
    }

    /// Queues a kernel on another stream of the device than that of its work.
    ///
    /// # Safety
    /// As [`launch`](Self::launch), on that stream.
    pub(crate) unsafe fn launch_on(&self, stream: &CudaStream, call: &Call) -> Result<()> {
        let function = self.function(call.kernel)?;
        let mut builder = stream.launch_builder(&function);
        for arg in &call.args {
            match arg {
                Arg::Address(value) | Arg::U64(value) => builder.arg(value),
                Arg::U32(value) => builder.arg(value),
                Arg::F32(value) => builder.arg(value),
                Arg::F64(value) => builder.arg(value),
                Arg::Six(value) => builder.arg(value),
                Arg::Eight(value) => builder.arg(value),
            };
        }
        let config = LaunchConfig {
            grid_dim: (call.grid.0, call.grid.1, 1),
            block_dim: (call.block, 1, 1),
            shared_mem_bytes: 0,
        };
        // SAFETY: the arguments are those of the kernel, which the tests run with the same calls; the addresses are the caller's.
        let queued = unsafe { builder.launch(config) };
        driver(call.kernel, queued)?;
        Ok(())
    }

    /// Recordings of CUDA graphs.
    pub(crate) fn recordings(&self) -> &Recordings {
        &self.recordings
    }

    /// Clock of the device.
    pub(crate) fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Memory for `len` values, not initialized.
    pub(crate) fn uninit<T: DeviceRepr + CudaDType>(&self, len: usize) -> Result<Memory<T>> {
        // SAFETY: the values are numbers, for which any bits are valid, and kernels write them before they are read.
        let slice = unsafe { self.device.alloc::<T>(len.max(1))? };
        Ok(Memory { slice, len })
    }

    /// Memory for `len` numbers of a type, not initialized.
    pub(crate) fn values(&self, numbers: Numbers, len: usize) -> Result<Values> {
        Ok(match numbers {
            Numbers::F32 => Values::F32(self.uninit(len)?),
            Numbers::Bf16 => Values::Bf16(self.uninit(len)?),
        })
    }

    /// Memory for `len` values, not initialized, and for `zeros` zeros behind them.
    pub(crate) fn zeroed_tail(&self, len: usize, zeros: usize) -> Result<Memory<f32>> {
        let mut memory = self.uninit::<f32>(len + zeros)?;
        if zeros > 0 {
            let mut tail = memory.slice.slice_mut(len..len + zeros);
            driver("cuMemsetD8Async", self.stream.memset_zeros(&mut tail))?;
        }
        Ok(memory)
    }

    /// Copy of `values` in the memory of the device.
    pub(crate) fn upload(&self, values: &[u64]) -> Result<CudaSlice<u64>> {
        Ok(self.device.clone_htod(values)?)
    }

    /// The memory as a storage of candle.
    pub(crate) fn storage<T: CudaDType>(&self, memory: Memory<T>) -> CudaStorage {
        CudaStorage::wrap_cuda_slice(memory.slice, self.device.clone())
    }

    /// The numbers as a storage of candle.
    pub(crate) fn storage_of(&self, values: Values) -> CudaStorage {
        match values {
            Values::F32(memory) => self.storage(memory),
            Values::Bf16(memory) => self.storage(memory),
        }
    }

    fn function(&self, kernel: &'static str) -> Result<CudaFunction> {
        let mut functions = self
            .functions
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(function) = functions.get(kernel) {
            return Ok(function.clone());
        }
        let (file, numbers) = source::file(kernel).ok_or(Error::UnknownKernel(kernel))?;
        let function = driver(kernel, self.module(file, numbers)?.load_function(kernel))?;
        functions.insert(kernel, function.clone());
        Ok(function)
    }

    fn module(&self, file: &'static source::File, numbers: Numbers) -> Result<Arc<CudaModule>> {
        let mut modules = self.modules.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(module) = modules.get(&(file.name, numbers)) {
            return Ok(module.clone());
        }
        let code = Ptx::from_binary(self.machine_code(file, numbers)?);
        let module = driver(file.name, self.stream.context().load_module(code))?;
        modules.insert((file.name, numbers), module.clone());
        Ok(module)
    }

    fn machine_code(&self, file: &'static source::File, numbers: Numbers) -> Result<Vec<u8>> {
        let mut cubins = CUBINS.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (self.architecture.clone(), file.name, numbers);
        if let Some(code) = cubins.get(&key) {
            return Ok(code.clone());
        }
        let code = cubin(file, numbers, &self.architecture)?;
        cubins.insert(key, code.clone());
        Ok(code)
    }
}

/// Gives cuBLAS scratch memory, as much as NVIDIA recommends. With its own it would allocate in a CUDA graph, and might choose other algorithms
/// there. The memory must live as long as the handle. `None`, with a warning, if it cannot be given.
fn blas_workspace(device: &CudaDevice, major: i32) -> Option<CudaSlice<u8>> {
    let bytes: usize = if major >= 9 { 32 << 20 } else { 4 << 20 };
    let give = || -> Result<CudaSlice<u8>> {
        // SAFETY: scratch memory, which cuBLAS writes before it reads it.
        let memory = unsafe { device.alloc::<u8>(bytes)? };
        let blas = device.cublas_handle();
        let at = address(&memory) as usize as *mut std::ffi::c_void;
        // SAFETY: the memory has as many bytes and is on the device of the handle; the engine keeps it as long as the process lives. Products are
        // queued one after another on one stream.
        let given = unsafe { cublas::cublasSetWorkspace_v2(*blas.handle(), at, bytes) };
        given.result().map_err(|source| Error::Cublas {
            call: "cublasSetWorkspace",
            source,
        })?;
        Ok(memory)
    };
    give()
        .inspect_err(|error| tracing::warn!("cuBLAS has scratch memory of its own: {error}"))
        .ok()
}

/// Memory of results.
pub(crate) struct Memory<T> {
    slice: CudaSlice<T>,
    len: usize,
}

impl<T> Memory<T> {
    /// Address of the first value.
    pub(crate) fn address(&self) -> Address {
        address(&self.slice)
    }

    /// Number of values.
    pub(crate) fn len(&self) -> usize {
        self.len
    }
}

/// Memory of results of either type.
pub(crate) enum Values {
    F32(Memory<f32>),
    Bf16(Memory<bf16>),
}

impl Values {
    /// Address of the first value.
    pub(crate) fn address(&self) -> Address {
        match self {
            Self::F32(memory) => memory.address(),
            Self::Bf16(memory) => memory.address(),
        }
    }
}
