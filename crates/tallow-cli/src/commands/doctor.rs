//! `tallow doctor`: processor, devices, folders and datasets of this machine, with advice about missing ones.

use std::env;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;
use candle_core::Device;
use clap::Args;
use serde::Serialize;
use sysinfo::{Disks, System};
use tallow_datasets::{DigestCheck, LoadOptions, Verification, cache_dir, catalog, locate, verify};
use tallow_train::capture_environment;

use crate::ending::Ending;
use crate::program::Program;
use crate::text::size;
use crate::{machine, output};

/// Examples at the end of the help text.
pub const EXAMPLES: &str = "Examples:
  {tallow} doctor
  {tallow} doctor --verify
  {tallow} doctor --json | jq .datasets

Something that is missing is no error: the output has advice, and the exit code is 0.";

/// Longest time that Python may take to report its packages.
const PATIENCE: Duration = Duration::from_secs(60);

/// Arguments of `doctor`.
#[derive(Args, Debug)]
pub struct DoctorArgs {
    /// Read the datasets and compare them with their digests, which takes a while.
    #[arg(long)]
    verify: bool,
    /// Look for the data in this folder before the usual places.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Print one JSON object on standard output, and nothing else there.
    #[arg(long)]
    json: bool,
}

/// Output of `--json`.
#[derive(Serialize)]
struct Findings {
    tallow: String,
    commit: Option<String>,
    rustc: String,
    platform: String,
    cpu: Cpu,
    memory: Memory,
    devices: Vec<Accelerator>,
    folders: Vec<Folder>,
    datasets: Vec<Found>,
    pytorch: Pytorch,
    /// Advice about what is missing.
    advice: Vec<String>,
}

#[derive(Serialize)]
struct Cpu {
    name: String,
    /// Physical cores given to this process.
    cores: usize,
    /// Threads that compute unless `--threads` says otherwise.
    threads: usize,
    /// Instruction sets of the processor.
    features: Vec<&'static str>,
    /// Instruction set of the kernels.
    instruction_set: &'static str,
    /// `TALLOW_SIMD`, where it is set.
    asked_for: Option<String>,
}

#[derive(Serialize)]
struct Memory {
    bytes: u64,
    available: u64,
}

#[derive(Serialize)]
struct Accelerator {
    name: &'static str,
    /// Whether this build can use it.
    compiled: bool,
    /// Whether it can be used now.
    found: bool,
    /// Reason why it cannot be used.
    problem: Option<String>,
}

#[derive(Serialize)]
struct Folder {
    what: &'static str,
    path: PathBuf,
    exists: bool,
    /// Free bytes of its disk, where the system reports them.
    free_bytes: Option<u64>,
}

#[derive(Serialize)]
struct Found {
    name: &'static str,
    /// `built in` where there is no folder.
    place: Option<String>,
    /// `found`, `missing`, or with `--verify` `sound`, `readable` (no digest is known), `damaged`.
    state: &'static str,
    problem: Option<String>,
}

#[derive(Serialize)]
struct Pytorch {
    python: String,
    version: Option<String>,
    problem: Option<String>,
}

/// Prints the properties of this machine.
pub fn doctor(args: &DoctorArgs, program: &Program) -> Result<Ending> {
    let environment = capture_environment(&Device::Cpu, (program.commit)());
    let mut advice = Vec::new();
    let findings = Findings {
        cpu: cpu(environment.cpu, &mut advice),
        tallow: environment.tallow,
        commit: environment.commit,
        rustc: environment.rustc,
        platform: environment.platform,
        memory: memory(&mut advice),
        devices: devices(program, &mut advice),
        folders: folders(args, program, &mut advice),
        datasets: datasets(args, program, &mut advice),
        pytorch: pytorch(&mut advice),
        advice,
    };
    match args.json {
        true => output::json(&findings)?,
        false => output::print(&render(&findings))?,
    }
    Ok(Ending::Done)
}

