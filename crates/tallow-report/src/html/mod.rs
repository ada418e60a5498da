//! Runs as one HTML file that needs nothing else: no network, no script, charts and pictures inside.
//!
//! It reads on a phone and on paper, in light and dark, with a keyboard and by a screen reader: headings in order, a link past
//! the contents, tables with captions and headers, a text for each picture.

mod parts;

use std::collections::BTreeMap;

use maud::{DOCTYPE, Markup, PreEscaped, html};

use crate::results::{Check, Published, Statement, Verdict};
use crate::{Error, Extras, Result, Run, by_variant};
use parts::{percent, slug, thousands};

/// What a report tells.
#[derive(Clone, Debug)]
pub struct Story<'a> {
    /// Its heading.
    pub title: String,
    /// What was asked.
    pub question: Option<String>,
    /// What must hold, judged.
    pub claims: Vec<Check>,
    /// What others said, judged.
    pub statements: Vec<Statement>,
    /// What others reported, by variant.
    pub published: BTreeMap<String, Vec<Published>>,
    /// The runs; those that have not finished are told of as such.
    pub runs: &'a [Run],
    /// The command that does it again.
    pub command: Option<String>,
}

/// Variants whose pictures are shown: more would make the file too large to send.
const PICTURED: usize = 8;

/// The page. Pictures and details are those of each variant's first run, pictures those of the first eight variants.
///
/// Fails where an additional file of a record cannot be read, and when there are no runs.
pub fn page(story: &Story) -> Result<String> {
    let variants = by_variant(story.runs);
    let mut sections = Vec::new();
    for variant in &variants {
        let first = (story.runs.iter())
            .find(|run| run.info.variant == variant.name && run.summary.is_some());
        if let Some(run) = first {
            let mut extras = Extras::read(run)?;
            if sections.len() >= PICTURED {
                extras.pictures.clear();
            }
            sections.push((run, extras));
        }
    }
    let body = html! {
        a class="skip" href="#results" { "Skip to the results" }
        header {
            h1 { (story.title) }
            @if let Some(question) = &story.question { p class="question" { (question) } }
        }
        nav aria-label="Contents" {
            ul {
                li { a href="#results" { "Results" } }
                @if !story.claims.is_empty() { li { a href="#claims" { "Claims" } } }
                li { a href="#curves" { "Curves" } }
                @for (run, _) in &sections {
                    li { a href={ "#" (slug(&run.info.variant)) } { (run.info.variant) } }
                }
                li { a href="#environment" { "Environment" } }
            }
        }
        main {
            section id="results" { h2 { "Results" } (results(story, &variants)) }
            @if !story.claims.is_empty() || !story.statements.is_empty() {
                section id="claims" { h2 { "Claims" } (claims(story)) }
            }
            section id="curves" { h2 { "Curves" } (curves(story)?) }
            @if sections.len() > PICTURED {
                p class="note" { "Pictures are those of the first " (PICTURED) " variants; a report of one run has its own." }
            }
            @for (run, extras) in &sections {
                section id=(slug(&run.info.variant)) {
                    h2 { (run.info.variant) }
                    (parts::variant(run, extras)?)
                }
            }
            section id="environment" { h2 { "Environment" } (environment(story)?) }
        }
    };
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (story.title) }
                // Without it a browser asks the server for one.
                link rel="icon" href="data:,";
                style { (PreEscaped(include_str!("style.css"))) }
            }
            body { (body) }
        }
    };
    Ok(page.into_string())
}

fn results(story: &Story, variants: &[crate::Variant]) -> Markup {
    let seeds = variants.iter().map(|v| v.seeds.len()).max().unwrap_or(0);
    let unfinished = story
        .runs
        .iter()
        .filter(|run| run.summary.is_none())
        .count();
    let figure = |variant: &crate::Variant, name: &str| variant.metrics.get(name).cloned();
    let sources = parts::sources(&story.published);
    html! {
        (parts::table(
            "Test accuracy of the last epoch, mean ± standard deviation over the seeds",
            &["variant", "model", "parameters", "seeds", "test accuracy", "test loss", "training accuracy", "published", "time a run"],
            variants.iter().map(|variant| {
                let published = story.published.get(&variant.name).map_or(&[][..], |p| p);
                let marks: Vec<String> = published.iter().map(|p| {
                    let number = sources.iter().position(|s| *s == p.source).map_or(0, |i| i + 1);
                    format!("{} [{number}]", percent(p.test_accuracy))
                }).collect();
                vec![
                    html! { a href={ "#" (slug(&variant.name)) } { (variant.name) } },
                    html! { (variant.model) },
                    html! { (thousands(variant.parameters as u64)) },
                    html! { (variant.seeds.len()) },
                    html! { (parts::percents(figure(variant, "test_accuracy"))) },
                    html! { (parts::numbers(figure(variant, "test_loss"))) },
                    html! { (parts::percents(figure(variant, "train_accuracy"))) },
                    html! { @if marks.is_empty() { "—" } @else { (marks.join(", ")) } },
                    html! { (figure(variant, "seconds").map_or("—".to_string(), |s| parts::duration(s.mean))) },
                ]
            }),
        ))
        @if !sources.is_empty() {
            ol class="sources" { @for source in sources { li { (source) } } }
        }
        @if seeds == 1 {
            p class="note" { "One seed each: differences that another seed might undo cannot be told from effects." }
        }
        @if unfinished > 0 {
            p class="note" { (unfinished) " of the runs did not finish and are left out." }
        }
    }
}

