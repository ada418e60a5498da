//! Results of a sweep: parallel coordinates and a table.

use maud::{Markup, html};
use serde_json::Value;
use tallow_record::{
    Better, Format, Metric, SweepParameter, SweepResults, SweepScale, SweepState, SweepTrial,
    metric_text,
};

use super::answer::capitalized;
use super::parts::{self, drawn, percent};
use crate::charts::{self, Coordinate, CoordinateKind};
use crate::error::Result;

/// Most rows of the table; the file of the results has all of them.
const ROWS: usize = 200;

/// Sentence on the best trial; `None` without one.
pub fn answer(sweep: &SweepResults) -> Option<Markup> {
    let best = sweep.best()?;
    let tested = best.metrics.get("test_accuracy").copied().flatten();
    let tested = tested.filter(|_| has_test_accuracy(sweep));
    Some(html! {
        p class="answer" {
            strong { "Answer: " }
            "Of " (sweep.trials.len()) " trials, trial " (best.trial) " is the best, with "
            (settings(sweep, best)) ": " (title(sweep)) " " (figure(&sweep.metric, best.value))
            @if let Some(tested) = tested { ", test accuracy " (percent(tested)) }
            "."
        }
    })
}

/// Plot and table of the trials.
pub fn section(sweep: &SweepResults) -> Result<Markup> {
    let count = |state: SweepState| {
        let trials = sweep.trials.iter();
        trials.filter(|trial| trial.state == state).count()
    };
    let (finished, diverged) = (count(SweepState::Finished), count(SweepState::Diverged));
    let seeds = sweep.trials.iter().map(|trial| trial.runs.len()).max();
    let keys = sweep.parameters.iter().map(|p| p.key.as_str());
    let mut header = vec!["trial"];
    header.extend(keys);
    header.push(title(sweep));
    header.extend(has_test_accuracy(sweep).then_some("test accuracy"));
    header.push("epochs");
    header.extend(has_rungs(sweep).then_some("rung"));
    header.push("state");
    let of_test = sweep.metric.starts_with("test_");
    let plot = drawn(plot(sweep))?;
    Ok(html! {
        p class="note" {
            "Method " (sweep.method) ": " (finished) " of " (sweep.trials.len()) " trials were trained to their end. "
            @if diverged > 0 {
                (diverged) " ended with a loss that was not finite" @if plot.is_some() { " (not in the plot)" } ". "
            }
            @if !sweep.missing.is_empty() {
                (sweep.missing.len()) " more have no result yet. "
            }
            @if has_rungs(sweep) {
                "The figures of a trial are those of its last rung: trials of different rungs were trained for different numbers of epochs. "
            }
            @if let Some(seeds) = seeds.filter(|seeds| *seeds > 1) {
                "Figures are means over " (seeds) " seeds. "
            }
            @if of_test {
                "They were compared on the test data, so the test accuracy of the best one is that of the best of many tries. "
            }
            @if let Some(first) = sweep.trials.first() {
                "The record of trial " (first.trial) " is the folder whose name ends with " code { (first.name) "-s" } " and its seed."
            }
        }
        @if let Some(svg) = &plot { div class="charts" { (parts::figure(svg)) } }
        (parts::table("Trials, the best first", &header, sweep.trials.iter().take(ROWS).map(|trial| row(sweep, trial))))
        @if sweep.trials.len() > ROWS {
            p class="note" { "The first " (ROWS) "; sweep.json has all of them." }
        }
    })
}

/// Whether trials may have been trained for different numbers of epochs.
fn has_rungs(sweep: &SweepResults) -> bool {
    sweep.method == "halving"
}

fn title(sweep: &SweepResults) -> &str {
    Metric::find(&sweep.metric).map_or(sweep.metric.as_str(), |metric| metric.title)
}

fn row(sweep: &SweepResults, trial: &SweepTrial) -> Vec<Markup> {
    let mut cells = vec![html! { (trial.trial) }];
    for parameter in &sweep.parameters {
        let value = trial.settings.get(&parameter.key).map(text);
        cells.push(html! { code { (value.unwrap_or_default()) } });
    }
    cells.push(html! { (figure(&sweep.metric, trial.value)) });
    if has_test_accuracy(sweep) {
        let tested = trial.metrics.get("test_accuracy").copied().flatten();
        cells.push(html! { (figure("test_accuracy", tested)) });
    }
    cells.push(html! { (trial.epochs) });
    if has_rungs(sweep) {
        cells.push(html! { (trial.rung) });
    }
    cells.push(html! { (trial.state.as_str()) });
    cells
}

fn settings(sweep: &SweepResults, trial: &SweepTrial) -> Markup {
    let pairs = sweep.parameters.iter().filter_map(|parameter| {
        let value = trial.settings.get(&parameter.key)?;
        Some(format!("{} = {}", parameter.key, text(value)))
    });
    let pairs: Vec<String> = pairs.collect();
    html! { code { (pairs.join(", ")) } }
}

/// Value of a setting as text.
fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Value of a metric, which stays on one line.
fn figure(metric: &str, value: Option<f64>) -> String {
    metric_text(metric, value).replace(' ', "\u{a0}")
}

/// Whether the test accuracy has a column of its own beside the metric.
fn has_test_accuracy(sweep: &SweepResults) -> bool {
    sweep.metric != "test_accuracy"
}

/// Parallel coordinates of the parameters and the metric.
fn plot(sweep: &SweepResults) -> Result<String> {
    let mut axes: Vec<Coordinate> = sweep.parameters.iter().map(axis).collect();
    let metric = Metric::find(&sweep.metric);
    let (unit, kind) = match metric.is_some_and(|m| m.format == Format::Percent) {
        true => (" (%)", CoordinateKind::Percent),
        false => ("", CoordinateKind::Linear),
    };
    let lower = metric.is_some_and(|m| m.better == Some(Better::Lower));
    let direction = if lower { ", lower is better" } else { "" };
    axes.push(Coordinate {
        title: format!("{}{unit}{direction}", title(sweep)),
        kind,
    });
    let measured = sweep.trials.iter().filter(|trial| trial.value.is_some());
    let lines = measured.map(|trial| {
        let places = sweep.parameters.iter().map(|parameter| {
            let value = trial.settings.get(&parameter.key)?;
            match parameter.scale {
                SweepScale::List => {
                    let index = parameter.values.iter().position(|known| known == value)?;
                    Some(index as f64)
                }
                SweepScale::Linear | SweepScale::Logarithmic => value.as_f64(),
            }
        });
        places.chain([trial.value]).collect::<Vec<Option<f64>>>()
    });
    let lines: Vec<Vec<Option<f64>>> = lines.collect();
    let title = format!("{}: trials", capitalized(&sweep.experiment));
    charts::parallel(&title, &axes, &lines)
}

fn axis(parameter: &SweepParameter) -> Coordinate {
    Coordinate {
        title: parameter.key.clone(),
        kind: match parameter.scale {
            SweepScale::List => {
                CoordinateKind::Categories(parameter.values.iter().map(text).collect())
            }
            SweepScale::Linear => CoordinateKind::Linear,
            SweepScale::Logarithmic => CoordinateKind::Logarithmic,
        },
    }
}
