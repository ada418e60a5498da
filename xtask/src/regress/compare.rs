//! Runs of an experiment beside its baseline.

use serde::Serialize;
use tallow_report::Statistic;

use super::baseline::{self, Baseline};
use super::guard::{GUARDS, Guard};
use super::judge::{Row, Verdict};
use super::measured::Measured;
use crate::claims;

/// Whether the runs repeat the baseline's to the bit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Bits {
    /// The weights of every seed are the baseline's.
    Same,
    /// On the same class of machine, they are not.
    Differ,
    /// Another class of machine, or seeds whose weights the baseline does not have.
    NotComparable,
}

impl Bits {
    /// As in tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Bits::Same => "same",
            Bits::Differ => "differ",
            Bits::NotComparable => "-",
        }
    }
}

/// A variant beside the baseline's.
#[derive(Debug, Serialize)]
pub struct VariantReport {
    /// Its name.
    pub name: String,
    /// Of the first round.
    pub seeds: Vec<u64>,
    /// Of the further rounds, where there were any.
    pub fresh_seeds: Vec<u64>,
    /// Whether the first round's weights are the baseline's.
    pub bits: Bits,
    /// Whether every figure is the baseline's as well.
    #[serde(skip)]
    pub exact: bool,
    /// Figure by figure.
    pub rows: Vec<Row>,
}

/// An experiment beside its baseline.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Its name.
    pub experiment: String,
    /// What it comes to.
    pub verdict: Verdict,
    /// Why it was not compared, or what failed besides the figures.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The absolute floors: the tier's claims.
    pub claims: Vec<claims::Verdict>,
    /// Variant by variant.
    pub variants: Vec<VariantReport>,
    /// Speed of a large matrix product just before.
    pub gemm_peak_gflops: f64,
    /// Processors that worked for others meanwhile, where the system tells: speeds count only where there were none to speak of.
    pub others_cpus: Option<f64>,
    /// Wall time of it all.
    pub seconds: f64,
}

impl Report {
    /// One that has no figures, for `reason`.
    pub fn refused(experiment: &str, reason: String) -> Self {
        Self {
            experiment: experiment.to_string(),
            verdict: Verdict::Refused,
            reason: Some(reason),
            claims: Vec::new(),
            variants: Vec::new(),
            gemm_peak_gflops: 0.0,
            others_cpus: None,
            seconds: 0.0,
        }
    }

    /// The worst that its variants and floors come to, after the last round.
    pub fn conclude(&mut self) {
        let rows = self.variants.iter_mut().flat_map(|v| &mut v.rows);
        rows.for_each(Row::decide);
        let rows = self.variants.iter().flat_map(|v| &v.rows);
        let floors = self.claims.iter().map(|claim| match claim.holds {
            Some(false) => Verdict::Regression,
            _ => Verdict::Pass,
        });
        let worst = rows.map(|row| row.verdict).chain(floors).max();
        self.verdict = worst.unwrap_or(Verdict::Pass);
    }
}

/// The first round: `measured` beside its variant of the baseline. `same_class` says that the machine is of the baseline's class, and
/// `speed` that its speed counts, too.
pub fn first(
    variant: &baseline::Variant,
    measured: &Measured,
    same_class: bool,
    speed: bool,
) -> VariantReport {
    let bits = bits(variant, measured, same_class);
    let mut exact = bits == Bits::Same;
    let row = |guard: &Guard| {
        let baseline = variant.metrics.get(guard.metric)?;
        let now = measured.values(guard.metric, variant.threshold);
        let mut row = Row::first(guard, baseline, &now);
        let repeated = repeats(variant, measured, baseline, &now);
        if guard.of_machine() {
            if !speed {
                row.verdict = Verdict::Skipped;
            }
        } else if bits == Bits::Same && repeated {
            // The same network with the same figure is no worse, however far this seed is from the others.
            row.verdict = Verdict::Pass;
        } else {
            exact = false;
        }
        Some(row)
    };
    let rows = GUARDS.iter().filter_map(row).collect();
    VariantReport {
        name: measured.name.clone(),
        seeds: measured.seeds.clone(),
        fresh_seeds: Vec::new(),
        bits,
        exact,
        rows,
    }
}

/// A further round.
pub fn again(
    report: &mut VariantReport,
    variant: &baseline::Variant,
    again: &Measured,
    speed: bool,
) {
    report.fresh_seeds.extend(&again.seeds);
    for row in &mut report.rows {
        let Some(guard) = GUARDS.iter().find(|guard| guard.metric == row.metric) else {
            continue;
        };
        if guard.of_machine() && !speed {
            if row.verdict == Verdict::Suspicious {
                row.verdict = Verdict::Skipped;
            }
            continue;
        }
        row.look_again(guard, &again.values(guard.metric, variant.threshold));
    }
}

/// Whether each seed has the figure that it has in the baseline: weights do not tell what evaluation makes of them.
fn repeats(
    variant: &baseline::Variant,
    measured: &Measured,
    baseline: &Statistic,
    now: &[Option<f64>],
) -> bool {
    let before = |seed: u64| baseline.values.get(variant.place_of(seed)?).copied();
    (measured.seeds.iter().zip(now)).all(|(&seed, now)| now.is_some() && before(seed) == *now)
}

fn bits(variant: &baseline::Variant, measured: &Measured, same_class: bool) -> Bits {
    let pairs: Option<Vec<_>> = (measured.seeds.iter())
        .zip(&measured.weights)
        .map(|(&seed, now)| Some((variant.weights_of(seed)?, now.as_deref())))
        .collect();
    match pairs {
        Some(pairs) if same_class && pairs.iter().all(|(before, now)| Some(*before) == *now) => {
            Bits::Same
        }
        Some(_) if same_class => Bits::Differ,
        _ => Bits::NotComparable,
    }
}

/// The seeds of a further round: so many after the last that the baseline or a round before had. `None` where there are none.
pub fn fresh_seeds(baseline: &Baseline, used: &[u64], count: u64) -> Option<Vec<u64>> {
    let of_baseline = baseline.variants.iter().flat_map(|v| &v.seeds);
    let last = of_baseline.chain(used).copied().max().unwrap_or(0);
    Some((last.checked_add(1)?..=last.checked_add(count)?).collect())
}
