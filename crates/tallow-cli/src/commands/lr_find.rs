//! `tallow lr-find`: learning-rate range tests.

use anyhow::Result;
use clap::Args;
use tallow_experiment::{Experiment, FoundLr, Runner};
use tallow_record::Tier;
use tallow_train::LrFinder;

use crate::args::{PlaceArgs, tier_parser};
use crate::ending::Ending;
use crate::program::Program;
use crate::progress::Notes;
use crate::runner::options;
use crate::table::{align_right, new_table};
use crate::{interrupt, output};

/// Examples at the end of the help text.
pub const EXAMPLES: &str = "Examples:
  {tallow} lr-find quickstart
  {tallow} lr-find cifar10-cnn --variant cnn --max-lr 10
  {tallow} lr-find my.toml --set train.optimizer.name=adamw --json

The plot is lr-find.svg in RUNS/EXPERIMENT/lr-find/VARIANT-sSEED.";

/// Arguments of `lr-find`.
#[derive(Args, Debug)]
pub struct LrFindArgs {
    /// Name of an experiment (see `{tallow} list`), or path of a TOML file.
    pub experiment: String,
    /// Test only this variant (may be given several times).
    #[arg(long, value_name = "VARIANT")]
    pub variant: Vec<String>,
    /// Tier whose recipe is tested.
    #[arg(long, value_name = "TIER", value_parser = tier_parser(), default_value = "full")]
    pub tier: Tier,
    /// Seed, instead of the experiment's first.
    #[arg(long, value_name = "SEED")]
    pub seed: Option<u64>,
    /// First learning rate.
    #[arg(long, value_name = "LR", default_value_t = LrFinder::default().min_lr)]
    pub min_lr: f64,
    /// Last learning rate.
    #[arg(long, value_name = "LR", default_value_t = LrFinder::default().max_lr)]
    pub max_lr: f64,
    /// Training steps.
    #[arg(long, value_name = "N", default_value_t = LrFinder::default().steps)]
    pub steps: usize,
    /// Change a key of the recipe in every variant: train.batch_size=128.
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// Place of the training.
    #[command(flatten)]
    pub place: PlaceArgs,
    /// Print one JSON array on standard output, and nothing else there.
    #[arg(long)]
    pub json: bool,
}

/// Tests the variants of an experiment and prints the suggestions.
pub fn lr_find(args: &LrFindArgs, program: &Program) -> Result<Ending> {
    let options = options(&args.place, program)?;
    let mut experiment = Experiment::load(&args.experiment, args.tier, &args.set)?;
    experiment.keep_only(&args.variant)?;
    if let Some(seed) = args.seed {
        experiment.seeds = vec![seed];
    }
    let finder = LrFinder {
        min_lr: args.min_lr,
        max_lr: args.max_lr,
        steps: args.steps,
        ..LrFinder::default()
    };
    interrupt::listen()?;
    let mut runner = Runner::new(options);
    let Some(found) = runner.find_lr(&experiment, &finder, &mut Notes)? else {
        return Ok(Ending::Interrupted);
    };
    output::result(&render(&found), args.json.then_some(&found), false)?;
    Ok(Ending::Done)
}

fn render(found: &[FoundLr]) -> String {
    let mut table = new_table(&["variant", "recipe's lr", "suggested lr"]);
    let mut plots = String::new();
    for test in found {
        let suggestion = match test.range.suggestion {
            Some(lr) => format!("{lr:.2e}"),
            None => "none: the loss does not fall".to_string(),
        };
        table.add_row([test.variant.clone(), format!("{:.2e}", test.lr), suggestion]);
        plots += &format!("plot: {}\n", test.folder.join("lr-find.svg").display());
    }
    for column in 1..3 {
        align_right(&mut table, column);
    }
    format!("{table}\n{plots}")
}
