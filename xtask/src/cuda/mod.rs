//! `cargo xtask cuda-build`: a CUDA build on a machine without a GPU, packed for a machine with one.

mod pack;
pub mod times;
mod toolkit;
mod trained;

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use serde_json::Value;
use tallow_cli::console::status;
use tallow_cli::{Ending, output};
use tallow_datasets::{LoadOptions, locate};

use crate::repository::root;
use pack::{Packed, pack};
use toolkit::Toolkit;

/// Examples of the command.
pub const EXAMPLES: &str = "Examples:
  {tallow} cuda-build --toolkit ~/.cache/tallow/cuda-13.0
  {tallow} cuda-build --without-data --out /tmp/packed
Then, where the GPU is:
  python3 packed/report.py --list
  python3 packed/report.py --out results";

/// Arguments of `cuda-build`.
#[derive(Args, Debug)]
pub struct CudaBuildArgs {
    /// Folder for what is packed. It must not exist, or be of an earlier call.
    #[arg(long, value_name = "DIR", default_value = "target/cuda-packed")]
    out: PathBuf,
    /// Folder of the CUDA toolkit, filled from PyPI when it is not there (1.2 GB); by default tallow/cuda-13.0 in the user's cache folder.
    #[arg(long, value_name = "DIR")]
    toolkit: Option<PathBuf>,
    /// Compute capability that candle's kernels are built for: 90 runs on Hopper alone, 80 on all that is newer too.
    #[arg(long, value_name = "N", default_value = "90", value_parser = ["75", "80", "86", "89", "90"])]
    capability: String,
    /// Leave CIFAR-10 out.
    #[arg(long)]
    without_data: bool,
    /// Most megabytes that the folder may have.
    #[arg(long, value_name = "MB", default_value_t = 45, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
}

/// Crates whose tests of devices are packed.
const TESTED: [&str; 3] = ["tallow-ops", "tallow-models", "tallow-train"];

/// Builds and packs.
pub fn cuda_build(args: &CudaBuildArgs) -> Result<Ending> {
    ensure!(
        cfg!(all(target_os = "linux", target_arch = "x86_64")),
        "cuda-build works on Linux x86-64 alone, whose packages of the toolkit it takes"
    );
    // Now rather than when all is built.
    pack::check_out(&args.out)?;
    let data = match args.without_data {
        true => None,
        false => Some(cifar10()?),
    };
    let toolkit = Toolkit::prepare(&toolkit_folder(args)?, &root())?;
    let target =
        env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from);
    let build = Build {
        toolkit: &toolkit,
        target: target.join("cuda"),
        capability: &args.capability,
    };
    status!("building the program; candle's kernels take some ten minutes the first time");
    let program = ["--package", "xtask", "--bin", "xtask"];
    build.cargo(&[&["build", "--features", "xtask/cuda"], &program[..]].concat())?;
    status!("building the tests of devices");
    let mut programs = vec![("xtask".to_string(), build.target.join("release/xtask"))];
    programs.extend(build.tests(&["--test", "it"], &TESTED)?);
    starts(&toolkit, &programs[0].1)?;
    status!("compiling the kernels");
    for (_, tests) in build.tests(&["--lib"], &["tallow-cuda"])? {
        passes(&toolkit, &tests)?;
    }

    let packed = pack(&Packed {
        out: &args.out,
        programs: &programs,
        scripts: &root().join("xtask"),
        data: data.as_deref(),
        limit: u64::from(args.limit) * 1_000_000,
    })?;
    output::print(&format!(
        "{}\n{packed}\nWhere the GPU is: python3 {}/report.py --out results\n",
        args.out.display(),
        args.out
            .file_name()
            .map_or_else(String::new, |n| n.to_string_lossy().into_owned()),
    ))?;
    Ok(Ending::Done)
}

/// Folder of the toolkit.
fn toolkit_folder(args: &CudaBuildArgs) -> Result<PathBuf> {
    if let Some(folder) = &args.toolkit {
        return Ok(std::path::absolute(folder)?);
    }
    let cache = env::var_os("XDG_CACHE_HOME")
        .filter(|v| !v.is_empty())
        .map(PathBuf::from);
    let cache = cache.or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(".cache")));
    let cache =
        cache.context("there is no HOME to put the toolkit into: name a folder with --toolkit")?;
    Ok(cache.join("tallow/cuda-13.0"))
}

/// Folder with CIFAR-10.
fn cifar10() -> Result<PathBuf> {
    locate("cifar10", &LoadOptions::default()).context(
        "CIFAR-10 is packed for the training runs: TALLOW_DATA can name a folder that has it, and --without-data leaves it out",
    )
}