fn cpu(name: String, advice: &mut Vec<String>) -> Cpu {
    let instruction_set = tallow_ops::instruction_set();
    let asked_for = env::var("TALLOW_SIMD").ok();
    if let Some(asked) = asked_for
        .as_deref()
        .filter(|asked| *asked != instruction_set)
    {
        advice.push(format!(
            "TALLOW_SIMD={asked} is not available here and is ignored; set it to avx2 or portable, or unset it for the fastest"
        ));
    }
    Cpu {
        name,
        cores: machine::cores(),
        threads: rayon::current_num_threads(),
        features: features(),
        instruction_set,
        asked_for,
    }
}

#[cfg(target_arch = "x86_64")]
fn features() -> Vec<&'static str> {
    let all = [
        ("sse4.2", is_x86_feature_detected!("sse4.2")),
        ("avx", is_x86_feature_detected!("avx")),
        ("avx2", is_x86_feature_detected!("avx2")),
        ("fma", is_x86_feature_detected!("fma")),
        ("f16c", is_x86_feature_detected!("f16c")),
        ("avx512f", is_x86_feature_detected!("avx512f")),
        ("avx512bw", is_x86_feature_detected!("avx512bw")),
        ("avx512vl", is_x86_feature_detected!("avx512vl")),
        ("avx512vnni", is_x86_feature_detected!("avx512vnni")),
    ];
    all.into_iter().filter(|f| f.1).map(|f| f.0).collect()
}

#[cfg(target_arch = "aarch64")]
fn features() -> Vec<&'static str> {
    use std::arch::is_aarch64_feature_detected;
    let all = [
        ("neon", is_aarch64_feature_detected!("neon")),
        ("fp16", is_aarch64_feature_detected!("fp16")),
        ("dotprod", is_aarch64_feature_detected!("dotprod")),
        ("sve", is_aarch64_feature_detected!("sve")),
    ];
    all.into_iter().filter(|f| f.1).map(|f| f.0).collect()
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn features() -> Vec<&'static str> {
    Vec::new()
}

fn memory(advice: &mut Vec<String>) -> Memory {
    let mut system = System::new();
    system.refresh_memory();
    // A container may have less than the machine.
    let limits = system.cgroup_limits();
    let bytes = limits
        .as_ref()
        .map_or(system.total_memory(), |l| l.total_memory);
    let available = limits.map_or(system.available_memory(), |l| l.free_memory);
    if available < 1_000_000_000 {
        advice.push(format!(
            "{} of memory are free; large networks need some GB: a smaller train.batch_size helps",
            size(available)
        ));
    }
    Memory { bytes, available }
}

fn devices(program: &Program, advice: &mut Vec<String>) -> Vec<Accelerator> {
    let device = |name, compiled, found: candle_core::Result<Device>| Accelerator {
        name,
        compiled,
        found: found.is_ok(),
        problem: found
            .err()
            .filter(|_| compiled)
            .map(|error| error.to_string()),
    };
    let cuda = tallow_ops::cuda_device(0).map_err(candle_core::Error::from);
    let cuda = device("cuda", cfg!(feature = "cuda"), cuda);
    let metal = device("metal", cfg!(feature = "metal"), Device::new_metal(0));
    let build = |feature: &str| match program.name.as_str() {
        "cargo xtask" => format!("cargo run --release -p xtask --features {feature} -- run ..."),
        name => format!("build {name} with the feature {feature}, then run"),
    };
    if !cuda.compiled && Path::new("/proc/driver/nvidia/version").exists() {
        advice.push(format!(
            "there is an NVIDIA GPU that this build cannot use; with the CUDA toolkit installed: {} --device cuda",
            build("cuda")
        ));
    }
    if !metal.compiled && cfg!(all(target_os = "macos", target_arch = "aarch64")) {
        advice.push(format!(
            "this build cannot use the GPU; {} --device metal",
            build("metal")
        ));
    }
    for accelerator in [&cuda, &metal] {
        if let Some(problem) = &accelerator.problem {
            let name = accelerator.name;
            advice.push(format!(
                "{name} is compiled in but not available ({problem}); check the driver, or compute with --device cpu"
            ));
        }
    }
    vec![cuda, metal]
}

