//! Processes that `mpirun`, `mpiexec`, `srun` or `torchrun` has started to train together.

mod failure;
mod gpus;

use std::env;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use candle_core::Device;
use clap::{Args, ValueEnum};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tallow_experiment::device;
use tallow_mpi::{Launch, Mpi, Options};
use tallow_train::{BUCKET_BYTES, Communicator};

use crate::args::{PlaceArgs, RunnerArgs};
use crate::console::{self, status};
use crate::continuation::Continuation;
use crate::ending::Ending;
#[cfg(unix)]
use crate::guard::Guarded;
use crate::program::Program;
use crate::{interrupt, machine, output, rank_log};
use failure::Failure;

/// Least time in which all processes must have started MPI: that of `--comm-timeout`, for messages, may be shorter.
const START: Duration = Duration::from_secs(120);

/// Megabytes of [`BUCKET_BYTES`].
const BUCKET_MB: u64 = (BUCKET_BYTES >> 20) as u64;

/// Arguments of a command that trains on several processes.
#[derive(Args, Debug, Clone)]
pub struct WorldArgs {
    /// Train together with the other processes that mpirun, mpiexec or srun has started: when this one was started so, always, or never.
    #[arg(long, value_name = "WHEN", value_enum, default_value_t = When::Auto)]
    pub mpi: When,
    /// Seconds for which a process waits for news from another one before it ends all of them.
    #[arg(long, value_name = "SECONDS", default_value_t = 600, value_parser = clap::value_parser!(u64).range(1..))]
    pub comm_timeout: u64,
    /// Megabytes of gradients that processes on CPUs add at a time, while the backward pass goes on; PyTorch's bucket_cap_mb. Results do not
    /// depend on it.
    #[arg(long, value_name = "MB", default_value_t = BUCKET_MB, value_parser = clap::value_parser!(u64).range(1..=65_536))]
    pub bucket_mb: u64,
    /// Train together with the processes that name the same file, without MPI: each has a GPU (--device cuda, in a build with --features cuda),
    /// and NCCL carries what they send. RANK, WORLD_SIZE and LOCAL_RANK in the environment say which process this is, as torchrun sets them.
    /// The file is on a disk that all share, and not there before.
    #[arg(long, value_name = "FILE", conflicts_with = "mpi")]
    pub rendezvous: Option<PathBuf>,
    /// Append what each process prints and logs to a file of its own in this folder, rank-N.log; RUST_LOG selects the log.
    #[arg(long, value_name = "DIR")]
    pub rank_logs: Option<PathBuf>,
}

/// Whether processes train together.
#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// When a launcher has started several.
    Auto,
    /// With any launcher, one that is not known too.
    On,
    /// Never: each process trains for itself.
    Off,
}

impl WorldArgs {
    /// Time for which a process waits for news from another one.
    fn limit(&self) -> Duration {
        Duration::from_secs(self.comm_timeout)
    }

    /// Arguments of a command that trains in one process.
    pub fn alone() -> Self {
        Self {
            mpi: When::Off,
            comm_timeout: 600,
            bucket_mb: BUCKET_MB,
            rendezvous: None,
            rank_logs: None,
        }
    }
}

/// Launcher that started this process.
fn launch() -> tallow_mpi::Result<Option<Launch>> {
    tallow_mpi::detect(variable)
}

/// Value of an environment variable.
fn variable(name: &str) -> Option<String> {
    env::var(name).ok()
}

/// Number that an environment variable has.
fn number(name: &str) -> Option<usize> {
    variable(name)?.trim().parse().ok()
}

/// No world: the process trains alone, with a log if it was asked for.
fn alone(args: &WorldArgs) -> Result<Option<World>> {
    if let Some(folder) = &args.rank_logs {
        rank_log::open(folder, 0)?;
    }
    Ok(None)
}

/// Refuses a command that works in one process where a launcher of MPI programs has started several.
pub fn refuse(command: &str) -> Result<()> {
    match launch() {
        Ok(Some(launch)) if launch.has_others() && launch.launcher != "srun" => bail!(
            "`tallow {command}` works in one process, but {} has started several; `tallow run` trains on all of them",
            launch.launcher
        ),
        _ => Ok(()),
    }
}

