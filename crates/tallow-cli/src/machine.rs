//! Properties of this machine: cores, memory, load and speed.

use std::collections::BTreeSet;
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
    let physical = fs::read_to_string("/proc/cpuinfo")
        .map(|text| physical_cores(&text))
        .unwrap_or(0);
    match physical {
        0 => given,
        n => n.min(given),
    }
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

/// Peak resident memory of this process in MiB; `None` where the system does not report it.
pub fn peak_memory_mb() -> Option<f64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
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

/// Measurement of the load of other processes.
pub struct Others(Option<(Ticks, f64)>);

impl Others {
    /// Starts to measure.
    pub fn watch() -> Self {
        Self(now())
    }

    /// Mean number of processors that were busy for other processes since then; `None` where the system does not report it.
    pub fn cpus(&self) -> Option<f64> {
        others(self.0.as_ref()?, &now()?)
    }
}

fn others((before, own_before): &(Ticks, f64), (after, own): &(Ticks, f64)) -> Option<f64> {
    let total = after.total - before.total;
    let others = (after.busy - before.busy) - (own - own_before);
    (total > 0.0).then(|| (others / total * after.cpus as f64).max(0.0))
}

/// Ticks of all processors, and those spent for this process.
fn now() -> Option<(Ticks, f64)> {
    let read = |path| fs::read_to_string(path).ok();
    let own = own_ticks(&read("/proc/self/stat")?)?;
    Some((ticks(&read("/proc/stat")?)?, own))
}

/// Ticks in user and system mode, of all threads.
fn own_ticks(stat: &str) -> Option<f64> {
    // The name before them, in brackets, may contain anything.
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace().skip(11);
    let (user, system): (f64, f64) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    Some(user + system)
}

struct Ticks {
    cpus: usize,
    busy: f64,
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
        total,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_threads_of_a_core_are_one_core() {
        let cpu = |socket, core| format!("physical id\t: {socket}\ncore id\t\t: {core}\n\n");
        let text = [cpu(0, 0), cpu(0, 0), cpu(0, 1), cpu(1, 0)].concat();
        assert_eq!(physical_cores(&text), 3);
        assert_eq!(physical_cores("processor : 0\n"), 0);
    }

    #[test]
    fn idle_processors_are_not_busy() {
        let stat = "cpu  10 1 5 80 4 0 0 2 7 0\ncpu0 1 2 3 4\ncpu1 1 2 3 4\nctxt 5\n";
        let ticks = ticks(stat).unwrap();
        assert_eq!((ticks.cpus, ticks.busy, ticks.total), (2, 18.0, 102.0));
        assert!(super::ticks("intr 1\n").is_none());
    }

    #[test]
    fn own_ticks_are_those_of_user_and_system() {
        let stat = "7 (a name) with ) in it) S 1 2 3 4 5 6 7 8 9 10 30 12 0 0 20";
        assert_eq!(own_ticks(stat), Some(42.0));
        assert_eq!(own_ticks("7 (cut"), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn what_this_process_does_is_not_done_by_others() {
        let ticks = |busy, total| Ticks {
            cpus: 2,
            busy,
            total,
        };
        // Of 100 ticks of two processors 60 were work, 50 of them this process's.
        let found = others(&(ticks(5.0, 10.0), 3.0), &(ticks(65.0, 110.0), 53.0));
        assert!((found.unwrap() - 0.2).abs() < 1e-12, "{found:?}");

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
        let others = Others(Some(before)).cpus().unwrap();
        assert!((0.0..=cpus).contains(&others), "{others}");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_process_holds_memory() {
        assert!(peak_memory_mb().unwrap() > 1.0);
    }
}
