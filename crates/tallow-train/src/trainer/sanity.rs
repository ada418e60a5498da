//! One step and one evaluation before a long run.

use std::mem;

use candle_nn::ModuleT;
use tallow_datasets::DataLoader;
use tallow_ops::ParamStore;

use super::Trainer;
use crate::config::TrainConfig;
use crate::error::Result;
use crate::schedule::ScheduleConfig;
use crate::snapshot::Snapshot;

impl Trainer<'_> {
    /// Sanity check before a long run: trains on the first batch and evaluates the first batch of `test`, so that a fault which would end
    /// the run at the end of its first epoch shows at once, as Lightning's `num_sanity_val_steps`.
    ///
    /// Callbacks and checkpoints are left out. Parameters, buffers and generator of `store` are restored: a run after the check has the
    /// bits of one without it, unless an own loss or training step keeps a state.
    ///
    /// # Errors
    /// Those of [`fit`](Self::fit).
    pub fn sanity_check(
        &mut self,
        model: &dyn ModuleT,
        store: &ParamStore,
        train: &DataLoader,
        test: Option<&DataLoader>,
    ) -> Result<()> {
        let before = Snapshot::of(store)?;
        let one_step = TrainConfig {
            epochs: 1,
            max_steps: None,
            max_minutes: None,
            ema: None,
            swa: None,
            schedule: ScheduleConfig::constant(),
            ..self.config.clone()
        };
        let config = mem::replace(&mut self.config, one_step);
        let callbacks = mem::take(&mut self.callbacks);
        let checkpoints = self.checkpoints.take();
        let schedule = self.schedule.take();
        let (interrupt, restore_best) = (self.interrupt.take(), self.restore_best.take());
        // With validation data the test data is not read before the end.
        let validation = self.validation.take();
        let judged = validation.as_ref().or(test);
        let test = judged.map(|judged| judged.first_batches(1));
        let result = self.fit(model, store, &train.first_batches(1), test.as_ref());
        self.config = config;
        self.callbacks = callbacks;
        self.checkpoints = checkpoints;
        self.schedule = schedule;
        self.validation = validation;
        (self.interrupt, self.restore_best) = (interrupt, restore_best);
        before.restore(store)?;
        result.map(drop)
    }
}
