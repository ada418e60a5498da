//! The texts of the kernels in NVRTC, which needs no GPU: `pip install nvidia-cuda-nvrtc` has the library, and `TALLOW_NVRTC` names it.

use std::ffi::{CString, c_char, c_int, c_void};
use std::path::Path;

use libloading::{Library, Symbol};
use tallow_cuda::source::{FILES, OPTIONS};

/// `nvrtcProgram`.
type Program = *mut c_void;
type Create = unsafe extern "C" fn(
    *mut Program,
    *const c_char,
    *const c_char,
    c_int,
    *const *const c_char,
    *const *const c_char,
) -> c_int;
type Compile = unsafe extern "C" fn(Program, c_int, *const *const c_char) -> c_int;
type Size = unsafe extern "C" fn(Program, *mut usize) -> c_int;
type Text = unsafe extern "C" fn(Program, *mut c_char) -> c_int;
type Destroy = unsafe extern "C" fn(*mut Program) -> c_int;

/// Messages of the compiler if it refuses a text.
fn compile(library: &Library, text: &str, architecture: &str) -> Result<(), String> {
    let text = CString::new(text).unwrap();
    let options: Vec<CString> = std::iter::once(format!("--gpu-architecture={architecture}"))
        .chain(OPTIONS.map(String::from))
        .map(|option| CString::new(option).unwrap())
        .collect();
    let pointers: Vec<*const c_char> = options.iter().map(|option| option.as_ptr()).collect();
    let mut program: Program = std::ptr::null_mut();
    // SAFETY: the types are those of nvrtc.h, texts and options end with a zero byte, and the log has room for as many bytes as it has.
    unsafe {
        let create: Symbol<Create> = library.get(c"nvrtcCreateProgram").unwrap();
        let compile: Symbol<Compile> = library.get(c"nvrtcCompileProgram").unwrap();
        let log_size: Symbol<Size> = library.get(c"nvrtcGetProgramLogSize").unwrap();
        let log: Symbol<Text> = library.get(c"nvrtcGetProgramLog").unwrap();
        let destroy: Symbol<Destroy> = library.get(c"nvrtcDestroyProgram").unwrap();
        let none = std::ptr::null();
        let (headers, names) = (none, none);
        let made = create(
            &mut program,
            text.as_ptr(),
            std::ptr::null(),
            0,
            headers,
            names,
        );
        assert_eq!(made, 0, "nvrtcCreateProgram");
        let status = compile(program, pointers.len() as c_int, pointers.as_ptr());
        let mut size = 0;
        assert_eq!(log_size(program, &mut size), 0);
        let mut messages = vec![0u8; size];
        assert_eq!(log(program, messages.as_mut_ptr().cast()), 0);
        assert_eq!(destroy(&mut program), 0);
        match status {
            0 => Ok(()),
            _ => Err(String::from_utf8_lossy(&messages).into_owned()),
        }
    }
}

#[test]
fn every_file_is_compiled_for_every_type() {
    let named = std::env::var_os("TALLOW_NVRTC");
    let names = ["libnvrtc.so.13", "libnvrtc.so.12", "libnvrtc.so"];
    let library = match &named {
        // The other half of NVRTC lies beside it and is found among what has been loaded.
        Some(path) => {
            let dir = Path::new(path).parent().unwrap().read_dir().unwrap();
            let halves = dir.map(|entry| entry.unwrap().path());
            let halves = halves.filter(|path| path.to_string_lossy().contains("nvrtc-builtins"));
            for half in halves {
                // SAFETY: NVIDIA's library does nothing when it is loaded.
                std::mem::forget(unsafe { Library::new(half) }.unwrap());
            }
            // SAFETY: as above.
            unsafe { Library::new(path) }.unwrap()
        }
        None => {
            // SAFETY: as above.
            let mut found = names.iter().map(|name| unsafe { Library::new(*name) });
            let Some(library) = found.find_map(Result::ok) else {
                println!(
                    "skipped: no NVRTC; `pip install nvidia-cuda-nvrtc` and TALLOW_NVRTC=.../libnvrtc.so.13"
                );
                return;
            };
            library
        }
    };
    for file in FILES {
        for &numbers in file.numbers {
            let text = file.program(numbers);
            for architecture in ["sm_80", "sm_90"] {
                if let Err(messages) = compile(&library, &text, architecture) {
                    panic!("{}, {numbers:?}, {architecture}:\n{messages}", file.name);
                }
            }
        }
    }
    // A text with a fault is refused, so the above says something.
    let refused = compile(&library, "KERNEL no_such_macro() {}", "sm_90");
    assert!(refused.unwrap_err().contains("KERNEL"));
}
