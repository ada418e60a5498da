//! GPUs of processes that train together, one for each.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use candle_core::Device;
use tallow_train::Communicator;

/// Place of a process in a world without MPI.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Its rank.
    pub rank: usize,
    /// Number of processes.
    pub world: usize,
    /// Its number among those of its machine.
    pub local: usize,
}

impl Place {
    /// Place that the environment says, by the variables that torchrun sets.
    pub fn of(get: impl Fn(&str) -> Option<String>) -> Result<Self> {
        let number = |name: &str| -> Result<Option<usize>> {
            let Some(text) = get(name) else {
                return Ok(None);
            };
            let number = text.trim().parse();
            let number = number.with_context(|| format!("{name} is `{text}`, expected a number"));
            number.map(Some)
        };
        let needed = |name: &str| -> Result<usize> {
            number(name)?.with_context(|| {
                format!(
                    "--rendezvous needs RANK and WORLD_SIZE in the environment of each process, and {name} is not set: torchrun \
                     --no-python sets both, or set them yourself"
                )
            })
        };
        let (rank, world) = (needed("RANK")?, needed("WORLD_SIZE")?);
        ensure!(
            rank < world,
            "RANK is {rank} and WORLD_SIZE {world}: ranks are counted from 0"
        );
        let local = number("LOCAL_RANK")?.unwrap_or(rank);
        Ok(Self { rank, world, local })
    }
}

/// Refuses processes that torchrun has started and each of which would train for itself.
pub fn refuse_torchrun(get: impl Fn(&str) -> Option<String>) -> Result<()> {
    let world = get("WORLD_SIZE").and_then(|text| text.trim().parse::<usize>().ok());
    if let (Some(_), Some(world @ 2..)) = (get("TORCHELASTIC_RUN_ID"), world) {
        bail!(
            "torchrun has started {world} processes, each of which would train alone: add --rendezvous FILE for a GPU each, or start them by \
             mpirun; `--mpi off` says that they have nothing to do with each other"
        );
    }
    Ok(())
}

/// Device of a process: `cuda` is another GPU for each of the processes of a machine, as far as there are as many.
pub fn own_device(device: &str, local: usize) -> String {
    match device {
        "cuda" => format!("cuda:{}", local % count()),
        device => device.to_string(),
    }
}

/// Number of GPUs; 1 where it is not known, which shows when one is asked for.
fn count() -> usize {
    #[cfg(feature = "cuda")]
    let count = tallow_train::cuda_device_count().unwrap_or(1);
    #[cfg(not(feature = "cuda"))]
    let count = 1;
    count.max(1)
}

/// Processes that find each other by a file.
pub fn by_file(
    file: &Path,
    place: Place,
    device: &Device,
    limit: Duration,
) -> Result<Arc<dyn Communicator>> {
    #[cfg(feature = "cuda")]
    {
        let place = (place.rank, place.world);
        Ok(Arc::new(tallow_train::Nccl::join(
            file, place, device, limit,
        )?))
    }
    #[cfg(not(feature = "cuda"))]
    {
        let _ = (file, place, device, limit);
        bail!("{NEEDS_CUDA}")
    }
}

/// Message where processes without a GPU are to find each other by a file.
pub const NEEDS_CUDA: &str = "--rendezvous is for processes with a GPU each: it needs --device cuda, and a build with --features cuda; on the \
    CPU, start the processes by mpirun";

/// The processes, whose gradients NCCL adds if this device is a GPU and NCCL is there. A warning says if it is not.
pub fn with_nccl(
    ranks: &Arc<dyn Communicator>,
    device: &Device,
    limit: Duration,
) -> Result<Arc<dyn Communicator>> {
    #[cfg(feature = "cuda")]
    if device.is_cuda() {
        use tallow_train::{Error, WithNccl};
        return match WithNccl::join(Arc::clone(ranks), device, limit) {
            Ok(joined) => Ok(Arc::new(joined)),
            Err(error @ Error::NoNccl(_)) => {
                crate::console::status!(
                    "warning: gradients go through the memory of the host, which is slower: {error}"
                );
                Ok(Arc::clone(ranks))
            }
            Err(error) => Err(error.into()),
        };
    }
    let _ = (device, limit);
    Ok(Arc::clone(ranks))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variables(found: &[(&str, &str)]) -> impl Fn(&str) -> Option<String> {
        move |name: &str| {
            let found = found.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| value.to_string())
        }
    }

    #[test]
    fn places_are_those_of_torchrun() {
        let torchrun = [("RANK", "5"), ("WORLD_SIZE", "8"), ("LOCAL_RANK", "1")];
        let place = Place::of(variables(&torchrun)).unwrap();
        assert_eq!((place.rank, place.world, place.local), (5, 8, 1));
        // Of one machine.
        let place = Place::of(variables(&torchrun[..2])).unwrap();
        assert_eq!(place.local, 5);
        for (wrong, expected) in [
            (&[("WORLD_SIZE", "2")][..], "RANK is not set"),
            (&[("RANK", "0")][..], "WORLD_SIZE is not set"),
            (&[("RANK", "one"), ("WORLD_SIZE", "2")][..], "RANK is `one`"),
            (&[("RANK", "2"), ("WORLD_SIZE", "2")][..], "counted from 0"),
        ] {
            let error = Place::of(variables(wrong)).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn processes_of_torchrun_do_not_train_alone() {
        let started = [("TORCHELASTIC_RUN_ID", "none"), ("WORLD_SIZE", "2")];
        let error = refuse_torchrun(variables(&started)).unwrap_err();
        assert!(error.to_string().contains("--rendezvous"), "{error}");
        for alone in [
            &started[..1],
            &started[1..],
            &[started[0], ("WORLD_SIZE", "1")],
        ] {
            refuse_torchrun(variables(alone)).unwrap();
        }
    }

    #[test]
    fn each_process_of_a_machine_has_a_gpu() {
        for device in ["cpu", "cuda:3", "metal"] {
            assert_eq!(own_device(device, 2), device);
        }
        // However many there are here.
        assert_eq!(own_device("cuda", 0), "cuda:0");
    }
}
