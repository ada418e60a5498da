//! The training loop: from [`Trainer::fit`] to the optimizer's step, all of it is here.

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::time::Instant;

use candle_core::{Device, Tensor};
use candle_nn::ModuleT;
use serde::{Deserialize, Serialize};
use tallow_datasets::{Batch, DataLoader};
use tallow_ops::{ParamStore, Tape, no_grad};

use crate::callback::{BatchEnd, BeforeStep, EpochEnd, FitStart, Flow};
use crate::checkpoint::{Checkpoints, Data};
use crate::freeze::trained;
use crate::schedule::Per;
use crate::tally::{TestTally, TrainTally};
use crate::{
    Callback, EpochRow, Error, Evaluation, History, Loss, Optimizer, OptimizerConfig, ParamRule,
    Result, Schedule,
};

/// How to train.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainConfig {
    /// Passes over the training data.
    pub epochs: usize,
    /// Ends training after so many optimizer steps, in the middle of an epoch if need be, as Lightning's `max_steps` does. The
    /// epoch that is cut short is evaluated like the others. At least 1; `epochs` is a bound all the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_steps: Option<usize>,
    /// What takes the steps.
    pub optimizer: OptimizerConfig,
    /// How the learning rate changes.
    #[serde(default)]
    pub schedule: Schedule,
    /// What is made small.
    #[serde(default)]
    pub loss: Loss,
    /// Other settings for some of the parameters.
    #[serde(default)]
    pub rules: Vec<ParamRule>,
    /// Parameters that are left as they are: each pattern matches a parameter's dotted name, or that of a layer it is in, and
    /// `*` stands for any characters. `layer1` freezes all of that layer, `*.bias` every bias.
    ///
    /// Frozen parameters are not given to the optimizer: neither momentum nor weight decay touches them. The running statistics
    /// of batch norm are no parameters and follow the data all the same, as they do in PyTorch after `requires_grad_(False)`.
    #[serde(default)]
    pub freeze: Vec<String>,
}

impl TrainConfig {
    /// Cross entropy at a constant learning rate.
    pub fn new(epochs: usize, optimizer: OptimizerConfig) -> Self {
        Self {
            epochs,
            max_steps: None,
            optimizer,
            schedule: Schedule::constant(),
            loss: Loss::default(),
            rules: Vec::new(),
            freeze: Vec::new(),
        }
    }

    /// The optimizer of the parameters in `store` that are not frozen.
    ///
    /// Fails as [`Optimizer::with_rules`] does, when a pattern of `freeze` matches nothing, or when nothing is left to train.
    pub fn optimizer(&self, store: &ParamStore) -> Result<Optimizer> {
        let params = trained(store.parameters(), &self.freeze)?;
        Optimizer::with_rules(self.optimizer.clone(), params, &self.rules)
    }
}

/// Trains a model on batches, and judges it.
///
/// The model is any `candle_nn::ModuleT` from images `(N, C, H, W)` to class scores `(N, K)`,
/// with its parameters in a [`ParamStore`]. Batches are moved to the store's device and type.
///
/// With the same seeds, data and thread count the trained weights are the same to the bit,
/// whatever the number of loader workers, and whether or not the run was stopped and resumed.
pub struct Trainer<'a> {
    config: TrainConfig,
    callbacks: Vec<Box<dyn Callback + 'a>>,
    checkpoints: Option<Checkpoints>,
}

impl<'a> Trainer<'a> {
    /// A trainer without callbacks or checkpoints.
    pub fn new(config: TrainConfig) -> Self {
        Self {
            config,
            callbacks: Vec::new(),
            checkpoints: None,
        }
    }

    /// Lets `callback` look on, after those added before it.
    pub fn with_callback(mut self, callback: impl Callback + 'a) -> Self {
        self.callbacks.push(Box::new(callback));
        self
    }

    /// Saves a checkpoint in this directory after every epoch, and has [`fit`](Self::fit) go on
    /// from the newest one that is there already.
    pub fn with_checkpoints(mut self, dir: impl Into<PathBuf>) -> Self {
        self.checkpoints = Some(Checkpoints::new(dir));
        self
    }

    /// The settings.
    pub fn config(&self) -> &TrainConfig {
        &self.config
    }

