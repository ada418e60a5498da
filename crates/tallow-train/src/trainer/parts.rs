//! A new trainer, its parts that the caller sets, `with_*`, and what is known of it besides training.

use std::cell::RefCell;
use std::path::PathBuf;
use std::sync::Arc;

use candle_core::Var;
use candle_nn::ModuleT;
use tallow_datasets::DataLoader;
use tallow_metrics::Metric;
use tallow_ops::ParamStore;
use tallow_record::Profile;

use super::Trainer;
use crate::callback::{Callback, Callbacks, Monitor};
use crate::checkpoint::{CheckpointConfig, Checkpoints};
use crate::config::TrainConfig;
use crate::error::Result;
use crate::evaluate::{choose_loss, evaluate};
use crate::history::Evaluation;
use crate::input::Input;
use crate::loss::Loss;
use crate::optimizer::Optimizer;
use crate::ranks::{Communicator, Ranks};
use crate::schedule::Schedule;
use crate::step::TrainStep;
use crate::tta::WithTta;

impl<'a> Trainer<'a> {
    /// Trainer with these settings, without callbacks and checkpoints.
    pub fn new(config: TrainConfig) -> Self {
        Self {
            config,
            loss: None,
            optimizer: None,
            schedule: None,
            step: None,
            teacher: None,
            shared_model: None,
            metrics: RefCell::default(),
            callbacks: Callbacks::default(),
            checkpoints: None,
            validation: None,
            restore_best: None,
            interrupt: None,
            ranks: Ranks::default(),
            profile: Profile::default(),
        }
    }

    /// Settings of the trainer.
    pub fn config(&self) -> &TrainConfig {
        &self.config
    }

    /// Sets a loss of the caller's own, in place of [`TrainConfig::loss`].
    pub fn with_loss(mut self, loss: impl Loss + 'a) -> Self {
        self.loss = Some(Box::new(loss));
        self
    }

