//! Kernels on the CPU: their text, compiled as C++.
//!
//! `emulate.hpp` defines what the kernels use of CUDA, and runs the threads of a block as fibers. The library is compiled once a test
//! process, with the system's C++ compiler (`CXX`, or `c++`). Where there is none, the tests say that they were skipped.

use std::collections::HashMap;
use std::ffi::{CStr, CString, c_char, c_int, c_uint, c_void};
use std::fmt::Write as _;
use std::io::Write as _;
use std::process::Command;
use std::sync::{Mutex, OnceLock, PoisonError};

use half::bf16;
use tallow_cuda::{Address, Call, Numbers, source};

unsafe extern "C" {
    fn dlopen(filename: *const c_char, flag: c_int) -> *mut c_void;
    fn dlsym(handle: *mut c_void, symbol: *const c_char) -> *mut c_void;
    fn dlerror() -> *const c_char;
}

/// Resolve all symbols at once.
const RTLD_NOW: c_int = 2;

type Entry = unsafe extern "C" fn(
    across: c_uint,
    down: c_uint,
    threads: c_uint,
    args: *mut *mut c_void,
    count: c_uint,
    backwards: c_int,
) -> c_int;

/// Kernels compiled for the CPU.
pub struct Emulator {
    entries: HashMap<String, Entry>,
    /// The fibers are one set for all kernels.
    turn: Mutex<()>,
}

/// Emulator of this process; `None` where there is no C++ compiler.
pub fn emulator() -> Option<&'static Emulator> {
    static EMULATOR: OnceLock<Option<Emulator>> = OnceLock::new();
    let found = EMULATOR.get_or_init(Emulator::build).as_ref();
    if found.is_none() {
        // Straight to standard error: what `eprintln` writes is swallowed when a test passes.
        let word =
            b"SKIPPED: there is no C++ compiler to run the kernels on the CPU; CXX can name one\n";
        std::io::stderr().write_all(word).unwrap();
    }
    found
}

/// Text of all kernels for a C++ compiler.
fn program() -> String {
    let mut text = format!("{}\n{}\n", include_str!("emulate.hpp"), source::COMMON);
    for (file, numbers) in files() {
        // What the files of both types define has the same names.
        let name = file.name.replace('.', "_");
        let _ = writeln!(text, "namespace {name}_{numbers:?} {{");
        let _ = writeln!(text, "{}", file.text_for(numbers));
        for kernel in file.names(numbers) {
            let _ = writeln!(text, "ENTRY({kernel})");
        }
        text.push_str("}\n");
    }
    text
}

/// Every file with every type that it is compiled for.
fn files() -> impl Iterator<Item = (&'static source::File, Numbers)> {
    let of = |file: &'static source::File| file.numbers.iter().map(move |&numbers| (file, numbers));
    source::FILES.iter().flat_map(of)
}

impl Emulator {
    fn build() -> Option<Self> {
        let compiler = std::env::var("CXX").unwrap_or_else(|_| "c++".to_string());
        if Command::new(&compiler).arg("--version").output().is_err() {
            return None;
        }
        let dir = tempfile::tempdir().unwrap();
        let (text, library) = (
            dir.path().join("kernels.cpp"),
            dir.path().join("kernels.so"),
        );
        std::fs::write(&text, program()).unwrap();
        let output = Command::new(&compiler)
            // As NVRTC with --fmad=false: products and sums are rounded one by one.
            .args([
                "-std=c++17",
                "-O1",
                "-ffp-contract=off",
                "-fno-strict-aliasing",
            ])
            .args(["-fPIC", "-shared", "-o"])
            .args([&library, &text])
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "the kernels do not compile:\n{}",
            String::from_utf8_lossy(&output.stderr)
        );
        let path = CString::new(library.to_str().unwrap()).unwrap();
        // SAFETY: the library was made here, and runs nothing when it is loaded. It stays loaded.
        let handle = unsafe { dlopen(path.as_ptr(), RTLD_NOW) };
        assert!(!handle.is_null(), "{}", last_error());
        let entry = |kernel: String| {
            let name = CString::new(format!("emulate_{kernel}")).unwrap();
            // SAFETY: the handle is that of a loaded library.
            let symbol = unsafe { dlsym(handle, name.as_ptr()) };
            assert!(!symbol.is_null(), "{}", last_error());
            // SAFETY: ENTRY defines functions of this type.
            let entry = unsafe { std::mem::transmute::<*mut c_void, Entry>(symbol) };
            (kernel, entry)
        };
        let kernels = files().flat_map(|(file, numbers)| file.names(numbers));
        Some(Self {
            entries: kernels.map(entry).collect(),
            turn: Mutex::new(()),
        })
    }

    /// Runs launches one after another, the threads and blocks of each in one order or the other.
    pub fn run(&self, calls: &[Call], backwards: bool) {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        for call in calls {
            let entry = self.entries[call.kernel];
            let mut args: Vec<*mut c_void> =
                call.args.iter().map(|a| a.pointer().cast_mut()).collect();
            let (across, down) = call.grid;
            // SAFETY: the arguments are those of the kernel (their number is checked), and their addresses those of `Buffer`s of the
            // test that are large enough; what is written beside them is found when they are read.
            let code = unsafe {
                entry(
                    across,
                    down,
                    call.block,
                    args.as_mut_ptr(),
                    args.len() as c_uint,
                    c_int::from(backwards),
                )
            };
            match code {
                0 => {}
                1 => panic!("{}: some threads end while others wait", call.kernel),
                _ => panic!(
                    "{}: {} arguments are not what it takes",
                    call.kernel,
                    args.len()
                ),
            }
        }
    }
}

