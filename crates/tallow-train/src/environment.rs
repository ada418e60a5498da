//! Where a run took place.

use candle_core::{Device, DeviceLocation};
use serde::{Deserialize, Serialize};

/// What else but its settings a run's numbers and times may depend on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Environment {
    /// Version of `tallow-train`.
    pub tallow: String,
    /// Commit of the program's source, where the caller knows it.
    pub commit: Option<String>,
    /// The compiler, as `rustc --version`.
    pub rustc: String,
    /// Operating system and architecture: `linux x86_64`.
    pub platform: String,
    /// The processor's name; `unknown` where the system does not tell.
    pub cpu: String,
    /// Threads that computed.
    pub threads: usize,
    /// `cpu`, `cuda:0` or `metal:0`.
    pub device: String,
    /// The command line.
    pub command: Vec<String>,
}

impl Environment {
    /// The environment of this process, computing on `device`.
    pub fn capture(device: &Device, commit: Option<String>) -> Self {
        Self {
            tallow: env!("CARGO_PKG_VERSION").to_string(),
            commit,
            rustc: env!("TALLOW_RUSTC").to_string(),
            platform: format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
            cpu: cpu_model().unwrap_or_else(|| "unknown".to_string()),
            threads: rayon::current_num_threads(),
            device: match device.location() {
                DeviceLocation::Cpu => "cpu".to_string(),
                DeviceLocation::Cuda { gpu_id } => format!("cuda:{gpu_id}"),
                DeviceLocation::Metal { gpu_id } => format!("metal:{gpu_id}"),
            },
            command: std::env::args_os()
                .map(|arg| arg.to_string_lossy().into_owned())
                .collect(),
        }
    }
}

#[cfg(not(target_os = "macos"))]
fn cpu_model() -> Option<String> {
    let text = std::fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = text.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_string())
}

#[cfg(target_os = "macos")]
fn cpu_model() -> Option<String> {
    let output = std::process::Command::new("sysctl")
        .args(["-n", "machdep.cpu.brand_string"])
        .output()
        .ok()?;
    Some(String::from_utf8(output.stdout).ok()?.trim().to_string())
}
