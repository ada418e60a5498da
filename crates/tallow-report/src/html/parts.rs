//! Tables, figures and the section of a variant.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use maud::{Markup, PreEscaped, html};

use tallow_record::{Extras, GradientRow, Prediction, Published, Run, Statistic, thousands};

use crate::charts::{self, GradientPanel};
use crate::error::{Error, Result};

/// Section of a variant, from its first run.
pub fn variant(run: &Run, extras: &Extras) -> Result<Markup> {
    let mut pictures = Vec::new();
    for picture in extras.pictures.iter().flatten() {
        if let Some(png) = picture.read(&run.dir)? {
            pictures.push((&picture.text, STANDARD.encode(png)));
        }
    }
    let summary = run.summary.as_ref();
    let classes = &run.info.dataset.classes;
    let mut figures = Vec::new();
    if let Some(counts) = summary.and_then(|s| s.confusion.as_ref()) {
        let title = format!("{}: confusion matrix", run.info.variant);
        figures.extend(drawn(charts::confusion(&title, classes, counts))?);
    }
    if let Some(calibration) = &extras.calibration {
        let title = format!("{}: reliability diagram", run.info.variant);
        figures.extend(drawn(charts::reliability(&title, calibration))?);
    }
    if let Some(rows) = &extras.gradients {
        let title = format!("{}: gradient norm of each layer", run.info.variant);
        figures.extend(drawn(charts::gradients(&title, &panels(rows)))?);
    }
    if let Some(inputs) = &extras.inputs {
        let title = format!("{}: network inputs", run.info.variant);
        let rows = [(run.info.variant.clone(), inputs)];
        figures.extend(drawn(charts::histograms(&title, &rows))?);
    }
    Ok(html! {
        p class="note" { "Of the run with seed " (run.info.seed) ": " (run.info.model) ", " (thousands(run.info.parameters as u64)) " parameters." }
        div class="charts" { @for svg in &figures { (figure(svg)) } }
        @if let Some(scores) = summary.and_then(|s| s.per_class.as_ref()) {
            (table("Scores by class", &["class", "precision", "recall", "F1", "images"], scores.iter().map(|score| vec![
                html! { (class_name(classes, score.class)) },
                html! { (score.precision.map_or("—".to_string(), percent)) },
                html! { (score.recall.map_or("—".to_string(), percent)) },
                html! { (score.f1.map_or("—".to_string(), percent)) },
                html! { (thousands(score.support)) },
            ])))
        }
        @if let Some(counts) = summary.and_then(|s| s.confusion.as_ref()).filter(|counts| counts.len() > 2) {
            (confused(classes, counts))
        }
        @if !pictures.is_empty() {
            h3 { "Pictures" }
            div class="charts" {
                @for (text, png) in &pictures {
                    figure {
                        img alt=(text) loading="lazy" src={ "data:image/png;base64," (png) };
                        figcaption { (text) }
                    }
                }
            }
        }
        @if let Some(mistakes) = extras.mistakes.as_ref().filter(|m| !m.is_empty()) {
            details {
                summary { "Most confident mistakes" }
                (table("Test images", &["image", "true class", "predicted class", "probability"], mistakes.iter().map(|mistake| vec![
                    html! { @match &mistake.name { Some(name) => { (name) } None => { (mistake.index) } } },
                    html! { (class_name(classes, mistake.label)) },
                    html! { (guess(classes, mistake)) },
                    html! { (mistake.class().map_or("—".to_string(), |_| percent(mistake.confidence()))) },
                ])))
            }
        }
        @if let Some(layers) = &extras.layers {
            details {
                summary { "Layers (" (layers.len()) ")" }
                (table("In the order in which they run", &["layer", "kind", "output", "parameters", "multiply-adds"], layers.iter().map(|layer| {
                    let shape: Vec<String> = layer.output_shape.iter().map(usize::to_string).collect();
                    vec![
                        html! { code { (layer.name) } },
                        html! { (layer.kind) },
                        html! { (shape.join(" × ")) },
                        html! { (thousands(layer.parameters as u64)) },
                        html! { (thousands(layer.multiply_adds)) },
                    ]
                })))
            }
        }
    })
}

