//! Tables, figures and the section of a variant.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use maud::{Markup, PreEscaped, html};

use tallow_record::{
    Extras, GradientRow, Prediction, Published, Run, Statistic, Verdict, thousands,
};

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

/// A table that scrolls by itself where it is wider than the page. Columns of numbers are aligned to the right.
pub fn table<R: Into<Vec<Markup>>>(
    caption: &str,
    header: &[&str],
    rows: impl Iterator<Item = R>,
) -> Markup {
    let rows: Vec<Vec<Markup>> = rows.map(Into::into).collect();
    let class = |column: usize| {
        let mut cells = rows.iter().filter_map(|row| row.get(column));
        // The first column says what a row is about.
        (column > 0 && cells.all(is_number)).then_some("number")
    };
    let classes: Vec<Option<&str>> = (0..header.len()).map(class).collect();
    let of = |column: usize| classes.get(column).copied().flatten();
    html! {
        div class="scroll" tabindex="0" role="region" aria-label=(caption) {
            table {
                caption { span { (caption) } }
                thead { tr { @for (column, name) in header.iter().enumerate() { th scope="col" class=[of(column)] { (name) } } } }
                tbody {
                    @for row in &rows {
                        tr { @for (column, cell) in row.iter().enumerate() { td class=[of(column)] { (cell) } } }
                    }
                }
            }
        }
    }
}

/// Whether a cell has a number with its unit, deviation or mark, or a dash in the place of one.
fn is_number(cell: &Markup) -> bool {
    let digits = |word: &str| {
        let allowed = |c: char| c.is_ascii_digit() || "+-−,.[]".contains(c);
        word.contains(|c: char| c.is_ascii_digit()) && word.chars().all(allowed)
    };
    let unit = |word: &str| matches!(word, "" | "%" | "±" | "×" | "—" | "s" | "min" | "h" | "%,");
    let mut words = cell.0.split([' ', '\u{a0}']);
    words.all(|word| unit(word) || digits(word))
}

/// A verdict in words, with a mark where it is clear.
pub fn verdict(verdict: Verdict) -> Markup {
    match verdict {
        Verdict::Holds => html! { span class="yes" { "✓\u{a0}holds" } },
        Verdict::HoldsPartly => html! { span { "holds partly" } },
        Verdict::DoesNotHold => html! { span class="no" { "✗ does not hold" } },
        Verdict::Undecided => html! { span { "undecided" } },
        Verdict::NotJudged => html! { span { "not judged" } },
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_of_numbers_are_told_apart() {
        for number in [
            "7",
            "90.00\u{a0}±\u{a0}0.52\u{a0}%",
            "87.35 % [1], 62 % [2]",
            "−0.5",
            "13 min 02 s",
            "32 × 12 × 12",
            "1,971,352",
            "—",
        ] {
            assert!(is_number(&html! { (number) }), "{number}");
        }
        for text in ["cat", "0787.png", "mnist-cnn", "3 cats", "s3"] {
            assert!(!is_number(&html! { (text) }), "{text}");
        }
        assert!(!is_number(&html! { code { "3" } }));
        let rows = [["3", "4"], ["5", "—"]].map(|row| row.map(|text| html! { (text) }));
        let text = table("Caption", &["a", "b"], rows.into_iter()).into_string();
        assert!(text.contains("<th scope=\"col\">a</th>"), "{text}");
        assert!(
            text.contains("<th scope=\"col\" class=\"number\">b</th>"),
            "{text}"
        );
        assert!(
            text.contains("<td>5</td><td class=\"number\">—</td>"),
            "{text}"
        );
    }
}
