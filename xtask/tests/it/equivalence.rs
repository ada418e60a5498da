//! `docs`: the page that compares accuracies with PyTorch's, from made-up results in a temporary folder.

use std::fs;
use std::path::PathBuf;
use std::process::Output;

use crate::common::{Sandbox, stderr};
use serde_json::{Value, json};

const PAGE: &str = "# Beside PyTorch\n\n<!-- tallow: equivalence -->\n<!-- /tallow -->\n";

fn recipe() -> Value {
    json!({
        "data": {
            "dataset": "cifar10",
            "transforms": [{"name": "to-tensor"}, {"name": "normalize", "mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]}]
        },
        "model": {"name": "cifar-cnn"},
        "train": {"epochs": 10, "batch_size": 64, "optimizer": {"name": "adam", "lr": 1e-3}}
    })
}

/// Results of ours with these accuracies.
fn ours(accuracies: &[f64]) -> Value {
    let mean = accuracies.iter().sum::<f64>() / accuracies.len() as f64;
    json!({
        "experiment": "cifar10-cnn", "tier": "full", "question": "How far?",
        "command": "cargo xtask run cifar10-cnn --tier full",
        "dataset": {
            "name": "cifar10", "provenance": "cifar10 (Parquet, original)", "digest": "abc", "test_digest": "def", "classes": ["cat"]
        },
        "environment": {
            "tallow": "0.1.0", "commit": "0123456789abcdef", "rustc": "rustc 1.95.0", "platform": "linux x86_64",
            "cpu": "A processor", "threads": 2, "device": "cpu"
        },
        "seconds": 90.0,
        "variants": [{
            "name": "cnn", "model": "cifar-cnn", "parameters": 62006, "seeds": (0..accuracies.len()).collect::<Vec<_>>(),
            "metrics": {"test_accuracy": {"mean": mean, "std": 0.01, "values": accuracies}},
            "recipe": recipe()
        }]
    })
}

/// Results of PyTorch with these accuracies, with a default written out.
fn theirs(accuracies: &[f64]) -> Value {
    let by_seed = accuracies.iter().enumerate();
    let by_seed: serde_json::Map<String, Value> = by_seed
        .map(|(seed, accuracy)| (seed.to_string(), json!(accuracy)))
        .collect();
    let mut settings = recipe();
    settings["train"]["drop_last"] = json!(false);
    json!({
        "recipe": "cifar10-cnn", "torch": "2.15.0", "python": "3.11.7", "platform": "linux x86_64", "cpu": "Another processor",
        "device": "cpu", "threads": 1, "seconds": 80.0,
        "data": {"dataset": "cifar10", "digest": "abc", "test_digest": "def", "files": {"train.parquet": "0"}},
        "variants": [{"name": "cnn", "model": "cifar-cnn", "settings": settings, "test_accuracy": by_seed}]
    })
}

/// A folder of pages in a sandbox.
struct Docs(Sandbox);

impl Docs {
    fn new() -> Self {
        let docs = Self(Sandbox::new());
        for folder in ["results/pytorch", "results/equivalence"] {
            fs::create_dir_all(docs.dir().join(folder)).unwrap();
        }
        fs::write(docs.dir().join("page.md"), PAGE).unwrap();
        docs
    }

    fn dir(&self) -> PathBuf {
        self.0.path().join("docs")
    }

    fn write(&self, name: &str, value: &Value) {
        fs::write(self.dir().join("results").join(name), value.to_string()).unwrap();
    }

    fn report(&self) -> Output {
        let args = ["docs", "--dir", "docs"];
        self.0.xtask().args(args).output().unwrap()
    }

    fn page(&self) -> String {
        let output = self.report();
        assert!(output.status.success(), "{}", stderr(&output));
        fs::read_to_string(self.dir().join("page.md")).unwrap()
    }

    fn refused(&self) -> String {
        let output = self.report();
        assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
        stderr(&output)
    }
}

fn has(text: &str, part: &str) {
    assert!(text.contains(part), "no {part:?} in\n{text}");
}

const OURS: [f64; 4] = [0.62, 0.622, 0.621, 0.623];
const THEIRS: [f64; 3] = [0.621, 0.623, 0.622];

#[test]
fn nothing_was_run() {
    let docs = Docs::new();
    has(&docs.page(), "-->\n\n*(not run yet)*\n\n<!--");
    docs.write("equivalence/cifar10-cnn.full.json", &ours(&OURS));
    has(&docs.page(), "-->\n\n*(not run yet)*\n\n<!--");
}

#[test]
fn both_sides_are_compared() {
    let docs = Docs::new();
    docs.write("equivalence/cifar10-cnn.full.json", &ours(&OURS));
    docs.write("pytorch/cifar10-cnn.json", &theirs(&THEIRS));
    let page = docs.page();
    for part in [
        "| `cifar10-cnn` | `cnn` | 62.15 ± 0.13 % (4 seeds) | 62.20 ± 0.10 % (3 seeds) | −0.05 [",
        "] | 1.00 | equivalent |",
        "Not run yet: `mnist-pixel-order`, `quickstart`, `cifar10-vgg16`.",
        "Tallow 0.1.0 at commit `0123456789ab` on A processor, 2 threads: `cargo xtask run cifar10-cnn --tier full`. \
         PyTorch 2.15.0 on Another processor, 1 thread. Data: cifar10 (Parquet, original).",
        "Fewer runs than planned: 4 seeds of Tallow and 3 seeds of PyTorch, of 16.",
        "(images/cifar10-cnn-equivalence.svg)",
    ] {
        has(&page, part);
    }
    let chart = fs::read_to_string(docs.dir().join("images/cifar10-cnn-equivalence.svg")).unwrap();
    has(&chart, "PyTorch");

    // Far apart, and a single seed.
    docs.write("pytorch/cifar10-cnn.json", &theirs(&[0.66, 0.661, 0.662]));
    has(&docs.page(), "] | 1.00 | not shown |");
    docs.write("pytorch/cifar10-cnn.json", &theirs(&[0.62]));
    has(
        &docs.page(),
        "| 62.00 % (1 seed) | 0.15 | 1.00 | not shown |",
    );
}

#[test]
fn without_runs_for_this_page_ours_are_those_of_the_recipe() {
    let docs = Docs::new();
    let mut results = ours(&OURS);
    results["tier"] = json!("standard");
    docs.write("cifar10-cnn.json", &results);
    docs.write("pytorch/cifar10-cnn.json", &theirs(&THEIRS));
    has(&docs.page(), "62.15 ± 0.13 % (4 seeds)");
}

#[test]
fn other_data_or_settings_are_refused() {
    let docs = Docs::new();
    docs.write("equivalence/cifar10-cnn.full.json", &ours(&OURS));
    let mut other = theirs(&THEIRS);
    other["data"]["test_digest"] = json!("xyz");
    docs.write("pytorch/cifar10-cnn.json", &other);
    has(&docs.refused(), "digests abc and xyz, expected abc and def");

    let mut other = theirs(&THEIRS);
    other["variants"][0]["settings"]["train"]["epochs"] = json!(9);
    docs.write("pytorch/cifar10-cnn.json", &other);
    has(
        &docs.refused(),
        "the settings of `cnn` are not those of our results",
    );

    docs.write("pytorch/cifar10-vgg16.json", &theirs(&THEIRS));
    docs.write("pytorch/cifar10-cnn.json", &theirs(&THEIRS));
    has(
        &docs.refused(),
        "contains results of `cifar10-cnn`; rename it",
    );
}
