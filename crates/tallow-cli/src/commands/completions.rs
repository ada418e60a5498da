//! `tallow completions`: a script for the completion of the command line by a shell.

use anyhow::Result;
use clap::Args;
use clap::builder::PossibleValuesParser;
use clap_complete::{Shell, generate};
use tallow_datasets::catalog;
use tallow_experiment::{builtin, reference};

use crate::ending::Ending;
use crate::output;
use crate::program::Program;

/// Examples at the end of the help text.
pub const EXAMPLES: &str = "Examples, for the start file of the shell:
  bash         source <({tallow} completions bash)
  zsh          source <({tallow} completions zsh)
  fish         {tallow} completions fish | source
  PowerShell   {tallow} completions powershell | Out-String | Invoke-Expression
Then type `{tallow} run qui<Tab>`. In PowerShell, commands and options are completed, names are not.";

/// Arguments of `completions`.
#[derive(Args, Debug)]
pub struct CompletionsArgs {
    /// Shell.
    #[arg(value_enum)]
    shell: Shell,
}

/// Prints the script.
pub fn completions(args: &CompletionsArgs, program: &Program) -> Result<Ending> {
    let word = program.word();
    let mut command = with_names(program.command(), program).bin_name(word);
    let mut script = Vec::new();
    generate(args.shell, &mut command, word, &mut script);
    output::print(&String::from_utf8(script)?)?;
    Ok(Ending::Done)
}

/// The command line with the known names of experiments, models and datasets as values of its arguments, for the script alone: other
/// values, such as paths, are valid too.
fn with_names(command: clap::Command, program: &Program) -> clap::Command {
    let experiments = builtin::names().iter().map(|name| name.to_string());
    let models = program.models.iter();
    let models = models.map(|entry| entry.name().to_string());
    let datasets = catalog().iter().map(|entry| entry.name.to_string());
    let (experiments, models, datasets): (Vec<_>, Vec<_>, Vec<_>) =
        (experiments.collect(), models.collect(), datasets.collect());
    let mut keys: Vec<String> = reference::all().iter().map(|key| key.address()).collect();
    keys.sort();
    keys.dedup();
    let named = |command: clap::Command, id: &'static str, names: &[String]| {
        let parser = PossibleValuesParser::new(names.to_vec());
        command.mut_arg(id, |arg| arg.value_parser(parser))
    };
    command
        .mut_subcommand("run", |c| named(c, "experiment", &experiments))
        .mut_subcommand("lr-find", |c| named(c, "experiment", &experiments))
        .mut_subcommand("runs", |c| named(c, "experiment", &experiments))
        .mut_subcommand("clean-runs", |c| named(c, "experiment", &experiments))
        .mut_subcommand("recipe", |c| named(c, "key", &keys))
        .mut_subcommand("reproduce", |c| named(c, "only", &experiments))
        .mut_subcommand("regress", |c| named(c, "only", &experiments))
        .mut_subcommand("summary", |c| named(c, "model", &models))
        .mut_subcommand("evaluate", |c| {
            named(named(c, "model", &models), "dataset", &datasets)
        })
        .mut_subcommand("predict", |c| {
            named(named(c, "model", &models), "dataset", &datasets)
        })
        .mut_subcommand("data", |c| {
            ["get", "verify", "info"].into_iter().fold(c, |c, name| {
                c.mut_subcommand(name, |c| named(c, "name", &datasets))
            })
        })
}
