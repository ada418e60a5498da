//! State of each device: compiled kernels and cuDNN.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, OnceLock, PoisonError};

use candle_core::CudaDevice;
use candle_core::cuda_backend::cudarc::driver::{
    CudaFunction, CudaModule, CudaSlice, CudaStream, DeviceRepr, LaunchConfig, PushKernelArg,
};
use candle_core::cuda_backend::cudarc::nvrtc::Ptx;
use candle_core::cuda_backend::{CudaDType, CudaStorage, DeviceId};

use crate::call::{Address, Arg, Call};
use crate::compile::cubin;
use crate::cudnn::Cudnn;
use crate::error::{Error, Result, driver};
use crate::source;
use crate::view::address;

/// State of a device, which lives as long as the process.
pub(crate) struct Engine {
    device: CudaDevice,
    stream: Arc<CudaStream>,
    /// Such as `sm_90`.
    architecture: String,
    modules: Mutex<HashMap<&'static str, Arc<CudaModule>>>,
    functions: Mutex<HashMap<&'static str, CudaFunction>>,
    /// cuDNN, when it has been looked for; `None` if it cannot be used.
    cudnn: OnceLock<Option<Mutex<Cudnn>>>,
}

static ENGINES: LazyLock<Mutex<HashMap<DeviceId, Arc<Engine>>>> = LazyLock::new(Mutex::default);

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
            cudnn: OnceLock::new(),
        });
        engines.insert(device.id(), engine.clone());
        Ok(engine)
    }

    /// Stream on which all work of the device is queued.
    pub(crate) fn stream(&self) -> &Arc<CudaStream> {
        &self.stream
    }

    /// cuDNN on this device; `None`, with a warning the first time, if it cannot be used.
    pub(crate) fn cudnn(&self) -> Option<&Mutex<Cudnn>> {
        let found = self.cudnn.get_or_init(|| match Cudnn::new(&self.stream) {
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
        // SAFETY: by the contract.
        unsafe { self.launch_on(&self.stream, call) }
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

    /// Memory for `len` values, not initialized.
    pub(crate) fn uninit<T: DeviceRepr + CudaDType>(&self, len: usize) -> Result<Memory<T>> {
        // SAFETY: the values are numbers, for which any bits are valid, and kernels write them before they are read.
        let slice = unsafe { self.device.alloc::<T>(len.max(1))? };
        Ok(Memory { slice, len })
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

    fn function(&self, kernel: &'static str) -> Result<CudaFunction> {
        let mut functions = self
            .functions
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(function) = functions.get(kernel) {
            return Ok(function.clone());
        }
        let file = source::file(kernel).ok_or(Error::UnknownKernel(kernel))?;
        let function = driver(kernel, self.module(file)?.load_function(kernel))?;
        functions.insert(kernel, function.clone());
        Ok(function)
    }

    fn module(&self, file: &'static source::File) -> Result<Arc<CudaModule>> {
        let mut modules = self.modules.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(module) = modules.get(file.name) {
            return Ok(module.clone());
        }
        let code = Ptx::from_binary(cubin(file, &self.architecture)?);
        let module = driver(file.name, self.stream.context().load_module(code))?;
        modules.insert(file.name, module.clone());
        Ok(module)
    }
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
