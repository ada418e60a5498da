//! Training loop: everything from [`Trainer::fit`] to the optimizer's step is in this file.

mod parts;
mod sanity;

use std::cell::RefCell;

use candle_core::backprop::GradStore;
use candle_core::{Tensor, Var};
use candle_nn::ModuleT;
use tallow_datasets::DataLoader;
use tallow_metrics::Metric;
use tallow_ops::{ParamStore, Tape, with_precision};

use crate::batch_parts::{BatchParts, Mixed, train_step};
use crate::best_weights::{BEST, BestWeights};
use crate::callback::{BatchEnd, BeforeStep, Callbacks, EpochEnd, FitStart, Monitor};
use crate::checkpoint::{self, Checkpoints, Data, Resumed, Saved, Setup};
use crate::chunks::{BatchSizes, own_lens};
use crate::config::TrainConfig;
use crate::error::{Error, Result};
use crate::evaluate::{choose_loss, evaluate};
use crate::fingerprint::check_fingerprint;
use crate::graph::{self, Launches};
use crate::history::{History, finite_metrics};
use crate::input::Input;
use crate::last_batch::{check_chunks, check_last_batch};
use crate::lockstep;
use crate::loss::Loss;
use crate::optimizer::Optimizer;
use crate::parts::Parts;
use crate::position::{Clock, Position};
use crate::ranks::{Ranks, Wishes};
use crate::schedule::{Per, Schedule, check_momentum};
use crate::statistics::update_batch_norm;
use crate::step::{StepInput, StepOutput, TrainStep};
use crate::stopwatch::{Phase, Stopwatch, Timed};
use crate::tally::TrainTally;
use crate::teacher::{check_teacher, taught};
use crate::tta::WithTta;
use crate::unused::{check_patterns, check_used};
use tallow_record::{EpochRow, Profile};

/// Default training step: forward, loss, backward.
#[derive(Clone, Copy, Debug, Default)]
pub struct ForwardBackward;

impl TrainStep for ForwardBackward {
    fn step(&mut self, input: &StepInput) -> Result<StepOutput> {
        forward_backward(input, |tape, loss| tape.backward(loss))
    }

    fn step_with(
        &mut self,
        input: &StepInput,
        ready: &mut dyn FnMut(&Tensor, &Tensor),
    ) -> Result<StepOutput> {
        forward_backward(input, |tape, loss| tape.backward_with(loss, ready))
    }
}

fn forward_backward(
    input: &StepInput,
    backward: impl FnOnce(Tape, &Tensor) -> tallow_ops::Result<GradStore>,
) -> Result<StepOutput> {
    let tape = Tape::record();
    let logits = input.model.forward_t(input.images, true)?;
    let loss = input.loss.loss(&logits, input.target)?;
    let grads = backward(tape, &loss)?;
    Ok(StepOutput {
        loss,
        logits,
        grads,
    })
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
    shared_model: Option<&'a (dyn ModuleT + Sync)>,
    metrics: RefCell<Vec<Box<dyn Metric + 'a>>>,
    callbacks: Callbacks<'a>,
    checkpoints: Option<Checkpoints>,
    validation: Option<DataLoader>,
    restore_best: Option<Monitor>,
    interrupt: Option<Box<dyn Fn() -> bool + 'a>>,
    ranks: Ranks,
    profile: Profile,
}

type BuildOptimizer<'a> = dyn Fn(Vec<(String, Var)>) -> Result<Box<dyn Optimizer + 'a>> + 'a;