fn last_error() -> String {
    // SAFETY: the message is a string of the loader, which is read before another call.
    unsafe { CStr::from_ptr(dlerror()) }
        .to_string_lossy()
        .into_owned()
}

/// Values before and behind a buffer that must not change.
const GUARD: usize = 64;

/// Memory of the emulated device: values that lie on 16 bytes, between guards.
pub struct Buffer<T> {
    values: Vec<T>,
    start: usize,
    len: usize,
    guard: T,
}

impl<T: Copy + PartialEq + std::fmt::Debug> Buffer<T> {
    /// Buffer with these values. `guard` is the value beside them.
    fn with(values: &[T], guard: T) -> Self {
        let mut all = vec![guard; values.len() + 3 * GUARD];
        let start = (GUARD..2 * GUARD)
            .find(|&i| (all[i..].as_ptr() as usize).is_multiple_of(16))
            .unwrap();
        all[start..start + values.len()].copy_from_slice(values);
        Self {
            values: all,
            start,
            len: values.len(),
            guard,
        }
    }

    /// Address of the first value.
    pub fn address(&mut self) -> Address {
        self.values[self.start..].as_mut_ptr() as Address
    }

    /// Address of a value.
    pub fn at(&mut self, index: usize) -> Address {
        self.address() + (index * size_of::<T>()) as Address
    }

    /// The values, after a look at the guards.
    pub fn read(&self) -> &[T] {
        let end = self.start + self.len;
        for (i, value) in self.values.iter().enumerate() {
            let inside = (self.start..end).contains(&i);
            assert!(
                inside || *value == self.guard,
                "written outside, at {}",
                i as isize - self.start as isize
            );
        }
        &self.values[self.start..end]
    }
}

/// Guard of floats: a number that no test computes with, so that a read of it shows.
const ODD: f32 = -7.5e30;

impl Buffer<f32> {
    pub fn floats(values: &[f32]) -> Self {
        Self::with(values, ODD)
    }

    /// Buffer for results: every value must be written, or the test sees the odd number.
    pub fn unset(len: usize) -> Self {
        Self::with(&vec![ODD; len], ODD)
    }
}

impl Buffer<bf16> {
    pub fn halves(values: &[f32]) -> Self {
        let values: Vec<bf16> = values.iter().map(|&v| bf16::from_f32(v)).collect();
        Self::with(&values, bf16::from_f32(ODD))
    }

    /// Buffer for results: every value must be written, or the test sees the odd number.
    pub fn unset_halves(len: usize) -> Self {
        Self::with(&vec![bf16::from_f32(ODD); len], bf16::from_f32(ODD))
    }
}

impl Buffer<f64> {
    pub fn doubles(len: usize) -> Self {
        Self::with(&vec![f64::from(ODD); len], f64::from(ODD))
    }
}

impl Buffer<u32> {
    pub fn words(values: &[u32]) -> Self {
        Self::with(values, 0x5eed_5eed)
    }
}

impl Buffer<u8> {
    pub fn bytes(values: &[u8]) -> Self {
        Self::with(values, 0xa5)
    }
}

impl Buffer<u64> {
    pub fn table(values: &[u64]) -> Self {
        Self::with(values, 0x5eed_5eed_5eed_5eed)
    }
}

/// Buffer of numbers of either type.
pub enum Values {
    F32(Buffer<f32>),
    Bf16(Buffer<bf16>),
}

impl Values {
    pub fn of(numbers: Numbers, values: &[f32]) -> Self {
        match numbers {
            Numbers::F32 => Self::F32(Buffer::floats(values)),
            Numbers::Bf16 => Self::Bf16(Buffer::halves(values)),
        }
    }

    /// Buffer for results: every value must be written, or the test sees the odd number.
    pub fn unset(numbers: Numbers, len: usize) -> Self {
        match numbers {
            Numbers::F32 => Self::F32(Buffer::unset(len)),
            Numbers::Bf16 => Self::Bf16(Buffer::unset_halves(len)),
        }
    }

    /// Address of the first value.
    pub fn address(&mut self) -> Address {
        self.at(0)
    }

    /// Address of a value.
    pub fn at(&mut self, index: usize) -> Address {
        match self {
            Self::F32(buffer) => buffer.at(index),
            Self::Bf16(buffer) => buffer.at(index),
        }
    }

    /// The values, after a look at the guards.
    pub fn read(&self) -> Vec<f32> {
        match self {
            Self::F32(buffer) => buffer.read().to_vec(),
            Self::Bf16(buffer) => buffer.read().iter().map(|v| v.to_f32()).collect(),
        }
    }
}
