//! Processes that `mpirun`, `mpiexec` or `srun` has started to train together.

use std::process;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Error, Result, bail};
use clap::{Args, ValueEnum};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tallow_mpi::{Launch, Mpi, Options};
use tallow_train::Communicator;

use crate::console::{self, status};
use crate::ending::{Ending, FAILED};
use crate::program::Program;
use crate::{interrupt, machine, output};

/// Time in which the first process may tell an error that all have, before another one tells it.
const FIRST_SPEAKS: Duration = Duration::from_secs(2);

/// Arguments of a command that trains on several processes.
#[derive(Args, Debug, Clone)]
pub struct WorldArgs {
    /// Train together with the other processes that mpirun, mpiexec or srun has started: when this one was started so, always, or never.
    #[arg(long, value_name = "WHEN", value_enum, default_value_t = When::Auto)]
    pub mpi: When,
    /// Seconds for which a process waits for news from another one before it ends all of them.
    #[arg(long, value_name = "SECONDS", default_value_t = 600, value_parser = clap::value_parser!(u64).range(1..))]
    pub comm_timeout: u64,
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
    /// Arguments of a command that trains in one process.
    pub fn alone() -> Self {
        Self {
            mpi: When::Off,
            comm_timeout: 600,
        }
    }
}

/// Launcher that started this process.
fn launch() -> tallow_mpi::Result<Option<Launch>> {
    tallow_mpi::detect(|name| std::env::var(name).ok())
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
    mpi: Arc<Mpi>,
}

/// Place of a process, for the first one.
#[derive(Serialize, Deserialize)]
struct Place {
    host: String,
    threads: usize,
    /// Processors that the process may use.
    processors: usize,
    /// Cores of the machine.
    cores: usize,
}

impl World {
    /// World of this process; `None` where it trains alone.
    pub fn join(args: &WorldArgs) -> Result<Option<Self>> {
        let launch = match args.mpi {
            When::Off => return Ok(None),
            When::Auto => launch()?,
            // A launcher that is not known, or srun with a plugin of another name: what MPI says counts.
            When::On => launch().ok().flatten(),
        };
        match (args.mpi, launch) {
            (When::Auto, None) => return Ok(None),
            (_, Some(launch)) if !launch.has_others() => return Ok(None),
            _ => {}
        }
        let mpi = Mpi::join(Options {
            limit: Duration::from_secs(args.comm_timeout),
            launch,
            ..Options::default()
        })?;
        if mpi.rank() > 0 {
            console::mute();
        }
        interrupt::leave_to_launcher();
        Ok(Some(Self { mpi: Arc::new(mpi) }))
    }

    /// Whether this process writes records and shows progress.
    pub fn is_first(&self) -> bool {
        self.mpi.rank() == 0
    }

    /// The processes, for a trainer.
    pub fn communicator(&self) -> Arc<dyn Communicator> {
        self.mpi.clone()
    }

    /// Runs a command, and leaves the world after it. An error of one process ends all, with the exit code of a single one.
    pub fn run(
        self,
        program: &Program,
        command: impl FnOnce(&Self) -> Result<Ending>,
    ) -> Result<Ending> {
        let result = command(&self).and_then(|ending| {
            self.mpi.finish()?;
            Ok(ending)
        });
        result.map_err(|error| self.fail(program, &error))
    }

    /// Tells an error and ends all processes.
    fn fail(&self, program: &Program, error: &Error) -> Error {
        let message = program.message(&output::message(error));
        console::leave();
        match self.mpi.rank() {
            0 => console::error(&format!("error: {message}")),
            rank => {
                // Most errors are those of all processes.
                thread::sleep(FIRST_SPEAKS);
                console::error(&format!("rank {rank}: error: {message}"));
            }
        }
        self.mpi.abort(FAILED.into(), &message);
        process::exit(FAILED.into())
    }

    /// Tells what the world is, on the first process, and what is unusual about it. All processes call this, once their threads are set.
    pub fn describe(&self) -> Result<tallow_record::World> {
        let own = Place {
            host: self.mpi.host(),
            threads: rayon::current_num_threads(),
            processors: thread::available_parallelism().map_or(1, usize::from),
            cores: machine::all_cores().unwrap_or(1),
        };
        let all = self.mpi.all_gather(&serde_json::to_vec(&own)?)?;
        let places: Vec<Place> = all.iter().map(|place| read(place)).collect::<Result<_>>()?;
        let mut hosts: Vec<String> = Vec::new();
        for place in &places {
            if !hosts.contains(&place.host) {
                hosts.push(place.host.clone());
            }
        }
        let world = tallow_record::World {
            ranks: places.len(),
            hosts,
            library: self.mpi.version().to_string(),
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
        read(&self.mpi.broadcast(0, &bytes)?)
    }
}

fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T> {
    serde_json::from_slice(bytes).context("the processes run different programs")
}

/// What makes a world slow.
fn warnings(hosts: &[String], places: &[Place]) -> Vec<String> {
    let mut warnings = Vec::new();
    for host in hosts {
        let here: Vec<&Place> = places.iter().filter(|place| place.host == *host).collect();
        let threads: usize = here.iter().map(|place| place.threads).sum();
        let most = here.iter().map(|place| place.processors).max().unwrap_or(1);
        let cores = here.iter().map(|place| place.cores).max().unwrap_or(1);
        if most == 1 && cores > 1 {
            warnings.push(format!(
                "each process on {host} may use one of its {cores} cores: Open MPI binds processes to cores, unless mpirun has --bind-to none \
                 or --map-by slot:PE=N"
            ));
        } else if threads > most {
            warnings.push(format!(
                "{} processes on {host} compute with {threads} threads on {most} processors: --threads {} gives each its own (results depend on \
                 the number of threads, which is the same for all processes)",
                here.len(),
                (most / here.len()).max(1)
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
        let place = |host: &str, threads: usize, processors: usize| Place {
            host: host.to_string(),
            threads,
            processors,
            cores: 8,
        };
        let hosts = ["a".to_string(), "b".to_string()];
        let fits = [place("a", 4, 8), place("a", 4, 8), place("b", 4, 8)];
        assert_eq!(warnings(&hosts, &fits), Vec::<String>::new());
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