/// Pairs of classes in a list of the most frequent mistakes.
const PAIRS: usize = 10;

/// Pairs of classes that were confused most often.
fn confused(classes: &[String], counts: &[Vec<u64>]) -> Markup {
    let pairs = charts::worst_pairs(counts, PAIRS);
    html! {
        @if !pairs.is_empty() {
            details {
                summary { "Most frequent mistakes" }
                (table("Pairs of classes", &["true class", "predicted class", "images", "of the true class"], pairs.iter().map(|pair| {
                    let total: u64 = counts.get(pair.label).map_or(0, |row| row.iter().sum());
                    [
                        html! { (class_name(classes, pair.label)) },
                        html! { (class_name(classes, pair.predicted)) },
                        html! { (thousands(pair.count)) },
                        html! { (percent(pair.count as f64 / total.max(1) as f64)) },
                    ]
                })))
            }
        }
    }
}

/// The first row and the last, one under the other.
fn panels(rows: &[GradientRow]) -> Vec<GradientPanel> {
    let panel = |title: &str, row: &GradientRow| {
        let norms = charts::layers(row).into_iter().map(|(_, norm)| norm);
        GradientPanel {
            title: title.to_string(),
            lines: vec![(String::new(), norms.collect())],
        }
    };
    match rows {
        [] => Vec::new(),
        [first] => vec![panel("at the first step", first)],
        [first, .., last] => vec![
            panel("at the first step", first),
            panel("over the last steps", last),
        ],
    }
}

fn class_name(classes: &[String], class: usize) -> String {
    classes.get(class).cloned().unwrap_or(class.to_string())
}

fn guess(classes: &[String], prediction: &Prediction) -> String {
    (prediction.class()).map_or("—".to_string(), |class| class_name(classes, class))
}

/// A chart, unless there is nothing to draw.
pub fn drawn(chart: Result<String>) -> Result<Option<String>> {
    match chart {
        Ok(svg) => Ok(Some(svg)),
        Err(Error::NothingToDraw { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// A chart on the page, which has the style sheet of charts.
pub fn figure(svg: &str) -> Markup {
    html! { figure { (PreEscaped(charts::without_style(svg))) } }
}

/// A table that scrolls by itself where it is wider than the page.
pub fn table<R: Into<Vec<Markup>>>(
    caption: &str,
    header: &[&str],
    rows: impl Iterator<Item = R>,
) -> Markup {
    html! {
        div class="scroll" tabindex="0" role="region" aria-label=(caption) {
            table {
                caption { (caption) }
                thead { tr { @for name in header { th scope="col" { (name) } } } }
                tbody {
                    @for row in rows {
                        tr { @for cell in row.into() { td { (cell) } } }
                    }
                }
            }
        }
    }
}

/// The sources of published figures, each once.
pub fn sources(published: &BTreeMap<String, Vec<Published>>) -> Vec<String> {
    let mut sources = Vec::new();
    for published in published.values().flatten() {
        if !sources.contains(&published.source) {
            sources.push(published.source.clone());
        }
    }
    sources
}

/// `0.8735` as `87.35 %`, which stays on one line.
pub fn percent(fraction: f64) -> String {
    tallow_record::percent(fraction).replace(' ', "\u{a0}")
}

/// Mean and deviation of fractions.
pub fn percents(statistic: Option<Statistic>) -> String {
    match statistic {
        Some(Statistic {
            mean,
            std: Some(std),
            ..
        }) => {
            format!("{:.2}\u{a0}±\u{a0}{:.2}\u{a0}%", 100.0 * mean, 100.0 * std)
        }
        Some(statistic) => percent(statistic.mean),
        None => "—".to_string(),
    }
}

/// Mean and deviation of numbers.
pub fn numbers(statistic: Option<Statistic>) -> String {
    statistic.map_or("—".to_string(), |statistic| {
        format!("{statistic:.4}").replace(' ', "\u{a0}")
    })
}

/// A name as the target of a link.
pub fn slug(name: &str) -> String {
    let safe = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
    format!("variant-{}", name.chars().map(safe).collect::<String>())
}
