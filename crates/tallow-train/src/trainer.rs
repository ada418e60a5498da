//! Training loop: everything from [`Trainer::fit`] to the optimizer's step is in this file.

mod sanity;

use std::cell::RefCell;
use std::path::PathBuf;
use std::time::Instant;

use candle_core::backprop::GradStore;
use candle_core::{Tensor, Var};
use candle_nn::ModuleT;
use tallow_datasets::{DataLoader, Dataset};
use tallow_metrics::Metric;
use tallow_ops::{ParamStore, Tape, no_grad};

use crate::batch::to_store;
use crate::callback::{BatchEnd, BeforeStep, Callback, Callbacks, EpochEnd, FitStart};
use crate::checkpoint::{Checkpoints, Data, Setup};
use crate::config::TrainConfig;
use crate::error::{Error, Result};
use crate::freeze::trained;
use crate::history::{Evaluation, History, finite_metrics};
use crate::last_batch::check_last_batch;
use crate::loss::{Loss, Target};
use crate::optimizer::Optimizer;
use crate::schedule::{Per, Schedule, check_momentum};
use crate::tally::{TestTally, TrainTally};
use crate::teacher::{check_teacher, taught};
use crate::unused::{check_patterns, check_used};
use tallow_record::EpochRow;

/// Training step: from a batch to the gradients of its loss. The default is [`ForwardBackward`].
///
/// A training step of your own is passed to [`Trainer::with_step`]: for several losses, distillation from a teacher, or more than one
/// backward pass, as in sharpness-aware minimization (Foret et al. 2020):
///
/// ```
/// use candle_core::DType;
/// use tallow_train::{ForwardBackward, Result, StepInput, StepOutput, TrainStep};
///
/// /// Gradients at the point of highest loss within a distance `rho`, to first order.
/// struct Sam {
///     rho: f64,
/// }
///
/// impl TrainStep for Sam {
///     fn step(&mut self, input: &StepInput) -> Result<StepOutput> {
///         let first = ForwardBackward.step(input)?;
///         let mut square = 0.0;
///         let mut moved = Vec::new();
///         for (_, parameter) in input.store.parameters() {
///             if let Some(grad) = first.grads.get(&parameter) {
///                 square += grad.to_dtype(DType::F64)?.sqr()?.sum_all()?.to_scalar::<f64>()?;
///                 let before = parameter.as_detached_tensor().copy()?;
///                 moved.push((parameter, before, grad));
///             }
///         }
///         let scale = self.rho / (square.sqrt() + 1e-12);
///         for (parameter, before, grad) in &moved {
///             parameter.set(&(before + (*grad * scale)?)?)?;
///         }
///         let second = ForwardBackward.step(input)?;
///         for (parameter, before, _) in &moved {
///             parameter.set(before)?;
///         }
///         Ok(StepOutput { grads: second.grads, ..first })
///     }
/// }
/// # use candle_core::{Device, Tensor, Var};
/// # use tallow_ops::{Init, ParamStore};
/// # use tallow_train::{SquaredError, Target};
/// # struct Line(Var);
/// # impl candle_nn::ModuleT for Line {
/// #     fn forward_t(&self, x: &Tensor, _: bool) -> candle_core::Result<Tensor> {
/// #         x.matmul(&self.0.t()?)
/// #     }
/// # }
/// # let store = ParamStore::new(DType::F64, &Device::Cpu, 0);
/// # let weight = store.root().param("weight", (1, 1), Init::Const(1.0))?;
/// # let images = Tensor::new(&[[1f64]], &Device::Cpu)?;
/// # let target = Target::Soft(Tensor::new(&[[0f64]], &Device::Cpu)?);
/// # let (model, loss) = (Line(weight.clone()), SquaredError::default());
/// # let input = StepInput { model: &model, store: &store, loss: &loss, images: &images, target: &target, epoch: 0, step: 0 };
/// // The loss is w² at w = 1: the gradient at w + 0.5 is 3, and w itself is restored.
/// let output = Sam { rho: 0.5 }.step(&input)?;
/// let grad = output.grads.get(&weight).unwrap().to_vec2::<f64>()?[0][0];
/// assert!((grad - 3.0).abs() < 1e-9);
/// assert_eq!(weight.to_vec2::<f64>()?, [[1.0]]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait TrainStep {
    /// Gradients of the batch, with its loss and logits.
    ///
    /// # Errors
    /// Any error ends the run.
    fn step(&mut self, input: &StepInput) -> Result<StepOutput>;
}

