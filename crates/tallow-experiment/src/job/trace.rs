//! Trace of a run: what its training does that neither chance nor the rounding of a kernel changes.
//!
//! The trainer runs as in a training, but the model does not: a training step of its own notes its batch and gives gradients that are
//! fixed. So nothing here depends on a forward pass. Transforms, random numbers and initial weights are made of single operations of
//! IEEE 754 and of functions that are the same code on every platform, always in the same order: their bits are digested. A schedule or
//! an optimizer may use a function of the platform, or a sum whose order depends on the instruction set: their results are kept as numbers.

mod blank;
mod digest;
mod gradients;
mod noting;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ops::ControlFlow;

use tallow_datasets::{DataLoader, LoaderConfig};
use tallow_regress::{Entry, Trace};
use tallow_train::{
    BatchEnd, CONTINUE, Callback, EpochEnd, Flow, LossConfig, NormStatistics, TrainConfig, Trainer,
};

use self::blank::blank;
use self::digest::Digest;
use self::gradients::FixedGradients;
use self::noting::{NoModel, Noting};
use super::Job;
use crate::data::image_shape;
use crate::error::Result;

/// Epochs of which samples and batches are noted: the second shows what is drawn anew in each.
const EPOCHS: usize = 2;

/// Values of the images whose batches are noted in an epoch: all 60,000 images of MNIST, or 22,000 of CIFAR-10.
const MOST_VALUES: usize = 1 << 26;

/// Images that are noted of a dataset that decodes its files again in every epoch.
const MOST_FILES: usize = 512;

/// Learning rates that are kept one by one; two sums stand for all of them.
const RATES: usize = 16;

type Entries = BTreeMap<String, Entry>;

impl Job<'_> {
    /// Makes the trace. The model has other weights after it.
    pub fn trace(self) -> Result<Trace> {
        let mut entries = Entries::new();
        self.note_weights(&mut entries)?;
        self.note_order(&mut entries)?;
        self.note_batches(&mut entries)?;
        self.note_steps(&mut entries)?;
        Ok(Trace {
            seed: self.info.seed,
            entries,
        })
    }

    fn note_weights(&self, entries: &mut Entries) -> Result<()> {
        // A whitening layer is computed from images, by kernels.
        if self.recipe.model.whiten.is_some() {
            return Ok(());
        }
        let mut digest = Digest::default();
        for (name, tensor) in self.model.store().state_dict()? {
            digest.text(&name);
            digest.tensor(&tensor)?;
        }
        entries.insert("initial weights".into(), digest.entry());
        Ok(())
    }

    /// Samples of each epoch, by a loader of blank images, which cost no time.
    fn note_order(&self, entries: &mut Entries) -> Result<()> {
        let dataset = self.train.dataset();
        let samples = dataset.len();
        let loader = blank(samples, dataset.blocks(), self.train.config().clone())?;
        let loader = loader.for_chunks(self.recipe.train.chunks)?;
        let (mut order, mut visits) = (Digest::default(), Vec::new());
        for epoch in 0..self.recipe.train.epochs.min(EPOCHS) {
            let mut seen = vec![0usize; samples];
            for batch in loader.epoch(epoch as u64) {
                let indices = batch?.indices;
                order.indices(&indices);
                for index in indices {
                    seen[index] += 1;
                }
            }
            visits.push(visited(&seen));
        }
        entries.insert("order of the samples".into(), order.entry());
        let visits = Entry::Text(visits.join("; "));
        entries.insert("samples of each epoch".into(), visits);
        Ok(())
    }

    /// Batches as the training step receives them, and the inputs of the evaluation.
    fn note_batches(&self, entries: &mut Entries) -> Result<()> {
        let (batches, inputs) = (RefCell::default(), RefCell::default());
        let store = self.model.store();
        let model = NoModel {
            classes: self.model.classes(),
            inputs: Some(&inputs),
        };
        let step = Noting::new(
            FixedGradients::zeros(store),
            self.model.classes(),
            self.thaws(),
        )
        .with_batches(&batches);
        let mut trainer = Trainer::new(traced(self.train_config()))
            .with_step(step)
            .with_callback(StopAfter(EPOCHS));
        if let Some(validation) = &self.validation {
            trainer = trainer.with_validation(limited(validation)?);
        }
        let (train, test) = (limited(&self.train)?, limited(&self.test)?);
        trainer.fit(&model, store, &train, Some(&test))?;
        drop(trainer);
        let digests: Vec<String> = batches.into_inner().iter().map(Digest::hex).collect();
        let digests = Entry::Text(digests.join(" "));
        entries.insert("batches of each epoch".into(), digests);
        let inputs = inputs.into_inner().entry();
        entries.insert("inputs of the evaluation".into(), inputs);
        Ok(())
    }

    /// Learning rate of every step, and the weights that the optimizer makes of fixed weights by fixed gradients.
    fn note_steps(&self, entries: &mut Entries) -> Result<()> {
        let store = self.model.store();
        let gradients = FixedGradients::of(store);
        gradients.set_weights()?;
        // A batch is one blank image, so that all epochs take little time.
        let one = LoaderConfig {
            batch_size: 1,
            ..LoaderConfig::default()
        };
        let train = blank(self.train.num_batches(), None, one.clone())?;
        let judged = blank(1, None, one)?;
        let config = TrainConfig {
            mix: None,
            tta: None,
            chunks: 1,
            ..traced(self.recipe.train.config())
        };
        let model = NoModel {
            classes: self.model.classes(),
            inputs: None,
        };
        let (mut rates, values) = (Rates::default(), RefCell::default());
        let step =
            Noting::new(gradients.clone(), self.model.classes(), self.thaws()).with_values(&values);
        let mut trainer = Trainer::new(config)
            .with_step(step)
            .with_callback(&mut rates);
        if self.validation.is_some() {
            trainer = trainer.with_validation(judged.clone());
        }
        trainer.fit(&model, store, &train, Some(&judged))?;
        drop(trainer);
        let mut values = values.into_inner();
        values.extend(gradients.values()?);
        let trained = gradients.changed()?.to_string();
        let steps = rates.0.len().to_string();
        entries.insert("trained parameters".into(), Entry::Text(trained));
        entries.insert("steps".into(), Entry::Text(steps));
        let rates = Entry::numbers(rates.summary());
        entries.insert("learning rates".into(), rates);
        let values = Entry::numbers(values);
        entries.insert("weights after fixed gradients".into(), values);
        Ok(())
    }

    /// Whether some parameters are not trained, or not at any time: then all have a gradient in every step.
    fn thaws(&self) -> bool {
        let config = self.recipe.train.config();
        !config.freeze.is_empty() || !config.unfreeze.is_empty()
    }
}

