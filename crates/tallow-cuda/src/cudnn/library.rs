//! The shared library.

use std::env;
use std::ffi::{CStr, OsStr, OsString, c_char, c_int, c_void};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use super::constants::SUCCESS;
use super::descriptor::Descriptor;
use crate::error::{Error, Result};

/// `cudnnHandle_t`.
pub(super) type Handle = *mut c_void;

/// `cudnnBackendDescriptor_t`.
pub(super) type Raw = *mut c_void;

type Status = c_int;

/// Name of the library on Linux.
const NAME: &str = "libcudnn.so.9";

/// Environment variable with a file or folder of cuDNN.
const VARIABLE: &str = "TALLOW_CUDNN";

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
        let found = LIBRARY.get_or_init(|| Self::open(places()));
        found
            .as_ref()
            .map_err(|message| Error::NoCudnn(message.clone()))
    }

    fn open(places: Vec<OsString>) -> Result<Self, String> {
        let mut tried = Vec::new();
        for place in &places {
            // SAFETY: the library is NVIDIA's, whose initialization has no conditions. It is never unloaded, being kept in a static.
            match unsafe { libloading::Library::new(place.as_os_str()) } {
                Ok(library) => return Self::of(library),
                Err(error) => tried.push(format!("  {error}")),
            }
        }
        Err(format!(
            "cuDNN 9 was not found. Install it (`pip install nvidia-cudnn-cu13`, or your system's package), and name its file or folder in \
             {VARIABLE} if it is in none of the usual places. Tried:\n{}",
            tried.join("\n")
        ))
    }

    fn of(library: libloading::Library) -> Result<Self, String> {
        /// Function of the library by name.
        ///
        /// # Safety
        /// `F` must be the type of the function.
        unsafe fn find<F: Copy>(library: &libloading::Library, name: &str) -> Result<F, String> {
            // SAFETY: the type is the caller's.
            let symbol = unsafe { library.get::<F>(name.as_bytes()) };
            let symbol =
                symbol.map_err(|error| format!("cuDNN has no function {name}: {error}"))?;
            Ok(*symbol)
        }
        // SAFETY: the types are those of cudnn_graph_v9.h; enumerations are integers in C.
        unsafe {
            let get_version: unsafe extern "C" fn() -> usize = find(&library, "cudnnGetVersion")?;
            let version = get_version();
            if version / 10_000 != 9 {
                return Err(format!(
                    "cuDNN has version {version}, expected 9 (90000 and up): install `nvidia-cudnn-cu13`, or name another in {VARIABLE}"
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
    /// The pointers of the pack must be of memory as large as the plan's tensors.
    pub(super) unsafe fn execute(
        &self,
        handle: Handle,
        plan: &Descriptor,
        pack: &Descriptor,
    ) -> Result<()> {
        // SAFETY: by the contract.
        let status = unsafe { (self.execute)(handle, plan.raw(), pack.raw()) };
        self.check("cudnnBackendExecute", status)
    }
}

/// Where the library may be, in the order in which it is looked for.
fn places() -> Vec<OsString> {
    let named = env::var_os(VARIABLE).filter(|value| !value.is_empty());
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap_or_default();
    candidates(named.as_deref(), &maps)
}

/// [`places`] for a value of the variable and the memory map of a process.
fn candidates(named: Option<&OsStr>, maps: &str) -> Vec<OsString> {
    if let Some(named) = named {
        let path = Path::new(named);
        let file = if path.is_dir() {
            path.join(NAME)
        } else {
            path.to_path_buf()
        };
        return vec![file.into()];
    }
    let mut places = vec![NAME.into()];
    // PyTorch's packages: `nvidia/cu13/lib/libcublas.so.13` beside `nvidia/cudnn/lib`.
    places.extend(beside_cublas(maps).map(OsString::from));
    places
}

fn beside_cublas(maps: &str) -> Option<PathBuf> {
    let mapped = |line: &str| line.find('/').map(|start| PathBuf::from(&line[start..]));
    let is_cublas = |path: &PathBuf| {
        let name = path.file_name().and_then(OsStr::to_str);
        name.is_some_and(|name| name.starts_with("libcublas.so"))
    };
    let cublas = maps.lines().filter_map(mapped).find(is_cublas)?;
    Some(cublas.parent()?.join("../../cudnn/lib").join(NAME))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_variable_names_a_file_or_a_folder() {
        let dir = env::temp_dir();
        let found = candidates(Some(dir.as_os_str()), "");
        assert_eq!(found, [dir.join(NAME).into_os_string()]);
        let found = candidates(Some(OsStr::new("/opt/other.so")), "");
        assert_eq!(found, ["/opt/other.so"]);
    }

    #[test]
    fn it_is_looked_for_beside_cublas() {
        let maps = "7f00-7f01 r-xp 00000000 08:01 12  /usr/lib/libc.so.6\n\
                    7f02-7f03 rw-p 00000000 00:00 0\n\
                    7f04-7f05 r-xp 00000000 08:01 13  /py/nvidia/cu13/lib/libcublas.so.13\n";
        let found = candidates(None, maps);
        assert_eq!(
            found,
            [NAME, "/py/nvidia/cu13/lib/../../cudnn/lib/libcudnn.so.9"]
        );
        assert_eq!(candidates(None, ""), [NAME]);
    }

    #[test]
    fn its_absence_is_explained() {
        let Err(message) = Library::open(vec!["/nowhere/libcudnn.so.9".into()]) else {
            panic!("there is a library in /nowhere");
        };
        for part in ["was not found", "nvidia-cudnn-cu13", VARIABLE, "/nowhere"] {
            assert!(message.contains(part), "{message}");
        }
    }
}