/// Input of a [`TrainStep`].
pub struct StepInput<'a> {
    /// Model, from images `(N, C, H, W)` to logits `(N, K)`.
    pub model: &'a dyn ModuleT,
    /// Parameters of the model.
    pub store: &'a ParamStore,
    /// Loss to minimize.
    pub loss: &'a dyn Loss,
    /// Images `(N, C, H, W)`, on the device and of the type of the parameters.
    pub images: &'a Tensor,
    /// Targets of the images: the class indices of the data loader.
    pub target: &'a Target,
    /// Epoch, from 0.
    pub epoch: usize,
    /// Step within the epoch, from 0.
    pub step: usize,
}

/// Output of a [`TrainStep`].
pub struct StepOutput {
    /// Loss of the batch, a scalar, for the training loss of the epoch.
    pub loss: Tensor,
    /// Logits `(N, K)`, for the training accuracy of the epoch.
    pub logits: Tensor,
    /// Gradients for the optimizer.
    pub grads: GradStore,
}

/// Default training step: forward, loss, backward.
#[derive(Clone, Copy, Debug, Default)]
pub struct ForwardBackward;

impl TrainStep for ForwardBackward {
    fn step(&mut self, input: &StepInput) -> Result<StepOutput> {
        let tape = Tape::record();
        let logits = input.model.forward_t(input.images, true)?;
        let loss = input.loss.loss(&logits, input.target)?;
        let grads = tape.backward(&loss)?;
        Ok(StepOutput {
            loss,
            logits,
            grads,
        })
    }
}

/// Trainer: trains a model on batches, and evaluates it.
///
/// The model is any `candle_nn::ModuleT` from images `(N, C, H, W)` to logits `(N, K)`, with its parameters in a [`ParamStore`].
/// Batches are moved to the device of the store and converted to its type.
///
/// With the same seeds, data and number of threads the trained weights are the same to the bit, with any number of loader workers,
/// and also if the run was stopped and resumed.
///
/// Loss, optimizer, schedule and training step are those of the [`TrainConfig`], or the caller's own, set by the `with_*` methods.
pub struct Trainer<'a> {
    config: TrainConfig,
    loss: Option<Box<dyn Loss + 'a>>,
    optimizer: Option<Box<BuildOptimizer<'a>>>,
    schedule: Option<Box<dyn Schedule + 'a>>,
    step: Option<Box<dyn TrainStep + 'a>>,
    teacher: Option<&'a dyn ModuleT>,
    metrics: RefCell<Vec<Box<dyn Metric + 'a>>>,
    callbacks: Callbacks<'a>,
    checkpoints: Option<Checkpoints>,
}

