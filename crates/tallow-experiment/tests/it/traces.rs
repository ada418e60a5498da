//! Traces: what changes them, and what does not.

use std::path::Path;

use tallow_experiment::regression::{ExperimentTrainer, Machine};
use tallow_experiment::{Experiment, NoProgress, Tier};
use tallow_regress::{Change, Trace, Train, baseline};

use crate::support::{self, SMALL};

/// Trace of the variant `mlp` with these settings.
fn trace(sets: &[&str]) -> Trace {
    of(SMALL, sets, "mlp", 3)
}

fn of(text: &str, sets: &[&str], variant: &str, seed: u64) -> Trace {
    let folder = tempfile::tempdir().unwrap();
    let experiment = support::experiment(text, sets);
    let mut runner = support::runner(folder.path());
    let trace = runner.trace(&experiment, (variant, seed), &mut NoProgress);
    // No run record.
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    trace.unwrap()
}

/// Names of the entries that differ.
fn changed(before: &Trace, now: &Trace) -> Vec<String> {
    let changes = before.changes(now).into_iter();
    changes.map(|change: Change| change.entry).collect()
}

const ALL: [&str; 8] = [
    "batches of each epoch",
    "initial weights",
    "inputs of the evaluation",
    "learning rates",
    "order of the samples",
    "samples of each epoch",
    "steps",
    "trained parameters",
];

#[test]
fn a_trace_is_the_same_every_time() {
    let first = trace(&[]);
    let names: Vec<&str> = first.entries.keys().map(String::as_str).collect();
    assert_eq!(names[..8], ALL);
    assert_eq!(names[8..], ["weights after fixed gradients"]);
    assert_eq!(first.seed, 3);
    assert_eq!(
        first.entries["samples of each epoch"].to_string(),
        "300 once; 300 once"
    );
    // Ten batches an epoch, the last of them smaller.
    assert_eq!(first.entries["steps"].to_string(), "20");
    let parameters = 785 * 24 + 25 * 16 + 17 * 10;
    assert_eq!(
        first.entries["trained parameters"].to_string(),
        parameters.to_string()
    );
    let again = trace(&[]);
    assert_eq!(again, first);
    let augment = "train.augment=[{ name = \"random-crop\", size = 28, padding = 2 }]";
    assert_eq!(
        trace(&[augment, "train.workers=3"]),
        trace(&[augment, "train.workers=0"])
    );
}

#[test]
fn each_setting_changes_its_own_entries() {
    let before = trace(&[]);
    let by = |sets: &[&str]| changed(&before, &trace(sets));
    let optimizer = ["weights after fixed gradients"];
    for set in [
        "train.optimizer.weight_decay=1e-4",
        "train.optimizer.eps=1e-6",
        "train.optimizer.betas=[0.9, 0.99]",
        "train.clip={ norm = 0.05 }",
    ] {
        assert_eq!(by(&[set]), optimizer, "{set}");
    }
    let rates = ["learning rates", "weights after fixed gradients"];
    for set in [
        "train.optimizer.lr=0.00501",
        "train.schedule={ curve = { name = \"cosine\", eta_min = 0.0005 }, per = \"step\" }",
        "train.schedule={ curve = { name = \"step\", size = 1 } }",
    ] {
        assert_eq!(by(&[set]), rates, "{set}");
    }
    let batches = ["batches of each epoch"];
    for set in [
        "train.augment=[{ name = \"random-horizontal-flip\" }]",
        "train.mix={ mixup_alpha = 0.2 }",
    ] {
        assert_eq!(by(&[set]), batches, "{set}");
    }
    assert_eq!(
        by(&["train.shuffle=false"]),
        ["batches of each epoch", "order of the samples"]
    );
    let normalised = "data.transforms=[{ name = \"to-tensor\" }, { name = \"normalize\", mean = [0.286], std = [0.3531] }]";
    assert_eq!(
        by(&[normalised]),
        ["batches of each epoch", "inputs of the evaluation"]
    );
    assert_eq!(by(&["data.test_samples=100"]), ["inputs of the evaluation"]);
    let dropped = by(&["train.drop_last=true"]);
    for entry in ["batches of each epoch", "samples of each epoch", "steps"] {
        assert!(dropped.contains(&entry.to_string()), "{dropped:?}");
    }
    assert_eq!(
        by(&["train.freeze=[\"fc1\"]"]),
        ["trained parameters", "weights after fixed gradients"]
    );
    // What acts in the forward pass alone is not in a trace.
    assert_eq!(by(&["model.dropout=0.5"]), [""; 0]);
    assert_eq!(
        by(&["train.loss={ name = \"cross-entropy\", label_smoothing = 0.1 }"]),
        [""; 0]
    );
}

#[test]
fn another_seed_changes_order_and_weights() {
    let other = of(SMALL, &[], "mlp", 4);
    assert_eq!(
        changed(&trace(&[]), &other),
        [
            "batches of each epoch",
            "initial weights",
            "order of the samples"
        ]
    );
}

#[test]
fn a_schedule_by_the_validation_loss_has_a_trace() {
    let sets = [
        "data.validation=50",
        "train.epochs=6",
        "train.schedule={ curve = { name = \"reduce-on-plateau\", patience = 1 } }",
    ];
    let trace = trace(&sets);
    assert_eq!(trace, self::trace(&sets));
    assert_eq!(
        trace.entries["samples of each epoch"].to_string(),
        "250 once; 250 once"
    );
}

/// The baseline was made on another machine, maybe; this test runs with every instruction set and on every platform.
#[test]
fn the_traces_of_a_baseline_are_those_of_every_machine() {
    let place = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../xtask/baselines");
    let (_, baseline) = baseline::find(&place, "guard", Tier::Smoke)
        .unwrap()
        .remove(0);
    let experiment = Experiment::load("guard", Tier::Smoke, &[]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mut runner = support::runner(folder.path());
    let mut trainer = ExperimentTrainer {
        runner: &mut runner,
        experiment: &experiment,
        command: "run".to_string(),
        machine: Machine {
            gemm_peak_gflops: |_| Ok(60.0),
            watch_load: || Box::new(|| None),
        },
        progress: &mut NoProgress,
    };
    for variant in &baseline.variants {
        let before = variant.trace.as_ref().unwrap();
        let now = trainer.trace(&variant.name, before.seed).unwrap().unwrap();
        assert_eq!(before.changes(&now), [], "{}", variant.name);
    }
    assert_eq!(baseline.variants.len(), 3);
}