/// This process in its world.
pub struct World {
    ranks: Arc<dyn Communicator>,
    /// World of MPI, which is left in the end; `None` without MPI.
    mpi: Option<Arc<Mpi>>,
    /// Processes with their GPUs, kept until the end: without them this process has left the others, who tell that before it has told why.
    joined: Mutex<Option<Arc<dyn Communicator>>>,
    /// Name and version of what carries messages.
    library: String,
    /// Number of this process on its machine, where a launcher without MPI has said it.
    local: Option<usize>,
    limit: Duration,
    rank_logs: Option<PathBuf>,
    continuation: Continuation,
}

/// Processors of a process, for the first one.
#[derive(Serialize, Deserialize)]
struct Processors {
    host: String,
    threads: usize,
    /// Number of processors that the process may use.
    processors: usize,
    /// List of them, where the system has one.
    list: Option<String>,
    /// Whether they are one core of several.
    one_core: bool,
}

impl World {
    /// World of this process; `None` where it trains alone. `device` is the one that the arguments name, `continuation` is for the user,
    /// should a process die.
    ///
    /// The process that a known launcher of MPI has started becomes its guard (`guard.rs`) here; this returns in its child.
    pub fn join(
        args: &WorldArgs,
        device: &str,
        continuation: &Continuation,
    ) -> Result<Option<Self>> {
        if let Some(file) = &args.rendezvous {
            return Self::join_by_file(args, file, device, continuation);
        }
        let launch = match args.mpi {
            When::Off => None,
            When::Auto => launch()?,
            // srun may have told MPI of the processes in a way that is not known here. MPI must see as many.
            When::On => match launch() {
                Err(tallow_mpi::Error::SrunWithoutMpi { tasks }) => Some(Launch {
                    launcher: "srun",
                    world: Some(tasks),
                    rank: number("SLURM_PROCID"),
                    open_mpi: true,
                }),
                found => found?,
            },
        };
        let is_alone = match launch {
            None => args.mpi != When::On,
            Some(launch) => !launch.has_others(),
        };
        if is_alone {
            if args.mpi == When::Auto {
                gpus::refuse_torchrun(variable)?;
            }
            return alone(args);
        }
        #[cfg(unix)]
        if let Some(rank) = launch.and_then(|launch| launch.rank) {
            let guarded = Guarded {
                rank,
                rank_logs: args.rank_logs.clone(),
                continuation: continuation.clone(),
            };
            guarded.stand();
        }
        let joined = Mpi::join(Options {
            limit: args.limit(),
            start: args.limit().max(START),
            launch,
            bucket_bytes: (args.bucket_mb as usize) << 20,
            ..Options::default()
        });
        let mpi = joined.map_err(|error| {
            let rank = launch.and_then(|launch| launch.rank);
            failure::before_the_world(error.into(), rank.unwrap_or(0), continuation)
        })?;
        let mpi = Arc::new(mpi);
        let library = mpi.version().to_string();
        let world = Self::of(mpi.clone(), library, args, continuation);
        Ok(Some(Self {
            mpi: Some(mpi),
            ..world
        }))
    }

    /// World of processes that find each other by a file.
    fn join_by_file(
        args: &WorldArgs,
        file: &Path,
        device: &str,
        continuation: &Continuation,
    ) -> Result<Option<Self>> {
        let place = gpus::Place::of(variable)?;
        if place.world == 1 {
            return alone(args);
        }
        let is_gpu = device.split(':').next() == Some("cuda") && cfg!(feature = "cuda");
        ensure!(is_gpu, "{}", gpus::NEEDS_CUDA);
        let device = device::parse(&gpus::own_device(device, place.local))?;
        let ranks = gpus::by_file(file, place, &device, args.limit())?;
        let sums = ranks.device_sums(&device);
        let library = sums.map_or_else(String::new, |sums| sums.library());
        let world = Self::of(ranks, library, args, continuation);
        Ok(Some(Self {
            local: Some(place.local),
            ..world
        }))
    }

    fn of(
        ranks: Arc<dyn Communicator>,
        library: String,
        args: &WorldArgs,
        continuation: &Continuation,
    ) -> Self {
        if ranks.rank() > 0 {
            console::mute();
        }
        interrupt::leave_to_launcher();
        Self {
            ranks,
            mpi: None,
            joined: Mutex::default(),
            library,
            local: None,
            limit: args.limit(),
            rank_logs: args.rank_logs.clone(),
            continuation: continuation.clone(),
        }
    }

