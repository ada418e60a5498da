//! The subcommands, and the call of each.

use anyhow::Result;
use clap::Subcommand;

use crate::commands::clean_runs::{self, CleanRunsArgs};
use crate::commands::completions::{self, CompletionsArgs};
use crate::commands::data::{self, DataCommand};
use crate::commands::doctor::{self, DoctorArgs};
use crate::commands::evaluate::{self, EvaluateArgs};
use crate::commands::export::{self, ExportArgs};
use crate::commands::list;
use crate::commands::lr_find::{self, LrFindArgs};
use crate::commands::predict::{self, PredictArgs};
use crate::commands::recipe::{self, RecipeArgs};
use crate::commands::regress::{self, RegressArgs};
use crate::commands::report::{self, ReportArgs};
use crate::commands::reproduce::{self, ReproduceArgs};
use crate::commands::resume::{self, ResumeArgs};
use crate::commands::run;
use crate::commands::run_args::RunArgs;
use crate::commands::runs::{self, RunsArgs};
use crate::commands::schema;
use crate::commands::summary::{self, SummaryArgs};
use crate::commands::sweep::{self, SweepArgs};
use crate::commands::track::{self, TrackArgs};
use crate::commands::train::{self, InitArgs, TrainArgs};
use crate::ending::Ending;
use crate::program::Program;
use crate::world;

/// Subcommands of the programs.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// List the experiments and the models.
    #[command(after_help = list::EXAMPLES)]
    List,
    /// Run an experiment: train every variant with every seed, then judge its claims.
    ///
    /// Prints a table of the results beside the published ones, writes a record of each run and a report, and exits with 1 when a
    /// claim does not hold. Claims are judged on the recipe that was run: after --set they may fail.
    #[command(after_help = run::EXAMPLES)]
    Run(RunArgs),
    /// Train on a folder of pictures: chooses a recipe from the pictures, prints the reasons, writes it as TOML, and runs it.
    ///
    /// Size, channels, network, normalisation, batch size, optimizer and schedule are chosen from the pictures. Where there is no test
    /// folder, a fifth of the pictures are kept for the test; a tenth of the others choose the best epoch. The recipe is an experiment
    /// as any other: `{tallow} run FILE` repeats the run with the same bits.
    #[command(after_help = train::EXAMPLES)]
    Train(TrainArgs),
    /// Write the recipe that `{tallow} train` would choose, with the reasons as comments, and train nothing.
    #[command(after_help = train::INIT_EXAMPLES)]
    Init(InitArgs),
    /// Continue a run that was interrupted, and the runs after it.
    #[command(after_help = resume::EXAMPLES)]
    Resume(ResumeArgs),
    /// Suggest a learning rate: a short training at rising rates, and a plot of the loss.
    ///
    /// Trains each variant for --steps steps, at rates that rise exponentially from --min-lr to --max-lr, and suggests the rate at which the
    /// smoothed loss falls most steeply. Weights are not kept. The plot and the losses are written below the folder of the experiment's
    /// run records.
    #[command(after_help = lr_find::EXAMPLES)]
    LrFind(LrFindArgs),
    /// Search over settings: train trials of one recipe with other settings, and compare them.
    ///
    /// The table `[sweep]` of the file has the parameters and the method: all combinations (grid), combinations drawn at random, or successive
    /// halving. The trials are a function of the file alone, so that shards on several machines need not know of each other. Each trial
    /// has an ordinary run record; the results are sweep.json and sweep.html beside them.
    #[command(after_help = sweep::EXAMPLES)]
    Sweep(SweepArgs),
    /// Run all experiments, or some, one after the other, and judge their claims.
    ///
    /// The smoke tier takes about three minutes on two cores, with less data, fewer epochs and its own limits; the standard tier
    /// and the full one, which is as published, take hours. `{tallow} list` prints the time of each. Exits with 1 when a
    /// claim does not hold.
    #[command(after_help = reproduce::EXAMPLES)]
    Reproduce(ReproduceArgs),
    /// Check whether a change cost accuracy or speed: run a tier and compare every metric with its baseline.
    ///
    /// A metric so bad that chance explains it only once in fifty times is measured again, with seeds that the baseline does not have,
    /// and once more where that confirms it. It is a regression if both times chance explains the values only once in five thousand
    /// times, and most of them are worse than every seed of the baseline. The claims of the tier are absolute limits. On a machine of
    /// the baseline's class, the weights are compared bit for bit. A baseline of other data or another recipe is refused.
    /// docs/regression.md has the rates of false alarms and of detected faults.
    #[command(after_help = regress::EXAMPLES)]
    Regress(RegressArgs),
    /// Evaluate weights: accuracy, loss and metrics of each class on a test set.
    ///
    /// Weights are safetensors or a PyTorch checkpoint (.pt, .pth, .th), which is read as data and never executed. They must match the
    /// model exactly.
    ///
    /// A file of weights does not contain the normalisation of its images. The first of these decides, and the result names it:
    /// --mean and --std; the config.toml of the run record that contains the weights; the published checkpoint with the same SHA-256;
    /// the usual normalisation of the dataset.
    #[command(after_help = evaluate::EXAMPLES)]
    Evaluate(EvaluateArgs),
    /// Predict the classes of images with a trained network.
    ///
    /// An image of any size and colour is converted to the form of the dataset's images; the steps are printed on standard error. Digits
    /// and the like are made light on black, cropped to their bounding box, scaled and centred as in the dataset.
    #[command(after_help = predict::EXAMPLES)]
    Predict(PredictArgs),
    /// Write the network of a run for other programs: as ONNX, safetensors, or a state dict of PyTorch.
    ///
    /// An ONNX graph takes images (N, C, H, W) for any N, normalised as in training unless --with-normalization is given, and gives logits. The
    /// names of classes, the normalisation and the transforms are in the metadata of ONNX and safetensors files.
    #[command(after_help = export::EXAMPLES)]
    Export(ExportArgs),
    /// Describe the keys of an experiment's file: type, default, meaning, range and an example.
    #[command(after_help = recipe::EXAMPLES)]
    Recipe(RecipeArgs),
    /// Print the JSON schema of an experiment's file, with which editors complete and check its keys.
    #[command(after_help = schema::EXAMPLES)]
    Schema,
    /// List the run records.
    #[command(after_help = runs::EXAMPLES)]
    Runs(RunsArgs),
    /// Delete run records: lists them first, and deletes them only with --yes.
    ///
    /// A folder with an environment.json and a config.toml is a run record; nothing else is touched.
    #[command(after_help = clean_runs::EXAMPLES)]
    CleanRuns(CleanRunsArgs),
    /// Describe this machine: processor, devices, folders, datasets, with advice about missing ones.
    #[command(after_help = doctor::EXAMPLES)]
    Doctor(DoctorArgs),
    /// Print a script for the completion of this command line by a shell.
    #[command(after_help = completions::EXAMPLES)]
    Completions(CompletionsArgs),
    /// List, download, check or describe datasets.
    #[command(after_help = data::EXAMPLES)]
    Data {
        /// Subcommand of `data`.
        #[command(subcommand)]
        command: DataCommand,
    },
    /// Show the layers of a model with output shapes, parameters and multiply-adds; or list the models.
    #[command(after_help = summary::EXAMPLES)]
    Summary(SummaryArgs),
    /// Write a report of runs as one HTML file, which needs no network.
    ///
    /// It has the claims beside the published results, curves over the seeds, confusion matrices, calibration, example images and
    /// mistakes, and the environment of the runs. Every `run` writes one too, beside its records.
    #[command(after_help = report::EXAMPLES)]
    Report(ReportArgs),
    /// Send run records to a tracking server (MLflow): the recipe as parameters, the metrics of every epoch, the environment as tags.
    ///
    /// Finished and interrupted runs are sent, and a run under way with the epochs that it has. A run that is there already is
    /// completed, never duplicated, so the command may be repeated at any time. Credentials are those of MLflow's own client:
    /// MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN.
    #[command(after_help = track::EXAMPLES)]
    Track(TrackArgs),
}

