//! Tallow's own pages.

use std::fs;
use std::path::Path;

use crate::common::stderr;

#[test]
fn our_own_pages_are_what_the_results_make_them() {
    let output = crate::common::xtask()
        .args(["docs", "--check"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
}

/// Lines of the code blocks of `language` below a heading of docs/architecture.md.
fn worked_example(heading: &str, language: &str) -> Vec<Vec<String>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/architecture.md");
    let text = fs::read_to_string(path).unwrap();
    let section = text.split(&format!("### {heading}\n")).nth(1).unwrap();
    let section = section.split("\n### ").next().unwrap();
    let fence = format!("```{language}");
    let blocks = section.split(&fence).skip(1);
    let block = |block: &str| {
        let code = block.split("```").next().unwrap();
        code.lines()
            .map(|line| line.trim().to_string())
            .filter(|line| !line.is_empty())
            .collect()
    };
    blocks.map(block).collect()
}

/// The first code block below each heading stands in a file that the tests compile.
#[test]
fn worked_examples_are_compiled() {
    for (heading, file) in [
        (
            "Add a dataset",
            "crates/tallow-datasets/src/catalog/oracle_mnist.rs",
        ),
        ("Add a model", "crates/tallow-models/tests/it/own_model.rs"),
        (
            "Add a transform",
            "crates/tallow-transforms/tests/it/own_transform.rs",
        ),
    ] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(file);
        let compiled = fs::read_to_string(path).unwrap();
        let compiled: Vec<&str> = compiled.lines().map(str::trim).collect();
        let blocks = worked_example(heading, "rust");
        assert!(blocks[0].len() > 8, "{heading}: {blocks:?}");
        for line in &blocks[0] {
            assert!(
                compiled.contains(&line.as_str()),
                "{heading}: {file} lacks `{line}`"
            );
        }
    }
}

#[test]
fn the_experiment_of_the_worked_example_reads() {
    use tallow_experiment::{Experiment, Tier};
    let blocks = worked_example("Add an experiment", "toml");
    let text = blocks[0].join("\n");
    for tier in [Tier::Smoke, Tier::Standard, Tier::Full] {
        let experiment = Experiment::parse("optimizers", &text, tier, &[]).unwrap();
        assert_eq!(experiment.variants.len(), 2);
        // The smoke tier has claims of its own, and judges no statements.
        assert_eq!(
            experiment.statements.len(),
            usize::from(tier != Tier::Smoke)
        );
    }
}
