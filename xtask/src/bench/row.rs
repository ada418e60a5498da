//! Results as a table and as JSON.

use serde::Serialize;

use super::case::{Case, Kind};
use super::measure::Timed;
use super::side::Place;
use tallow_cli::table::{align_right, new_table};

/// A benchmark beside one other, or alone.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    pub name: String,
    pub kind: Kind,
    pub batch: usize,
    /// Median milliseconds: of a step, a pass, a batch, an epoch.
    pub ours_ms: f64,
    /// `pytorch`, `candle`, or nothing.
    pub other: Option<&'static str>,
    pub other_ms: Option<f64>,
    /// The other's fastest variant: a memory format, or what images are loaded as.
    pub other_layout: Option<String>,
    /// Time of the other side divided by ours.
    pub ratio: Option<f64>,
    /// Nominal arithmetic by direct convolution over our time.
    pub gflops: Option<f64>,
    /// The speed of a large matrix product there, measured in the same run: on the CPU the `gemm` crate's.
    pub gemm_peak_gflops: f64,
    pub peak_rss_mb: Option<f64>,
    pub other_peak_rss_mb: Option<f64>,
    pub threads: usize,
    /// As `--device` named it.
    pub device: String,
}

impl Row {
    /// A row without memory; the GEMM's speed comes when the run is over.
    pub fn new(
        case: &Case,
        ours: &Timed,
        other: Option<(&'static str, &Timed)>,
        place: &Place,
    ) -> Self {
        Self {
            name: case.name.clone(),
            kind: case.kind,
            batch: case.batch,
            ours_ms: 1e3 * ours.seconds,
            other: other.map(|(name, _)| name),
            other_ms: other.map(|(_, timed)| 1e3 * timed.seconds),
            other_layout: other
                .map(|(_, timed)| timed.variant.clone())
                .filter(|variant| variant != "default"),
            ratio: other.map(|(_, timed)| timed.seconds / ours.seconds),
            gflops: ours.gflop.map(|gflop| gflop / ours.seconds),
            gemm_peak_gflops: 0.0,
            peak_rss_mb: None,
            other_peak_rss_mb: None,
            threads: place.threads,
            device: place.device.clone(),
        }
    }

    /// One line of text.
    pub fn line(&self) -> String {
        let mut line = format!("{} {}: {} ms", self.name, self.kind, short(self.ours_ms));
        if let (Some(other), Some(ms), Some(ratio)) = (self.other, self.other_ms, self.ratio) {
            line.push_str(&format!(", {other} {} ms, ratio {ratio:.2}", short(ms)));
        }
        line
    }
}

/// All rows as a table, with the columns that have something in them.
pub fn table(rows: &[Row]) -> String {
    let compared = rows.iter().any(|row| row.other.is_some());
    let weighed = rows
        .iter()
        .any(|row| row.peak_rss_mb.is_some() || row.other_peak_rss_mb.is_some());
    let mut header = vec!["benchmark", "kind", "batch", "ours ms"];
    if compared {
        header.extend(["other", "other ms", "layout", "ratio"]);
    }
    header.extend(["GFLOP/s", "of GEMM"]);
    if weighed {
        header.push("peak MiB");
    }
    if weighed && compared {
        header.push("other's");
    }
    let mut table = new_table(&header);
    for row in rows {
        let mut cells = vec![
            row.name.clone(),
            row.kind.to_string(),
            row.batch.to_string(),
            short(row.ours_ms),
        ];
        if compared {
            cells.extend([
                row.other.unwrap_or_default().to_string(),
                row.other_ms.map(short).unwrap_or_default(),
                row.other_layout.clone().unwrap_or_default(),
                row.ratio.map(|r| format!("{r:.2}")).unwrap_or_default(),
            ]);
        }
        cells.extend([
            row.gflops.map(|g| format!("{g:.1}")).unwrap_or_default(),
            row.gflops
                .map(|g| format!("{:.0} %", 100.0 * g / row.gemm_peak_gflops))
                .unwrap_or_default(),
        ]);
        let mb = |mb: Option<f64>| mb.map(|mb| format!("{mb:.0}")).unwrap_or_default();
        if weighed {
            cells.push(mb(row.peak_rss_mb));
        }
        if weighed && compared {
            cells.push(mb(row.other_peak_rss_mb));
        }
        table.add_row(cells);
    }
    for (column, title) in header.iter().enumerate() {
        if !["benchmark", "kind", "other", "layout"].contains(title) {
            align_right(&mut table, column);
        }
    }
    table.to_string()
}

/// Three significant digits or so.
fn short(ms: f64) -> String {
    match ms {
        ms if ms < 1.0 => format!("{ms:.4}"),
        ms if ms < 10.0 => format!("{ms:.3}"),
        ms if ms < 100.0 => format!("{ms:.2}"),
        ms => format!("{ms:.1}"),
    }
}