fn folders(args: &DoctorArgs, program: &Program, advice: &mut Vec<String>) -> Vec<Folder> {
    let named = |variable| {
        env::var_os(variable)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    let all = [
        ("--data", args.data.clone()),
        ("TALLOW_DATA", named("TALLOW_DATA")),
        ("TALLOW_WEIGHTS", named("TALLOW_WEIGHTS")),
        ("cache", cache_dir()),
        ("run records", Some(PathBuf::from("runs"))),
    ];
    let disks = Disks::new_with_refreshed_list();
    let mut folders = Vec::new();
    for (what, path) in all {
        let Some(path) = path else { continue };
        let exists = path.is_dir();
        let free_bytes = free_bytes(&disks, &path);
        if !exists && !matches!(what, "cache" | "run records") {
            advice.push(format!(
                "{what} is {}, which is no folder; correct it or create the folder",
                path.display()
            ));
        }
        if free_bytes.is_some_and(|free| free < 1_000_000_000) {
            advice.push(format!(
                "the disk of {} ({what}) is nearly full; `{} clean-runs --unfinished` lists unfinished run records",
                path.display(),
                program.name
            ));
        }
        folders.push(Folder {
            what,
            path,
            exists,
            free_bytes,
        });
    }
    folders
}

/// Free bytes of the disk of a folder, which need not exist.
fn free_bytes(disks: &Disks, path: &Path) -> Option<u64> {
    let absolute = std::path::absolute(path).ok()?;
    let here = absolute.ancestors().find_map(|p| p.canonicalize().ok())?;
    let holds = disks
        .iter()
        .filter(|disk| here.starts_with(disk.mount_point()));
    let nearest = holds.max_by_key(|disk| disk.mount_point().components().count())?;
    Some(nearest.available_space())
}

fn datasets(args: &DoctorArgs, program: &Program, advice: &mut Vec<String>) -> Vec<Found> {
    let options = LoadOptions {
        data_dir: args.data.clone(),
        ..LoadOptions::default()
    };
    let tallow = &program.name;
    let mut missing = Vec::new();
    let mut all = Vec::new();
    for entry in catalog() {
        let name = entry.name;
        let (place, mut problem) = match locate(name, &options) {
            Ok(dir) if dir.as_os_str().is_empty() => (Some("built in".to_string()), None),
            Ok(dir) => (Some(dir.display().to_string()), None),
            Err(tallow_datasets::Error::NotFound(_)) => (None, None),
            Err(error) => (None, Some(error.to_string())),
        };
        let state = match (&place, &problem) {
            (None, None) => {
                missing.push(name);
                "missing"
            }
            (None, Some(_)) => "damaged",
            (Some(_), _) if !args.verify => "found",
            (Some(_), _) => match verify(name, &options) {
                Ok(found) if !found.is_sound() => "damaged",
                Ok(found) if is_known(&found) => "sound",
                Ok(_) => "readable",
                Err(error) => {
                    problem = Some(error.to_string());
                    "damaged"
                }
            },
        };
        if state == "damaged" {
            advice.push(format!(
                "{name} is damaged: `{tallow} data verify {name}` names the files; delete them and download it again"
            ));
        }
        all.push(Found {
            name,
            place,
            state,
            problem,
        });
    }
    if !missing.is_empty() {
        advice.push(format!(
            "missing datasets: {}; `{tallow} data get NAME` downloads one, or set TALLOW_DATA to the folder that has them",
            missing.join(", ")
        ));
    }
    all
}

/// Whether the decoded images of every split are the published ones.
fn is_known(found: &Verification) -> bool {
    let same = |verdict: &DigestCheck| matches!(verdict, DigestCheck::Same { .. });
    !found.splits.is_empty() && found.splits.iter().all(|split| same(&split.verdict))
        || !found.files.is_empty() && found.files.iter().all(|file| same(&file.verdict))
}

fn pytorch(advice: &mut Vec<String>) -> Pytorch {
    let python = machine::python();
    let (version, problem) = match version(&python) {
        Ok(version) => (Some(version), None),
        Err(problem) => (None, Some(problem)),
    };
    if problem.is_some() {
        advice.push(
            "PyTorch, which only comparisons of speed need: set TALLOW_PYTHON to the python of an environment that has it".to_string(),
        );
    }
    Pytorch {
        python: python.to_string_lossy().into_owned(),
        version,
        problem,
    }
}

/// The version of PyTorch that is installed for this Python, without importing it, which takes seconds.
fn version(python: &std::ffi::OsStr) -> Result<String, String> {
    let mut child = Command::new(python)
        .args([
            "-c",
            "from importlib.metadata import version; print(version('torch'))",
        ])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| format!("does not start: {error}"))?;
    let started = Instant::now();
    while started.elapsed() < PATIENCE {
        match child.try_wait() {
            Ok(None) => thread::sleep(Duration::from_millis(20)),
            Ok(Some(_)) => {
                let output = child.wait_with_output().map_err(|e| e.to_string())?;
                let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_string();
                let (out, errors) = (text(&output.stdout), text(&output.stderr));
                if output.status.success() && !out.is_empty() {
                    return Ok(out);
                }
                let last = errors.lines().last().unwrap_or("prints nothing");
                return Err(last.to_string());
            }
            Err(error) => return Err(error.to_string()),
        }
    }
    let _ = child.kill();
    let _ = child.wait();
    Err(format!("printed nothing for {} s", PATIENCE.as_secs()))
}