impl<'a> Trainer<'a> {
    /// Trains `model`, whose parameters are in `store`, and evaluates it after every epoch, or every
    /// [`evaluate_every`](TrainConfig::evaluate_every) ones, if there is `test` data, or [validation data](Self::with_validation).
    ///
    /// A callback that stops the run is not an error; the reason is in [`History::stopped`].
    ///
    /// # Errors
    /// [`Error::NonFiniteLoss`] names the step that diverged: at once on the CPU, within 32 steps on other devices.
    /// [`Error::Ops`] for a store by [`ParamStore::skip_init`] that has parameters without values.
    /// [`Error::NoParameters`] when the store is empty, [`Error::NoGradients`] when the model does not use its parameters,
    /// [`Error::NoGradient`] when it does not use some of them, see [`TrainConfig::allow_unused`].
    /// [`Error::LastBatch`] before training when the last batch has one sample, too few for the batch norm of the model, see
    /// [`check_last_batch`].
    /// [`Error::Config`] when [`NormStatistics::Sync`](crate::NormStatistics::Sync) is not for this run, see
    /// [`with_shared_model`](Self::with_shared_model).
    /// [`Error::Mismatch`] when a checkpoint is of a run with other settings or other data.
    /// [`Error::Ranks`] when another rank has ended or differs from this one, see [`with_communicator`](Self::with_communicator).
    pub fn fit(
        &mut self,
        model: &dyn ModuleT,
        store: &ParamStore,
        train: &DataLoader,
        test: Option<&DataLoader>,
    ) -> Result<History> {
        let (config, ranks) = (&self.config, &self.ranks);
        config.check_precision(store.dtype(), store.device())?;
        let shared = self.shared_model;
        lockstep::check(config, store, model, shared, self.step.is_some())?;
        let (steps, sizes) = (train.num_batches(), BatchSizes::of(train));
        let validation = self.validation.as_ref();
        let loaders = [
            ("training", Some(train)),
            ("validation", validation),
            ("test", test),
        ];
        for (which, loader) in loaders {
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
        let most_seconds = config.most_seconds()?;
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
        let (trained_params, thawing) = config.trained(store)?;
        check_patterns(&trained_params, &config.allow_unused)?;
        let mut optimizer: Box<dyn Optimizer + '_> = match &self.optimizer {
            Some(build) => build(trained_params.clone())?,
            None => config.optimizer(store)?,
        };
        optimizer.set_total_steps(all_steps as u64);
        let mut batch_parts = BatchParts::new(config, store, train, epochs, ranks)?;
        ranks.check(config.chunks, store)?;
        let own_train = ranks.slice(train, config.chunks, batch_parts.with_previous())?;
        let input = Input::new(own_train, store)?;
        let of_loader = |loader: &DataLoader| Input::new(ranks.deal(loader)?, store);
        let judged = validation.or(test).map(of_loader).transpose()?;
        let judged_batches = validation.or(test).map_or(0, DataLoader::num_batches);
        // A step of the caller's own may make other batches.
        if self.step.is_none() && all_steps >= steps {
            check_last_batch(model, store, train)?;
            check_chunks(model, store, train, config.normalized_chunks())?;
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
            validation: validation.map(Data::of),
            extendable: !schedule.depends_on_total() && !config.lookahead_depends_on_total(),
        };
        let launches = Launches::default();
        let recorder = graph::recorder(config, self.step.is_some(), ranks, store.device());
        let recorder = recorder.map(|recorder| (recorder, launches.clone()));
        let one_step: &mut dyn TrainStep = match &mut self.step {
            Some(step) => &mut **step,
            None => &mut default_step,
        };
        let mut train_step = train_step(
            config,
            &trained_params,
            one_step,
            shared,
            ranks,
            sizes,
            recorder,
        );
        let (timed, judged_model) = (Timed::new(model), WithTta::new(model, config.tta));
        let mut watch = Stopwatch::start();
        let mut gradients_checked = false;
        let metrics = self.metrics.get_mut();
        let callbacks = &mut self.callbacks;
        check_fingerprint(ranks, &setup, store.device(), test, self.restore_best)?;
        // The first rank alone reads and writes them.
        let mut checkpoints = self.checkpoints.as_mut().filter(|_| ranks.is_first());
        if let Some(dir) = &mut checkpoints {
            dir.start()?;
        }
        let Resumed {
            mut history,
            mut position,
            parts,
        } = checkpoint::resume(
            checkpoints.as_deref(),
            ranks,
            &setup,
            store,
            &mut *optimizer,
        )?;
        store.check_initialized()?;
        ranks.check_weights(store, "at the start")?;
        let mut best = self.restore_best.map(BestWeights::by);
        let stop = callbacks.ask(|callback| {
            callback.on_fit_start(&FitStart {
                epochs,
                steps_per_epoch: steps,
                samples: train.num_samples(),
                history: &history,
                step: position.as_ref().map_or(0, |position| position.step),
                store,
            })
        })?;
        history.stopped = ranks.agree(Wishes::of_callbacks(stop))?.stop;
        if let Some((mut parts, path)) = parts {
            let load = || -> Result<()> {
                callbacks.load(&mut parts)?;
                if let Some(best) = &mut best {
                    best.load(parts.take(BEST)?, &history.rows)?;
                }
                batch_parts.load(&mut parts)?;
                // The others need not have all callbacks.
                if ranks.is_first() {
                    parts.finish()?;
                }
                Ok(())
            };
            load().map_err(|error| Error::mismatch(&path, error))?;
        }
        // The states of all parts, for a checkpoint.
        let parts = |callbacks: &Callbacks,
                     best: &Option<BestWeights>,
                     batch: &BatchParts|
         -> Result<Parts> {
            let mut parts = Parts::default();
            callbacks.save(&mut parts)?;
            if let Some(best) = best {
                parts.put(BEST, best.state())?;
            }
            batch.save(&mut parts)?;
            Ok(parts)
        };
        let interrupted = || self.interrupt.as_ref().is_some_and(|asked| asked());

        schedule.observe(&judged_rows(config, &history.rows, epochs))?;

        for epoch in history.rows.len()..epochs {
            if history.stopped.is_none() && history.seconds() >= most_seconds {
                history.stopped = Some(config.out_of_time());
            }
            let wishes = ranks.agree(Wishes {
                stop: history.stopped.take(),
                interrupt: interrupted(),
                over: false,
            })?;
            (history.stopped, history.interrupted) = (wishes.stop, wishes.interrupt);
            if history.interrupted || history.stopped.is_some() {
                break;
            }
            let steps_left = all_steps - epoch * steps;
            let resumed = position.take();
            if resumed.is_none() {
                callbacks.tell(|callback| callback.on_epoch_start(epoch))?;
            }
            let from = resumed.unwrap_or_else(|| Position::start(optimizer.lr()));
            let clock = Clock::start(from.seconds);
            let mut tally = TrainTally::new(store.device(), from.tally);
            optimizer.set_lr(from.lr);

            let batches = input.epoch_from(epoch as u64, from.step);
            watch.lap(Phase::Other);
            for (step, batch) in (from.step..steps_left).zip(batches) {
                watch.lap(Phase::Data);
                callbacks.tell(|callback| callback.on_batch_start(epoch, step))?;
                watch.lap(Phase::Callbacks);
                let (images, labels) = batch?;
                let Mixed {
                    images,
                    target,
                    labels,
                } = batch_parts.mix((epoch, step), images, labels)?;
                let time = |epoch: usize, step: usize| match schedule.per() {
                    Per::Epoch => epoch as u64,
                    Per::Step => (epoch * steps + step) as u64,
                };
                let rate = |epoch, step| schedule.lr(base_lr, time(epoch, step), total);
                let samples = match ranks.is_alone() {
                    true => labels.elem_count(),
                    false => sizes.at(step),
                };
                let lens = own_lens(ranks, samples, config.chunks);
                let target = with_precision(config.precision, || {
                    taught(self.teacher, &images, target, &lens)
                })?;
                let averaging =
                    (config.swa.as_ref()).and_then(|swa| swa.lr(epoch, rate(swa.start, 0)));
                let lr = averaging.unwrap_or_else(|| rate(epoch, step));
                batch_parts.finite.before_step(store)?;
                watch.lap(Phase::Data);

                // Forward, loss, backward: `ForwardBackward` above, unless the caller has another step.
                let input = StepInput {
                    model: &timed,
                    store,
                    loss,
                    images: &images,
                    target: &target,
                    epoch,
                    step,
                };
                let mut output = with_precision(config.precision, || train_step.step(&input))?;
                watch.training_step(timed.take(), ranks.take_waited());
                watch.repeated(launches.get());
                let at = (epoch, step);
                if batch_parts
                    .finite
                    .passes(at, &output, &images, &trained_params)?
                {
                    let part = (&output.logits, &labels);
                    tally.add_part(at, &output.loss, part, samples, ranks)?;
                    if !gradients_checked {
                        check_used(&trained_params, &output.grads, &config.allow_unused)?;
                        gradients_checked = true;
                    }
                    thawing.mask(epoch, &mut output.grads);
                    watch.lap(Phase::Other);
                    let mut before = BeforeStep {
                        epoch,
                        step,
                        steps: steps.min(steps_left),
                        grads: &mut output.grads,
                        store,
                    };
                    callbacks.tell(|callback| callback.on_before_optimizer_step(&mut before))?;
                    watch.lap(Phase::Callbacks);
                    if let Some(clip) = &config.clip {
                        clip.clip(&trained_params, &mut output.grads)?;
                    }
                    optimizer.set_lr(lr);
                    if let Some(base) = base_momentum {
                        let momentum = schedule.momentum(time(epoch, step), total);
                        optimizer.set_momentum(momentum.unwrap_or(base));
                    }
                    optimizer.step(&output.grads)?;
                    batch_parts.after_step()?;
                    watch.lap(Phase::Step);
                }

                let end = BatchEnd {
                    epoch,
                    step,
                    steps: steps.min(steps_left),
                    samples,
                    mean_loss: tally.mean_loss(),
                    accuracy: tally.accuracy(),
                    lr,
                };
                let stop = callbacks.ask(|callback| callback.on_batch_end(&end))?;
                watch.lap(Phase::Callbacks);
                let wishes = ranks.agree(Wishes {
                    stop,
                    interrupt: interrupted(),
                    over: history.seconds() + clock.seconds() >= most_seconds,
                })?;
                let leave = wishes.stop.is_some() || wishes.interrupt;
                if let Some(dir) = &mut checkpoints
                    && (leave || dir.due_after_step(epoch * steps + step + 1))
                {
                    tally.read(epoch)?;
                    let position = Position {
                        step: step + 1,
                        tally: tally.state(),
                        lr,
                        seconds: clock.seconds(),
                    };
                    let saved = Saved {
                        store,
                        optimizer: &*optimizer,
                        history: &history,
                        position: Some(position),
                        parts: parts(callbacks, &best, &batch_parts)?,
                    };
                    dir.save(&setup, saved)?;
                    watch.lap(Phase::Checkpoints);
                }
                if leave {
                    history.interrupted = wishes.stop.is_none();
                    history.stopped = wishes.stop;
                    self.profile = watch.profile();
                    callbacks.tell(|callback| callback.on_fit_end(&history))?;
                    return Ok(history);
                }
                if wishes.over {
                    break;
                }
            }
            tally.read(epoch)?;
            ranks.check_weights(store, &format!("after epoch {}", epoch + 1))?;
            batch_parts.after_epoch(epoch)?;
            watch.lap(Phase::Other);
            let trained = clock.seconds();

            let statistics = || {
                with_precision(config.precision, || {
                    update_batch_norm(model, store, train, epochs)
                })
            };
            let swapped = batch_parts.swap_in((epoch + 1, epochs), statistics)?;
            let wishes = ranks.agree(Wishes {
                over: history.seconds() + clock.seconds() >= most_seconds,
                ..Wishes::default()
            })?;
            let last = wishes.over;
            let due = last || config.evaluates(epoch, epochs);
            let evaluation = match judged.as_ref().filter(|_| due) {
                Some(judged) => Some(evaluate(
                    config.precision,
                    &judged_model,
                    judged,
                    loss,
                    metrics,
                    ranks,
                    |done| {
                        callbacks
                            .tell(|callback| callback.on_evaluation_batch(done, judged_batches))
                    },
                )?),
                None => None,
            };
            watch.lap(Phase::Evaluation);
            let measured = evaluation.as_ref();
            let (validated, tested) = match validation {
                Some(_) => (measured, None),
                None => (None, measured),
            };
            let row = EpochRow {
                epoch,
                train_loss: tally.mean_loss(),
                train_accuracy: tally.accuracy(),
                validation_loss: validated.map(|e| e.loss),
                validation_accuracy: validated.map(|e| e.accuracy),
                validation_top5: validated.and_then(|e| e.top5),
                test_loss: tested.map(|e| e.loss),
                test_accuracy: tested.map(|e| e.accuracy),
                test_top5: tested.and_then(|e| e.top5),
                lr: optimizer.lr(),
                seconds: clock.seconds(),
                images_per_second: tally.samples() as f64 / trained,
                metrics: measured.map(finite_metrics).unwrap_or_default(),
            };
            let stop = callbacks.ask(|callback| {
                callback.on_epoch_end(&EpochEnd {
                    row: &row,
                    epochs,
                    evaluation: measured,
                    store,
                })
            })?;
            let wishes = ranks.agree(Wishes {
                stop,
                interrupt: interrupted(),
                over: false,
            })?;
            history.stopped = wishes.stop;
            if let Some(best) = &mut best {
                best.see(&row, store)?;
            }
            watch.lap(Phase::Callbacks);
            batch_parts.swap_back(swapped)?;
            history.rows.push(row);
            schedule.observe(&judged_rows(config, &history.rows, epochs))?;
            if validation.is_none() {
                history.evaluation = evaluation;
            }
            let (done, stopped) = (history.rows.len(), history.stopped.is_some());
            if let Some(dir) = &mut checkpoints
                && (stopped || wishes.interrupt || dir.due_after_epoch(done, done == epochs))
            {
                let saved = Saved {
                    store,
                    optimizer: &*optimizer,
                    history: &history,
                    position: None,
                    parts: parts(callbacks, &best, &batch_parts)?,
                };
                dir.save(&setup, saved)?;
                watch.lap(Phase::Checkpoints);
            }
        }

        if !history.interrupted {
            // The statistics are part of the weights since the last epoch.
            batch_parts.swap_in((history.rows.len(), epochs), || Ok(()))?;
            if let Some(best) = &best {
                history.restored = best.restore(store)?;
                history.evaluation = None;
            }
            // With validation this is the first time that the test data is read. A run that was resumed at its end has no evaluation either.
            if let (None, Some(test)) = (&history.evaluation, test) {
                let test = match judged {
                    Some(judged) if validation.is_none() => judged,
                    _ => of_loader(test)?,
                };
                history.evaluation = Some(evaluate(
                    config.precision,
                    &judged_model,
                    &test,
                    loss,
                    metrics,
                    ranks,
                    |_| Ok(()),
                )?);
                watch.lap(Phase::Evaluation);
            }
        }
        self.profile = watch.profile();
        callbacks.tell(|callback| callback.on_fit_end(&history))?;
        Ok(history)
    }
}

/// The rows of the epochs that are evaluated: a schedule is told of these.
fn judged_rows(config: &TrainConfig, rows: &[EpochRow], epochs: usize) -> Vec<EpochRow> {
    let judged = rows
        .iter()
        .filter(|row| config.evaluates(row.epoch, epochs));
    judged.cloned().collect()
}
