//! Result of a benchmark.

use serde::{Deserialize, Serialize};

use super::arms::LeftOut;
use super::measure::Timed;
use super::quiet::Conditions;
use super::worker::case::{Case, Kind};

/// A benchmark: our time, and those of the others.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    pub name: String,
    pub kind: Kind,
    pub batch: usize,
    /// Median milliseconds: of a step, a pass, a batch, an epoch.
    pub ours_ms: f64,
    /// The same in a program that sets no allocator.
    pub library_ms: Option<f64>,
    /// Nominal arithmetic by direct convolution over our time.
    pub gflops: Option<f64>,
    pub peak_rss_mb: Option<f64>,
    pub others: Vec<Other>,
    /// Whether the machine was quiet.
    pub quiet: bool,
    /// Reasons why it was not.
    pub disturbances: Vec<String>,
    pub conditions: Conditions,
    /// Number of measurements. The last one counts: the first that was quiet, if one was.
    pub attempts: usize,
}

/// Another library beside ours, both in f32.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Other {
    /// `pytorch`, `candle` or `burn`.
    pub name: String,
    /// The fastest arm; none for a library with a single one.
    pub arm: Option<String>,
    pub ms: f64,
    /// Its time divided by ours.
    pub ratio: f64,
    /// Its fastest arm in bf16, beside ours in f32.
    pub bf16: Option<OtherArm>,
    /// Arms that could not be measured.
    pub left_out: Vec<LeftOut>,
    /// Peak memory of its fastest arm that is not compiled.
    pub peak_rss_mb: Option<f64>,
}

/// Another arm of a library.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OtherArm {
    pub arm: String,
    pub ms: f64,
    /// Its time divided by ours.
    pub ratio: f64,
}

impl Row {
    /// A row with our own time; the rest is filled in.
    pub fn new(case: &Case, ours: &Timed, gflop: Option<f64>) -> Self {
        Self {
            name: case.name.clone(),
            kind: case.kind,
            batch: case.batch,
            ours_ms: 1e3 * ours.seconds,
            library_ms: None,
            gflops: gflop.map(|gflop| gflop / ours.seconds),
            peak_rss_mb: None,
            others: Vec::new(),
            quiet: true,
            disturbances: Vec::new(),
            conditions: Conditions::default(),
            attempts: 1,
        }
    }

    /// One line of text.
    pub fn line(&self) -> String {
        let mut line = format!("{} {}: {} ms", self.name, self.kind, short(self.ours_ms));
        if let Some(ms) = self.library_ms {
            line.push_str(&format!(" ({} ms as a library)", short(ms)));
        }
        for other in &self.others {
            let (ms, ratio) = (short(other.ms), other.ratio);
            line.push_str(&format!(", {} {ms} ms, ratio {ratio:.2}", other.name));
        }
        if !self.quiet {
            line.push_str(&format!("; not quiet: {}", self.disturbances.join(", ")));
        }
        line
    }
}

impl Other {
    /// Another library's times beside ours; `bf16` where it has an arm in it.
    pub fn new(
        name: &str,
        fp32: &Timed,
        bf16: Option<&Timed>,
        left_out: Vec<LeftOut>,
        ours: &Timed,
    ) -> Self {
        let arm = (fp32.arm.name != "default").then(|| fp32.arm.name.clone());
        Self {
            name: name.to_string(),
            arm,
            ms: 1e3 * fp32.seconds,
            ratio: fp32.seconds / ours.seconds,
            bf16: bf16.map(|timed| OtherArm {
                arm: timed.arm.name.clone(),
                ms: 1e3 * timed.seconds,
                ratio: timed.seconds / ours.seconds,
            }),
            left_out,
            peak_rss_mb: None,
        }
    }
}

/// Three significant digits or so.
pub fn short(ms: f64) -> String {
    match ms {
        ms if ms < 1.0 => format!("{ms:.4}"),
        ms if ms < 10.0 => format!("{ms:.3}"),
        ms if ms < 100.0 => format!("{ms:.2}"),
        ms => format!("{ms:.1}"),
    }
}
