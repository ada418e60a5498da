//! `tallow run`: trains every variant of an experiment with every seed and judges its claims.

use anyhow::{Result, bail};
use tallow_experiment::{Experiment, Resume};

use crate::args::Seeds;
use crate::commands::overfit::overfit;
use crate::commands::run_args::RunArgs;
use crate::console::status;
use crate::continuation::{self, Continuation};
use crate::ending::Ending;
use crate::program::Program;
use crate::resume::Started;
use crate::runner::{Runner, engine};
use crate::world::World;
use crate::{interrupt, output, results_table};

/// Examples at the end of the help text.
pub const EXAMPLES: &str = "Examples:
  {tallow} run quickstart
  {tallow} run my.toml
  {tallow} run mnist-pixel-order --seeds 0..3
  {tallow} run mnist-pixel-order --seeds 0..10 --reuse
  {tallow} run cifar10-vgg16 --set train.epochs=1 --json > result.json
  {tallow} run quickstart --only cnn --set 'train.optimizer={name=\"adam\",lr=0.002}'
  {tallow} run residual --tier standard --results results
  {tallow} run cifar10-cnn --tui
  {tallow} run cifar10-cnn --overfit-batches 1
  {tallow} run cifar10-cnn --events events.jsonl
  {tallow} run --resume
  mpirun -n 4 --bind-to none {tallow} run cifar10-cnn --set train.chunks=4 --threads 2 --rank-logs logs
  mpirun -n 2 --bind-to none {tallow} run cifar10-vgg16 --set train.chunks=2 --device cuda

A run that was interrupted or killed continues from its last checkpoint, to the bit, when the same command is given again or with
--resume; docs/running.md has the details. docs/scaling.md has those of several processes and machines.

Exit codes: 0 no claim failed; 1 a claim failed, or a batch was not learnt; 2 bad input, missing data or another error; 130 interrupted.

Each line of --events is an object whose `event` is its kind: run_started, batch (every --events-every batches),
epoch_ended (the line of metrics.jsonl), run_ended, run_stopped, claims_judged. docs/running.md lists their fields.";

/// Runs an experiment and prints its results, or continues one.
pub fn run(args: &RunArgs, program: &Program) -> Result<Ending> {
    let (device, continuation) = (&args.runner.place.device, continuation_of(args, program)?);
    let Some(world) = World::join(&args.world, device, &continuation)? else {
        return start(args, program, None);
    };
    world.run(program, |world| {
        if args.overfit_batches.is_some() {
            bail!(
                "--overfit-batches works in one process: leave the launcher out, or add --mpi off"
            );
        }
        match world.is_first() {
            true => start(args, program, Some(world)),
            false => follow(args, program, world),
        }
    })
}

/// Command that continues this run.
fn continuation_of(args: &RunArgs, program: &Program) -> Result<Continuation> {
    let arguments = match &args.resume {
        Some(_) => None,
        None => Some(Started::of(args)?),
    };
    Ok(Continuation {
        program: program.name.clone(),
        out: args.runner.place.out.clone(),
        run: args.resume.clone().flatten(),
        arguments,
    })
}

/// Runs or continues an experiment, in one process or as the first one of several.
fn start(args: &RunArgs, program: &Program, world: Option<&World>) -> Result<Ending> {
    if let Some(run) = &args.resume {
        let (args, folder) = Started::find(args, run.as_deref(), program)?;
        if let Some(world) = world {
            world.share(Some(&Started::of(&args)?))?;
        }
        return train(&args, Resume::Run(folder), program, world);
    }
    let resume = if args.fresh {
        Resume::Fresh
    } else {
        Resume::Auto
    };
    train(args, resume, program, world)
}

/// Trains together with the first process, which writes the records.
fn follow(args: &RunArgs, program: &Program, world: &World) -> Result<Ending> {
    let continued = match &args.resume {
        Some(_) => Some(world.share::<Started>(None)?.apply(args)),
        None => None,
    };
    let args = continued.as_ref().unwrap_or(args);
    let mut engine = engine(&world.on_own_device(&args.runner)?, program)?;
    let options = engine.options_mut();
    options.communicator = world.communicator(&options.device)?;
    world.describe(&*options.communicator, &options.device)?;
    let experiment = experiment(args)?;
    interrupt::listen()?;
    Ok(match engine.follow(&experiment)? {
        true => Ending::Done,
        false => Ending::Interrupted,
    })
}

/// The experiment with the changes that the arguments ask for.
fn experiment(args: &RunArgs) -> Result<Experiment> {
    let name = args.experiment.as_deref().unwrap_or_default();
    let sets = args.runner.sets(&args.set);
    let mut experiment = Experiment::load(name, args.tier, &sets)?;
    experiment.keep_only(&args.only)?;
    if let Some(Seeds(seeds)) = &args.seeds {
        experiment.seeds.clone_from(seeds);
    }
    Ok(experiment)
}

fn train(
    args: &RunArgs,
    resume: Resume,
    program: &Program,
    world: Option<&World>,
) -> Result<Ending> {
    let name = args.experiment.as_deref().unwrap_or_default();
    let own = world.map(|world| world.on_own_device(&args.runner));
    let own = own.transpose()?;
    let mut runner = Runner::new(own.as_ref().unwrap_or(&args.runner), args.json, program)?;
    let options = runner.engine.options_mut();
    options.results.clone_from(&args.results);
    options.profile = args.profile;
    options.reuse = args.reuse;
    options.resume = resume;
    options.arguments = Started::of(args)?;
    if let Some(world) = world {
        options.communicator = world.communicator(&options.device)?;
        options.world = Some(world.describe(&*options.communicator, &options.device)?);
    }
    let experiment = experiment(args)?;
    interrupt::listen()?;
    if let Some(batches) = args.overfit_batches {
        return overfit(&mut runner, &experiment, batches.into(), args.json);
    }
    let Some(outcome) = runner.run(&experiment, &args.command(name, program))? else {
        if let Some(folder) = runner.progress.interrupted() {
            status!("{}", continuation::line(&program.name, folder));
        }
        return Ok(Ending::Interrupted);
    };
    let records = args.runner.place.out.join(&outcome.experiment);
    status!("run records: {}", records.display());
    let text = results_table::render(&outcome);
    let events = args.runner.events_on_stdout();
    output::result(&text, args.json.then_some(&outcome), events)?;
    Ok(if outcome.failed() {
        Ending::ClaimFailed
    } else {
        Ending::Done
    })
}
