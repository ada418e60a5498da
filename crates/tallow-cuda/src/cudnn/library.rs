//! The shared library.

use std::ffi::{CStr, c_char, c_int, c_void};
use std::sync::OnceLock;

use super::constants::SUCCESS;
use crate::error::{Error, Result};
use crate::loader::Wanted;

/// `cudnnHandle_t`.
pub(super) type Handle = *mut c_void;

/// `cudnnBackendDescriptor_t`.
pub(super) type Raw = *mut c_void;

type Status = c_int;

/// Name, file and variable of the library.
const CUDNN: Wanted = Wanted {
    title: "cuDNN 9",
    file: "libcudnn.so.9",
    variable: "TALLOW_CUDNN",
    package: "nvidia-cudnn-cu13",
    folder: "cudnn",
};

/// Functions of cuDNN.
pub(super) struct Library {
    create: unsafe extern "C" fn(*mut Handle) -> Status,
    destroy: unsafe extern "C" fn(Handle) -> Status,
    set_stream: unsafe extern "C" fn(Handle, *mut c_void) -> Status,
    version: usize,
    error_string: unsafe extern "C" fn(Status) -> *const c_char,
    create_descriptor: unsafe extern "C" fn(c_int, *mut Raw) -> Status,
    destroy_descriptor: unsafe extern "C" fn(Raw) -> Status,
    set_attribute: unsafe extern "C" fn(Raw, c_int, c_int, i64, *const c_void) -> Status,
    get_attribute: unsafe extern "C" fn(Raw, c_int, c_int, i64, *mut i64, *mut c_void) -> Status,
    finalize: unsafe extern "C" fn(Raw) -> Status,
    execute: unsafe extern "C" fn(Handle, Raw, Raw) -> Status,
    /// Keeps the functions valid.
    _library: libloading::Library,
}

