//! Properties of this machine: cores, memory, load and speed.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use candle_core::{Device, Tensor};

/// The Python with PyTorch for comparisons: the one that `TALLOW_PYTHON` names, or `python3`.
pub fn python() -> OsString {
    let given = std::env::var_os("TALLOW_PYTHON").filter(|python| !python.is_empty());
    given.unwrap_or_else(|| "python3".into())
}

/// Speed of large f32 matrix products on this device in GFLOP/s: the best of five products of 2048 x 2048 matrices. On the CPU that
/// is the speed of the `gemm` crate with the threads of this process.
pub fn gemm_peak(device: &Device) -> candle_core::Result<f64> {
    const SIDE: usize = 2048;
    let matrix = || Tensor::randn(0f32, 1.0, (SIDE, SIDE), device);
    let (a, b) = (matrix()?, matrix()?);
    let mut best = f64::INFINITY;
    for _ in 0..5 {
        let started = Instant::now();
        a.matmul(&b)?;
        device.synchronize()?;
        best = best.min(started.elapsed().as_secs_f64());
    }
    Ok(2.0 * (SIDE * SIDE * SIDE) as f64 / best / 1e9)
}

/// Number of physical cores that this process may use. Two hardware threads of a core share its multipliers.
pub fn cores() -> usize {
    let given = thread::available_parallelism().map_or(1, usize::from);
    all_cores().map_or(given, |physical| physical.min(given))
}

/// Number of physical cores of the machine; `None` where the system does not list them.
fn all_cores() -> Option<usize> {
    let text = fs::read_to_string("/proc/cpuinfo").ok()?;
    Some(physical_cores(&text)).filter(|&cores| cores > 0)
}

/// Whether this process may use one core of several, as a launcher binds it; false where the system does not list them.
pub fn has_one_core_of_several() -> bool {
    let Ok(text) = fs::read_to_string("/proc/cpuinfo") else {
        return false;
    };
    let given = thread::available_parallelism().map_or(1, usize::from);
    physical_cores(&text) > 1 && given <= threads_of_core(&text)
}

/// Processors that this process may use, as Linux lists them (`0-3,8`); `None` where the system does not.
pub fn allowed_processors() -> Option<String> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let list = (status.lines()).find_map(|line| line.strip_prefix("Cpus_allowed_list:"))?;
    Some(list.trim().to_string())
}

/// Number of hardware threads of a core, at least 1.
fn threads_of_core(cpuinfo: &str) -> usize {
    let processors = cpuinfo.lines().filter(|l| l.starts_with("processor"));
    (processors.count() / physical_cores(cpuinfo).max(1)).max(1)
}

/// Number of pairs of socket and core; 0 where the file does not list them.
fn physical_cores(cpuinfo: &str) -> usize {
    let (mut socket, mut pairs) = ("", BTreeSet::new());
    for line in cpuinfo.lines() {
        let Some((key, value)) = line.split_once(':') else {
            continue;
        };
        match key.trim() {
            "physical id" => socket = value.trim(),
            "core id" => {
                pairs.insert((socket, value.trim()));
            }
            _ => {}
        }
    }
    pairs.len()
}

/// Peak resident memory of a process in MiB; `None` where the system does not report it.
pub fn peak_memory_mb(process: u32) -> Option<f64> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:"))?;
    let kib: f64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kib / 1024.0)
}

/// Number of busy processors, measured for half a second; `None` where the system does not report it.
pub fn busy_cpus() -> Option<f64> {
    let sample = || {
        fs::read_to_string("/proc/stat")
            .ok()
            .as_deref()
            .and_then(ticks)
    };
    let before = sample()?;
    thread::sleep(Duration::from_millis(500));
    let after = sample()?;
    let total = after.total - before.total;
    (total > 0.0).then(|| (after.busy - before.busy) / total * after.cpus as f64)
}

/// Load average of the last minute; `None` where the system does not report it.
pub fn load_average() -> Option<f64> {
    let text = fs::read_to_string("/proc/loadavg").ok()?;
    text.split_whitespace().next()?.parse().ok()
}

/// Measurement of the load of processes other than this one and its descendants.
pub struct Others(Option<(Ticks, f64)>);

