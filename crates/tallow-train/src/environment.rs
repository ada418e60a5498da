//! Environment of this process, for the record of a run.

use candle_core::{Device, DeviceLocation};
use tallow_record::{Environment, Gpu};

/// Environment of this process, computing on `device`; `commit` is that of the program's source, if known.
///
/// ```
/// use candle_core::Device;
///
/// let environment = tallow_train::capture_environment(&Device::Cpu, None);
/// assert_eq!(environment.device, "cpu");
/// assert!(environment.threads >= 1);
/// ```
pub fn capture_environment(device: &Device, commit: Option<String>) -> Environment {
    Environment {
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
        gpu: gpu(device),
        command: std::env::args_os()
            .map(|arg| arg.to_string_lossy().into_owned())
            .collect(),
        world: None,
    }
}

/// Card of a CUDA device; `None` for other devices, and where the driver does not say.
fn gpu(device: &Device) -> Option<Gpu> {
    #[cfg(feature = "cuda")]
    if let Device::Cuda(device) = device {
        let found = tallow_cuda::describe(device);
        let found = found.inspect_err(|error| tracing::warn!("no name of the card: {error}"));
        let found = found.ok()?;
        let version = |v: usize| format!("{}.{}.{}", v / 10_000, v / 100 % 100, v % 100);
        return Some(Gpu {
            name: found.name,
            driver: format!("{}.{}", found.driver / 1000, found.driver % 1000 / 10),
            cudnn: found.cudnn.map(version),
        });
    }
    let _ = device;
    None
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