    /// Trains `model`, whose parameters are in `store`, and evaluates it after every epoch where
    /// there is `test` data.
    ///
    /// Fails with [`Error::NonFiniteLoss`] at the step that diverged: at once on the CPU, within
    /// 32 steps elsewhere. A callback's wish to stop is no failure: [`History::stopped`] tells.
    pub fn fit(
        &mut self,
        model: &dyn ModuleT,
        store: &ParamStore,
        train: &DataLoader,
        test: Option<&DataLoader>,
    ) -> Result<History> {
        let config = self.config.clone();
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
        let total = match config.schedule.per {
            Per::Epoch => epochs as u64,
            Per::Step => all_steps as u64,
        };
        config.schedule.validate(total)?;
        config.loss.validate()?;
        let mut optimizer = config.optimizer(store)?;
        let mut history = match &self.checkpoints {
            Some(dir) => dir.resume(&config, &Data::of(train), store, &mut optimizer)?,
            None => History::default(),
        };
        history.stopped = self.ask(|callback| {
            callback.on_fit_start(&FitStart {
                epochs,
                steps_per_epoch: steps,
                samples: train.num_samples(),
                history: &history,
                store,
            })
        })?;

        for epoch in history.rows.len()..epochs {
            if history.stopped.is_some() {
                break;
            }
            let started = Instant::now();
            self.tell(|callback| callback.on_epoch_start(epoch))?;
            let mut tally = TrainTally::new(store.device());

            let steps_left = all_steps - epoch * steps;
            for (step, batch) in train.epoch(epoch as u64).take(steps_left).enumerate() {
                self.tell(|callback| callback.on_batch_start(epoch, step))?;
                let (images, labels) = to_store(&batch?, store)?;
                let time = match config.schedule.per {
                    Per::Epoch => epoch,
                    Per::Step => epoch * steps + step,
                };
                let lr = config
                    .schedule
                    .lr(config.optimizer.lr(), time as u64, total);

                let tape = Tape::record();
                let output = model.forward_t(&images, true)?;
                let loss = config.loss.compute(&output, &labels)?;
                tally.add((epoch, step), &loss, &output, &labels)?;
                let grads = tape.backward(&loss)?;
                self.tell(|callback| {
                    callback.on_before_optimizer_step(&BeforeStep {
                        epoch,
                        step,
                        steps: steps.min(steps_left),
                        grads: &grads,
                        store,
                    })
                })?;
                optimizer.set_lr(lr);
                optimizer.step(&grads)?;

                let end = BatchEnd {
                    epoch,
                    step,
                    steps: steps.min(steps_left),
                    samples: labels.elem_count(),
                    mean_loss: tally.mean_loss(),
                    accuracy: tally.accuracy(),
                    lr,
                };
                if let Some(reason) = self.ask(|callback| callback.on_batch_end(&end))? {
                    history.stopped = Some(reason);
                    self.tell(|callback| callback.on_fit_end(&history))?;
                    return Ok(history);
                }
            }
            tally.read(epoch)?;
            let trained = started.elapsed().as_secs_f64();

            history.evaluation = match test {
                Some(test) => Some(evaluate(model, store, test, &config.loss, |done| {
                    self.tell(|callback| callback.on_evaluation_batch(done, test.num_batches()))
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
            };
            history.stopped = self.ask(|callback| {
                callback.on_epoch_end(&EpochEnd {
                    row: &row,
                    epochs,
                    evaluation,
                    store,
                })
            })?;
            history.rows.push(row);
            if let Some(dir) = &self.checkpoints {
                dir.save(&config, &Data::of(train), store, &optimizer, &history)?;
            }
        }

        // A run that was resumed at its end has weights, but no evaluation of them yet. Who stopped it does not want to wait for one.
        if let (None, None, Some(test)) = (&history.stopped, &history.evaluation, test) {
            history.evaluation = Some(self.evaluate(model, store, test)?);
        }
        self.tell(|callback| callback.on_fit_end(&history))?;
        Ok(history)
    }

    /// Judges `model` in evaluation mode on all of `loader`, with the loss it is trained with.
    pub fn evaluate(
        &self,
        model: &dyn ModuleT,
        store: &ParamStore,
        loader: &DataLoader,
    ) -> Result<Evaluation> {
        evaluate(model, store, loader, &self.config.loss, |_| Ok(()))
    }

    fn tell(&mut self, f: impl FnMut(&mut (dyn Callback + 'a)) -> Result<()>) -> Result<()> {
        self.callbacks.iter_mut().map(|c| &mut **c).try_for_each(f)
    }

    /// The first reason to stop, after all callbacks were asked.
    fn ask(
        &mut self,
        mut f: impl FnMut(&mut (dyn Callback + 'a)) -> Flow,
    ) -> Result<Option<String>> {
        let mut stop = None;
        for callback in &mut self.callbacks {
            if let ControlFlow::Break(reason) = f(&mut **callback)? {
                stop.get_or_insert(reason);
            }
        }
        Ok(stop)
    }
}

/// One pass over `loader`, telling `progress` the number of batches done after each.
fn evaluate(
    model: &dyn ModuleT,
    store: &ParamStore,
    loader: &DataLoader,
    loss: &Loss,
    mut progress: impl FnMut(usize) -> Result<()>,
) -> Result<Evaluation> {
    let mut tally = TestTally::default();
    for (step, batch) in loader.epoch(0).enumerate() {
        let (images, labels) = to_store(&batch?, store)?;
        let output = no_grad(|| model.forward_t(&images, false))?.detach();
        tally.add(&loss.compute(&output, &labels)?, &output, &labels)?;
        progress(step + 1)?;
    }
    tally.finish().ok_or_else(|| Error::EmptyLoader {
        which: "test",
        samples: loader.dataset().len(),
    })
}

/// A batch where the parameters are, in their type.
fn to_store(batch: &Batch, store: &ParamStore) -> candle_core::Result<(Tensor, Tensor)> {
    let device: &Device = store.device();
    let images = batch.images.to_device(device)?.to_dtype(store.dtype())?;
    Ok((images, batch.labels.to_device(device)?))
}