type BuildOptimizer<'a> = dyn Fn(Vec<(String, Var)>) -> Result<Box<dyn Optimizer + 'a>> + 'a;

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
            metrics: RefCell::default(),
            callbacks: Callbacks::default(),
            checkpoints: None,
        }
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

    /// Sets a training step of the caller's own, in place of [`ForwardBackward`].
    pub fn with_step(mut self, step: impl TrainStep + 'a) -> Self {
        self.step = Some(Box::new(step));
        self
    }

    /// Sets the teacher of a [`Distillation`](crate::Distillation). Its logits for the images of each training batch, in evaluation mode,
    /// come with the targets: [`Target::Teacher`].
    pub fn with_teacher(mut self, teacher: &'a dyn ModuleT) -> Self {
        self.teacher = Some(teacher);
        self
    }

    /// Adds a metric, which every evaluation computes besides loss, accuracy, top-5 accuracy and confusion matrix. Its values are in
    /// [`Evaluation::metrics`].
    pub fn with_metric(mut self, metric: impl Metric + 'a) -> Self {
        self.metrics.get_mut().push(Box::new(metric));
        self
    }

    /// Adds a callback, which runs after those added before it.
    pub fn with_callback(mut self, callback: impl Callback + 'a) -> Self {
        self.callbacks.push(callback);
        self
    }

    /// Saves a checkpoint in this directory after every epoch. [`fit`](Self::fit) continues from the newest one that is there.
    ///
    /// An own loss, schedule or training step must not have state that changes during training: a checkpoint does not contain it.
    pub fn with_checkpoints(mut self, dir: impl Into<PathBuf>) -> Self {
        self.checkpoints = Some(Checkpoints::new(dir));
        self
    }

    /// Settings of the trainer.
    pub fn config(&self) -> &TrainConfig {
        &self.config
    }

    /// Trains `model`, whose parameters are in `store`, and evaluates it after every epoch if there is `test` data.
    ///
    /// A callback that stops the run is not an error; the reason is in [`History::stopped`].
    ///
    /// # Errors
    /// [`Error::NonFiniteLoss`] names the step that diverged: at once on the CPU, within 32 steps on other devices.
    /// [`Error::NoParameters`] when the store is empty, [`Error::NoGradients`] when the model does not use its parameters,
    /// [`Error::NoGradient`] when it does not use some of them, see [`TrainConfig::allow_unused`].
    /// [`Error::LastBatch`] before training when the last batch has one sample, too few for the batch norm of the model, see
    /// [`check_last_batch`].
    /// [`Error::Mismatch`] when a checkpoint is of a run with other settings or other data.
    pub fn fit(
        &mut self,
        model: &dyn ModuleT,
        store: &ParamStore,
        train: &DataLoader,
        test: Option<&DataLoader>,
    ) -> Result<History> {
        let config = &self.config;
        let steps = train.num_batches();
        for (which, loader) in [("training", Some(train)), ("test", test)] {
            if let Some(loader) = loader.filter(|loader| loader.num_batches() == 0) {
                let samples = loader.dataset().len();
                return Err(Error::EmptyLoader { which, samples });
            }
        }
        let all_steps = match config.max_steps {
            Some(0) => return Err(Error::config("max_steps", "must be at least 1")),
            Some(most) => most.min(config.epochs * steps),
            None => config.epochs * steps,
        };
        let epochs = all_steps.div_ceil(steps);
        let own = self.own_parts();
        let mut built = config.schedule.build(steps);
        let schedule: &mut dyn Schedule = match &mut self.schedule {
            Some(schedule) => &mut **schedule,
            None => &mut *built,
        };
        let total = match schedule.per() {
            Per::Epoch => epochs as u64,
            Per::Step => all_steps as u64,
        };
        schedule.validate(total)?;
        let loss = &*choose_loss(&self.loss, config, &**train.dataset())?;
        if self.loss.is_none() {
            check_teacher(&config.loss, self.teacher.is_some())?;
        }
        let trained_params = trained(store.parameters(), &config.freeze)?;
        check_patterns(&trained_params, &config.allow_unused)?;
        let mut optimizer: Box<dyn Optimizer + '_> = match &self.optimizer {
            Some(build) => build(trained_params.clone())?,
            None => config.optimizer(store)?,
        };
        optimizer.set_total_steps(all_steps as u64);
        // A step of the caller's own may make other batches.
        if self.step.is_none() && all_steps >= steps {
            check_last_batch(model, store, train)?;
        }
        for warning in config.warnings_except(steps, &own) {
            tracing::warn!("{warning}");
        }
        let (base_lr, base_momentum) = (optimizer.lr(), optimizer.momentum());
        check_momentum(schedule, base_momentum, total)?;
        let mut default_step = ForwardBackward;
        let setup = Setup {
            config: config.clone(),
            own,
            data: Data::of(train),
            extendable: !schedule.depends_on_total() && !config.lookahead_depends_on_total(),
        };
        let train_step: &mut dyn TrainStep = match &mut self.step {
            Some(step) => &mut **step,
            None => &mut default_step,
        };
        let mut gradients_checked = false;
        let metrics = self.metrics.get_mut();
        let callbacks = &mut self.callbacks;
        let mut history = match &self.checkpoints {
            Some(dir) => dir.resume(&setup, store, &mut *optimizer)?,
            None => History::default(),
        };
        history.stopped = callbacks.ask(|callback| {
            callback.on_fit_start(&FitStart {
                epochs,
                steps_per_epoch: steps,
                samples: train.num_samples(),
                history: &history,
                store,
            })
        })?;

        schedule.observe(&history.rows)?;

        for epoch in history.rows.len()..epochs {
            if history.stopped.is_some() {
                break;
            }
            let started = Instant::now();
            callbacks.tell(|callback| callback.on_epoch_start(epoch))?;
            let mut tally = TrainTally::new(store.device());

            let steps_left = all_steps - epoch * steps;
            for (step, batch) in train.epoch(epoch as u64).take(steps_left).enumerate() {
                callbacks.tell(|callback| callback.on_batch_start(epoch, step))?;
                let (images, labels) = to_store(&batch?, store)?;
                let time = match schedule.per() {
                    Per::Epoch => epoch,
                    Per::Step => epoch * steps + step,
                };
                let target = taught(self.teacher, &images, Target::Classes(labels.clone()))?;
                let lr = schedule.lr(base_lr, time as u64, total);

                // Forward, loss, backward: `ForwardBackward` above, unless the caller has another step.
                let mut output = train_step.step(&StepInput {
                    model,
                    store,
                    loss,
                    images: &images,
                    target: &target,
                    epoch,
                    step,
                })?;
                tally.add((epoch, step), &output.loss, &output.logits, &labels)?;
                if !gradients_checked {
                    check_used(&trained_params, &output.grads, &config.allow_unused)?;
                    gradients_checked = true;
                }
                let mut before = BeforeStep {
                    epoch,
                    step,
                    steps: steps.min(steps_left),
                    grads: &mut output.grads,
                    store,
                };
                callbacks.tell(|callback| callback.on_before_optimizer_step(&mut before))?;
                optimizer.set_lr(lr);
                if let Some(base) = base_momentum {
                    let momentum = schedule.momentum(time as u64, total);
                    optimizer.set_momentum(momentum.unwrap_or(base));
                }
                optimizer.step(&output.grads)?;

                let end = BatchEnd {
                    epoch,
                    step,
                    steps: steps.min(steps_left),
                    samples: labels.elem_count(),
                    mean_loss: tally.mean_loss(),
                    accuracy: tally.accuracy(),
                    lr,
                };
                if let Some(reason) = callbacks.ask(|callback| callback.on_batch_end(&end))? {
                    history.stopped = Some(reason);
                    callbacks.tell(|callback| callback.on_fit_end(&history))?;
                    return Ok(history);
                }
            }
            tally.read(epoch)?;
            let trained = started.elapsed().as_secs_f64();

            history.evaluation = match test {
                Some(test) => Some(evaluate(model, store, test, loss, metrics, |done| {
                    callbacks
                        .tell(|callback| callback.on_evaluation_batch(done, test.num_batches()))
                })?),
                None => None,
            };
            let evaluation = history.evaluation.as_ref();
            let row = EpochRow {
                epoch,
                train_loss: tally.mean_loss(),
                train_accuracy: tally.accuracy(),
                test_loss: evaluation.map(|e| e.loss),
                test_accuracy: evaluation.map(|e| e.accuracy),
                test_top5: evaluation.and_then(|e| e.top5),
                lr: optimizer.lr(),
                seconds: started.elapsed().as_secs_f64(),
                images_per_second: tally.samples() as f64 / trained,
                metrics: evaluation.map(finite_metrics).unwrap_or_default(),
            };
            history.stopped = callbacks.ask(|callback| {
                callback.on_epoch_end(&EpochEnd {
                    row: &row,
                    epochs,
                    evaluation,
                    store,
                })
            })?;
            history.rows.push(row);
            schedule.observe(&history.rows)?;
            if let Some(dir) = &self.checkpoints {
                dir.save(&setup, store, &*optimizer, &history)?;
            }
        }

        // A run that was resumed at its end has weights, but no evaluation yet. After a stop there is no need for one.
        if let (None, None, Some(test)) = (&history.stopped, &history.evaluation, test) {
            history.evaluation = Some(evaluate(model, store, test, loss, metrics, |_| Ok(()))?);
        }
        callbacks.tell(|callback| callback.on_fit_end(&history))?;
        Ok(history)
    }

    /// Names of the parts that are the caller's own.
    fn own_parts(&self) -> Vec<String> {
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

    /// Evaluates `model` in evaluation mode on all of `loader`, with the loss of the training. Balanced class weights are those of the
    /// labels of `loader` here.
    ///
    /// # Errors
    /// [`Error::EmptyLoader`] when the loader has no batch.
    pub fn evaluate(
        &self,
        model: &dyn ModuleT,
        store: &ParamStore,
        loader: &DataLoader,
    ) -> Result<Evaluation> {
        let loss = &*choose_loss(&self.loss, &self.config, &**loader.dataset())?;
        let mut metrics = self.metrics.borrow_mut();
        evaluate(model, store, loader, loss, &mut metrics, |_| Ok(()))
    }
}

