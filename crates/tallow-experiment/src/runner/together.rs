//! What the ranks of a runner tell each other besides training.

use std::path::PathBuf;

use serde::Serialize;
use tallow_train::Communicator;

use crate::error::Result;
use crate::job::Setting;
use crate::recipe::Recipe;

/// Calls `prepare` on one rank of each machine, and then on the others of it: what the first one has downloaded is there for them.
pub(super) fn in_turn<T>(
    ranks: &dyn Communicator,
    prepare: impl FnOnce() -> Result<T>,
) -> Result<T> {
    if ranks.world() <= 1 {
        return prepare();
    }
    let host = ranks.host();
    let hosts = ranks.all_gather(host.as_bytes())?;
    let first = hosts.iter().position(|other| *other == host.as_bytes());
    if first == Some(ranks.rank()) {
        let prepared = prepare()?;
        ranks.barrier()?;
        return Ok(prepared);
    }
    ranks.barrier()?;
    prepare()
}

/// Runs of an experiment and the program that trains them, for the comparison of the ranks.
#[derive(Serialize)]
struct Together<'a> {
    commit: &'a Option<String>,
    experiment: &'a str,
    runs: Vec<OneRun<'a>>,
}

#[derive(Serialize)]
struct OneRun<'a> {
    variant: &'a str,
    seed: u64,
    data: String,
    recipe: &'a Recipe,
}

/// Checks that all ranks are going to train the same runs.
pub(super) fn check_same(setting: &Setting<'_>, commit: &Option<String>) -> Result<()> {
    if setting.communicator.world() <= 1 {
        return Ok(());
    }
    let experiment = setting.experiment;
    let runs = experiment.runs().map(|(variant, seed)| {
        let splits = setting.splits.select(&variant.recipe.data)?;
        Ok(OneRun {
            variant: &variant.name,
            seed,
            data: splits.train.info().digest.clone(),
            recipe: &variant.recipe,
        })
    });
    let together = Together {
        commit,
        experiment: &experiment.name,
        runs: runs.collect::<Result<_>>()?,
    };
    Ok(tallow_train::check_same(
        &**setting.communicator,
        &together,
    )?)
}

/// Tells the other ranks which runs have a folder of a finished record.
pub(super) fn tell_finished(ranks: &dyn Communicator, finished: &[Option<PathBuf>]) -> Result<()> {
    if ranks.world() > 1 {
        let finished: Vec<u8> = finished.iter().map(|run| u8::from(run.is_some())).collect();
        ranks.broadcast(0, &finished)?;
    }
    Ok(())
}

/// Runs that have finished, as [`tell_finished`] on the first rank tells.
pub(super) fn hear_finished(ranks: &dyn Communicator) -> Result<Vec<bool>> {
    let finished = ranks.broadcast(0, &[])?;
    Ok(finished.into_iter().map(|run| run != 0).collect())
}
