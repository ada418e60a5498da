//! Short trials of a run that leave no record: a sanity check, a learning-rate range test, and learning a few batches by heart.

use std::ops::ControlFlow;
use std::time::Instant;

use tallow_datasets::DataLoader;
use tallow_train::{
    CONTINUE, Callback, EpochEnd, Flow, LrFinder, LrRange, ScheduleConfig, TrainConfig, Trainer,
};

use super::Job;
use crate::error::Result;
use crate::interrupt::StopFlag;
use crate::speed::Speed;

/// Epochs of fewer steps show their faults soon enough.
const SANITY_STEPS: usize = 50;

impl Job<'_> {
    /// Trainer with everything of the recipe but callbacks.
    pub(super) fn trainer<'t>(&'t self, config: TrainConfig) -> Trainer<'t> {
        let ranks = self.setting.communicator.clone();
        let trainer = Trainer::new(config)
            .with_communicator(ranks)
            .with_shared_model(&self.model);
        let name = self.recipe.train.loss.teacher();
        let mut teachers = self.setting.teachers.iter();
        match teachers.find(|(known, _)| Some(known.as_str()) == name) {
            Some((_, teacher)) => trainer.with_teacher(teacher),
            None => trainer,
        }
    }

    /// Trains and evaluates one batch if the epochs are long.
    pub fn sanity_check(&self) -> Result<()> {
        if self.train.num_batches() < SANITY_STEPS {
            return Ok(());
        }
        let mut trainer = self.trainer(self.train_config());
        // The test data stays unread where there is validation data.
        let judged = self.validation.as_ref().unwrap_or(&self.test);
        let store = self.model.store();
        Ok(trainer.sanity_check(&self.model, store, &self.train, Some(judged))?)
    }

    /// Learning-rate range test.
    pub fn find_lr(&self, finder: &LrFinder, stop: &StopFlag) -> Result<LrRange> {
        let config = self.train_config();
        let with = |config| self.trainer(config).with_interrupt(|| stop.requested());
        Ok(finder.run(&config, with, &self.model, self.model.store(), &self.train)?)
    }

    /// Trains until `clock` has seen enough, then times the evaluation of `batches` batches. The step of the result is not measured.
    pub fn time(&self, clock: &mut dyn Callback, batches: usize, stop: &StopFlag) -> Result<Speed> {
        let config = TrainConfig {
            // As many as the clock needs.
            epochs: 1000,
            max_steps: None,
            max_minutes: None,
            ..self.train_config()
        };
        let store = self.model.store();
        self.trainer(config)
            .with_callback(clock)
            .with_interrupt(|| stop.requested())
            .fit(&self.model, store, &self.train, None)?;
        let evaluation = |loader: &DataLoader| -> Result<f64> {
            let few = loader.first_batches(batches);
            let started = Instant::now();
            self.trainer(self.recipe.train.config())
                .evaluate(&self.model, store, &few)?;
            let share = loader.num_batches() as f64 / few.num_batches().max(1) as f64;
            Ok(started.elapsed().as_secs_f64() * share)
        };
        let test = evaluation(&self.test)?;
        Ok(Speed {
            step: f64::NAN,
            steps: self.train.num_batches(),
            evaluation: match &self.validation {
                Some(validation) => evaluation(validation)?,
                None => test,
            },
            test,
        })
    }

    /// Trains on the first `batches` batches again and again until their loss is at most `share` of its first value, for up to `steps`
    /// steps. Returns the first and the last loss, and the number of steps.
    pub fn overfit(
        &self,
        batches: usize,
        share: f64,
        steps: usize,
        stop: &StopFlag,
    ) -> Result<(f64, f64, usize)> {
        let few = self.train.first_batches(batches);
        let per_epoch = few.num_batches().max(1);
        let config = TrainConfig {
            epochs: steps.div_ceil(per_epoch),
            max_steps: None,
            schedule: ScheduleConfig::constant(),
            ..self.train_config()
        };
        let mut learnt = Learnt {
            share,
            first: None,
            last: f64::NAN,
            epochs: 0,
        };
        self.trainer(config)
            .with_callback(&mut learnt)
            .with_interrupt(|| stop.requested())
            .fit(&self.model, self.model.store(), &few, Some(&few))?;
        let first = learnt.first.unwrap_or(f64::NAN);
        Ok((first, learnt.last, learnt.epochs * per_epoch))
    }
}

/// Callback that ends training when the loss is a `share` of its first value, in training or in evaluation.
struct Learnt {
    share: f64,
    first: Option<f64>,
    last: f64,
    epochs: usize,
}

impl Callback for Learnt {
    fn on_epoch_end(&mut self, end: &EpochEnd) -> Flow {
        let first = *self.first.get_or_insert(end.row.train_loss);
        // Dropout and augmentation keep the training loss up, the running statistics of batch norm lag behind in an evaluation.
        self.last = end
            .row
            .test_loss
            .map_or(end.row.train_loss, |loss| loss.min(end.row.train_loss));
        self.epochs += 1;
        if self.last <= self.share * first {
            return Ok(ControlFlow::Break("learnt".to_string()));
        }
        CONTINUE
    }
}