/// Evaluation of `model` on `loader`; `progress` is called with the number of batches done.
fn evaluate(
    model: &dyn ModuleT,
    store: &ParamStore,
    loader: &DataLoader,
    loss: &dyn Loss,
    metrics: &mut [Box<dyn Metric + '_>],
    mut progress: impl FnMut(usize) -> Result<()>,
) -> Result<Evaluation> {
    let mut tally = TestTally::new(metrics);
    for (step, batch) in loader.epoch(0).enumerate() {
        let (images, labels) = to_store(&batch?, store)?;
        let logits = no_grad(|| model.forward_t(&images, false))?.detach();
        let loss = loss.sum(&logits, &labels)?;
        tally.add(loss, &logits, &labels)?;
        progress(step + 1)?;
    }
    tally.finish().ok_or_else(|| Error::EmptyLoader {
        which: "test",
        samples: loader.dataset().len(),
    })
}

/// The caller's own loss, or that of the settings for the classes of `dataset`.
fn choose_loss<'l>(
    own: &'l Option<Box<dyn Loss + '_>>,
    config: &TrainConfig,
    dataset: &dyn Dataset,
) -> Result<Box<dyn Loss + 'l>> {
    Ok(match own {
        Some(loss) => Box::new(loss),
        None => config.loss.build_for(dataset)?,
    })
}