/// Load that is not ours, as a mean over some time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Load {
    /// Number of processors that were busy for other processes.
    pub cpus: f64,
    /// Number of processors that the host of a virtual machine gave to others.
    pub stolen: f64,
}

impl Others {
    /// Starts to measure.
    pub fn watch() -> Self {
        Self(now())
    }

    /// Mean number of processors that were busy for others since then, on this machine or on its host; `None` where the system does not
    /// report it.
    pub fn cpus(&self) -> Option<f64> {
        self.load().map(|load| load.cpus + load.stolen)
    }

    /// Load of others since then: of processes here, and of other virtual machines on the host.
    pub fn load(&self) -> Option<Load> {
        load(self.0.as_ref()?, &now()?)
    }
}

fn load((before, own_before): &(Ticks, f64), (after, own): &(Ticks, f64)) -> Option<Load> {
    let total = after.total - before.total;
    let stolen = after.stolen - before.stolen;
    let others = (after.busy - before.busy) - stolen - (own - own_before);
    let cpus = |ticks: f64| (ticks / total * after.cpus as f64).max(0.0);
    (total > 0.0).then(|| Load {
        cpus: cpus(others),
        stolen: cpus(stolen),
    })
}

/// Ticks of all processors, and those spent for this process and its descendants.
fn now() -> Option<(Ticks, f64)> {
    let own = tree_ticks(&processes()?, std::process::id())?;
    Some((ticks(&fs::read_to_string("/proc/stat").ok()?)?, own))
}

/// A process: its parent, and its ticks with those of its children that have ended.
struct Process {
    parent: u32,
    ticks: f64,
}

/// All processes by number. One that ends meanwhile is left out: its parent has its ticks then.
fn processes() -> Option<BTreeMap<u32, Process>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir("/proc").ok()?.flatten() {
        let number = entry
            .file_name()
            .to_str()
            .and_then(|n| n.parse::<u32>().ok());
        let Some(number) = number else {
            continue;
        };
        let stat = fs::read_to_string(entry.path().join("stat")).ok();
        if let Some(process) = stat.as_deref().and_then(process) {
            found.insert(number, process);
        }
    }
    Some(found)
}

/// Process by its `/proc/<number>/stat`.
fn process(stat: &str) -> Option<Process> {
    // The name before them, in brackets, may contain anything.
    let (_, rest) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    // User and system mode of all its threads, then of the children it has waited for.
    let times = fields.get(11..15)?.iter().map(|time| time.parse::<f64>());
    Some(Process {
        parent: fields.get(1)?.parse().ok()?,
        ticks: times.sum::<Result<f64, _>>().ok()?,
    })
}

/// Ticks of a process and of its descendants; `None` if it is not there.
fn tree_ticks(processes: &BTreeMap<u32, Process>, root: u32) -> Option<f64> {
    let belongs = |mut number: u32| {
        // Each step goes to a parent; the bound is for a table that changed while it was read.
        for _ in 0..processes.len() {
            match processes.get(&number) {
                _ if number == root => return true,
                Some(process) => number = process.parent,
                None => return false,
            }
        }
        false
    };
    processes.get(&root)?;
    let tree = processes.iter().filter(|(number, _)| belongs(**number));
    Some(tree.map(|(_, process)| process.ticks).sum())
}

struct Ticks {
    cpus: usize,
    busy: f64,
    stolen: f64,
    total: f64,
}

