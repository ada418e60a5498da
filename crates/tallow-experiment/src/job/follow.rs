//! Part of a run on the ranks that write nothing.

use tallow_train::Trainer;

use super::Job;
use crate::error::Result;
use crate::interrupt::StopFlag;

impl Job<'_> {
    /// Trainer with what all ranks must have in common: everything but callbacks and checkpoints.
    pub(super) fn monitored_trainer<'t>(&'t self, stop: &'t StopFlag) -> Trainer<'t> {
        let mut trainer = self
            .trainer(self.train_config())
            .with_interrupt(move || stop.requested());
        if let Some(validation) = &self.validation {
            trainer = trainer.with_validation(validation.clone());
        }
        if self.recipe.train.restore_best {
            let monitor = self.recipe.monitor(self.validation.is_some());
            trainer = trainer.with_restore_best(monitor);
        }
        trainer
    }

    /// Trains the model together with the first rank, whose [`train`](Self::train) writes the record. Whether the run came to its end: false
    /// when it was interrupted.
    pub fn follow(&self, stop: &StopFlag) -> Result<bool> {
        let mut trainer = self.monitored_trainer(stop);
        let store = self.model.store();
        let history = trainer.fit(&self.model, store, &self.train, Some(&self.test))?;
        Ok(!history.interrupted)
    }
}
