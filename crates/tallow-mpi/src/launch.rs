//! Detection of the launcher that started this process.

use crate::error::{Error, Result};

/// Launcher that started this process together with others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Launch {
    /// Name of the launcher.
    pub launcher: &'static str,
    /// Number of processes; `None` where the launcher does not tell.
    pub world: Option<usize>,
    /// Rank that the launcher has given to this process; `None` where it does not tell. MPI gives the same.
    pub rank: Option<usize>,
    /// Whether the launcher is Open MPI's own.
    pub open_mpi: bool,
}

impl Launch {
    /// Whether there are other processes.
    pub fn has_others(&self) -> bool {
        self.world != Some(1)
    }
}

/// Variables in which launchers pass the rank of a process, those of launchers that others start first.
const RANKS: [&str; 5] = [
    "OMPI_COMM_WORLD_RANK",
    "PMIX_RANK",
    "PMI_RANK",
    "MV2_COMM_WORLD_RANK",
    "SLURM_PROCID",
];

/// Launcher that started this process as part of a world of MPI, by the environment variables that it sets; `None` for a process of its
/// own.
///
/// # Errors
/// [`Error::SrunWithoutMpi`] for processes that Slurm started without telling MPI: each would be a world of one.
///
/// ```
/// let variables = [("OMPI_COMM_WORLD_SIZE", "4"), ("OMPI_COMM_WORLD_RANK", "1")];
/// let get = |name: &str| {
///     let found = variables.iter().find(|(known, _)| *known == name);
///     found.map(|(_, value)| value.to_string())
/// };
/// let launch = tallow_mpi::detect(get)?.unwrap();
/// assert_eq!((launch.launcher, launch.world, launch.rank), ("mpirun", Some(4), Some(1)));
/// # Ok::<(), tallow_mpi::Error>(())
/// ```
pub fn detect(get: impl Fn(&str) -> Option<String>) -> Result<Option<Launch>> {
    let number = |name: &str| get(name)?.trim().parse::<usize>().ok();
    // Set by srun for its step. SLURM_NTASKS is that of the job: a program in a batch script has it too, and is one process.
    let tasks = number("SLURM_STEP_NUM_TASKS").filter(|_| get("SLURM_PROCID").is_some());
    let launch = |launcher, world, open_mpi| {
        Ok(Some(Launch {
            launcher,
            world,
            rank: RANKS.iter().find_map(|&name| number(name)),
            open_mpi,
        }))
    };
    // First, since its daemons may be started by srun, whose variables are there too.
    if let Some(world) = number("OMPI_COMM_WORLD_SIZE") {
        return launch("mpirun", Some(world), true);
    }
    let by = |mpirun| if tasks.is_some() { "srun" } else { mpirun };
    if get("PMIX_RANK").is_some() {
        return launch(by("prun"), tasks, true);
    }
    if let Some(world) = number("PMI_SIZE").or_else(|| number("MV2_COMM_WORLD_SIZE")) {
        return launch(by("mpiexec"), Some(world), false);
    }
    match tasks {
        Some(tasks @ 2..) => Err(Error::SrunWithoutMpi { tasks }),
        _ => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(variables: &[(&str, &str)]) -> Result<Option<Launch>> {
        detect(|name| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| value.to_string())
        })
    }

    fn launched(variables: &[(&str, &str)]) -> (&'static str, Option<usize>, bool) {
        let launch = found(variables).unwrap().unwrap();
        (launch.launcher, launch.world, launch.open_mpi)
    }

    fn rank(variables: &[(&str, &str)]) -> Option<usize> {
        found(variables).unwrap().unwrap().rank
    }

    const STEP: [(&str, &str); 2] = [("SLURM_STEP_NUM_TASKS", "3"), ("SLURM_PROCID", "0")];

    #[test]
    fn launchers_are_known_by_their_variables() {
        let mpirun = [("OMPI_COMM_WORLD_SIZE", "4"), ("PMIX_RANK", "0")];
        assert_eq!(launched(&mpirun), ("mpirun", Some(4), true));
        // Daemons on three nodes, two processes each.
        let daemons = [&STEP[..], &[("OMPI_COMM_WORLD_SIZE", "6")]].concat();
        assert_eq!(launched(&daemons), ("mpirun", Some(6), true));
        let hydra = [("PMI_RANK", "1"), ("PMI_SIZE", "2")];
        assert_eq!(launched(&hydra), ("mpiexec", Some(2), false));
        let pmix = [&STEP[..], &[("PMIX_RANK", "2")]].concat();
        assert_eq!(launched(&pmix), ("srun", Some(3), true));
        let pmi2 = [&STEP[..], &[("PMI_SIZE", "3")]].concat();
        assert_eq!(launched(&pmi2), ("srun", Some(3), false));
        assert_eq!(launched(&[("PMIX_RANK", "0")]), ("prun", None, true));
        let single = found(&[("PMI_SIZE", "1")]).unwrap().unwrap();
        assert!(!single.has_others());
    }

    #[test]
    fn the_rank_is_that_of_the_launcher() {
        assert_eq!(rank(&[("PMI_RANK", "1"), ("PMI_SIZE", "2")]), Some(1));
        assert_eq!(rank(&[&STEP[..], &[("PMIX_RANK", "2")]].concat()), Some(2));
        assert_eq!(rank(&[("PMI_SIZE", "2")]), None);
        // The daemon's own rank in its step is another one.
        let mpirun = [("OMPI_COMM_WORLD_SIZE", "6"), ("OMPI_COMM_WORLD_RANK", "5")];
        assert_eq!(rank(&[&STEP[..], &mpirun].concat()), Some(5));
    }

    #[test]
    fn processes_that_mpi_does_not_know_of_are_refused() {
        let error = found(&STEP).unwrap_err().to_string();
        assert!(error.starts_with("srun has started 3 processes"), "{error}");
        // A batch script, a single task, and no job at all.
        for alone in [
            &[("SLURM_NTASKS", "4"), ("SLURM_PROCID", "0")][..],
            &[("SLURM_STEP_NUM_TASKS", "1"), ("SLURM_PROCID", "0")],
            &[("PMI_SIZE", "many")],
            &[],
        ] {
            assert_eq!(found(alone).unwrap(), None);
        }
    }
}