/// Settings of a training without its loss and its batch norms, which the trace does not compute.
fn traced(config: TrainConfig) -> TrainConfig {
    TrainConfig {
        loss: LossConfig::default(),
        norm_statistics: NormStatistics::default(),
        max_minutes: None,
        ..config
    }
}

/// Loader of as many of the samples as are noted.
fn limited(loader: &DataLoader) -> Result<DataLoader> {
    let set = &**loader.dataset();
    let (c, h, w) = loader.transform().output_shape(image_shape(set)?)?;
    let most = match set.shape() {
        Some(_) => MOST_VALUES / (c * h * w).max(1),
        None => MOST_FILES,
    };
    Ok(match loader.num_samples() <= most {
        true => loader.clone(),
        false => loader.first_batches((most / loader.config().batch_size).max(1)),
    })
}

/// Numbers of samples that come once, twice, and so on, in words.
fn visited(seen: &[usize]) -> String {
    let mut counts = BTreeMap::<usize, usize>::new();
    for &times in seen {
        *counts.entry(times).or_default() += 1;
    }
    let word = |(times, count): (&usize, &usize)| match times {
        0 => format!("{count} never"),
        1 => format!("{count} once"),
        times => format!("{count} {times} times"),
    };
    let words: Vec<String> = counts.iter().map(word).collect();
    words.join(", ")
}

/// Callback that ends a training after so many epochs.
struct StopAfter(usize);

impl Callback for StopAfter {
    fn on_epoch_end(&mut self, end: &EpochEnd) -> Flow {
        if end.row.epoch + 1 >= self.0 {
            return Ok(ControlFlow::Break("traced".to_string()));
        }
        CONTINUE
    }
}

/// Callback that notes the learning rate of every step.
#[derive(Default)]
struct Rates(Vec<f64>);

impl Rates {
    /// Some rates at even distances from the first to the last, and two means of all: with equal weights, and with weights that no two
    /// steps have in common, so that a rate that moves to another step shows.
    fn summary(&self) -> Vec<f64> {
        let (rates, last) = (&self.0, self.0.len().saturating_sub(1));
        let shown = RATES.min(rates.len());
        let place = |i: usize| i * last / shown.saturating_sub(1).max(1);
        let mut numbers: Vec<f64> = (0..shown).map(|i| rates[place(i)]).collect();
        let golden = 0.618_033_988_749_894_9;
        let weight = |step: usize| ((step + 1) as f64 * golden).fract();
        let weighted = rates.iter().enumerate();
        let count = rates.len().max(1) as f64;
        numbers.push(rates.iter().sum::<f64>() / count);
        numbers.push(
            weighted
                .map(|(step, rate)| weight(step) * rate)
                .sum::<f64>()
                / count,
        );
        numbers
    }
}

impl Callback for Rates {
    fn on_batch_end(&mut self, end: &BatchEnd) -> Flow {
        self.0.push(end.lr);
        CONTINUE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_that_moves_to_another_step_changes_the_summary() {
        let mut rates = Rates((0..1000).map(|step| 1.0 - step as f64 / 1000.0).collect());
        let before = rates.summary();
        assert_eq!(before.len(), RATES + 2);
        assert_eq!((before[0], before[RATES - 1]), (1.0, rates.0[999]));
        // Two steps that are not among those shown.
        rates.0.swap(1, 2);
        let now = rates.summary();
        assert_eq!(before[..RATES], now[..RATES]);
        assert!((before[RATES] - now[RATES]).abs() < 1e-12);
        assert!((before[RATES + 1] - now[RATES + 1]).abs() > 1e-7);
        assert_eq!(Rates(vec![0.5]).summary().len(), 3);
    }

    #[test]
    fn visits_are_counted() {
        assert_eq!(visited(&[1, 1, 1]), "3 once");
        assert_eq!(visited(&[1, 0, 2, 1]), "1 never, 2 once, 1 2 times");
    }
}
