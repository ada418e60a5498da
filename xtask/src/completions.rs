//! `cargo xtask completions`: what a shell needs to complete the command line.

use anyhow::Result;
use clap::{Args, CommandFactory};
use clap_complete::{Shell, generate};

use crate::cli::Cli;
use crate::output;

/// What `--help` ends with.
pub const EXAMPLES: &str = "Shells complete the first word of a line, so `cargo xtask` needs a name of one word first. Put into the shell's start file:
  bash         xtask() { cargo xtask \"$@\"; }; source <(cargo xtask completions bash)
  zsh          xtask() { cargo xtask \"$@\"; }; source <(cargo xtask completions zsh)
  fish         function xtask; cargo xtask $argv; end; cargo xtask completions fish | source
  PowerShell   function xtask { cargo xtask @args }; cargo xtask completions powershell | Out-String | Invoke-Expression
and type `xtask run qui<Tab>`.";

/// Arguments of `completions`.
#[derive(Args, Debug)]
pub struct CompletionsArgs {
    /// The shell.
    #[arg(value_enum)]
    shell: Shell,
}

/// Prints the script.
pub fn completions(args: &CompletionsArgs) -> Result<()> {
    let mut script = Vec::new();
    generate(
        args.shell,
        &mut Cli::command().bin_name("xtask"),
        "xtask",
        &mut script,
    );
    output::print(&String::from_utf8(script)?)
}
