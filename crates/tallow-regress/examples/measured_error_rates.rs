//! Measures how often one round raises a false alarm on real metrics: those of the thirty seeds of Tallow's own baselines.
//!
//! Each repeat draws some seeds as a baseline and others as new results, of all variants of an experiment.
//!
//! ```text
//! cargo run --release -p tallow-regress --example measured_error_rates xtask/baselines
//! ```

use std::fs;
use std::path::PathBuf;

use rand_chacha::ChaCha8Rng;
use rand_core::{RngCore, SeedableRng};
use tallow_record::Statistic;
use tallow_regress::{Baseline, Guard, Judgement, MetricComparison, Worse, level};

const REPEATS: usize = 2000;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = std::env::args_os().nth(1).map(PathBuf::from);
    let folder = folder.ok_or("expected a folder of baselines")?;
    let mut baselines = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.to_string_lossy().ends_with(".smoke.json")
            && let Some(baseline) = Baseline::read(&path)?
        {
            baselines.push(baseline);
        }
    }
    baselines.sort_by(|a, b| a.experiment.cmp(&b.experiment));
    let mut rng = ChaCha8Rng::seed_from_u64(0);
    println!("False alarms in a comparison of an experiment, over {REPEATS} repeats each:\n");
    println!(
        "| metrics | seeds of the baseline | new seeds | mean of the experiments | worst experiment |"
    );
    println!("| --- | --- | --- | --- | --- |");
    let accuracies: &[&str] = &["test_accuracy"];
    let all: &[&str] = &[
        "test_accuracy",
        "best_test_accuracy",
        "test_loss",
        "train_loss",
    ];
    for (title, metrics) in [
        ("test accuracy", accuracies),
        ("accuracies and losses", all),
    ] {
        for (before, new) in [(5, 3), (10, 1), (10, 3), (15, 3), (20, 3), (20, 5), (25, 3)] {
            let rates: Vec<f64> = (baselines.iter())
                .map(|baseline| rate(&mut rng, baseline, metrics, before, new))
                .collect();
            let mean = rates.iter().sum::<f64>() / rates.len() as f64;
            let worst = rates.iter().copied().fold(0.0, f64::max);
            println!(
                "| {title} | {before} | {new} | {:.1} % | {:.1} % |",
                100.0 * mean,
                100.0 * worst
            );
        }
    }
    Ok(())
}

/// Fraction of the repeats in which any metric of any variant is a regression.
fn rate(
    rng: &mut ChaCha8Rng,
    baseline: &Baseline,
    metrics: &[&str],
    before: usize,
    new: usize,
) -> f64 {
    let mut alarms = 0;
    for _ in 0..REPEATS {
        let seeds = baseline.variants.first().map_or(0, |v| v.seeds.len());
        let order = shuffled(rng, seeds);
        let judged = baseline.variants.iter().flat_map(|variant| {
            let of = |metric: &&str| Some((Guard::find(metric)?, variant.metrics.get(*metric)?));
            metrics.iter().filter_map(of).collect::<Vec<_>>()
        });
        let judged: Vec<(&Guard, &Statistic)> = judged
            .filter(|(guard, _)| guard.worse != Worse::Different)
            .collect();
        let level = level(judged.len());
        let alarm = judged.iter().any(|(guard, statistic)| {
            let at = |index: &usize| statistic.values[*index];
            let old: Vec<f64> = order[..before].iter().map(at).collect();
            let now: Vec<Option<f64>> = order[before..before + new]
                .iter()
                .map(|i| Some(at(i)))
                .collect();
            let Some(old) = Statistic::of(&old) else {
                return false;
            };
            let mut row = MetricComparison::first(guard, &old, &now);
            row.decide_once(guard, &now, level);
            row.verdict == Judgement::Regression
        });
        alarms += usize::from(alarm);
    }
    alarms as f64 / REPEATS as f64
}

/// The numbers below `count` in random order (Fisher-Yates).
fn shuffled(rng: &mut ChaCha8Rng, count: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..count).collect();
    for last in (1..count).rev() {
        let at = rng.next_u64() % (last as u64 + 1);
        order.swap(last, at as usize);
    }
    order
}
