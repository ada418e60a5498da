//! Programs of the sides that cargo builds when they are needed.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use tallow_cli::console::status;

use super::args::{Against, BenchArgs};

/// Programs of the sides other than this one and PyTorch.
#[derive(Clone, Debug, Default)]
pub struct Programs {
    /// Worker with the system's allocator; none where nothing is compared.
    pub system: Option<PathBuf>,
    /// Worker of burn, if burn is compared.
    pub burn: Option<PathBuf>,
}

impl Programs {
    /// Builds what the comparisons need.
    pub fn build(args: &BenchArgs) -> Result<Self> {
        let system = match &args.system_worker {
            Some(path) => {
                ensure!(
                    path.is_file(),
                    "--system-worker {}: no such file; leave it out to have the program built",
                    path.display()
                );
                Some(path.clone())
            }
            None if args.against.is_empty() || args.device != "cpu" => None,
            None => Some(system_worker()?),
        };
        let burn = match args.against.contains(&Against::Burn) {
            true => Some(burn_worker()?),
            false => None,
        };
        Ok(Self { system, burn })
    }
}

/// `bench-system`, with the features of this program, so that no dependency is built again.
fn system_worker() -> Result<PathBuf> {
    let mut command = cargo_build();
    command.args(["--package", "xtask", "--bin", "bench-system"]);
    for (on, feature) in [
        (cfg!(feature = "cuda"), "cuda"),
        (cfg!(feature = "metal"), "metal"),
    ] {
        if on {
            command.args(["--features", feature]);
        }
    }
    build(command).context(
        "cannot build `bench-system`, the worker with the system's allocator; `cargo build --release -p xtask --bin bench-system` builds \
         it alone",
    )
}

/// The worker in xtask/peers/burn, a workspace of its own: its many dependencies are no part of this one's lock file and builds. It is
/// compiled for this very processor.
fn burn_worker() -> Result<PathBuf> {
    status!("building burn's side; the first time downloads it and takes minutes");
    let folder = root().join("xtask/peers/burn");
    let mut command = cargo_build();
    command
        .arg("--manifest-path")
        .arg(folder.join("Cargo.toml"))
        .arg("--target-dir")
        .arg(target_folder()?.join("peers"))
        .env("RUSTFLAGS", "-C target-cpu=native");
    build(command).with_context(|| {
        format!(
            "`--against burn` builds {}, which needs a network the first time, and cargo could not build it; its messages stand above. \
             Leave `burn` out to compare with the others",
            folder.display()
        )
    })
}

fn root() -> &'static Path {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.parent().unwrap_or(package)
}

/// The folder of build outputs that this program is in.
fn target_folder() -> Result<PathBuf> {
    let this = std::env::current_exe().context("cannot find this program")?;
    let folder = this.parent().and_then(Path::parent);
    Ok(folder
        .context("this program is in no folder")?
        .to_path_buf())
}

fn cargo_build() -> Command {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
    let mut command = Command::new(cargo);
    command.current_dir(root()).args([
        "build",
        "--release",
        "--message-format=json-render-diagnostics",
    ]);
    command
}

/// Runs the build, whose messages go to standard error; returns the path of the program.
fn build(mut command: Command) -> Result<PathBuf> {
    let output = command
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("cannot run {}", name(command.get_program())))?;
    ensure!(
        output.status.success(),
        "cargo ended with {}",
        output.status
    );
    let text = String::from_utf8_lossy(&output.stdout);
    match executable(&text) {
        Some(path) => Ok(path),
        None => bail!("cargo named no program that it built"),
    }
}

fn name(program: &OsStr) -> String {
    program.to_string_lossy().into_owned()
}

/// The last program among cargo's messages, a line of JSON each.
fn executable(messages: &str) -> Option<PathBuf> {
    let messages = messages
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok());
    messages
        .filter_map(|message| Some(PathBuf::from(message.get("executable")?.as_str()?)))
        .next_back()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_is_named_by_cargo() {
        let messages = concat!(
            "{\"reason\":\"compiler-artifact\",\"executable\":null}\n",
            "not JSON\n",
            "{\"reason\":\"compiler-artifact\",\"executable\":\"/t/release/bench-burn\"}\n",
            "{\"reason\":\"build-finished\",\"success\":true}\n",
        );
        assert_eq!(
            executable(messages),
            Some(PathBuf::from("/t/release/bench-burn"))
        );
        assert_eq!(executable("{\"reason\":\"build-finished\"}\n"), None);
    }
}
