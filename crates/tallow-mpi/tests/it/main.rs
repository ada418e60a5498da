//! Worlds of processes, where MPI is (`launcher.rs`). Elsewhere the tests say that they were skipped.
#![cfg(unix)]

mod common;
mod launcher;
mod network;

use std::path::{Path, PathBuf};
use std::process::{self, Command};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use tallow_mpi::{Error, Mpi, Options, detect};
use tallow_train::Communicator;

use launcher::{Ended, Launcher};
use network::Network;

/// Variable that tells a process of a job what to do.
const ROLE: &str = "TALLOW_MPI_TEST_ROLE";
/// Time after which a job that hangs is ended.
const LONGEST: Duration = Duration::from_secs(120);

/// Values of the sum that is timed, 10 MB.
const TIMED: usize = 2_500_000;
/// Sums that are timed, of which the median counts.
const TIMES: usize = 3;
/// Speed of the links on which it is timed, in Mbit/s.
const SLOW: u32 = 100;
/// Bytes of a frame of Ethernet beside those of the message: TCP, IP and Ethernet itself, of 1514 in all.
const HEADERS: f64 = 66.0;
const FRAME: f64 = 1514.0;

/// This program, each process of which runs [`one_process`].
fn program() -> PathBuf {
    std::env::current_exe().unwrap()
}

/// Runs a job whose processes have this role; `None` where the library is missing.
fn job(mut command: Command, role: &str) -> Option<Ended> {
    command
        .args(["--exact", "one_process", "--nocapture"])
        .env(ROLE, role);
    launcher::run(command, LONGEST)
}

/// Process of a job; nothing outside of one.
#[test]
fn one_process() {
    let Ok(role) = std::env::var(ROLE) else {
        return;
    };
    let launch = detect(|name| std::env::var(name).ok()).unwrap();
    let options = Options {
        launch,
        limit: match role.as_str() {
            "silent" | "dead" => Duration::from_secs(1),
            _ => Duration::from_secs(60),
        },
        start: Duration::from_secs(if role == "late" { 1 } else { 60 }),
        ..Options::default()
    };
    if role == "late" && launch.and_then(|launch| launch.rank) == Some(1) {
        thread::sleep(2 * LONGEST);
    }
    let mpi = match Mpi::join(options) {
        Ok(mpi) => Arc::new(mpi),
        Err(error @ Error::NoLibrary { .. }) => panic!("{error}"),
        Err(error @ Error::Ranks(_)) if role == "late" => {
            println!("told: {error}");
            // MPICH's launcher reads no more once a process has ended.
            thread::sleep(Duration::from_millis(300));
            process::abort();
        }
        Err(error) => panic!("rank without a world: {error}"),
    };
    let told = launch.and_then(|launch| launch.rank);
    assert_eq!(told, Some(mpi.rank()), "the launcher's rank is another one");
    match role.as_str() {
        "sums" => sums(&*mpi),
        "time" => time(&*mpi),
        "panic" => {
            mpi.barrier().unwrap();
            assert!(mpi.rank() != 1, "on purpose");
            mpi.barrier().unwrap();
        }
        "silent" => {
            mpi.barrier().unwrap();
            if mpi.rank() == 1 {
                thread::sleep(2 * LONGEST);
            }
            mpi.barrier().unwrap();
        }
        "abort" => {
            mpi.barrier().unwrap();
            if mpi.rank() == 1 {
                mpi.abort(77, "on purpose");
            }
            mpi.barrier().unwrap();
        }
        "dead" => dead(&mpi),
        role => panic!("unknown role {role}"),
    }
    mpi.finish().unwrap();
    println!("finished {}", mpi.rank());
}

/// The first process dies while another one has not taken its message yet: a library that reads the memory of the sender finds nobody.
fn dead(mpi: &Mpi) {
    mpi.barrier().unwrap();
    let delay = Duration::from_millis(200);
    if mpi.rank() == 0 {
        thread::spawn(move || {
            thread::sleep(delay);
            process::abort();
        });
    } else {
        thread::sleep(2 * delay);
    }
    let part = vec![7; 1 << 20];
    let error = mpi.all_to_all(&[&part, &part]).unwrap_err();
    println!("told: {error}");
    process::exit(3);
}

/// Sums and messages of many lengths. The values of the ranks are of other magnitudes, and their sums are rounded: another order of three
/// and more terms gives other bits.
fn sums(ranks: &dyn Communicator) {
    let (rank, world) = (ranks.rank(), ranks.world());
    for len in [0, 1, 5, 10_000, 1_000_003] {
        let value = |rank: usize, i: usize| {
            ((i * 37 + rank * 11) % 101) as f32 / 7.0 * 2f32.powi((rank * 5 % 12) as i32)
        };
        let mut values: Vec<f32> = (0..len).map(|i| value(rank, i)).collect();
        ranks.all_reduce_f32(&mut values).unwrap();
        let mut differ = 0;
        for (i, sum) in values.iter().enumerate() {
            let terms: Vec<f32> = (0..world).map(|rank| value(rank, i)).collect();
            assert_eq!(sum.to_bits(), tree(&terms).to_bits(), "{len}: {i}");
            let backwards: f32 = terms.iter().rev().sum();
            differ += usize::from(backwards.to_bits() != sum.to_bits());
        }
        assert!(world < 3 || len < 10_000 || differ > 0, "{len}");
        let bytes = vec![rank as u8; len];
        let all = ranks.all_gather(&bytes).unwrap();
        assert!(
            all.iter()
                .enumerate()
                .all(|(rank, got)| *got == vec![rank as u8; len])
        );
    }
    let sent = ranks.broadcast(world - 1, &[rank as u8]).unwrap();
    assert_eq!(sent, [world as u8 - 1]);
}

