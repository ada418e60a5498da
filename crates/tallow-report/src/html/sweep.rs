//! Results of a sweep: parallel coordinates and a table.

use maud::{Markup, html};
use serde_json::Value;
use tallow_record::{
    Format, Metric, SweepParameter, SweepResults, SweepScale, SweepState, SweepTrial, number,
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
    let tested = tested.filter(|_| sweep.metric != "test_accuracy");
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
    let finished = sweep.trials.iter();
    let finished = finished.filter(|trial| trial.state == SweepState::Finished);
    let finished = finished.count();
    let keys = sweep.parameters.iter().map(|p| p.key.as_str());
    let mut header = vec!["trial"];
    header.extend(keys);
    header.extend([title(sweep), "test accuracy", "epochs", "rung", "state"]);
    let of_test = sweep.metric.starts_with("test_");
    let plot = drawn(plot(sweep))?;
    Ok(html! {
        p class="note" {
            "Method " (sweep.method) ": " (finished) " of " (sweep.trials.len()) " trials were trained to their end. "
            @if !sweep.missing.is_empty() {
                (sweep.missing.len()) " more have no result yet. "
            }
            @if of_test {
                "They were compared on the test data, so the test accuracy of the best one is that of the best of many tries. "
            }
        }
        @if let Some(svg) = &plot { div class="charts" { (parts::figure(svg)) } }
        (parts::table("Trials, the best first", &header, sweep.trials.iter().take(ROWS).map(|trial| row(sweep, trial))))
        @if sweep.trials.len() > ROWS {
            p class="note" { "The first " (ROWS) "; sweep.json has all of them." }
        }
    })
}

fn title(sweep: &SweepResults) -> &str {
    Metric::find(&sweep.metric).map_or(sweep.metric.as_str(), |metric| metric.title)
}

fn row(sweep: &SweepResults, trial: &SweepTrial) -> Vec<Markup> {
    let tested = trial.metrics.get("test_accuracy").copied().flatten();
    let mut cells = vec![html! { (trial.trial) }];
    for parameter in &sweep.parameters {
        let value = trial.settings.get(&parameter.key).map(text);
        cells.push(html! { code { (value.unwrap_or_default()) } });
    }
    cells.extend([
        html! { (figure(&sweep.metric, trial.value)) },
        html! { (figure("test_accuracy", tested)) },
        html! { (trial.epochs) },
        html! { (trial.rung) },
        html! { (trial.state.as_str()) },
    ]);
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

fn figure(metric: &str, value: Option<f64>) -> String {
    let format = Metric::find(metric).map(|metric| metric.format);
    match (value, format) {
        (None, _) => "—".to_string(),
        (Some(value), Some(Format::Percent)) => percent(value),
        (Some(value), _) => number(value),
    }
}

/// Parallel coordinates of the parameters and the metric.
fn plot(sweep: &SweepResults) -> Result<String> {
    let mut axes: Vec<Coordinate> = sweep.parameters.iter().map(axis).collect();
    let percent = Metric::find(&sweep.metric).is_some_and(|m| m.format == Format::Percent);
    let (unit, kind) = match percent {
        true => (" (%)", CoordinateKind::Percent),
        false => ("", CoordinateKind::Linear),
    };
    axes.push(Coordinate {
        title: format!("{}{unit}", title(sweep)),
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
            SweepScale::List => CoordinateKind::Words(parameter.values.iter().map(text).collect()),
            SweepScale::Linear => CoordinateKind::Linear,
            SweepScale::Logarithmic => CoordinateKind::Logarithmic,
        },
    }
}
