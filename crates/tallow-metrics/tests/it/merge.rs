//! Any split into batches, in any order, merged in any grouping, gives the bits of the whole.

use proptest::prelude::*;
use tallow_metrics::{
    Accuracy, Auroc, CalibrationError, ConfusionMatrix, CrossEntropy, MeanMetric, TopK,
};

const CLASSES: usize = 5;

type Sample = (Vec<f32>, u32);

fn samples() -> impl Strategy<Value = Vec<Sample>> {
    let row = prop::collection::vec(
        prop_oneof![(-40i16..40).prop_map(|x| f32::from(x) / 7.0), -1e4f32..1e4],
        CLASSES,
    );
    prop::collection::vec((row, 0..CLASSES as u32), 1..80)
}

/// Every metric of the crate over the same samples.
#[derive(Clone)]
struct All {
    confusion: ConfusionMatrix,
    accuracy: Accuracy,
    top: TopK,
    loss: CrossEntropy,
    calibration: CalibrationError,
    auroc: Auroc,
    mean: MeanMetric,
}

impl All {
    fn new() -> Self {
        Self {
            confusion: ConfusionMatrix::new(CLASSES).unwrap(),
            accuracy: Accuracy::new(),
            top: TopK::new(2).unwrap(),
            loss: CrossEntropy::new(),
            calibration: CalibrationError::default(),
            auroc: Auroc::new(CLASSES).unwrap(),
            mean: MeanMetric::new(),
        }
    }

    fn update(&mut self, batch: &[Sample]) {
        let logits: Vec<f32> = batch.iter().flat_map(|(row, _)| row.clone()).collect();
        let labels: Vec<u32> = batch.iter().map(|&(_, label)| label).collect();
        self.confusion
            .update_logits(&logits, CLASSES, &labels)
            .unwrap();
        self.accuracy
            .update_logits(&logits, CLASSES, &labels)
            .unwrap();
        self.top.update_logits(&logits, CLASSES, &labels).unwrap();
        self.loss.update_logits(&logits, CLASSES, &labels).unwrap();
        self.calibration
            .update_logits(&logits, CLASSES, &labels)
            .unwrap();
        self.auroc.update_logits(&logits, CLASSES, &labels).unwrap();
        for (row, label) in batch {
            self.mean
                .add(f64::from(row[0]).exp(), f64::from(*label) + 0.1);
        }
    }

    fn merge(&mut self, other: &Self) {
        self.confusion.merge(&other.confusion).unwrap();
        self.accuracy.merge(&other.accuracy);
        self.top.merge(&other.top).unwrap();
        self.loss.merge(&other.loss);
        self.calibration.merge(&other.calibration).unwrap();
        self.auroc.merge(&other.auroc).unwrap();
        self.mean.merge(&other.mean);
    }

    /// All results as text, in which f64 values print exactly.
    fn results(&self) -> String {
        format!(
            "{:?} {:?} {:?} {:?} {:?} {:?} {:?}",
            self.confusion.report(),
            self.accuracy.compute(),
            self.top.compute(),
            self.loss.compute(),
            self.calibration.compute(),
            self.auroc.compute(),
            self.mean.compute()
        )
    }
}

proptest! {
    #[test]
    fn random_splits_equal_the_whole(
        samples in samples(),
        order in prop::collection::vec(any::<u32>(), 80),
        sizes in prop::collection::vec(0usize..12, 1..12),
        pairs in prop::collection::vec(any::<prop::sample::Index>(), 24),
    ) {
        let mut whole = All::new();
        whole.update(&samples);

        let mut shuffled: Vec<(u32, Sample)> = order.into_iter().zip(samples).collect();
        shuffled.sort_by_key(|&(key, _)| key);
        let mut rest: Vec<Sample> = shuffled.into_iter().map(|(_, sample)| sample).collect();
        let mut parts = Vec::new();
        for size in sizes {
            let batch: Vec<Sample> = rest.drain(..size.min(rest.len())).collect();
            let mut part = All::new();
            part.update(&batch);
            parts.push(part);
        }
        let mut last = All::new();
        last.update(&rest);
        parts.push(last);

        // Merge two at random until one is left.
        let mut pairs = pairs.into_iter();
        while parts.len() > 1 {
            let part = parts.swap_remove(pairs.next().unwrap().index(parts.len()));
            let into = pairs.next().unwrap().index(parts.len());
            parts[into].merge(&part);
        }
        prop_assert_eq!(parts[0].results(), whole.results());
    }
}

#[test]
fn naive_sums_would_not_pass() {
    // The property above rests on exact sums: plain f64 addition does depend on the order of such terms.
    let terms = [1e16, 1.0, -1e16, 0.1];
    let naive: f64 = terms.iter().sum();
    let backwards: f64 = terms.iter().rev().sum();
    assert_ne!(naive, backwards);
    let mean = |terms: &mut dyn Iterator<Item = &f64>| {
        let mut mean = MeanMetric::new();
        terms.for_each(|&term| mean.add(term, 1.0));
        mean.compute()
    };
    assert_eq!(mean(&mut terms.iter()), Some(1.1 / 4.0));
    assert_eq!(mean(&mut terms.iter().rev()), Some(1.1 / 4.0));
}
