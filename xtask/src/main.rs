//! `cargo xtask`: the commands of `tallow`, and the chores of this repository.

mod bench;
mod cuda;
mod damage;
mod faults;
mod layers;
mod pages;
mod repository;

use std::path::Path;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};
use tallow_cli::{Command, Program, Registry, dispatch};

use bench::WorkerArgs;
use bench::args::BenchArgs;
use cuda::CudaBuildArgs;
use cuda::times::CudaTimesArgs;
use damage::DamageArgs;
use faults::FaultsArgs;
use layers::LayersArgs;
use pages::DocsArgs;

/// Runs the published vision experiments, and the chores of Tallow's repository.
///
/// Exit codes: 0 success; 1 a claim failed, a metric got worse, or the docs are not up to date; 2 bad input, missing data or another
/// error; 130 interrupted.
/// RUST_LOG=debug prints the log of the libraries.
#[derive(Parser, Debug)]
#[command(
    name = "xtask",
    version,
    arg_required_else_help = true,
    after_help = "Example: {tallow} run quickstart"
)]
struct Cli {
    /// Subcommand.
    #[command(subcommand)]
    command: Chore,
}

/// The subcommands.
#[derive(Subcommand, Debug)]
enum Chore {
    /// Commands of `tallow`.
    #[command(flatten)]
    Tallow(Box<Command>),
    /// Time training steps, inference, single operators, the loader and an epoch; compared with PyTorch, candle or burn if asked.
    ///
    /// All sides take turns in one run, so that a change of the machine's speed affects all of them; the result is the ratio of the
    /// medians. PyTorch is tried in all its arms (eager and compiled, f32 and bf16, both memory formats, one thread and all), and the
    /// fastest counts. Where something is compared, Tallow is timed a second time as in a program that sets no allocator. Times are valid
    /// only on a quiet machine: stop compilers, browsers and other runs first, and keep a laptop on mains power. Each row says whether
    /// the machine was quiet, and is measured again if it was not. A busy machine favours Tallow: PyTorch's threads wait for each other
    /// and lose more. The first run with PyTorch takes hours, since it compiles each network in many ways; --arms eager leaves that out.
    /// docs/performance.md has the method.
    #[command(after_help = bench::args::EXAMPLES)]
    Bench(BenchArgs),
    /// Build for CUDA on a machine without a GPU, and pack what a machine with one needs to test and time it.
    ///
    /// The toolkit comes from PyPI into a folder outside of the repository. The folder that is made has this program, the tests of devices, the
    /// scripts of PyTorch's side, CIFAR-10 and report.py, which runs all of it there: a machine with an NVIDIA driver of CUDA 13 or newer, Python
    /// and PyTorch, without Rust and without network. docs/gpu.md has more.
    #[command(after_help = cuda::EXAMPLES)]
    CudaBuild(CudaBuildArgs),
    /// Time training steps and inference of networks in every precision; what `report.py` of `cuda-build` runs.
    ///
    /// Prints a line of JSON for each network and precision. Exits with 1 when one could not be timed.
    #[command(hide = true, after_help = cuda::times::EXAMPLES)]
    CudaTimes(CudaTimesArgs),
    /// Generate the pages of the docs from the results.
    ///
    /// A page has marks; the text between them is generated from results/*.json in the folder of the pages, and charts are drawn into
    /// images/. Pictures of the data's own images are generated where the data is found, and kept elsewhere. --check writes nothing and
    /// exits with 1 when a page or chart differs from the generated one.
    #[command(after_help = pages::EXAMPLES)]
    Docs(DocsArgs),
    /// Check the layers: the dependencies between the crates, and the imports between the files of each.
    ///
    /// Prints each crate with the crates it uses, from the lowest layer to the highest. Exits with 1 when a crate uses one that its layer
    /// does not allow, or when files import each other in a circle.
    #[command(after_help = "Example: {tallow} layers")]
    Layers(LayersArgs),
    /// Read damaged files, to find faults of the readers.
    ///
    /// Each file is one of the fixtures of the tests with a few bytes changed, removed, inserted or moved; its seed makes it again. Exits
    /// with 1 when a file is neither read nor refused within 2 seconds and 1 GiB, or causes a panic.
    #[command(after_help = damage::EXAMPLES)]
    Damage(DamageArgs),
    /// Judge `regress`: put faults into a copy of the source, one at a time, and note what it finds.
    ///
    /// The faults are patches in xtask/mutations, for which the comparison was made, and in xtask/mutations/out-of-sample, which were
    /// written before they were judged. The source without a fault is judged too, as control. Exits with 1 when a fault of the first kind
    /// goes unnoticed, or the control does not.
    #[command(after_help = faults::EXAMPLES)]
    Faults(FaultsArgs),
    /// Worker process of `bench`; not for people.
    #[command(hide = true, after_help = "Example: {tallow} bench starts it")]
    BenchWorker(WorkerArgs),
}

/// `cargo xtask` is two words, and shells complete the first word of a line.
const COMPLETIONS: &str = "Examples, for the start file of the shell, with a name of one word:
  bash         xtask() { cargo xtask \"$@\"; }; source <(cargo xtask completions bash)
  zsh          xtask() { cargo xtask \"$@\"; }; source <(cargo xtask completions zsh)
  fish         function xtask; cargo xtask $argv; end; cargo xtask completions fish | source
  PowerShell   function xtask { cargo xtask @args }; cargo xtask completions powershell | Out-String | Invoke-Expression
Then type `xtask run qui<Tab>`. In PowerShell, commands and options are completed, names are not.";

fn command() -> clap::Command {
    Cli::command().mut_subcommand("completions", |c| c.after_help(COMPLETIONS))
}

/// Commit that this program was built from, with `-dirty` where its source differed; `None` outside of git.
fn commit() -> Option<String> {
    option_env!("TALLOW_COMMIT").map(String::from)
}

fn program() -> Program {
    let mut program = Program::new("cargo xtask", command, Registry::default());
    program.baselines = Path::new(env!("CARGO_MANIFEST_DIR")).join("baselines");
    program.commit = commit;
    program
}

fn main() -> ExitCode {
    let program = program();
    let cli: Cli = program.parse();
    let has_screen = matches!(&cli.command, Chore::Tallow(command) if command.has_screen());
    tallow_cli::run(&program, has_screen, || match &cli.command {
        Chore::Tallow(command) => dispatch(command, &program),
        Chore::Bench(args) => bench::bench(args, commit()),
        Chore::CudaBuild(args) => cuda::cuda_build(args),
        Chore::CudaTimes(args) => cuda::times::cuda_times(args),
        Chore::Docs(args) => pages::docs(args),
        Chore::Layers(args) => layers::layers(args),
        Chore::Damage(args) => damage::damage(args),
        Chore::Faults(args) => faults::faults(args),
        Chore::BenchWorker(args) => bench::work(args),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        program().command().debug_assert();
    }

    #[test]
    fn every_command_has_an_example() {
        fn check(command: &clap::Command) {
            let help = command.get_after_help().map(ToString::to_string);
            assert!(
                help.is_some_and(|h| h.contains("Example") && h.contains("cargo xtask")),
                "{} has no example",
                command.get_name()
            );
            assert!(
                command.get_about().is_some(),
                "{} has no description",
                command.get_name()
            );
            command.get_subcommands().for_each(check);
        }
        check(&program().command());
    }
}