/// Sum over all processors: ticks at work, for other virtual machines too, or idle.
fn ticks(stat: &str) -> Option<Ticks> {
    let numbered = |line: &&str| line.starts_with("cpu") && !line.starts_with("cpu ");
    let all = stat.lines().find_map(|line| line.strip_prefix("cpu "))?;
    let ticks: Vec<f64> = all
        .split_whitespace()
        .map(|n| n.parse().ok())
        .collect::<Option<_>>()?;
    // user, nice, system, idle, waiting for disks, two kinds of interrupts, stolen; guests are counted in user.
    let total: f64 = ticks.iter().take(8).sum();
    Some(Ticks {
        cpus: stat.lines().filter(numbered).count(),
        busy: total - ticks.get(3)? - ticks.get(4)?,
        stolen: ticks.get(7).copied().unwrap_or_default(),
        total,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_threads_of_a_core_are_one_core() {
        let cpu = |socket, core| {
            format!("processor\t: 0\nphysical id\t: {socket}\ncore id\t\t: {core}\n\n")
        };
        let text = [cpu(0, 0), cpu(0, 0), cpu(0, 1), cpu(1, 0)].concat();
        assert_eq!(physical_cores(&text), 3);
        assert_eq!(physical_cores("processor : 0\n"), 0);
        let text = [cpu(0, 0), cpu(0, 0), cpu(0, 1), cpu(0, 1)].concat();
        assert_eq!((physical_cores(&text), threads_of_core(&text)), (2, 2));
        assert_eq!(threads_of_core(""), 1);
    }

    #[test]
    fn idle_processors_are_not_busy() {
        let stat = "cpu  10 1 5 80 4 0 0 2 7 0\ncpu0 1 2 3 4\ncpu1 1 2 3 4\nctxt 5\n";
        let ticks = ticks(stat).unwrap();
        assert_eq!((ticks.cpus, ticks.busy, ticks.total), (2, 18.0, 102.0));
        assert_eq!(ticks.stolen, 2.0);
        assert!(super::ticks("intr 1\n").is_none());
    }

    #[test]
    fn ticks_of_a_process_are_those_of_its_threads_and_past_children() {
        let stat = "7 (a name) with ) in it) S 4 2 3 4 5 6 7 8 9 10 30 12 5 1 20";
        let process = process(stat).unwrap();
        assert_eq!((process.parent, process.ticks), (4, 48.0));
        assert!(super::process("7 (cut").is_none());
        assert!(super::process("7 (cut) S 4 2 3 4 5 6 7 8 9 10 30 12").is_none());
    }

    #[test]
    fn a_tree_has_the_ticks_of_all_descendants() {
        // 1 starts 2 and 5; 2 starts 3, which starts 4.
        let processes = [
            (1, 0, 1.0),
            (2, 1, 10.0),
            (3, 2, 100.0),
            (4, 3, 1000.0),
            (5, 1, 7.0),
        ];
        let processes: BTreeMap<u32, Process> = processes
            .into_iter()
            .map(|(number, parent, ticks)| (number, Process { parent, ticks }))
            .collect();
        assert_eq!(tree_ticks(&processes, 2), Some(1110.0));
        assert_eq!(tree_ticks(&processes, 5), Some(7.0));
        assert_eq!(tree_ticks(&processes, 1), Some(1118.0));
        assert_eq!(tree_ticks(&processes, 6), None);
    }

    #[test]
    fn what_this_process_does_is_not_done_by_others() {
        let ticks = |busy, stolen, total| Ticks {
            cpus: 2,
            busy,
            stolen,
            total,
        };
        // Of 100 ticks of two processors 60 were work, 50 of them this process's and 4 stolen.
        let before = (ticks(5.0, 1.0, 10.0), 3.0);
        let found = load(&before, &(ticks(65.0, 5.0, 110.0), 53.0)).unwrap();
        assert!((found.cpus - 0.12).abs() < 1e-12, "{found:?}");
        assert!((found.stolen - 0.08).abs() < 1e-12, "{found:?}");
        assert!(load(&before, &before).is_none(), "no time passed");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn work_of_this_process_is_seen() {
        let before = now().unwrap();
        let cpus = before.0.cpus as f64;
        let until = std::time::Instant::now() + Duration::from_secs(60);
        // Ticks are hundredths of a second, and others may have the processors for a while.
        while now().unwrap().1 - before.1 < 10.0 {
            assert!(std::time::Instant::now() < until, "its work does not count");
            for i in 0..1_000_000u64 {
                std::hint::black_box(i);
            }
        }
        let others = Others(Some(before));
        let load = others.load().unwrap();
        for part in [load.cpus, load.stolen] {
            assert!((0.0..=cpus).contains(&part), "{load:?}");
        }
        assert!(others.cpus().is_some());
        assert!(load_average().is_some_and(|load| load >= 0.0));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn processors_of_this_process_are_listed() {
        let list = allowed_processors().unwrap();
        let digits = |c: char| c.is_ascii_digit() || c == '-' || c == ',';
        assert!(!list.is_empty() && list.chars().all(digits), "{list}");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_process_holds_memory() {
        assert!(peak_memory_mb(std::process::id()).unwrap() > 1.0);
        assert!(peak_memory_mb(u32::MAX).is_none());
    }
}
