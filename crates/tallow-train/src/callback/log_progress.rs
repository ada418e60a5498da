use super::{BatchEnd, CONTINUE, Callback, EpochEnd, Flow};

/// Log of the progress by `tracing`: one line per epoch at level info, and one every `every` batches at level debug.
pub struct LogProgress {
    /// Batches from one debug line to the next.
    pub every: usize,
}

impl Callback for LogProgress {
    fn on_batch_end(&mut self, batch: &BatchEnd) -> Flow {
        if (batch.step + 1).is_multiple_of(self.every.max(1)) {
            let BatchEnd {
                epoch,
                step,
                steps,
                mean_loss,
                lr,
                ..
            } = *batch;
            tracing::debug!(epoch, step, steps, mean_loss, lr, "batch");
        }
        CONTINUE
    }

    fn on_epoch_end(&mut self, end: &EpochEnd) -> Flow {
        let row = end.row;
        tracing::info!(
            epoch = row.epoch,
            train_loss = row.train_loss,
            train_accuracy = row.train_accuracy,
            test_loss = row.test_loss,
            test_accuracy = row.test_accuracy,
            lr = row.lr,
            seconds = row.seconds,
            "epoch"
        );
        CONTINUE
    }
}
