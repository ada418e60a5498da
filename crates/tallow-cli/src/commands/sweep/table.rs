//! Tables of a sweep.

use std::fmt::Write;

use tallow_experiment::reference::toml;
use tallow_experiment::sweep::{Sweep, Trial};
use tallow_record::{Format, Metric, SweepResults, SweepTrial, number, percent};

use crate::table::{align_right, new_table};

/// The results, the best trial first.
pub fn results(results: &SweepResults) -> String {
    let keys: Vec<&str> = results.parameters.iter().map(|p| p.key.as_str()).collect();
    let title = Metric::find(&results.metric).map_or(results.metric.as_str(), |m| m.title);
    // The trials are chosen by the metric; this is what the choice is worth.
    let tested = results.metric != "test_accuracy"
        && (results.trials.iter()).any(|trial| trial.metrics.contains_key("test_accuracy"));
    let halving = results.method == "halving";
    let mut header = vec!["trial".to_string()];
    header.extend(short(&keys));
    header.push(title.to_string());
    header.extend(tested.then(|| "test accuracy".to_string()));
    header.push("epochs".to_string());
    header.push("state".to_string());
    let header: Vec<&str> = header.iter().map(String::as_str).collect();
    let mut table = new_table(&header);
    for trial in &results.trials {
        let mut cells = vec![trial.trial.to_string()];
        cells.extend(
            keys.iter()
                .map(|key| trial.settings.get(*key).map(toml).unwrap_or_default()),
        );
        cells.push(figure(&results.metric, trial.value));
        if tested {
            let accuracy = trial.metrics.get("test_accuracy").copied().flatten();
            cells.push(figure("test_accuracy", accuracy));
        }
        cells.push(trial.epochs.to_string());
        cells.push(state(trial, halving));
        table.add_row(cells);
    }
    for column in 0..header.len() - 1 {
        align_right(&mut table, column);
    }
    let mut text = format!("{}\n{table}\n", results.experiment);
    if let Some(best) = results.best() {
        let settings = keys.iter().filter_map(|key| {
            let value = best.settings.get(*key)?;
            Some(format!("{key} = {}", toml(value)))
        });
        let settings: Vec<String> = settings.collect();
        let _ = writeln!(text, "best: trial {}: {}", best.trial, settings.join(", "));
    }
    if !results.missing.is_empty() {
        let missing: Vec<String> = results.missing.iter().map(usize::to_string).collect();
        let _ = writeln!(text, "no result yet: trials {}", missing.join(", "));
    }
    text
}

fn state(trial: &SweepTrial, halving: bool) -> String {
    match halving {
        true => format!("{}, rung {}", trial.state.as_str(), trial.rung),
        false => trial.state.as_str().to_string(),
    }
}

fn figure(metric: &str, value: Option<f64>) -> String {
    let format = Metric::find(metric).map(|metric| metric.format);
    match (value, format) {
        (None, _) => "—".to_string(),
        (Some(value), Some(Format::Percent)) => percent(value),
        (Some(value), _) => number(value),
    }
}

/// Trials of a sweep, and its rungs.
pub fn trials(trials: &[&Trial], sweep: &Sweep) -> String {
    let first = trials.first().map_or(&[][..], |trial| &trial.settings[..]);
    let keys: Vec<&str> = first.iter().map(|(key, _)| key.as_str()).collect();
    let mut header = vec!["trial".to_string()];
    header.extend(short(&keys));
    let header: Vec<&str> = header.iter().map(String::as_str).collect();
    let mut table = new_table(&header);
    for trial in trials {
        let mut cells = vec![trial.number.to_string()];
        cells.extend(trial.settings.iter().map(|(_, value)| value.to_string()));
        table.add_row(cells);
    }
    for column in 0..header.len() {
        align_right(&mut table, column);
    }
    let mut text = format!("{table}\n");
    let _ = match (trials.len(), sweep.trials.len()) {
        (shown, all) if shown < all => writeln!(text, "{shown} of {all} trials"),
        (_, all) => writeln!(text, "{all} trials"),
    };
    if sweep.rungs.len() > 1 {
        for (rung, of) in (1..).zip(&sweep.rungs) {
            let (trials, epochs) = (of.trials, of.epochs);
            let _ = writeln!(
                text,
                "rung {rung}: {trials} of the trials up to epoch {epochs}"
            );
        }
    }
    text
}

/// Last parts of keys; whole keys where several end in the same way.
fn short(keys: &[&str]) -> Vec<String> {
    let last = |key: &str| key.rsplit('.').next().unwrap_or_default().to_string();
    let name = |key: &&str| {
        let word = last(key);
        match word == "name" || keys.iter().filter(|other| last(other) == word).count() > 1 {
            true => key.to_string(),
            false => word,
        }
    };
    keys.iter().map(name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use tallow_record::{SweepParameter, SweepScale, SweepState};

    #[test]
    fn keys_are_short_where_they_stay_different() {
        let keys = ["train.optimizer.lr", "train.batch_size", "model.name"];
        assert_eq!(short(&keys), ["lr", "batch_size", "model.name"]);
        let keys = ["train.loss.gamma", "train.schedule.curve.gamma"];
        assert_eq!(short(&keys), keys);
    }

    #[test]
    fn the_table_has_settings_metrics_and_states() {
        let trial = |trial: usize, value: Option<f64>, state| SweepTrial {
            trial,
            name: format!("trial-{trial}"),
            settings: [("train.optimizer.lr".to_string(), json!(0.5))].into(),
            state,
            rung: 1,
            epochs: 3,
            value,
            metrics: [("test_accuracy".to_string(), value.map(|v| v - 0.1))].into(),
            runs: Vec::new(),
        };
        let text = results(&SweepResults {
            experiment: "small".to_string(),
            tier: "full".to_string(),
            question: String::new(),
            method: "grid".to_string(),
            metric: "validation_accuracy".to_string(),
            parameters: vec![SweepParameter {
                key: "train.optimizer.lr".to_string(),
                scale: SweepScale::Linear,
                values: Vec::new(),
            }],
            trials: vec![
                trial(2, Some(0.9), SweepState::Finished),
                trial(1, None, SweepState::Diverged),
            ],
            missing: vec![3],
        });
        for part in [
            "validation accuracy",
            "test accuracy",
            "90.00 %",
            "80.00 %",
            "—",
            "diverged",
            "best: trial 2: train.optimizer.lr = 0.5",
            "no result yet: trials 3",
        ] {
            assert!(text.contains(part), "{part} in\n{text}");
        }
        assert!(!text.contains("rung"), "{text}");
    }
}