fn tree(terms: &[f32]) -> f32 {
    match terms {
        [x] => *x,
        terms => {
            let (left, right) = terms.split_at(terms.len().next_power_of_two() / 2);
            tree(left) + tree(right)
        }
    }
}

/// Prints the median time of a sum on the first rank.
fn time(ranks: &dyn Communicator) {
    let mut values = vec![1f32; TIMED];
    let mut times = Vec::new();
    for _ in 0..TIMES {
        ranks.barrier().unwrap();
        let started = Instant::now();
        ranks.all_reduce_f32(&mut values).unwrap();
        times.push(started.elapsed().as_secs_f64());
    }
    times.sort_by(f64::total_cmp);
    if ranks.rank() == 0 {
        println!("median {}", times[TIMES / 2]);
    }
}

#[test]
fn sums_of_processes_have_their_order() {
    for launcher in Launcher::all() {
        for processes in [2, 3, 4] {
            let Some(ended) = job(launcher.start(processes, &program()), "sums") else {
                break;
            };
            let name = launcher.name();
            assert_eq!(ended.code, Some(0), "{name}: {}", ended.text);
            for rank in 0..processes {
                let finished = format!("finished {rank}");
                assert!(ended.text.contains(&finished), "{name}: {}", ended.text);
            }
        }
    }
}

#[test]
fn a_process_that_panics_or_aborts_ends_the_job() {
    for launcher in Launcher::all() {
        for (role, code) in [("panic", 101), ("abort", 77)] {
            let Some(ended) = job(launcher.start(3, &program()), role) else {
                break;
            };
            let name = launcher.name();
            assert_eq!(ended.code, Some(code), "{name}, {role}: {}", ended.text);
        }
    }
}

/// The launcher does not notice it at once: the shell that it has started lives on.
#[test]
fn a_message_of_a_dead_process_is_an_error_and_not_the_end() {
    for launcher in Launcher::all() {
        let mut command = launcher.start(2, Path::new("sh"));
        let script = r#""$0" "$@"; code=$?; sleep 3; exit $code"#;
        command.args(["-c", script]).arg(program());
        let Some(ended) = job(command, "dead") else {
            continue;
        };
        let (name, text) = (launcher.name(), &ended.text);
        assert_ne!(ended.code, Some(0), "{name}: {text}");
        assert!(text.contains("told: "), "{name}: {text}");
    }
}

#[test]
fn a_process_that_stands_still_ends_the_job_after_the_limit() {
    for launcher in Launcher::all() {
        let Some(ended) = job(launcher.start(2, &program()), "silent") else {
            continue;
        };
        let (name, text) = (launcher.name(), &ended.text);
        assert_ne!(ended.code, Some(0), "{name}: {text}");
        assert!(text.contains("has waited 1 s for rank 1"), "{name}: {text}");
    }
}

#[test]
fn a_process_that_does_not_come_ends_the_job_after_the_limit() {
    for launcher in Launcher::all() {
        let Some(ended) = job(launcher.start(2, &program()), "late") else {
            continue;
        };
        let (name, text) = (launcher.name(), &ended.text);
        assert_ne!(ended.code, Some(0), "{name}: {text}");
        let told = "told: MPI has not started in 1 s";
        assert!(text.contains(told), "{name}: {text}");
    }
}

/// Two processes on two hosts and four on four, of which each sends `2 (W - 1) / W` times the bytes of the values. A library's own sum takes
/// twice the time of the wire where its messages wait for the receiver. `--nocapture` shows the times.
#[test]
fn a_sum_on_a_slow_network_takes_the_time_of_the_wire() {
    for launcher in Launcher::all() {
        for hosts in [2, 4] {
            let Some(network) = Network::new(hosts, Some(SLOW)) else {
                return;
            };
            let Some(ended) = job(launcher.start_on(&network, 1, &program()), "time") else {
                break;
            };
            let (name, text) = (launcher.name(), &ended.text);
            assert_eq!(ended.code, Some(0), "{name}: {text}");
            let median = text.lines().find_map(|line| {
                let (_, median) = line.split_once("median ")?;
                median.trim().parse::<f64>().ok()
            });
            let median = median.unwrap_or_else(|| panic!("no time in {text}"));
            let bytes = (2 * (hosts - 1) * TIMED * size_of::<f32>()) as f64 / hosts as f64;
            let frames = 1.0 + HEADERS / (FRAME - HEADERS);
            let wire = bytes * frames * 8.0 / (f64::from(SLOW) * 1e6);
            println!("{name}, {hosts} hosts: {median:.3} s, the wire alone {wire:.3} s");
            // Faster than the wire, the messages have not gone through it.
            let sent = network.sent(0);
            assert!(sent as f64 >= bytes * TIMES as f64, "{name}: {sent} bytes");
            let slower = median / wire;
            assert!((0.9..1.5).contains(&slower), "{name}: {slower} times");
        }
    }
}
