//! Launchers of MPI on this machine, and the jobs that they start. The tests of `tallow` share this file.
//!
//! `TALLOW_MPIRUN` names an `mpirun` or several, with a colon between them as in `PATH`; without it the one in the path is taken. A library in
//! the folder `lib` beside that of the `mpirun` is taken with it, unless there is one `mpirun` alone and `TALLOW_MPI` names another library.

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::NamedTempFile;

use crate::common::skipped;
use crate::network::Network;

/// Libraries beside an `mpirun` of its own folder.
const LIBRARIES: [&str; 3] = ["libmpi.so.40", "libmpi.so.12", "libmpich.so.12"];

/// Variables for jobs of both families. A container's user is root, and has few processors.
const VARIABLES: [(&str, &str); 5] = [
    ("OMPI_ALLOW_RUN_AS_ROOT", "1"),
    ("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1"),
    ("OMPI_MCA_rmaps_base_oversubscribe", "1"),
    ("PRTE_MCA_rmaps_default_mapping_policy", ":oversubscribe"),
    ("OMPI_MCA_hwloc_base_binding_policy", "none"),
];

/// Variables for jobs on a network, whose messages must go through it: the libraries would find that all processes are on one machine.
const THROUGH_TCP: [(&str, &str); 4] = [
    ("OMPI_MCA_pml", "ob1"),
    ("OMPI_MCA_btl", "tcp,self"),
    ("UCX_TLS", "tcp,self"),
    ("FI_PROVIDER", "tcp"),
];

/// Launcher of MPI programs.
#[derive(Clone, Debug)]
pub struct Launcher {
    mpirun: PathBuf,
    library: Option<PathBuf>,
    /// Whether it is Open MPI's; else it is MPICH's, whose options others have too.
    pub is_open_mpi: bool,
}

impl Launcher {
    /// Launchers of this machine; none, and a word on it, where there are none.
    pub fn all() -> Vec<Self> {
        let named = env::var_os("TALLOW_MPIRUN").filter(|names| !names.is_empty());
        let names: Vec<PathBuf> = match &named {
            Some(names) => env::split_paths(names).collect(),
            None => vec![PathBuf::from("mpirun")],
        };
        let chosen = env::var_os("TALLOW_MPI").filter(|_| names.len() == 1);
        let found = names.iter().filter_map(|name| Self::find(name));
        let found = found.map(|launcher| Self {
            library: chosen.clone().map(PathBuf::from).or(launcher.library),
            ..launcher
        });
        found.collect()
    }

    /// The launcher that `mpirun` is; `None` with a word if it cannot be started.
    fn find(mpirun: &Path) -> Option<Self> {
        let version = Command::new(mpirun)
            .arg("--version")
            .envs(VARIABLES)
            .output();
        let version = match version {
            Ok(output) => String::from_utf8_lossy(&output.stdout).into_owned(),
            Err(error) => {
                skipped(&format!(
                    "{}: {error}; install Open MPI or MPICH, or name its mpirun in TALLOW_MPIRUN",
                    mpirun.display()
                ));
                return None;
            }
        };
        let folder = mpirun.parent().and_then(Path::parent);
        let library = folder.and_then(|folder| {
            let libraries = LIBRARIES.map(|name| folder.join("lib").join(name));
            libraries
                .into_iter()
                .find(|path| path.is_absolute() && path.is_file())
        });
        Some(Self {
            mpirun: mpirun.to_path_buf(),
            library,
            is_open_mpi: version.contains("Open MPI"),
        })
    }

    /// Name for messages and folders of a test.
    pub fn name(&self) -> &'static str {
        match self.is_open_mpi {
            true => "open-mpi",
            false => "mpich",
        }
    }

    /// Command that starts so many processes of a program on this machine. Arguments are those of the program.
    pub fn start(&self, processes: usize, program: &Path) -> Command {
        let mut command = Command::new(&self.mpirun);
        command.args(["-n", &processes.to_string()]).arg(program);
        command.envs(VARIABLES).envs(self.library());
        command
    }

    /// Command that starts so many processes of a program on each host of a network. Arguments are those of the program.
    pub fn start_on(&self, network: &Network, each: usize, program: &Path) -> Command {
        let hosts = network.addresses();
        let processes = (each * hosts.len()).to_string();
        let hosts: Vec<String> = (hosts.iter())
            .map(|host| format!("{host}:{each}"))
            .collect();
        let hosts = hosts.join(",");
        let map = format!("ppr:{each}:node:oversubscribe");
        let mut command = network.command(0, &self.mpirun);
        match self.is_open_mpi {
            true => command.args(["--host", &hosts, "--map-by", &map]),
            false => command.args(["-hosts", &hosts, "-ppn", &each.to_string()]),
        };
        if !self.is_open_mpi {
            let agent = network.agent();
            command
                .args(["-launcher", "ssh", "-launcher-exec"])
                .arg(agent);
        }
        command.args(["-n", &processes]).arg(program);
        command
            .envs(VARIABLES)
            .envs(THROUGH_TCP)
            .envs(self.library());
        // The name of the agent in Open MPI 4, and in 5.
        for name in ["OMPI_MCA_plm_rsh_agent", "PRTE_MCA_plm_ssh_agent"] {
            command.env(name, network.agent());
        }
        command
    }

    fn library(&self) -> Option<(&'static str, &Path)> {
        let library = self.library.as_deref()?;
        Some(("TALLOW_MPI", library))
    }
}

/// Job of several processes under way, which ends with its test.
pub struct Job {
    child: Child,
    log: NamedTempFile,
}

/// Exit code of a job, and what it has printed.
#[derive(Debug)]
pub struct Ended {
    pub code: Option<i32>,
    pub text: String,
}

impl Job {
    /// Starts a job.
    pub fn start(mut command: Command) -> Self {
        let log = NamedTempFile::new().unwrap();
        let file = || Stdio::from(log.as_file().try_clone().unwrap());
        let child = command
            .stdin(Stdio::null())
            .stdout(file())
            .stderr(file())
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?}: {error}"));
        Self { child, log }
    }

    /// Process of the launcher.
    #[allow(dead_code)] // Not all tests that share this file need it.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Text that it has printed so far.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.log.path()).unwrap()).into_owned()
    }

    /// Whether it has ended.
    pub fn is_over(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Waits for the end, at most so long: a job that takes longer fails the test. `None`, and a word on it, where the launcher is there
    /// without its library.
    pub fn end(mut self, longest: Duration) -> Option<Ended> {
        let waits = Instant::now();
        while !self.is_over() {
            assert!(
                waits.elapsed() < longest,
                "the job has not ended in {longest:?}: {}",
                self.text()
            );
            thread::sleep(Duration::from_millis(10));
        }
        let code = self.child.wait().unwrap().code();
        let text = self.text();
        if text.contains("no MPI library was found") {
            skipped("mpirun is there, but not its library; TALLOW_MPI may name it");
            return None;
        }
        Some(Ended { code, text })
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        // Ended already, unless the test has failed. A launcher that is killed takes its processes with it.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs a job, which must end within so long.
pub fn run(command: Command, longest: Duration) -> Option<Ended> {
    Job::start(command).end(longest)
}

/// Whether a program of this name is in the path.
pub fn is_in_path(name: impl AsRef<OsStr>) -> bool {
    let name = name.as_ref();
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).any(|folder| folder.join(name).is_file())
}
