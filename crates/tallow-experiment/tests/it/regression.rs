//! Regression tests of experiments: committed baselines, and runs that diverge.

use std::path::{Path, PathBuf};

use tallow_experiment::regression::{ExperimentTrainer, Machine, normalize_recipe, plan};
use tallow_experiment::{Experiment, NoProgress, Tier};
use tallow_regress::{Judgement, Measured, Rounds, Train, baseline};

use crate::support;

/// Baselines of this repository.
fn baselines() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../xtask/baselines")
}

fn machine() -> Machine {
    Machine {
        gemm_peak_gflops: |_| Ok(60.0),
        watch_load: || Box::new(|| None),
    }
}

/// New keys of the recipe must not invalidate baselines that were made before them.
#[test]
fn the_recipes_of_all_baselines_are_those_of_the_experiments() {
    let mut found = 0;
    for tier in [Tier::Smoke, Tier::Standard] {
        for experiment in Experiment::of_tier(tier, &[], &[]).unwrap() {
            let plan = plan(&experiment, "update".to_string()).unwrap();
            for (path, baseline) in baseline::find(&baselines(), &plan.experiment, tier).unwrap() {
                let refused = baseline.refuses(&baseline.data, &plan, normalize_recipe);
                assert_eq!(refused, None, "{}", path.display());
                // A key at its default that the file does not have yet, and another value of it.
                for (value, same) in [(false, true), (true, false)] {
                    let mut plan = plan.clone();
                    plan.variants[0].recipe["model"]["new_head"] = value.into();
                    plan.variants[0].recipe["model"]["weights"] = serde_json::Value::Null;
                    let refused = baseline.refuses(&baseline.data, &plan, normalize_recipe);
                    assert_eq!(refused.is_none(), same, "{}", path.display());
                }
                found += 1;
            }
        }
    }
    assert!(found >= 30, "{found}");
}

#[test]
fn runs_that_diverge_are_seen_through_and_found() {
    let folder = tempfile::tempdir().unwrap();
    let mut runner = support::runner(folder.path());
    let sets = ["train.optimizer.lr=1e30".to_string()];
    let mut experiment = Experiment::load("guard", Tier::Smoke, &sets).unwrap();
    let names = ["plain", "dropout"].map(str::to_string);
    experiment.keep_only(&names).unwrap();
    let plan = plan(&experiment, "update".to_string()).unwrap();
    let seeds = experiment.seeds.clone();
    let mut trainer = ExperimentTrainer {
        runner: &mut runner,
        experiment: &experiment,
        command: "run".to_string(),
        machine: machine(),
        progress: &mut NoProgress,
    };
    let error = trainer.train(&names, &seeds).unwrap_err();
    let error = tallow_regress::Error::Train(error);
    assert!(message(&error).contains("the loss is"), "{error}");

    trainer.runner.options_mut().skip_diverged = true;
    let trained = trainer.train(&names, &seeds).unwrap().unwrap();
    assert_eq!(trained.diverged.len(), 2);
    let measured = Measured::of_runs(&plan, &trained.runs, 60.0).unwrap();
    assert_eq!(measured.len(), 2);
    for measured in &measured {
        assert_eq!(measured.values("steps", None), [None]);
        assert_eq!(measured.values("epochs_to_threshold", Some(0.1)), [None]);
        assert_eq!(measured.weights, [None]);
        assert!(measured.figure("test_accuracy").mean().is_nan());
    }

    let mut found = baseline::find(&baselines(), "guard", Tier::Smoke).unwrap();
    let (_, baseline) = found.remove(0);
    let mut rounds = Rounds {
        exact: false,
        speed: true,
        traces_alone: false,
        machine: None,
    };
    let report = rounds.compare(&plan, &baseline, &mut trainer);
    let report = report.unwrap().unwrap();
    assert_eq!(report.verdict, Judgement::Regression);
    for variant in &report.variants {
        assert_eq!(variant.fresh_seeds.len(), 6);
        for row in &variant.rows {
            let of_network = row.metric.ends_with("_accuracy")
                || row.metric.ends_with("_loss")
                || row.metric == "epochs_to_threshold";
            let expected = match of_network {
                true => (Judgement::Regression, Some(0.0)),
                false => (Judgement::Skipped, None),
            };
            assert_eq!((row.verdict, row.p_again), expected, "{}", row.metric);
        }
    }
    assert!(report.claims.iter().any(|claim| claim.holds == Some(false)));
    let reason = report.reason.unwrap();
    assert_eq!(reason.matches("the loss is").count(), 14, "{reason}");
}

/// The error and its causes.
fn message(error: &dyn std::error::Error) -> String {
    match error.source() {
        None => error.to_string(),
        Some(source) => format!("{error}: {}", message(source)),
    }
}