/// Calls of cargo for a CUDA build.
struct Build<'a> {
    toolkit: &'a Toolkit,
    /// Target folder of its own, so that the usual build is not made anew.
    target: PathBuf,
    capability: &'a str,
}

impl Build<'_> {
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        command
            .current_dir(root())
            .args(arguments)
            .arg("--release")
            .env("CARGO_TARGET_DIR", &self.target)
            .env("NVCC", self.toolkit.nvcc())
            .env("CUDA_HOME", self.toolkit.home())
            .env("CUDARC_CUDA_VERSION", "13000")
            .env("CUDA_COMPUTE_CAP", self.capability);
        command
    }

    fn cargo(&self, arguments: &[&str]) -> Result<()> {
        let status = self
            .command(arguments)
            .status()
            .context("cannot run cargo")?;
        ensure!(
            status.success(),
            "cargo {} failed ({status})",
            arguments.join(" ")
        );
        Ok(())
    }

    /// Builds tests of crates, and returns their programs with the names of the crates.
    fn tests(&self, which: &[&str], crates: &[&str]) -> Result<Vec<(String, PathBuf)>> {
        // With `xtask`, so that the dependencies have the features that the program has.
        let mut arguments = vec!["test", "--no-run", "--package", "xtask"];
        arguments.extend(which);
        let features: Vec<String> = crates.iter().map(|name| format!("{name}/cuda")).collect();
        let features = format!("xtask/cuda,{}", features.join(","));
        for name in crates {
            arguments.extend(["--package", name]);
        }
        arguments.extend([
            "--features",
            &features,
            "--message-format",
            "json-render-diagnostics",
        ]);
        let output = self
            .command(&arguments)
            .stderr(std::process::Stdio::inherit())
            .output();
        let output = output.context("cannot run cargo")?;
        ensure!(
            output.status.success(),
            "cargo {} failed ({})",
            arguments.join(" "),
            output.status
        );
        let text = String::from_utf8(output.stdout).context("cargo's messages are not UTF-8")?;
        crates
            .iter()
            .map(|name| Ok((name.to_string(), executable(&text, name)?)))
            .collect()
    }
}

/// Test program of a crate, from cargo's messages.
fn executable(messages: &str, name: &str) -> Result<PathBuf> {
    for line in messages.lines() {
        let Ok(message) = serde_json::from_str::<Value>(line) else {
            continue;
        };
        let of = message["manifest_path"].as_str().map(Path::new);
        let is_its = of
            .and_then(Path::parent)
            .is_some_and(|dir| dir.ends_with(name));
        if let (true, Some(path)) = (is_its, message["executable"].as_str()) {
            return Ok(path.into());
        }
    }
    bail!("cargo named no test program of {name}")
}

/// Starts the program with a driver that has no device, so that a library that is missing shows here.
fn starts(toolkit: &Toolkit, program: &Path) -> Result<()> {
    let output = Command::new(program)
        .arg("doctor")
        .env("LD_LIBRARY_PATH", toolkit.run_path()?)
        .output()
        .with_context(|| program.display().to_string())?;
    let text = String::from_utf8_lossy(&output.stdout);
    ensure!(
        output.status.code().is_some_and(|code| code < 2) && text.contains("cuda"),
        "the program does not start without a GPU ({}):\n{text}{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}

/// Runs tests that need the toolkit and no device: of the kernels, and of cuDNN's plans if it is installed.
fn passes(toolkit: &Toolkit, tests: &Path) -> Result<()> {
    let status = Command::new(tests)
        .env("LD_LIBRARY_PATH", toolkit.run_path()?)
        .status()
        .with_context(|| tests.display().to_string())?;
    ensure!(
        status.success(),
        "the tests of the kernels failed ({status})"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_test_program_of_a_crate_is_found_in_cargos_messages() {
        let messages = r#"{"reason":"compiler-artifact","manifest_path":"/w/crates/tallow-opsx/Cargo.toml","executable":"/t/other"}
not json
{"reason":"compiler-artifact","manifest_path":"/w/crates/tallow-ops/Cargo.toml","executable":null}
{"reason":"compiler-artifact","manifest_path":"/w/crates/tallow-ops/Cargo.toml","executable":"/t/it-1"}"#;
        assert_eq!(
            executable(messages, "tallow-ops").unwrap(),
            Path::new("/t/it-1")
        );
        let message = executable(messages, "tallow-train")
            .unwrap_err()
            .to_string();
        assert!(message.contains("tallow-train"), "{message}");
    }
}