impl Library {
    /// Library of this process, looked for once.
    pub(super) fn get() -> Result<&'static Self> {
        static LIBRARY: OnceLock<Result<Library, String>> = OnceLock::new();
        let found = LIBRARY.get_or_init(|| Self::of(CUDNN.open(&CUDNN.places())?));
        found
            .as_ref()
            .map_err(|message| Error::NoCudnn(message.clone()))
    }

    fn of(library: libloading::Library) -> Result<Self, String> {
        /// [`Wanted::function`] of cuDNN.
        ///
        /// # Safety
        /// `F` must be the type of the function.
        unsafe fn find<F: Copy>(library: &libloading::Library, name: &str) -> Result<F, String> {
            // SAFETY: the type is the caller's.
            unsafe { CUDNN.function(library, name) }
        }
        // SAFETY: the types are those of cudnn_graph_v9.h; enumerations are integers in C.
        unsafe {
            let get_version: unsafe extern "C" fn() -> usize = find(&library, "cudnnGetVersion")?;
            let version = get_version();
            if version / 10_000 != 9 {
                return Err(format!(
                    "cuDNN has version {version}, expected 9 (90000 and up): install `nvidia-cudnn-cu13`, or name another in {}",
                    CUDNN.variable
                ));
            }
            Ok(Self {
                create: find(&library, "cudnnCreate")?,
                destroy: find(&library, "cudnnDestroy")?,
                set_stream: find(&library, "cudnnSetStream")?,
                version,
                error_string: find(&library, "cudnnGetErrorString")?,
                create_descriptor: find(&library, "cudnnBackendCreateDescriptor")?,
                destroy_descriptor: find(&library, "cudnnBackendDestroyDescriptor")?,
                set_attribute: find(&library, "cudnnBackendSetAttribute")?,
                get_attribute: find(&library, "cudnnBackendGetAttribute")?,
                finalize: find(&library, "cudnnBackendFinalize")?,
                execute: find(&library, "cudnnBackendExecute")?,
                _library: library,
            })
        }
    }

    /// Version, as 91900 for 9.19.0.
    pub(super) fn version(&self) -> usize {
        self.version
    }

    /// The status of a call as a result.
    pub(super) fn check(&self, call: &'static str, status: Status) -> Result<()> {
        if status == SUCCESS {
            return Ok(());
        }
        // SAFETY: the function returns a constant text for any number.
        let text = unsafe { (self.error_string)(status) };
        let text = if text.is_null() {
            "no text".to_string()
        } else {
            // SAFETY: the text ends with a zero byte, and is constant.
            unsafe { CStr::from_ptr(text) }
                .to_string_lossy()
                .into_owned()
        };
        Err(Error::Cudnn { call, status, text })
    }

    /// Handle for the device whose context is current, on a stream of it.
    pub(super) fn handle(&self, stream: *mut c_void) -> Result<Handle> {
        let mut handle = std::ptr::null_mut();
        // SAFETY: the handle is written if the call succeeds.
        let status = unsafe { (self.create)(&mut handle) };
        self.check("cudnnCreate", status)?;
        // SAFETY: the handle was made above, and the stream is one of its device.
        let status = unsafe { (self.set_stream)(handle, stream) };
        self.check("cudnnSetStream", status)
            .inspect_err(|_| self.destroy(handle))?;
        Ok(handle)
    }

    /// Destroys a handle.
    pub(super) fn destroy(&self, handle: Handle) {
        // SAFETY: the handle is not used any more. There is nothing to do about a failure.
        unsafe { (self.destroy)(handle) };
    }

    /// New descriptor.
    pub(super) fn create_descriptor(&self, kind: i32) -> Result<Raw> {
        let mut raw = std::ptr::null_mut();
        // SAFETY: the descriptor is written if the call succeeds.
        let status = unsafe { (self.create_descriptor)(kind, &mut raw) };
        self.check("cudnnBackendCreateDescriptor", status)?;
        Ok(raw)
    }

    /// Destroys a descriptor.
    ///
    /// # Safety
    /// It must not be used any more.
    pub(super) unsafe fn destroy_descriptor(&self, raw: Raw) {
        // SAFETY: by the contract. There is nothing to do about a failure.
        unsafe { (self.destroy_descriptor)(raw) };
    }

    /// Sets an attribute to `count` values.
    ///
    /// # Safety
    /// There must be as many values of the type that `kind` stands for.
    pub(super) unsafe fn set_attribute(
        &self,
        raw: Raw,
        (attribute, kind): (i32, i32),
        count: usize,
        values: *const c_void,
    ) -> Result<()> {
        // SAFETY: by the contract.
        let status = unsafe { (self.set_attribute)(raw, attribute, kind, count as i64, values) };
        self.check("cudnnBackendSetAttribute", status)
    }

    /// Reads up to `room` values of an attribute, and returns how many there are.
    ///
    /// # Safety
    /// There must be room for as many values of the type that `kind` stands for.
    pub(super) unsafe fn get_attribute(
        &self,
        raw: Raw,
        (attribute, kind): (i32, i32),
        room: usize,
        values: *mut c_void,
    ) -> Result<usize> {
        let mut count = 0;
        // SAFETY: by the contract.
        let status =
            unsafe { (self.get_attribute)(raw, attribute, kind, room as i64, &mut count, values) };
        self.check("cudnnBackendGetAttribute", status)?;
        Ok(usize::try_from(count).unwrap_or(0))
    }

    /// Status of the finalization of a descriptor: other than success where cuDNN does not support what it describes.
    pub(super) fn finalize(&self, raw: Raw) -> Status {
        // SAFETY: the descriptor exists; cuDNN checks its attributes.
        unsafe { (self.finalize)(raw) }
    }

    /// Queues a plan.
    ///
    /// # Safety
    /// Both are descriptors that exist, a plan and a pack; the pointers of the pack must be of memory as large as the plan's tensors.
    pub(super) unsafe fn execute(&self, handle: Handle, plan: Raw, pack: Raw) -> Result<()> {
        // SAFETY: by the contract.
        let status = unsafe { (self.execute)(handle, plan, pack) };
        self.check("cudnnBackendExecute", status)
    }
}
