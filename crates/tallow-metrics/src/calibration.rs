use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::metric::Metric;
use crate::rows;
use crate::sum::ExactSum;

/// Expected calibration error of the predicted class: the difference of confidence and accuracy, bin by bin
/// (Guo et al. 2017, "On Calibration of Modern Neural Networks").
///
/// The definition is torchmetrics' `multiclass_calibration_error`: the confidence is the largest softmax probability
/// as f32; bin `i` of `n` is `i/n <= confidence < (i+1)/n`, and a confidence of exactly 1 has a bin of its own.
/// Sums are exact, so batch size and order do not matter.
#[derive(Clone, Debug)]
pub struct CalibrationError {
    /// `n + 1` boundaries from 0 to 1.
    boundaries: Vec<f32>,
    /// One per boundary, its lower bound.
    bins: Vec<Bin>,
}

#[derive(Clone, Debug, Default)]
struct Bin {
    count: u64,
    correct: u64,
    confidence: ExactSum,
}

/// Result of a [`CalibrationError`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Calibration {
    /// Expected calibration error (`norm="l1"`): the mean over samples of the difference of confidence and accuracy in
    /// their bin. NaN if a row of logits has NaN.
    pub error: f64,
    /// Largest such difference of any bin (`norm="max"`).
    pub max_error: f64,
    /// Number of samples.
    pub samples: u64,
    /// Bins in order, as a reliability diagram shows them; the last one is for confidences of exactly 1.
    pub bins: Vec<CalibrationBin>,
}

/// One bin of a [`Calibration`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CalibrationBin {
    /// Lower bound, included.
    pub lower: f64,
    /// Upper bound, excluded (except in the last bin, where both are 1).
    pub upper: f64,
    /// Number of samples in the bin.
    pub count: u64,
    /// Accuracy of these samples; 0 in an empty bin.
    pub accuracy: f64,
    /// Mean confidence of these samples; 0 in an empty bin.
    pub confidence: f64,
}

impl Default for CalibrationError {
    /// Calibration error with 15 bins, as torchmetrics.
    fn default() -> Self {
        Self::with_boundaries(linspace(15))
    }
}

impl CalibrationError {
    /// Calibration error with `bins` bins of equal width.
    ///
    /// # Errors
    /// If `bins` is zero.
    pub fn new(bins: usize) -> Result<Self> {
        if bins == 0 {
            return Err(Error::Zero {
                what: "the number of bins",
            });
        }
        Ok(Self::with_boundaries(linspace(bins)))
    }

    fn with_boundaries(boundaries: Vec<f32>) -> Self {
        let bins = vec![Bin::default(); boundaries.len()];
        Self { boundaries, bins }
    }

    /// Adds a batch: `logits` is `(N, classes)` in row-major order, `labels` is `(N)`. A softmax is always applied
    /// (torchmetrics skips it for a batch with all values in `[0, 1]`).
    ///
    /// # Errors
    /// If the lengths do not fit or a label is not below `classes`; nothing is added then.
    pub fn update_logits(&mut self, logits: &[f32], classes: usize, labels: &[u32]) -> Result<()> {
        rows::check("logits", logits, classes, labels)?;
        for (row, &label) in logits.chunks_exact(classes).zip(labels) {
            let (_, exp_sum) = rows::log_sum_exp_parts(row);
            // The largest logit contributes exp(0), so its probability is one over the sum.
            let confidence = if row.iter().any(|x| x.is_nan()) {
                f32::NAN
            } else {
                (1.0 / exp_sum) as f32
            };
            self.add(confidence, rows::argmax(row) == label as usize);
        }
        Ok(())
    }

    /// Adds a batch of probabilities, `(N, classes)` in row-major order.
    ///
    /// # Errors
    /// If the lengths do not fit, a label is not below `classes` or a value is not in `[0, 1]`; nothing is added
    /// then.
    pub fn update_probabilities(
        &mut self,
        probabilities: &[f32],
        classes: usize,
        labels: &[u32],
    ) -> Result<()> {
        rows::check("probabilities", probabilities, classes, labels)?;
        if let Some(position) = probabilities.iter().position(|p| !(0.0..=1.0).contains(p)) {
            return Err(Error::Probability {
                position,
                value: probabilities[position],
            });
        }
        for (row, &label) in probabilities.chunks_exact(classes).zip(labels) {
            let best = rows::argmax(row);
            self.add(row[best], best == label as usize);
        }
        Ok(())
    }

