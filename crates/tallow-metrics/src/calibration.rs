use crate::sum::ExactSum;
use crate::{Error, Result, mean, rows};
use serde::{Deserialize, Serialize};

/// The expected calibration error of the predicted class: how far confidence and accuracy lie apart, bin by bin
/// (Guo et al. 2017, "On Calibration of Modern Neural Networks").
///
/// The definition is torchmetrics' `multiclass_calibration_error`: the confidence is the largest softmax probability
/// as f32; bin `i` of `n` holds `i/n <= confidence < (i+1)/n`, and a confidence of exactly 1 has a bin of its own.
/// Sums are exact, so batch size and order do not matter.
#[derive(Clone, Debug)]
pub struct CalibrationError {
    /// `n + 1` boundaries from 0 to 1.
    boundaries: Vec<f32>,
    /// One for each boundary: the bin that begins there.
    bins: Vec<Bin>,
}

#[derive(Clone, Debug, Default)]
struct Bin {
    count: u64,
    correct: u64,
    confidence: ExactSum,
}

/// The result of a [`CalibrationError`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Calibration {
    /// The expected calibration error (`norm="l1"`): the mean over samples of the gap of their bin. NaN when a row
    /// of logits held NaN.
    pub error: f64,
    /// The largest gap of any bin (`norm="max"`).
    pub max_error: f64,
    /// The number of samples.
    pub samples: u64,
    /// The bins in order, ready for a reliability diagram; the last holds confidences of exactly 1.
    pub bins: Vec<CalibrationBin>,
}

/// One bin of a [`Calibration`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CalibrationBin {
    /// The lower bound, which belongs to the bin.
    pub lower: f64,
    /// The upper bound, which does not (except in the last bin, where both are 1).
    pub upper: f64,
    /// The number of samples in the bin.
    pub count: u64,
    /// Their accuracy; 0 in an empty bin.
    pub accuracy: f64,
    /// Their mean confidence; 0 in an empty bin.
    pub confidence: f64,
}

impl Default for CalibrationError {
    /// 15 bins, as torchmetrics.
    fn default() -> Self {
        Self::with_boundaries(linspace(15))
    }
}

impl CalibrationError {
    /// A calibration error over `bins` bins of equal width.
    ///
    /// # Errors
    /// When `bins` is zero.
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

    /// Adds a batch: `logits` is `(N, classes)` in row-major order, `labels` is `(N)`. The logits always pass
    /// through a softmax (torchmetrics skips it for a batch that happens to lie in `[0, 1]`).
    ///
    /// # Errors
    /// When the lengths do not fit or a label is not below `classes`; nothing is added then.
    pub fn update_logits(&mut self, logits: &[f32], classes: usize, labels: &[u32]) -> Result<()> {
        rows::check("logits", logits, classes, labels)?;
        for (row, &label) in logits.chunks_exact(classes).zip(labels) {
            let (_, exp_sum) = mean::log_sum_exp_parts(row);
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

    /// Adds a batch of probabilities, `(N, classes)` in row-major order, as they are.
    ///
    /// # Errors
    /// When the lengths do not fit, a label is not below `classes` or a value is not in `[0, 1]`; nothing is added
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
        // How many boundaries are not above it; the first boundary is 0, and NaN goes to the last bin.
        let not_above = self
            .boundaries
            .partition_point(|&bound| bound <= confidence || confidence.is_nan());
        let bin = &mut self.bins[not_above.saturating_sub(1)];
        bin.count += 1;
        bin.correct += u64::from(correct);
        bin.confidence.add(f64::from(confidence));
    }

    /// Adds everything `other` has seen.
    ///
    /// # Errors
    /// When `other` has another number of bins.
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

    /// The calibration so far, or `None` before the first sample.
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

/// The values of `torch.linspace(0, 1, bins + 1)` in f32, which counts up to the middle and down from the end with a
/// fused multiply-subtract (in f64 the product and the difference are exact, so one rounding is left here too).
fn linspace(bins: usize) -> Vec<f32> {
    let step = 1.0 / bins as f32;
    let half = bins.div_ceil(2);
    let down = |i: usize| (1.0 - f64::from(step) * (bins - i) as f64) as f32;
    (0..=bins)
        .map(|i| if i < half { step * i as f32 } else { down(i) })
        .collect()
}