fn claims(story: &Story) -> Markup {
    let verdict = |holds: Option<bool>| match holds {
        Some(true) => html! { span class="yes" { "✓\u{a0}holds" } },
        Some(false) => html! { span class="no" { "✗\u{a0}fails" } },
        None => html! { span { "not judged" } },
    };
    html! {
        @if !story.claims.is_empty() {
            (parts::table("What must hold", &["claim", "figures", "verdict"], story.claims.iter().map(|claim| vec![
                html! { code { (claim.text) } },
                html! { (claim.figures) },
                verdict(claim.holds),
            ])))
        }
        @if !story.statements.is_empty() {
            (parts::table("What the write-up says", &["statement", "verdict", "decided by"], story.statements.iter().map(|statement| vec![
                html! { (statement.text) },
                match statement.verdict {
                    Verdict::Holds => html! { span class="yes" { "✓\u{a0}holds" } },
                    Verdict::HoldsPartly => html! { span { "holds partly" } },
                    Verdict::DoesNotHold => html! { span class="no" { "✗ does not hold" } },
                    Verdict::NotJudged => html! { span { "not judged" } },
                },
                html! {
                    @for check in &statement.checks {
                        div { code { (check.text) } " : " (check.figures) }
                    }
                },
            ])))
        }
    }
}

/// Figures by epoch, a line for each variant.
fn curves(story: &Story) -> Result<Markup> {
    let of = |value: fn(&crate::Epoch) -> Option<f64>| {
        let mut curves: Vec<crate::charts::Curve> = Vec::new();
        // One that stopped early would bend the means where it ends, unless there is nothing else to see.
        let finished = |run: &&crate::Run| run.summary.is_some();
        let any = story.runs.iter().any(|run| finished(&run));
        for run in story.runs.iter().filter(|run| !any || finished(run)) {
            let values = run.epochs.iter().map(value).collect();
            match curves.iter_mut().find(|c| c.label == run.info.variant) {
                Some(curve) => curve.runs.push(values),
                None => curves.push(crate::charts::Curve {
                    label: run.info.variant.clone(),
                    runs: vec![values],
                }),
            }
        }
        curves
    };
    let axis = |title: &str, percent| crate::charts::Axis {
        title: title.to_string(),
        percent,
    };
    let figures = [
        (
            "Training loss",
            axis("training loss", false),
            of(|e| e.train_loss),
        ),
        ("Test loss", axis("test loss", false), of(|e| e.test_loss)),
        (
            "Training accuracy",
            axis("training accuracy", true),
            of(|e| Some(e.train_accuracy)),
        ),
        (
            "Test accuracy",
            axis("test accuracy", true),
            of(|e| e.test_accuracy),
        ),
        (
            "Learning rate",
            axis("learning rate", false),
            of(|e| Some(e.lr)),
        ),
        (
            "Throughput",
            axis("thousand images a second", false),
            of(|e| Some(e.images_per_second / 1000.0)),
        ),
    ];
    let mut svgs = Vec::new();
    for (title, axis, curves) in figures {
        match crate::charts::curves(title, &axis, &curves) {
            Ok(svg) => svgs.push(svg),
            Err(Error::NothingToDraw { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(html! {
        p class="note" { "Means over the seeds; the band is one standard deviation. Training figures are means over an epoch in which the weights change." }
        div class="charts" { @for svg in svgs { (parts::figure(&svg)) } }
    })
}

fn environment(story: &Story) -> Result<Markup> {
    let Some(run) = story.runs.first() else {
        return Err(Error::NoRuns);
    };
    let environment = &run.environment;
    let commits = environment.commit.clone().unwrap_or("unknown".to_string());
    let rows = [
        ("data", run.info.dataset.provenance.clone()),
        (
            "digest of the training data",
            run.info.dataset.digest.clone(),
        ),
        (
            "version",
            format!("Tallow {}, commit {commits}", environment.tallow),
        ),
        ("compiler", environment.rustc.clone()),
        (
            "processor",
            format!(
                "{}, {}, {} threads",
                environment.cpu, environment.platform, environment.threads
            ),
        ),
        ("device", environment.device.clone()),
    ];
    let mut folders: Vec<String> = Vec::new();
    for run in story.runs {
        let name = run.dir.file_name().unwrap_or_default();
        folders.push(name.to_string_lossy().into_owned());
    }
    Ok(html! {
        (parts::table("Where the first run was made", &["what", "value"], rows.into_iter().map(|(name, value)| vec![
            html! { (name) },
            html! { (value) },
        ])))
        @if let Some(command) = &story.command {
            h3 { "Again" }
            pre { code { (command) } }
        }
        details {
            summary { "Run records (" (folders.len()) ")" }
            ul { @for folder in folders { li { code { (folder) } } } }
        }
        @if let Ok(text) = toml::to_string(&run.config) {
            details {
                summary { "Recipe of the first run" }
                pre { code { (text) } }
            }
        }
    })
}
