//! Compilation of the kernels by NVRTC.

use std::ffi::{CString, c_char};

use candle_core::cuda_backend::cudarc::nvrtc::result::NvrtcError;
use candle_core::cuda_backend::cudarc::nvrtc::sys;

use crate::call::Numbers;
use crate::error::{Error, Result};
use crate::source::{File, OPTIONS};

/// Machine code of a file, for a type of numbers and an architecture such as `sm_90`.
///
/// Machine code and not PTX: a driver refuses the PTX of a toolkit that is newer than itself. No device is needed.
///
/// # Errors
/// [`Error::Compile`] with the compiler's messages.
pub fn cubin(file: &File, numbers: Numbers, architecture: &str) -> Result<Vec<u8>> {
    let failed = |call, log| {
        move |source: NvrtcError| Error::Compile {
            file: file.name,
            architecture: architecture.to_string(),
            call,
            source,
            log,
        }
    };
    // The texts are constants without a zero byte, and so are the options.
    let text = CString::new(file.program(numbers));
    let options = std::iter::once(format!("--gpu-architecture={architecture}"))
        .chain(OPTIONS.map(String::from))
        .map(CString::new);
    let options: Result<Vec<CString>, _> = options.collect();
    let (Ok(text), Ok(options)) = (text, options) else {
        return Err(Error::Argument {
            op: "cubin",
            message: format!("the architecture `{architecture}` has a zero byte"),
        });
    };
    let pointers: Vec<*const c_char> = options.iter().map(|option| option.as_ptr()).collect();

    let mut program = Program(std::ptr::null_mut());
    // SAFETY: the text ends with a zero byte, and there are no headers.
    unsafe {
        sys::nvrtcCreateProgram(
            &mut program.0,
            text.as_ptr(),
            std::ptr::null(),
            0,
            std::ptr::null(),
            std::ptr::null(),
        )
    }
    .result()
    .map_err(failed("nvrtcCreateProgram", String::new()))?;
    // SAFETY: the program was made above, and the options end with zero bytes.
    unsafe { sys::nvrtcCompileProgram(program.0, pointers.len() as i32, pointers.as_ptr()) }
        .result()
        .map_err(|error| failed("nvrtcCompileProgram", program.log())(error))?;
    let mut size = 0;
    // SAFETY: the program has been compiled.
    unsafe { sys::nvrtcGetCUBINSize(program.0, &mut size) }
        .result()
        .map_err(failed("nvrtcGetCUBINSize", String::new()))?;
    let mut code = vec![0u8; size];
    // SAFETY: there is room for as many bytes as the code has.
    unsafe { sys::nvrtcGetCUBIN(program.0, code.as_mut_ptr().cast()) }
        .result()
        .map_err(failed("nvrtcGetCUBIN", String::new()))?;
    Ok(code)
}

struct Program(sys::nvrtcProgram);

impl Program {
    /// Messages of the compiler; empty if they cannot be read.
    fn log(&self) -> String {
        let mut size = 0;
        // SAFETY: the program was made, and is destroyed only when this is dropped.
        if unsafe { sys::nvrtcGetProgramLogSize(self.0, &mut size) }
            .result()
            .is_err()
        {
            return String::new();
        }
        let mut log = vec![0u8; size];
        // SAFETY: there is room for the messages with their zero byte.
        match unsafe { sys::nvrtcGetProgramLog(self.0, log.as_mut_ptr().cast()) }.result() {
            Ok(()) => String::from_utf8_lossy(&log)
                .trim_end_matches(['\0', '\n'])
                .to_string(),
            Err(_) => String::new(),
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        if !self.0.is_null() {
            // SAFETY: the program was made, and nothing uses it any more. There is nothing to do about a failure.
            let _ = unsafe { sys::nvrtcDestroyProgram(&mut self.0) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::FILES;

    /// Needs NVRTC, which every CUDA build is linked with, and no device.
    #[test]
    fn every_file_compiles() {
        for architecture in ["sm_80", "sm_90"] {
            for file in FILES {
                for &numbers in file.numbers {
                    let code = cubin(file, numbers, architecture).unwrap();
                    for kernel in file.names(numbers) {
                        let name = kernel.as_bytes();
                        assert!(code.windows(name.len()).any(|w| w == name), "{kernel}");
                    }
                }
            }
        }
    }

    #[test]
    fn faults_have_the_compilers_message() {
        let bad = File {
            name: "bad.cu",
            text: "KERNEL(bad)() { undefined_thing(); }",
            numbers: &[Numbers::F32],
            kernels: &["bad"],
            families: &[],
        };
        let message = cubin(&bad, Numbers::F32, "sm_80").unwrap_err().to_string();
        assert!(
            message.contains("bad.cu(1)") && message.contains("undefined_thing"),
            "{message}"
        );
    }
}
