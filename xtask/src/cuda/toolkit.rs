//! CUDA toolkit from PyPI's packages, with what a linker asks for besides.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use tallow_cli::console::status;
use tallow_cli::machine::python;

/// Packages of one release of the toolkit. It must not be newer than the driver's CUDA.
const PACKAGES: [&str; 8] = [
    "nvidia-cuda-nvcc==13.0.88",
    "nvidia-nvvm==13.0.88",
    "nvidia-cuda-crt==13.0.88",
    "nvidia-cuda-runtime==13.0.96",
    "nvidia-cuda-cccl==13.0.85",
    "nvidia-cuda-nvrtc==13.0.88",
    "nvidia-cublas==13.1.0.3",
    "nvidia-curand==10.4.0.35",
];

/// Libraries that the program is linked with, besides the driver's.
const LIBRARIES: [&str; 5] = ["cudart", "cublas", "cublasLt", "curand", "nvrtc"];

/// File that says of which packages the folder is.
const MARK: &str = "packages.txt";

/// Toolkit in a folder.
pub struct Toolkit {
    folder: PathBuf,
}

impl Toolkit {
    /// The toolkit of `folder`, made if it is not there. `root` is the repository, whose lock file names the version of cudarc.
    pub fn prepare(folder: &Path, root: &Path) -> Result<Self> {
        let toolkit = Self {
            folder: folder.to_path_buf(),
        };
        let wanted = PACKAGES.join("\n");
        if fs::read_to_string(folder.join(MARK)).is_ok_and(|found| found == wanted) {
            return Ok(toolkit);
        }
        if folder.is_dir()
            && fs::read_dir(folder)?.next().is_some()
            && !folder.join("site").is_dir()
        {
            bail!(
                "{}: is not of cuda-build; name another folder with --toolkit",
                folder.display()
            );
        }
        status!("filling {} from PyPI", folder.display());
        fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
        // One call: a second one with --upgrade empties the folder that the packages share.
        let status = Command::new(python())
            .args([
                "-m",
                "pip",
                "install",
                "--quiet",
                "--no-deps",
                "--upgrade",
                "--target",
            ])
            .arg(folder.join("site"))
            .args(PACKAGES)
            .status()
            .context("cannot run Python, whose pip gets the toolkit; TALLOW_PYTHON can name one")?;
        ensure!(
            status.success(),
            "pip cannot install the toolkit ({status})"
        );
        toolkit.link()?;
        toolkit.make_driver(root)?;
        fs::write(folder.join(MARK), wanted)?;
        Ok(toolkit)
    }

    /// Folder of the packages.
    fn site(&self) -> PathBuf {
        self.folder.join("site/nvidia/cu13")
    }

    /// Compiler of CUDA.
    pub fn nvcc(&self) -> PathBuf {
        self.site().join("bin/nvcc")
    }

    /// Folder as a toolkit has it, with `lib64` and `include`.
    pub fn home(&self) -> PathBuf {
        self.folder.join("home")
    }

    /// Value of LD_LIBRARY_PATH with which the program starts here: the toolkit's libraries, and a driver without a device.
    pub fn run_path(&self) -> Result<OsString> {
        let paths = [self.site().join("lib"), self.folder.join("driver")];
        Ok(std::env::join_paths(paths)?)
    }

    /// Links under the names that a linker asks for.
    fn link(&self) -> Result<()> {
        let (home, site) = (self.home(), self.site());
        let lib64 = home.join("lib64");
        fs::create_dir_all(&lib64)?;
        link(&site.join("include"), &home.join("include"))?;
        for name in LIBRARIES {
            let file = versioned(&site.join("lib"), name)?;
            link(&file, &lib64.join(format!("lib{name}.so")))?;
        }
        Ok(())
    }

    /// A driver for the linker, and to start the program with: all of its functions return that there is no device.
    fn make_driver(&self, root: &Path) -> Result<()> {
        let names = driver_functions(&cudarc_source(root)?)?;
        let folder = self.folder.join("driver");
        fs::create_dir_all(&folder)?;
        let source = folder.join("driver.c");
        fs::write(&source, driver_text(&names))?;
        let library = folder.join("libcuda.so.1");
        let compiler = std::env::var_os("CC").unwrap_or_else(|| "cc".into());
        let status = Command::new(&compiler)
            .args(["-shared", "-fPIC", "-Wl,-soname,libcuda.so.1", "-o"])
            .args([&library, &source])
            .status()
            .with_context(|| {
                format!("cannot run the C compiler `{}`", compiler.to_string_lossy())
            })?;
        ensure!(
            status.success(),
            "the stand-in for the driver does not compile ({status})"
        );
        link(&library, &self.home().join("lib64/libcuda.so"))
    }
}