    fn add(&mut self, confidence: f32, correct: bool) {
        // Number of boundaries not above it. The first boundary is 0, and NaN is in the last bin.
        let not_above = self
            .boundaries
            .partition_point(|&bound| bound <= confidence || confidence.is_nan());
        let bin = &mut self.bins[not_above.saturating_sub(1)];
        bin.count += 1;
        bin.correct += u64::from(correct);
        bin.confidence.add(f64::from(confidence));
    }

    /// Adds all samples of `other`.
    ///
    /// # Errors
    /// If `other` has another number of bins.
    pub fn merge(&mut self, other: &Self) -> Result<()> {
        let (expected, found) = (self.bins.len() - 1, other.bins.len() - 1);
        if expected != found {
            return Err(Error::Unlike {
                what: "bins =",
                expected,
                found,
            });
        }
        for (bin, more) in self.bins.iter_mut().zip(&other.bins) {
            bin.count += more.count;
            bin.correct += more.correct;
            bin.confidence.merge(&more.confidence);
        }
        Ok(())
    }

    /// Calibration, or `None` before the first sample.
    pub fn compute(&self) -> Option<Calibration> {
        let samples: u64 = self.bins.iter().map(|bin| bin.count).sum();
        if samples == 0 {
            return None;
        }
        let uppers = self.boundaries[1..].iter().chain(&[1.0]);
        let bounds = self.boundaries.iter().zip(uppers);
        let bins = self.bins.iter().zip(bounds).map(|(bin, (&lower, &upper))| {
            let count = bin.count.max(1) as f64;
            CalibrationBin {
                lower: f64::from(lower),
                upper: f64::from(upper),
                count: bin.count,
                accuracy: bin.correct as f64 / count,
                confidence: bin.confidence.total() / count,
            }
        });
        let bins: Vec<CalibrationBin> = bins.collect();
        let gap = |bin: &CalibrationBin| (bin.accuracy - bin.confidence).abs();
        Some(Calibration {
            error: bins
                .iter()
                .map(|bin| gap(bin) * bin.count as f64)
                .sum::<f64>()
                / samples as f64,
            max_error: bins
                .iter()
                .map(gap)
                .fold(0.0, |a, b| if b > a || b.is_nan() { b } else { a }),
            samples,
            bins,
        })
    }
}

/// Values of `torch.linspace(0, 1, bins + 1)` in f32, which counts up to the middle and down from the end with a fused
/// multiply-subtract (in f64 the product and the difference are exact, so there is one rounding here too).
fn linspace(bins: usize) -> Vec<f32> {
    let step = 1.0 / bins as f32;
    let half = bins.div_ceil(2);
    let down = |i: usize| (1.0 - f64::from(step) * (bins - i) as f64) as f32;
    (0..=bins)
        .map(|i| if i < half { step * i as f32 } else { down(i) })
        .collect()
}

impl Metric for CalibrationError {
    fn name(&self) -> Cow<'static, str> {
        "calibration_error".into()
    }

    fn update_logits(&mut self, logits: &[f32], classes: usize, labels: &[u32]) -> Result<()> {
        self.update_logits(logits, classes, labels)
    }

    fn merge(&mut self, other: &Self) -> Result<()> {
        self.merge(other)
    }

    fn value(&self) -> Option<f64> {
        Some(self.compute()?.error)
    }

    /// `calibration_error` and `max_calibration_error`.
    fn values(&self) -> Vec<(String, f64)> {
        self.compute().map_or_else(Vec::new, |calibration| {
            vec![
                ("calibration_error".into(), calibration.error),
                ("max_calibration_error".into(), calibration.max_error),
            ]
        })
    }

    fn reset(&mut self) {
        self.bins.fill_with(Bin::default);
    }
}
