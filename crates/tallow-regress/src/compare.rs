//! Comparison of an experiment's runs with its baseline.

use serde::Serialize;
use tallow_record::{ClaimResult, Statistic};

use crate::baseline::{self, Baseline};
use crate::guard::{GUARDS, Guard};
use crate::judge::{Judgement, MetricComparison};
use crate::measured::Measured;
use crate::trace::Change;

/// Bitwise comparison of final weights with the baseline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Bits {
    /// The weights of every seed are those of the baseline.
    Same,
    /// Some weights differ, on a machine of the same class.
    Differ,
    /// Another class of machine, or the baseline has no weights of these seeds.
    NotComparable,
}

impl Bits {
    /// Text in tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Bits::Same => "same",
            Bits::Differ => "differ",
            Bits::NotComparable => "-",
        }
    }
}

/// Comparison of a variant with its baseline.
#[derive(Debug, Serialize)]
pub struct VariantComparison {
    /// Name of the variant.
    pub name: String,
    /// Seeds of the first round.
    pub seeds: Vec<u64>,
    /// Seeds of the further rounds.
    pub fresh_seeds: Vec<u64>,
    /// Bitwise comparison of the weights of the first round.
    pub bits: Bits,
    /// Whether weights and metrics equal the baseline's, bit for bit.
    #[serde(skip)]
    pub exact: bool,
    /// Entries of the trace that differ from the baseline's; `None` if the traces were not compared.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub changes: Option<Vec<Change>>,
    /// Metrics, in the order of the guards.
    pub rows: Vec<MetricComparison>,
}

impl VariantComparison {
    /// Worst outcome of the trace and of the metrics.
    pub fn worst(&self) -> Option<Judgement> {
        let trace = self.changes.as_ref().map(|changes| match &changes[..] {
            [] => Judgement::Pass,
            _ => Judgement::Changed,
        });
        let rows = self.rows.iter().map(|row| row.verdict);
        rows.chain(trace).max()
    }
}

/// Comparison of an experiment with its baseline.
#[derive(Debug, Serialize)]
pub struct Comparison {
    /// Name of the experiment.
    pub experiment: String,
    /// Worst outcome of its traces, metrics and claims.
    pub verdict: Judgement,
    /// Reason why it was not compared, or failures other than of a metric.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Claims of the tier, which must hold whatever the baseline says.
    pub claims: Vec<ClaimResult>,
    /// Variants.
    pub variants: Vec<VariantComparison>,
    /// Speed of a large matrix product just before, in GFLOP/s.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gemm_peak_gflops: Option<f64>,
    /// Mean number of processors that other programs used meanwhile, if known. Speeds are judged on a quiet machine only.
    pub others_cpus: Option<f64>,
    /// Wall time in seconds.
    pub seconds: f64,
}

impl Comparison {
    /// Comparison that was not made, with the reason.
    pub fn refused(experiment: &str, reason: String) -> Self {
        Self {
            experiment: experiment.to_string(),
            verdict: Judgement::Refused,
            reason: Some(reason),
            claims: Vec::new(),
            variants: Vec::new(),
            gemm_peak_gflops: None,
            others_cpus: None,
            seconds: 0.0,
        }
    }

    /// Decides after the last round: the verdict is the worst of its traces, metrics and claims.
    pub fn conclude(&mut self) {
        let rows = self.variants.iter_mut().flat_map(|v| &mut v.rows);
        rows.for_each(MetricComparison::decide);
        let variants = self.variants.iter().filter_map(VariantComparison::worst);
        let floors = self.claims.iter().map(|claim| match claim.holds {
            Some(false) => Judgement::Regression,
            _ => Judgement::Pass,
        });
        let worst = variants.chain(floors).max();
        self.verdict = worst.unwrap_or(Judgement::Pass);
    }
}

/// Compares a variant in the first round. `same_class`: the machine is of the baseline's class. `speed`: its speed is judged.
pub fn first(
    variant: &baseline::Variant,
    measured: &Measured,
    same_class: bool,
    speed: bool,
) -> VariantComparison {
    let bits = bits(variant, measured, same_class);
    let mut exact = bits == Bits::Same;
    let row = |guard: &Guard| {
        let baseline = variant.metrics.get(&*guard.metric)?;
        let now = measured.values(&guard.metric, variant.threshold);
        let mut row = MetricComparison::first(guard, baseline, &now);
        let repeated = repeats(variant, measured, baseline, &now);
        if guard.of_machine {
            if !speed {
                row.verdict = Judgement::Skipped;
            }
        } else if bits == Bits::Same && repeated {
            // The same network with the same value is no worse, however far this seed is from the others.
            row.verdict = Judgement::Pass;
        } else {
            exact = false;
        }
        Some(row)
    };
    let rows = GUARDS.iter().filter_map(row).collect();
    VariantComparison {
        name: measured.name.clone(),
        seeds: measured.seeds.clone(),
        fresh_seeds: Vec::new(),
        bits,
        exact,
        changes: None,
        rows,
    }
}

/// Compares the seeds of a further round.
pub fn again(
    report: &mut VariantComparison,
    variant: &baseline::Variant,
    again: &Measured,
    speed: bool,
) {
    report.fresh_seeds.extend(&again.seeds);
    for row in &mut report.rows {
        let Some(guard) = Guard::find(&row.metric) else {
            continue;
        };
        if guard.of_machine && !speed {
            if row.verdict == Judgement::Suspicious {
                row.verdict = Judgement::Skipped;
            }
            continue;
        }
        row.look_again(guard, &again.values(&guard.metric, variant.threshold));
    }
}

/// Whether each seed has the value that it has in the baseline: equal weights do not imply equal evaluation.
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

/// Seeds of a further round: the `count` seeds after the last one of the baseline and of the earlier rounds. `None` after `u64::MAX`.
pub fn fresh_seeds(baseline: &Baseline, used: &[u64], count: u64) -> Option<Vec<u64>> {
    let of_baseline = baseline.variants.iter().flat_map(|v| &v.seeds);
    let last = of_baseline.chain(used).copied().max().unwrap_or(0);
    Some((last.checked_add(1)?..=last.checked_add(count)?).collect())
}