/// Makes `at` a link to `to`, in place of an older one.
fn link(to: &Path, at: &Path) -> Result<()> {
    let _ = fs::remove_file(at);
    #[cfg(unix)]
    std::os::unix::fs::symlink(to, at).with_context(|| at.display().to_string())?;
    #[cfg(not(unix))]
    bail!(
        "{}: cuda-build needs symbolic links to {}",
        at.display(),
        to.display()
    );
    Ok(())
}

/// `lib<name>.so.<version>` of a folder.
fn versioned(folder: &Path, name: &str) -> Result<PathBuf> {
    let start = format!("lib{name}.so.");
    for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        let file = path.file_name().and_then(|name| name.to_str());
        if file.is_some_and(|file| file.starts_with(&start)) {
            return Ok(path);
        }
    }
    bail!(
        "{}: has no {start}*; remove the toolkit's folder and try again",
        folder.display()
    )
}

/// Folder of the sources of cudarc, in the version of the lock file.
fn cudarc_source(root: &Path) -> Result<PathBuf> {
    let output = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .current_dir(root)
        .args([
            "metadata",
            "--format-version",
            "1",
            "--all-features",
            "--locked",
        ])
        .output()
        .context("cannot run cargo")?;
    ensure!(
        output.status.success(),
        "cargo metadata failed:\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let metadata: Value = serde_json::from_slice(&output.stdout)?;
    let packages = metadata["packages"]
        .as_array()
        .map_or(&[][..], Vec::as_slice);
    let cudarc = packages.iter().find(|package| package["name"] == "cudarc");
    let manifest = cudarc.and_then(|package| package["manifest_path"].as_str());
    let manifest = Path::new(manifest.context("cargo metadata names no package cudarc")?);
    Ok(manifest.parent().unwrap_or(manifest).to_path_buf())
}

/// Names of the driver's functions that cudarc knows.
fn driver_functions(cudarc: &Path) -> Result<BTreeSet<String>> {
    let file = cudarc.join("src/driver/sys/mod.rs");
    let text = fs::read_to_string(&file).with_context(|| file.display().to_string())?;
    let names = function_names(&text);
    ensure!(
        names.contains("cuInit") && names.len() > 100,
        "{}: has {} functions of the driver, expected hundreds: its form is new",
        file.display(),
        names.len()
    );
    Ok(names)
}

/// Names after `fn ` that begin with `cu` and a capital.
fn function_names(text: &str) -> BTreeSet<String> {
    let name = |rest: &str| {
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_')?;
        let name = &rest[..end];
        let third = name.strip_prefix("cu")?.chars().next()?;
        third.is_ascii_uppercase().then(|| name.to_string())
    };
    text.split("fn ").skip(1).filter_map(name).collect()
}

/// C text of a driver whose functions return CUDA_ERROR_NO_DEVICE.
fn driver_text(names: &BTreeSet<String>) -> String {
    let functions: Vec<String> = names
        .iter()
        .map(|name| format!("int {name}(void) {{ return 100; }}\n"))
        .collect();
    functions.concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_of_the_driver_are_found_in_the_bindings() {
        let text = "pub unsafe fn cuInit(Flags: u32) -> CUresult {\n  extern \"C\" fn cuInit(Flags: u32);\n}\n\
                    pub unsafe fn cuMemAlloc_v2(p: *mut u64) {}\npub fn culib() {}\nfn other() {}\ntype fn_ = u8;";
        let names = function_names(text);
        assert_eq!(
            names.iter().collect::<Vec<_>>(),
            ["cuInit", "cuMemAlloc_v2"]
        );
        assert!(driver_text(&names).contains("int cuInit(void) { return 100; }\n"));
    }

    #[test]
    fn a_library_is_found_by_its_version() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["libcublasLt.so.13", "libcublas.so.13"] {
            fs::write(dir.path().join(name), "").unwrap();
        }
        let found = versioned(dir.path(), "cublas").unwrap();
        assert!(found.ends_with("libcublas.so.13"), "{}", found.display());
        let message = versioned(dir.path(), "nvrtc").unwrap_err().to_string();
        assert!(message.contains("libnvrtc.so.*"), "{message}");
    }

    #[test]
    fn a_folder_of_something_else_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("precious"), "").unwrap();
        let Err(error) = Toolkit::prepare(dir.path(), dir.path()) else {
            panic!("it was filled");
        };
        assert!(
            error.to_string().contains("is not of cuda-build"),
            "{error}"
        );
    }
}
