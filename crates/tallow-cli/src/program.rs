//! The program that runs the commands, and its name in help texts and messages.

use std::path::{Path, PathBuf};
use std::process::Command;

use clap::FromArgMatches;
use clap::builder::StyledStr;

use tallow_experiment::Registry;

/// Stands for the program's name in help texts.
const PLACEHOLDER: &str = "{tallow}";

/// Program that runs the commands: `tallow`, a program of the user's own, or `cargo xtask` in Tallow's repository.
pub struct Program {
    /// The words that start it, such as `tallow` or `cargo xtask`.
    pub name: String,
    /// Folder of the baselines of `regress`.
    pub baselines: PathBuf,
    /// Commit that the program was built from, for the records of runs; `None` where it is not known. A build script can put it into
    /// the program: the checkout may have changed when it runs.
    pub commit: fn() -> Option<String>,
    /// Models that recipes can name.
    pub models: Registry,
    /// The whole command line, with placeholders.
    command: fn() -> clap::Command,
}

impl Program {
    /// The program of this name with the command line that `command` builds, in which `{tallow}` stands for the name.
    ///
    /// Baselines are in the folder `baselines`, and no commit is known, until the fields are set.
    pub fn new(name: impl Into<String>, command: fn() -> clap::Command, models: Registry) -> Self {
        Self {
            name: name.into(),
            baselines: PathBuf::from("baselines"),
            commit: || None,
            models,
            command,
        }
    }

    /// The command line with the program's name in all help texts.
    pub fn command(&self) -> clap::Command {
        let command = (self.command)().bin_name(self.name.clone());
        named(command, &self.name)
    }

    /// Parses the arguments of this process; prints help or a message and exits where they ask for help or are wrong.
    pub fn parse<C: FromArgMatches>(&self) -> C {
        let mut command = self.command();
        let matches = command.get_matches_mut();
        C::from_arg_matches(&matches).unwrap_or_else(|error| error.format(&mut command).exit())
    }

    /// The last word of the name, by which shells know the command.
    pub fn word(&self) -> &str {
        self.name.rsplit(' ').next().unwrap_or(&self.name)
    }

    /// Message of a library with this program's name in its commands: in backticks, as `tallow run`, or after "run: ". All else
    /// stays, such as the paths of the user.
    pub fn message(&self, text: &str) -> String {
        let command = self.command();
        let names = command.get_subcommands().map(clap::Command::get_name);
        names.fold(text.to_string(), |text, name| {
            let replace = |text: String, before: &str| {
                let (old, new) = (
                    format!("{before}tallow {name}"),
                    format!("{before}{} {name}", self.name),
                );
                text.replace(&old, &new)
            };
            replace(replace(text, "`"), "run: ")
        })
    }
}

/// Name of the running program, without its folder and extension; `tallow` where the system does not report it.
pub fn own_name() -> String {
    let path = std::env::args_os().next().map(PathBuf::from);
    let stem = path.as_deref().and_then(|path| path.file_stem());
    stem.map_or("tallow".to_string(), |stem| {
        stem.to_string_lossy().into_owned()
    })
}

/// Commit of the source that contains `folder`, with `-dirty` where files were changed; `None` if git does not report it.
pub fn git_commit(folder: &Path) -> Option<String> {
    let output = Command::new("git")
        .arg("-C")
        .arg(folder)
        .args([
            "describe",
            "--always",
            "--dirty",
            "--abbrev=40",
            "--exclude=*",
        ])
        .output()
        .ok()?;
    let commit = String::from_utf8(output.stdout).ok()?.trim().to_string();
    (output.status.success() && !commit.is_empty()).then_some(commit)
}

/// Puts a program's name into all help texts of a command and of its subcommands.
fn named(mut command: clap::Command, name: &str) -> clap::Command {
    let of = |text: &StyledStr| StyledStr::from(text.to_string().replace(PLACEHOLDER, name));
    if let Some(text) = command.get_about().map(of) {
        command = command.about(text);
    }
    if let Some(text) = command.get_long_about().map(of) {
        command = command.long_about(text);
    }
    if let Some(text) = command.get_after_help().map(of) {
        command = command.after_help(text);
    }
    command
        .mut_args(|mut arg| {
            if let Some(text) = arg.get_help().map(of) {
                arg = arg.help(text);
            }
            if let Some(text) = arg.get_long_help().map(of) {
                arg = arg.long_help(text);
            }
            arg
        })
        .mut_subcommands(|subcommand| named(subcommand, name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn help_texts_and_messages_have_the_programs_name() {
        fn command() -> clap::Command {
            let run = clap::Command::new("run")
                .about("Runs what {tallow} list prints")
                .after_help("Example: {tallow} run quickstart")
                .arg(clap::Arg::new("name").help("see {tallow} list"));
            clap::Command::new("tallow").subcommand(run)
        }
        let program = Program::new("cargo xtask", command, Registry::default());
        let mut command = program.command();
        let run = command.find_subcommand_mut("run").unwrap();
        let help = run.render_long_help().to_string();
        assert!(!help.contains("{tallow}"), "{help}");
        assert_eq!(help.matches("cargo xtask").count(), 3, "{help}");
        assert_eq!(program.word(), "xtask");
        assert_eq!(
            program.message("my tallow run/x: `tallow run`, or run: tallow run x; tallow-cli"),
            "my tallow run/x: `cargo xtask run`, or run: cargo xtask run x; tallow-cli"
        );
    }
}
