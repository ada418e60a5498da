//! What the machine tells.

use std::collections::BTreeSet;
use std::fs;
use std::thread;

/// The physical cores given to this process: two threads of a core have one set of multipliers between them.
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

/// Different pairs of socket and core; 0 when the file does not tell.
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

/// Peak resident memory of this process in MiB, where the system tells.
pub fn peak_memory_mb() -> Option<f64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:"))?;
    let kib: f64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kib / 1024.0)
}

/// Processes that were running or waiting to, on average over the last minute, where the system tells.
pub fn load() -> Option<f64> {
    let text = fs::read_to_string("/proc/loadavg").ok()?;
    text.split_whitespace().next()?.parse().ok()
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

    #[cfg(target_os = "linux")]
    #[test]
    fn this_process_holds_memory() {
        assert!(peak_memory_mb().unwrap() > 1.0);
    }
}
