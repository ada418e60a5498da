//! Loading of NVIDIA's libraries at run time, so that a program is built and started without them.

use std::env;
use std::error::Error as _;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use libloading::Library;

/// Library that is loaded when it is needed.
pub(crate) struct Wanted {
    /// Name for messages, such as `cuDNN 9`.
    pub title: &'static str,
    /// Name of its file on Linux.
    pub file: &'static str,
    /// Environment variable with its file or folder.
    pub variable: &'static str,
    /// Python package that brings it.
    pub package: &'static str,
    /// Folder of that package beside those of NVIDIA's other ones.
    pub folder: &'static str,
}

impl Wanted {
    /// Places of the library, in the order in which it is looked for.
    pub(crate) fn places(&self) -> Vec<OsString> {
        let named = env::var_os(self.variable).filter(|value| !value.is_empty());
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap_or_default();
        self.candidates(named.as_deref(), &maps)
    }

    /// [`places`](Self::places) for a value of the variable and the memory map of a process.
    fn candidates(&self, named: Option<&OsStr>, maps: &str) -> Vec<OsString> {
        if let Some(named) = named {
            let path = Path::new(named);
            let file = if path.is_dir() {
                path.join(self.file)
            } else {
                path.to_path_buf()
            };
            return vec![file.into()];
        }
        let mut places = vec![self.file.into()];
        // PyTorch's packages: `nvidia/cu13/lib/libcublas.so.13` beside `nvidia/cudnn/lib`.
        let beside = folder_of_cublas(maps).map(|folder| {
            let lib = folder.join("../..").join(self.folder).join("lib");
            OsString::from(lib.join(self.file))
        });
        places.extend(beside);
        places
    }

    /// The first library of these that the system can load; otherwise what to do, and what was tried.
    pub(crate) fn open(&self, places: &[OsString]) -> Result<Library, String> {
        let mut tried = Vec::new();
        for place in places {
            // SAFETY: the library is NVIDIA's, whose initialization has no conditions.
            match unsafe { Library::new(place.as_os_str()) } {
                Ok(library) => return Ok(library),
                Err(error) => tried.push(format!("  {}: {}", place.display(), cause(&error))),
            }
        }
        let Self {
            title,
            variable,
            package,
            ..
        } = self;
        Err(format!(
            "{title} was not found. Install it (`pip install {package}`, or your system's package), and name its file or folder in \
             {variable} if it is in none of the usual places. Tried:\n{}",
            tried.join("\n")
        ))
    }

    /// Function of the library by name.
    ///
    /// # Safety
    /// `F` must be the type of the function, and the function must not be called after the library is dropped.
    pub(crate) unsafe fn function<F: Copy>(
        &self,
        library: &Library,
        name: &str,
    ) -> Result<F, String> {
        // SAFETY: the type is the caller's.
        let symbol = unsafe { library.get::<F>(name.as_bytes()) };
        let symbol = symbol
            .map_err(|error| format!("{} has no function {name}: {}", self.title, cause(&error)))?;
        Ok(*symbol)
    }
}

/// Words of the system, which stand behind those of the error.
fn cause(error: &libloading::Error) -> String {
    error
        .source()
        .map_or_else(|| error.to_string(), ToString::to_string)
}

/// Folder of the cuBLAS that a process has loaded.
fn folder_of_cublas(maps: &str) -> Option<PathBuf> {
    let mapped = |line: &str| line.find('/').map(|start| PathBuf::from(&line[start..]));
    let is_cublas = |path: &PathBuf| {
        let name = path.file_name().and_then(OsStr::to_str);
        name.is_some_and(|name| name.starts_with("libcublas.so"))
    };
    let cublas = maps.lines().filter_map(mapped).find(is_cublas)?;
    Some(cublas.parent()?.to_path_buf())
}

#[cfg(test)]
mod tests {
    use super::*;

    const WANTED: Wanted = Wanted {
        title: "cuDNN 9",
        file: "libcudnn.so.9",
        variable: "TALLOW_CUDNN",
        package: "nvidia-cudnn-cu13",
        folder: "cudnn",
    };

    #[test]
    fn the_variable_names_a_file_or_a_folder() {
        let dir = env::temp_dir();
        let found = WANTED.candidates(Some(dir.as_os_str()), "");
        assert_eq!(found, [dir.join(WANTED.file).into_os_string()]);
        let found = WANTED.candidates(Some(OsStr::new("/opt/other.so")), "");
        assert_eq!(found, ["/opt/other.so"]);
    }

    #[test]
    fn it_is_looked_for_beside_cublas() {
        let maps = "7f00-7f01 r-xp 00000000 08:01 12  /usr/lib/libc.so.6\n\
                    7f02-7f03 rw-p 00000000 00:00 0\n\
                    7f04-7f05 r-xp 00000000 08:01 13  /py/nvidia/cu13/lib/libcublas.so.13\n";
        let beside = "/py/nvidia/cu13/lib/../../cudnn/lib/libcudnn.so.9";
        assert_eq!(WANTED.candidates(None, maps), [WANTED.file, beside]);
        assert_eq!(WANTED.candidates(None, ""), [WANTED.file]);
    }

    #[test]
    fn its_absence_is_explained() {
        let Err(message) = WANTED.open(&["/nowhere/libcudnn.so.9".into()]) else {
            panic!("there is a library in /nowhere");
        };
        for part in [
            "cuDNN 9 was not found",
            WANTED.package,
            WANTED.variable,
            "/nowhere",
        ] {
            assert!(message.contains(part), "{message}");
        }
    }

    /// The C library has none of NVIDIA's functions.
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    #[test]
    fn a_library_without_the_function_is_told() {
        let library = WANTED.open(&["libc.so.6".into()]).unwrap();
        type Version = unsafe extern "C" fn() -> usize;
        // SAFETY: the function is not called; there is none of this name.
        let found = unsafe { WANTED.function::<Version>(&library, "cudnnGetVersion") };
        let message = found.err().unwrap();
        let expected = "cuDNN 9 has no function cudnnGetVersion";
        assert!(message.starts_with(expected), "{message}");
    }
}