    /// Whether this process writes records and shows progress.
    pub fn is_first(&self) -> bool {
        self.ranks.rank() == 0
    }

    /// The arguments with the device of this process: `cuda` is another GPU for each one of a machine. All processes call this.
    pub fn on_own_device(&self, args: &RunnerArgs) -> Result<RunnerArgs> {
        let own = (self.ranks.host(), args.place.device.clone());
        let all = self.ranks.all_gather(&serde_json::to_vec(&own)?)?;
        let all: Vec<(String, String)> = all.iter().map(|own| read(own)).collect::<Result<_>>()?;
        let kind = |rank: usize| all[rank].1.split(':').next();
        if let Some(other) = (1..all.len()).find(|&rank| kind(rank) != kind(0)) {
            bail!(
                "rank {other} computes on `{}`, and rank 0 on `{}`: all processes need the same kind of device",
                all[other].1,
                all[0].1
            );
        }
        let before = all[..self.ranks.rank()].iter();
        let before = before.filter(|(host, _)| *host == own.0).count();
        let device = gpus::own_device(&args.place.device, self.local.unwrap_or(before));
        Ok(RunnerArgs {
            place: PlaceArgs {
                device,
                ..args.place.clone()
            },
            ..args.clone()
        })
    }

    /// The processes, for a trainer on this device. All processes call this.
    pub fn communicator(&self, device: &Device) -> Result<Arc<dyn Communicator>> {
        if self.mpi.is_none() {
            return Ok(self.ranks.clone());
        }
        let joined = gpus::with_nccl(&self.ranks, device, self.limit)?;
        self.keep(Some(joined.clone()));
        Ok(joined)
    }

    /// Keeps this until the end, instead of what was kept before.
    fn keep(&self, joined: Option<Arc<dyn Communicator>>) {
        *self.joined.lock().unwrap_or_else(PoisonError::into_inner) = joined;
    }

    /// Runs a command, and leaves the world after it. An error or a panic of one process ends all, with the exit code of a single one.
    pub fn run(
        self,
        program: &Program,
        command: impl FnOnce(&Self) -> Result<Ending>,
    ) -> Result<Ending> {
        let work = || -> Result<Ending> {
            self.begin_log()?;
            let ending = command(&self)?;
            self.leave()?;
            Ok(ending)
        };
        // What a panic leaves is not used: all ends with it.
        let failure = match catch_unwind(AssertUnwindSafe(work)) {
            Ok(Ok(ending)) => return Ok(ending),
            Ok(Err(error)) => Failure::of_error(&error, program.message(&output::message(&error))),
            Err(panic) => Failure::of_panic(&*panic),
        };
        failure.end(&*self.ranks, &self.continuation)
    }

    /// Leaves the world, when all processes do.
    fn leave(&self) -> Result<()> {
        self.keep(None);
        match &self.mpi {
            Some(mpi) => mpi.finish()?,
            None => self.ranks.barrier()?,
        }
        Ok(())
    }

    /// Opens the log of this process, if it was asked for, with a line that says who it is.
    fn begin_log(&self) -> Result<()> {
        let Some(folder) = &self.rank_logs else {
            return Ok(());
        };
        let (rank, world) = (self.ranks.rank(), self.ranks.world());
        rank_log::open(folder, rank)?;
        let (id, host, library) = (process::id(), self.ranks.host(), &self.library);
        let line = format!("rank {rank} of {world}: process {id} on {host}, {library}\n");
        rank_log::write(line.as_bytes());
        Ok(())
    }

    /// Tells what the world is, on the first process, and what is unusual about it. All processes call this, once their threads are set, with
    /// the communicator and the device of their trainer.
    pub fn describe(
        &self,
        communicator: &dyn Communicator,
        device: &Device,
    ) -> Result<tallow_record::World> {
        let nccl = communicator.device_sums(device).map(|sums| sums.library());
        let library = match nccl.filter(|_| self.mpi.is_some()) {
            Some(nccl) => format!("{}, {nccl}", self.library),
            None => self.library.clone(),
        };
        let own = Processors {
            host: self.ranks.host(),
            threads: rayon::current_num_threads(),
            processors: thread::available_parallelism().map_or(1, usize::from),
            list: machine::allowed_processors(),
            one_core: machine::has_one_core_of_several(),
        };
        let all = self.ranks.all_gather(&serde_json::to_vec(&own)?)?;
        let places: Vec<Processors> = all.iter().map(|place| read(place)).collect::<Result<_>>()?;
        let mut hosts: Vec<String> = Vec::new();
        for place in &places {
            if !hosts.contains(&place.host) {
                hosts.push(place.host.clone());
            }
        }
        let world = tallow_record::World {
            ranks: places.len(),
            hosts,
            library,
        };
        status!(
            "{} processes on {} ({}), {}",
            world.ranks,
            if world.hosts.len() == 1 {
                "one machine".to_string()
            } else {
                format!("{} machines", world.hosts.len())
            },
            world.hosts.join(", "),
            world.library
        );
        for warning in warnings(&world.hosts, &places) {
            status!("warning: {warning}");
        }
        Ok(world)
    }

