//! Convolutions by the graph API of cuDNN 9, loaded at run time.
//!
//! A build needs no cuDNN: the library is opened when the first convolution asks for it. Of its functions eleven are used, and of its
//! constants those of `constants`; both are stable within version 9.

mod constants;
#[cfg(test)]
mod described;
mod descriptor;
mod library;
mod plan;

use std::collections::HashMap;
use std::ffi::c_void;
use std::sync::Arc;

use candle_core::CudaDevice;
use candle_core::cuda_backend::cudarc::driver::CudaStream;

use self::constants::{attribute, descriptor as kind, kind as value};
use self::descriptor::Descriptor;
use self::library::{Handle, Library};
pub use self::plan::{Convolution, Pass};
use self::plan::{Plan, Target};
use crate::call::{Address, Precision};
use crate::error::{Result, driver};
use crate::recordings::Recordings;
use crate::workspace::Workspace;

/// cuDNN on one device.
pub(crate) struct Cudnn {
    library: &'static Library,
    handle: Handle,
    stream: Arc<CudaStream>,
    /// Plans by what they compute; `None` where cuDNN has none that is deterministic and of this precision.
    plans: HashMap<(Pass, Precision, Convolution), Option<Plan>>,
    workspace: Workspace,
}

// SAFETY: a handle may be used by any thread, one at a time; the struct is kept behind a mutex. So may descriptors, which are finalized.
unsafe impl Send for Cudnn {}

impl Cudnn {
    /// cuDNN for the device of a stream.
    pub(crate) fn new(stream: &Arc<CudaStream>, recordings: &Recordings) -> Result<Self> {
        let library = Library::get()?;
        driver("cuCtxSetCurrent", stream.context().bind_to_thread())?;
        let handle = library.handle(stream.cu_stream().cast())?;
        let cudnn = Self {
            library,
            handle,
            stream: stream.clone(),
            plans: HashMap::new(),
            workspace: Workspace::new(recordings),
        };
        let version = cudnn.version();
        match cudnn.device_description() {
            Ok(text) => tracing::debug!("cuDNN {version} describes the device as {text}"),
            Err(error) => tracing::debug!("cuDNN {version} does not describe the device: {error}"),
        }
        Ok(cudnn)
    }

    /// Version, as 91900 for 9.19.0.
    pub(crate) fn version(&self) -> usize {
        self.library.version()
    }

    /// True if there is a plan.
    pub(crate) fn has_plan(
        &mut self,
        pass: Pass,
        convolution: &Convolution,
        precision: Precision,
    ) -> Result<bool> {
        Ok(self.plan(pass, convolution, precision)?.is_some())
    }

    /// Notes on the engine of a plan, for reports; `None` if there is no plan.
    pub(crate) fn describe(
        &mut self,
        pass: Pass,
        convolution: &Convolution,
        precision: Precision,
    ) -> Result<Option<String>> {
        Ok(self.plan(pass, convolution, precision)?.map(Plan::describe))
    }

    /// Queues a convolution. The addresses are those of the input or its gradient, the weight or its gradient, and the output or its
    /// gradient. Returns false if there is no plan.
    ///
    /// # Safety
    /// The addresses must be of memory of this device with as many numbers of the precision's type as the convolution has there, aligned to 16
    /// bytes.
    pub(crate) unsafe fn run(
        &mut self,
        device: &CudaDevice,
        pass: Pass,
        convolution: &Convolution,
        precision: Precision,
        [x, w, y]: [Address; 3],
    ) -> Result<bool> {
        driver("cuCtxSetCurrent", self.stream.context().bind_to_thread())?;
        let plan = self.plan(pass, convolution, precision)?;
        let Some(needed) = plan.map(|plan| plan.workspace) else {
            return Ok(false);
        };
        let workspace = self.workspace.at_least(device, needed)?;
        let Some(Some(plan)) = self.plans.get(&(pass, precision, *convolution)) else {
            return Ok(false);
        };
        let ids = [plan::X, plan::W, plan::Y];
        let pointers = [x, w, y].map(|address| address as usize as *mut c_void);
        let mut pack = Descriptor::new(self.library, kind::VARIANT_PACK)?;
        pack.set_i64s(attribute::VARIANT_PACK_UNIQUE_IDS, &ids)?;
        pack.set_pointers(attribute::VARIANT_PACK_DATA_POINTERS, &pointers)?;
        let workspace = workspace as usize as *mut c_void;
        pack.set_pointers(attribute::VARIANT_PACK_WORKSPACE, &[workspace])?;
        pack.finalize()?;
        // SAFETY: the plan was made for tensors of these sizes, whose memory is the caller's; the workspace is as large as the plan asks for,
        // and is used by one plan after another on one stream.
        unsafe {
            self.library
                .execute(self.handle, plan.descriptor.raw(), pack.raw())?
        };
        Ok(true)
    }

    fn plan(
        &mut self,
        pass: Pass,
        convolution: &Convolution,
        precision: Precision,
    ) -> Result<Option<&Plan>> {
        let key = (pass, precision, *convolution);
        if !self.plans.contains_key(&key) {
            driver("cuCtxSetCurrent", self.stream.context().bind_to_thread())?;
            let target = Target::Handle(self.handle);
            let plan = Plan::choose(self.library, target, pass, convolution, precision)?;
            let found = plan
                .as_ref()
                .map_or("cuDNN has no plan".to_string(), Plan::describe);
            tracing::debug!("{pass:?} {precision:?} {convolution:?}: {found}");
            self.plans.insert(key, plan);
        }
        Ok(self.plans.get(&key).and_then(Option::as_ref))
    }

    /// Description of the device in cuDNN's words, a JSON text, from version 9.8 on.
    pub(crate) fn device_description(&self) -> Result<String> {
        driver("cuCtxSetCurrent", self.stream.context().bind_to_thread())?;
        let mut properties = Descriptor::new(self.library, kind::DEVICE_PROPERTIES)?;
        properties.set_handle(attribute::DEVICE_PROPERTIES_HANDLE, self.handle)?;
        properties.finalize()?;
        let text = properties.bytes(attribute::DEVICE_PROPERTIES_JSON, value::CHAR)?;
        Ok(String::from_utf8_lossy(&text)
            .trim_end_matches('\0')
            .to_string())
    }
}

impl Drop for Cudnn {
    fn drop(&mut self) {
        // The plans go before the handle that they were made with.
        self.plans.clear();
        self.library.destroy(self.handle);
    }
}