impl Command {
    /// Name of the command, if it trains in one process alone.
    fn trains_alone(&self) -> Option<&'static str> {
        match self {
            Self::Train(_) => Some("train"),
            Self::LrFind(_) => Some("lr-find"),
            Self::Sweep(_) => Some("sweep"),
            Self::Reproduce(_) => Some("reproduce"),
            Self::Regress(_) => Some("regress"),
            _ => None,
        }
    }

    /// Whether the command may fill the terminal, where coloured logs would be unreadable.
    pub fn has_screen(&self) -> bool {
        match self {
            Self::Run(args) => args.runner.tui,
            Self::Train(args) => args.runner.tui,
            Self::Resume(args) => args.runner.tui,
            Self::Sweep(args) => args.runner.tui,
            Self::Reproduce(args) => args.runner.tui,
            Self::Regress(args) => args.runner.tui,
            _ => false,
        }
    }
}

/// Runs a command.
pub fn dispatch(command: &Command, program: &Program) -> Result<Ending> {
    if let Some(name) = command.trains_alone() {
        world::refuse(name)?;
    }
    match command {
        Command::List => list::list(program),
        Command::Run(args) => run::run(args, program),
        Command::Train(args) => train::train(args, program),
        Command::Init(args) => train::init(args, program),
        Command::Resume(args) => resume::resume(args, program),
        Command::LrFind(args) => lr_find::lr_find(args, program),
        Command::Sweep(args) => sweep::sweep(args, program),
        Command::Reproduce(args) => reproduce::reproduce(args, program),
        Command::Regress(args) => regress::regress(args, program),
        Command::Evaluate(args) => evaluate::evaluate(args, program),
        Command::Predict(args) => predict::predict(args, program),
        Command::Export(args) => export::export(args, program),
        Command::Recipe(args) => recipe::recipe(args, program),
        Command::Schema => schema::schema(program),
        Command::Runs(args) => runs::runs(args, program),
        Command::CleanRuns(args) => clean_runs::clean_runs(args, program),
        Command::Doctor(args) => doctor::doctor(args, program),
        Command::Completions(args) => completions::completions(args, program),
        Command::Data { command } => data::data(command),
        Command::Summary(args) => summary::summary(args, program),
        Command::Report(args) => report::report(args, program),
        Command::Track(args) => track::track(args, program),
    }
}