    /// Passes a value of the first process to all others, which pass `None`.
    pub fn share<T: Serialize + DeserializeOwned>(&self, value: Option<&T>) -> Result<T> {
        let bytes = match value {
            Some(value) => serde_json::to_vec(value)?,
            None => Vec::new(),
        };
        read(&self.ranks.broadcast(0, &bytes)?)
    }
}

fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T> {
    serde_json::from_slice(bytes).context("the processes run different programs")
}

/// Warnings of what makes a world slow, at most one for each machine.
fn warnings(hosts: &[String], places: &[Processors]) -> Vec<String> {
    let mut warnings = Vec::new();
    for host in hosts {
        let here: Vec<&Processors> = places.iter().filter(|place| place.host == *host).collect();
        if here.iter().all(|place| place.one_core) {
            warnings.push(format!(
                "each process on {host} may use one of its cores: Open MPI binds processes to cores, unless mpirun has --bind-to none or \
                 --map-by slot:PE=N"
            ));
            continue;
        }
        // Processes with the same list of processors share these; srun, for one, gives each its own.
        let crowded = here.iter().find_map(|place| {
            let sharing = here.iter().filter(|other| other.list == place.list);
            let threads: Vec<usize> = sharing.map(|other| other.threads).collect();
            let (processes, threads) = (threads.len(), threads.iter().sum::<usize>());
            (threads > place.processors).then_some((processes, threads, place.processors))
        });
        if let Some((processes, threads, processors)) = crowded {
            let which = match processes {
                1 => format!("a process on {host} computes"),
                _ => format!("{processes} processes on {host} compute"),
            };
            warnings.push(format!(
                "{which} with {threads} threads on {processors} processors: --threads {} gives each its own (results depend on the number of \
                 threads, which is the same for all processes)",
                (processors / processes).max(1)
            ));
        }
    }
    warnings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_that_share_processors_and_bound_processes_are_told() {
        let listed = |host: &str, threads: usize, processors: usize, list: &str| Processors {
            host: host.to_string(),
            threads,
            processors,
            list: Some(list.to_string()),
            one_core: processors == 1,
        };
        let place = |host: &str, threads: usize, processors: usize| {
            listed(host, threads, processors, &format!("0-{}", processors - 1))
        };
        let hosts = ["a".to_string(), "b".to_string()];
        let fits = [place("a", 4, 8), place("a", 4, 8), place("b", 4, 8)];
        assert_eq!(warnings(&hosts, &fits), Vec::<String>::new());
        // Each has its own.
        let apart = [listed("a", 4, 4, "0-3"), listed("a", 4, 4, "4-7")];
        assert_eq!(warnings(&hosts[..1], &apart), Vec::<String>::new());
        let apart = [listed("a", 5, 4, "0-3"), listed("a", 5, 4, "4-7")];
        let found = warnings(&hosts[..1], &apart);
        let expected = "a process on a computes with 5 threads on 4 processors: --threads 4";
        assert!(found[0].starts_with(expected), "{found:?}");
        let crowded = [place("a", 8, 8), place("a", 8, 8), place("b", 8, 8)];
        let found = warnings(&hosts, &crowded);
        assert_eq!(found.len(), 1);
        let expected = "2 processes on a compute with 16 threads on 8 processors: --threads 4";
        assert!(found[0].starts_with(expected), "{found:?}");
        let bound = [place("a", 1, 1), place("b", 8, 8)];
        let found = warnings(&hosts, &bound);
        assert!(
            found.len() == 1 && found[0].contains("--bind-to none"),
            "{found:?}"
        );
    }
}