    /// Sets an optimizer of the caller's own, in place of [`TrainConfig::optimizer`], its groups and its lookahead.
    ///
    /// Each call of [`fit`](Self::fit) calls `build` with the named parameters that are not frozen, in the order of the store. The
    /// learning rate of the new optimizer is the base of the schedule.
    pub fn with_optimizer<O: Optimizer + 'a>(
        mut self,
        build: impl Fn(Vec<(String, Var)>) -> Result<O> + 'a,
    ) -> Self {
        self.optimizer = Some(Box::new(move |params| Ok(Box::new(build(params)?))));
        self
    }

    /// Sets a learning-rate schedule of the caller's own, in place of [`TrainConfig::schedule`].
    pub fn with_schedule(mut self, schedule: impl Schedule + 'a) -> Self {
        self.schedule = Some(Box::new(schedule));
        self
    }

    /// Sets a training step of the caller's own, in place of [`ForwardBackward`](crate::ForwardBackward).
    pub fn with_step(mut self, step: impl TrainStep + 'a) -> Self {
        self.step = Some(Box::new(step));
        self
    }

    /// Sets the teacher of a [`Distillation`](crate::Distillation). Its logits for the images of each training batch, in evaluation mode,
    /// come with the targets: [`Target::Teacher`](crate::Target::Teacher).
    pub fn with_teacher(mut self, teacher: &'a dyn ModuleT) -> Self {
        self.teacher = Some(teacher);
        self
    }

    /// Sets the model of [`fit`](Self::fit) as one that threads may share, for
    /// [`NormStatistics::Sync`](crate::NormStatistics::Sync): its chunks go from batch norm to batch norm in threads. In other runs it has no
    /// effect.
    ///
    /// This is for the CPU, and for the trainer's own training step; others than the batch norms of `tallow-ops` normalize each chunk by itself.
    pub fn with_shared_model(mut self, model: &'a (dyn ModuleT + Sync)) -> Self {
        self.shared_model = Some(model);
        self
    }

    /// Adds a metric, which every evaluation computes besides loss, accuracy, top-5 accuracy and confusion matrix. Its values are in
    /// [`Evaluation::metrics`](crate::Evaluation::metrics).
    pub fn with_metric(mut self, metric: impl Metric + 'a) -> Self {
        self.metrics.get_mut().push(Box::new(metric));
        self
    }

    /// Adds a callback, which runs after those added before it.
    pub fn with_callback(mut self, callback: impl Callback + 'a) -> Self {
        self.callbacks.push(callback);
        self
    }

    /// Saves a checkpoint in this directory after every epoch, and when a callback stops the run. [`fit`](Self::fit) continues from the
    /// newest one that is there, in the middle of an epoch too.
    ///
    /// It contains the states of weights, generator, optimizer, and of the callbacks with a [`Callback::state_key`]. An own loss,
    /// schedule or training step must not have state that changes during training: a checkpoint does not contain it.
    pub fn with_checkpoints(self, dir: impl Into<PathBuf>) -> Self {
        self.with_checkpoints_at(dir, CheckpointConfig::every_epoch())
    }

    /// Saves checkpoints as [`with_checkpoints`](Self::with_checkpoints), at the times that `config` gives.
    pub fn with_checkpoints_at(
        mut self,
        dir: impl Into<PathBuf>,
        config: CheckpointConfig,
    ) -> Self {
        self.checkpoints = Some(Checkpoints::new(dir, config));
        self
    }

    /// Sets validation data: it is evaluated after every epoch in place of the test data, which is not read before the last epoch is
    /// done (and the best weights are restored, if that is set), and is evaluated once then.
    pub fn with_validation(mut self, validation: DataLoader) -> Self {
        self.validation = Some(validation);
        self
    }

    /// Sets the weights to those of the best epoch by `monitor` after the last epoch, as Keras' `restore_best_weights`, and evaluates the
    /// test data with them. The epoch is in [`History::restored`](crate::History::restored).
    pub fn with_restore_best(mut self, monitor: Monitor) -> Self {
        self.restore_best = Some(monitor);
        self
    }

    /// Asks `interrupt` after every step and every epoch, and stops the run when it answers true: a checkpoint is written, if there is a
    /// directory for them, and nothing more is evaluated. [`History::interrupted`](crate::History::interrupted) tells that the run is not at its end.
    pub fn with_interrupt(mut self, interrupt: impl Fn() -> bool + 'a) -> Self {
        self.interrupt = Some(Box::new(interrupt));
        self
    }

    /// Trains together with other ranks, processes or threads: [`fit`](Self::fit) computes this rank's chunks of each batch. The weights are
    /// those of one rank, to the bit, if [`chunks`](crate::TrainConfig::chunks) is the same. The number of chunks is one that the ranks can
    /// share out: that of the ranks times a power of two.
    ///
    /// Each rank makes its own trainer, with the same settings, model and data, and loaders of whole batches, of which the trainer takes its
    /// part. Every rank has the history and the weights. The first rank alone writes and reads checkpoints. A callback runs on the ranks
    /// that have it: one that writes files belongs on the first one, one that changes gradients on all. A stop that one rank asks for, by a
    /// callback, an [interrupt](Self::with_interrupt) or its clock, stops all after the same step.
    ///
    /// The gradients of a rank's last chunk are sent from a thread of their own while the backward pass goes on, so a model that communicates
    /// itself needs another communicator.
    ///
    /// An error of one rank leaves the others waiting until they notice that it has ended: [`Communicator::abort`] tells them. Averages that
    /// need running statistics compute them on every rank. Parameters are in `f32` or `f64`, on the CPU or on a device for each rank. From a
    /// device gradients go through the host, unless the communicator has [sums](Communicator::device_sums) in its memory.
    pub fn with_communicator(mut self, communicator: Arc<dyn Communicator>) -> Self {
        self.ranks = Ranks::new(communicator);
        self
    }

    /// Time of the last [`fit`](Self::fit) by what it was spent on.
    pub fn profile(&self) -> &Profile {
        &self.profile
    }

    /// Names of the parts that are the caller's own.
    pub(super) fn own_parts(&self) -> Vec<String> {
        let parts = [
            ("loss", self.loss.is_some()),
            ("optimizer", self.optimizer.is_some()),
            ("schedule", self.schedule.is_some()),
            ("step", self.step.is_some()),
            ("teacher", self.teacher.is_some()),
        ];
        let own = parts.into_iter().filter(|&(_, own)| own);
        own.map(|(name, _)| name.to_string()).collect()
    }

    /// Evaluates `model` in evaluation mode on all of `loader`, with the loss and in the precision of the training. Balanced class weights
    /// are those of the labels of `loader` here. On several ranks each evaluates for itself.
    ///
    /// # Errors
    /// [`Error::EmptyLoader`](crate::Error::EmptyLoader) when the loader has no batch; those of
    /// [`check_precision`](crate::TrainConfig::check_precision).
    pub fn evaluate(
        &self,
        model: &dyn ModuleT,
        store: &ParamStore,
        loader: &DataLoader,
    ) -> Result<Evaluation> {
        self.config.check_precision(store.dtype(), store.device())?;
        let loss = &*choose_loss(&self.loss, &self.config, &**loader.dataset())?;
        let mut metrics = self.metrics.borrow_mut();
        let model = WithTta::new(model, self.config.tta);
        let ranks = Ranks::default();
        evaluate(
            self.config.precision,
            &model,
            &Input::new(loader.clone(), store)?,
            loss,
            &mut metrics,
            &ranks,
            |_| Ok(()),
        )
    }
}
