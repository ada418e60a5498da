//! Worlds of processes, where MPI is: `mpirun` in the path, or named by `TALLOW_MPIRUN`. Elsewhere the tests say that they were skipped.

use std::io::Write;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use tallow_mpi::{Error, Mpi, Options, detect};
use tallow_train::Communicator;

/// Variable that tells a process of `mpirun` what to do.
const ROLE: &str = "TALLOW_MPI_TEST_ROLE";
/// Time after which a job that hangs is ended.
const LONGEST: Duration = Duration::from_secs(120);

/// Job of so many processes, each of which runs [`one_process`]; `None` where there is no MPI.
fn job(processes: usize, role: &str) -> Option<Output> {
    let mpirun = std::env::var("TALLOW_MPIRUN").unwrap_or_else(|_| "mpirun".to_string());
    let mut command = Command::new(&mpirun);
    let command = command
        .args(["-n", &processes.to_string()])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "one_process", "--nocapture"])
        .env(ROLE, role)
        // A container's user is root, and has few processors.
        .env("OMPI_ALLOW_RUN_AS_ROOT", "1")
        .env("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1")
        .env("OMPI_MCA_rmaps_base_oversubscribe", "1")
        .env("PRTE_MCA_rmaps_default_mapping_policy", ":oversubscribe")
        .env("OMPI_MCA_hwloc_base_binding_policy", "none")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(error) => {
            skipped(&format!(
                "{mpirun}: {error}; install Open MPI or MPICH, or set TALLOW_MPIRUN"
            ));
            return None;
        }
    };
    let started = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if started.elapsed() > LONGEST {
            child.kill().unwrap();
            panic!("{role}: the job hangs");
        }
        thread::sleep(Duration::from_millis(20));
    }
    let output = child.wait_with_output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    if errors.contains("no MPI library was found") {
        skipped(&errors);
        return None;
    }
    Some(output)
}

/// Reports that a test was skipped, directly on standard error: the output of `eprintln` is hidden when a test passes.
fn skipped(why: &str) {
    let line = format!("SKIPPED: {why}\n");
    std::io::stderr().write_all(line.as_bytes()).unwrap();
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
            "silent" => Duration::from_secs(1),
            _ => Duration::from_secs(60),
        },
        ..Options::default()
    };
    let mpi = match Mpi::join(options) {
        Ok(mpi) => Arc::new(mpi),
        Err(error @ Error::NoLibrary { .. }) => panic!("{error}"),
        Err(error) => panic!("rank without a world: {error}"),
    };
    match role.as_str() {
        "sums" => sums(&*mpi),
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
        role => panic!("unknown role {role}"),
    }
    mpi.finish().unwrap();
    println!("finished {}", mpi.rank());
}

/// Sums and messages of many lengths. The values of the ranks are powers of two apart, so that the order of a sum shows in its bits.
fn sums(ranks: &dyn Communicator) {
    let (rank, world) = (ranks.rank(), ranks.world());
    for len in [0, 1, 5, 10_000, 1_000_003] {
        let value = |rank: usize, i: usize| {
            (((i * 37 + rank * 11) % 101) as f32 - 50.0) * 2f32.powi((rank * 5 % 12) as i32)
        };
        let mut values: Vec<f32> = (0..len).map(|i| value(rank, i)).collect();
        ranks.all_reduce_f32(&mut values).unwrap();
        for (i, sum) in values.iter().enumerate() {
            let terms: Vec<f32> = (0..world).map(|rank| value(rank, i)).collect();
            assert_eq!(sum.to_bits(), tree(&terms).to_bits(), "{len}: {i}");
        }
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

#[test]
fn sums_of_processes_have_their_order() {
    for processes in [2, 3, 4] {
        let Some(output) = job(processes, "sums") else {
            return;
        };
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{output:?}");
        for rank in 0..processes {
            assert!(text.contains(&format!("finished {rank}")), "{text}");
        }
    }
}

#[test]
fn a_process_that_panics_or_aborts_ends_the_job() {
    for (role, code) in [("panic", 101), ("abort", 77)] {
        let Some(output) = job(3, role) else {
            return;
        };
        assert_eq!(output.status.code(), Some(code), "{role}: {output:?}");
    }
}

#[test]
fn a_process_that_stands_still_ends_the_job_after_the_limit() {
    let Some(output) = job(2, "silent") else {
        return;
    };
    assert!(!output.status.success(), "{output:?}");
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(text.contains("has waited 1 s for rank 1"), "{text}");
}