fn render(findings: &Findings) -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: String| {
        let _ = writeln!(text, "{name:<14} {value}");
    };
    let commit = findings.commit.as_deref().unwrap_or("commit not known");
    line("Tallow", format!("{}, {commit}", findings.tallow));
    line(
        "built by",
        format!("{}, for {}", findings.rustc, findings.platform),
    );
    let cpu = &findings.cpu;
    line(
        "processor",
        format!(
            "{}, {} cores, {} threads compute",
            cpu.name, cpu.cores, cpu.threads
        ),
    );
    let asked = match &cpu.asked_for {
        Some(asked) => format!(" (TALLOW_SIMD={asked})"),
        None => String::new(),
    };
    line(
        "instructions",
        format!(
            "{}{asked}; the processor has {}",
            cpu.instruction_set,
            cpu.features.join(" ")
        ),
    );
    let memory = &findings.memory;
    line(
        "memory",
        format!("{}, {} free", size(memory.bytes), size(memory.available)),
    );
    for device in &findings.devices {
        let state = match (device.compiled, device.found) {
            (false, _) => "not compiled in",
            (true, false) => "compiled in, not found",
            (true, true) => "compiled in, found",
        };
        line(device.name, state.to_string());
    }
    for folder in &findings.folders {
        let exists = if folder.exists { "" } else { ", not there" };
        let free = match folder.free_bytes {
            Some(free) => format!(", {} free on its disk", size(free)),
            None => String::new(),
        };
        line(
            folder.what,
            format!("{}{exists}{free}", folder.path.display()),
        );
    }
    let pytorch = &findings.pytorch;
    line(
        "PyTorch",
        match (&pytorch.version, &pytorch.problem) {
            (Some(version), _) => format!("{version}, by {}", pytorch.python),
            (None, problem) => format!(
                "not found; {}: {}",
                pytorch.python,
                problem.as_deref().unwrap_or("")
            ),
        },
    );
    text.push_str("\ndatasets\n");
    for found in &findings.datasets {
        let place = found.place.as_deref().unwrap_or("—");
        let problem = match &found.problem {
            Some(problem) => format!(": {problem}"),
            None => String::new(),
        };
        let _ = writeln!(
            text,
            "  {:<22} {:<9} {place}{problem}",
            found.name, found.state
        );
    }
    if !findings.advice.is_empty() {
        text.push_str("\nadvice\n");
    }
    for advice in &findings.advice {
        let _ = writeln!(text, "  - {advice}");
    }
    text
}
