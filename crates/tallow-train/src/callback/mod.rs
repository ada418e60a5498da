//! Callbacks: code that runs at certain points of a training run.

mod early_stopping;
mod keep_best;
mod log_progress;
mod monitor;

use std::ops::ControlFlow;

use candle_core::backprop::GradStore;
use tallow_ops::ParamStore;

pub use early_stopping::EarlyStopping;
pub use keep_best::KeepBest;
pub use log_progress::LogProgress;
pub use monitor::Monitor;

use crate::error::Result;
use crate::history::{Evaluation, History};
use crate::parts::{PartState, Parts};
use tallow_record::EpochRow;

/// Answer of a callback: continue, or stop training for the given reason.
pub type Flow = Result<ControlFlow<String>>;

/// Answer of a callback: continue.
pub const CONTINUE: Flow = Ok(ControlFlow::Continue(()));

/// Callback of a [`Trainer`](crate::Trainer). Every method does nothing by default.
///
/// Callbacks run in the order in which they were added. If one of them stops the run, the others still receive the same event. A stop
/// at the end of a batch discards the unfinished epoch, a stop at the end of an epoch keeps it. With checkpoints, a run that was stopped
/// at the end of a batch continues after that batch when it is resumed.
///
/// A callback may change the gradients before the optimizer uses them:
///
/// ```
/// use candle_core::DType;
/// use tallow_train::{BeforeStep, Callback, Result};
///
/// /// Clips the norm of all gradients together, as `torch.nn.utils.clip_grad_norm_`.
/// struct ClipNorm {
///     max: f64,
/// }
///
/// impl Callback for ClipNorm {
///     fn on_before_optimizer_step(&mut self, step: &mut BeforeStep) -> Result<()> {
///         let parameters = step.store.parameters();
///         let mut square = 0.0;
///         for (_, parameter) in &parameters {
///             if let Some(grad) = step.grads.get(parameter) {
///                 square += grad.to_dtype(DType::F64)?.sqr()?.sum_all()?.to_scalar::<f64>()?;
///             }
///         }
///         let norm = square.sqrt();
///         if norm > self.max {
///             for (_, parameter) in &parameters {
///                 if let Some(grad) = step.grads.remove(parameter) {
///                     step.grads.insert(parameter, (grad * (self.max / norm))?);
///                 }
///             }
///         }
///         Ok(())
///     }
/// }
///
/// # use candle_core::{Device, Tensor};
/// # use tallow_ops::{Init, ParamStore};
/// # let store = ParamStore::new(DType::F32, &Device::Cpu, 0);
/// # let w = store.root().param("w", 2, Init::Const(0.0))?;
/// # let target = Tensor::new(&[3f32, 4.0], &Device::Cpu)?;
/// # let mut grads = (w.as_tensor() * target)?.sum_all()?.backward()?;
/// // The gradient is (3, 4), of norm 5.
/// # let mut step = BeforeStep { epoch: 0, step: 0, steps: 1, grads: &mut grads, store: &store };
/// ClipNorm { max: 0.5 }.on_before_optimizer_step(&mut step)?;
/// let clipped = grads.get(&w).unwrap().to_vec1::<f32>()?;
/// assert!((clipped[0] - 0.3).abs() < 1e-6 && (clipped[1] - 0.4).abs() < 1e-6);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait Callback {
    /// Before the first epoch, or the first one after a checkpoint was loaded. A callback whose state follows from the history computes
    /// it here, so that a resumed run behaves like one that was never stopped. Other state goes into the checkpoint:
    /// [`state_key`](Self::state_key).
    fn on_fit_start(&mut self, _fit: &FitStart) -> Flow {
        CONTINUE
    }

    /// Name of this callback's state in checkpoints, unique among the callbacks of a trainer; `None`, the default, without a state. A
    /// checkpoint is resumed only by a run with the same names.
    fn state_key(&self) -> Option<&str> {
        None
    }

    /// State for a checkpoint, after a step or an epoch; asked for only with a [`state_key`](Self::state_key).
    fn state_dict(&self) -> Result<PartState> {
        Ok(PartState::default())
    }

    /// Restores a state from [`state_dict`](Self::state_dict), after [`on_fit_start`](Self::on_fit_start).
    ///
    /// # Errors
    /// Any error ends the run: the state is of another callback or version.
    fn load_state_dict(&mut self, _state: PartState) -> Result<()> {
        Ok(())
    }

    /// Before an epoch's first batch; not when a run is resumed in the middle of the epoch.
    fn on_epoch_start(&mut self, _epoch: usize) -> Result<()> {
        Ok(())
    }

    /// Before the training step of a batch; `step` counts within the epoch, from 0.
    fn on_batch_start(&mut self, _epoch: usize, _step: usize) -> Result<()> {
        Ok(())
    }

    /// After the backward pass and before the optimizer's step. The gradients may be read and changed; callbacks that were added later
    /// see the changes.
    fn on_before_optimizer_step(&mut self, _step: &mut BeforeStep) -> Result<()> {
        Ok(())
    }

    /// After the optimizer's step.
    fn on_batch_end(&mut self, _batch: &BatchEnd) -> Flow {
        CONTINUE
    }

    /// After each batch of the evaluation at the end of an epoch: `done` of `batches`.
    fn on_evaluation_batch(&mut self, _done: usize, _batches: usize) -> Result<()> {
        Ok(())
    }

    /// After the evaluation of an epoch and before its checkpoint.
    fn on_epoch_end(&mut self, _epoch: &EpochEnd) -> Flow {
        CONTINUE
    }

    /// After the last epoch, or after a callback stopped the run; not after an error.
    fn on_fit_end(&mut self, _history: &History) -> Result<()> {
        Ok(())
    }
}

/// Run that is about to start.
pub struct FitStart<'a> {
    /// Number of epochs, with those of the history.
    pub epochs: usize,
    /// Batches per epoch.
    pub steps_per_epoch: usize,
    /// Samples per epoch.
    pub samples: usize,
    /// Epochs already done, if the run was resumed.
    pub history: &'a History,
    /// Steps already done of the epoch after them.
    pub step: usize,
    /// Parameters of the model.
    pub store: &'a ParamStore,
}

/// Batch after the backward pass.
pub struct BeforeStep<'a> {
    /// Epoch, from 0.
    pub epoch: usize,
    /// Step within the epoch, from 0.
    pub step: usize,
    /// Batches of this epoch.
    pub steps: usize,
    /// Gradients of the loss with respect to every parameter that is trained, and some that are frozen. With
    /// [`TrainConfig::cuda_graph`](crate::TrainConfig::cuda_graph) the next step writes to the same memory: keep copies, not the tensors.
    pub grads: &'a mut GradStore,
    /// Parameters of the model.
    pub store: &'a ParamStore,
}

/// Batch after its optimizer step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BatchEnd {
    /// Epoch, from 0.
    pub epoch: usize,
    /// Step within the epoch, from 0.
    pub step: usize,
    /// Batches of this epoch.
    pub steps: usize,
    /// Samples of this batch.
    pub samples: usize,
    /// Mean loss of the epoch so far. On the CPU it includes this batch; on other devices it is
    /// read every few steps, and is NaN before the first time.
    pub mean_loss: f64,
    /// Accuracy in `[0, 1]` on the epoch's samples so far, read as often as `mean_loss`; 0 before the first time.
    pub accuracy: f64,
    /// Learning rate of the step.
    pub lr: f64,
}

/// Finished epoch.
pub struct EpochEnd<'a> {
    /// Metrics of the epoch.
    pub row: &'a EpochRow,
    /// Number of epochs of the run.
    pub epochs: usize,
    /// Evaluation on the validation data, or on the test data in a run without; `None` with neither.
    pub evaluation: Option<&'a Evaluation>,
    /// Parameters of the model.
    pub store: &'a ParamStore,
}

impl<C: Callback + ?Sized> Callback for &mut C {
    fn on_fit_start(&mut self, fit: &FitStart) -> Flow {
        (**self).on_fit_start(fit)
    }
    fn state_key(&self) -> Option<&str> {
        (**self).state_key()
    }
    fn state_dict(&self) -> Result<PartState> {
        (**self).state_dict()
    }
    fn load_state_dict(&mut self, state: PartState) -> Result<()> {
        (**self).load_state_dict(state)
    }
    fn on_epoch_start(&mut self, epoch: usize) -> Result<()> {
        (**self).on_epoch_start(epoch)
    }
    fn on_batch_start(&mut self, epoch: usize, step: usize) -> Result<()> {
        (**self).on_batch_start(epoch, step)
    }
    fn on_before_optimizer_step(&mut self, step: &mut BeforeStep) -> Result<()> {
        (**self).on_before_optimizer_step(step)
    }
    fn on_batch_end(&mut self, batch: &BatchEnd) -> Flow {
        (**self).on_batch_end(batch)
    }
    fn on_evaluation_batch(&mut self, done: usize, batches: usize) -> Result<()> {
        (**self).on_evaluation_batch(done, batches)
    }
    fn on_epoch_end(&mut self, epoch: &EpochEnd) -> Flow {
        (**self).on_epoch_end(epoch)
    }
    fn on_fit_end(&mut self, history: &History) -> Result<()> {
        (**self).on_fit_end(history)
    }
}

/// Callbacks of a trainer, in the order in which they run.
#[derive(Default)]
pub(crate) struct Callbacks<'a>(Vec<Box<dyn Callback + 'a>>);

impl<'a> Callbacks<'a> {
    pub fn push(&mut self, callback: impl Callback + 'a) {
        self.0.push(Box::new(callback));
    }

    /// Puts the states of the callbacks into `parts`.
    pub fn save(&self, parts: &mut Parts) -> Result<()> {
        for callback in &self.0 {
            if let Some(key) = callback.state_key() {
                parts.put(key, callback.state_dict()?)?;
            }
        }
        Ok(())
    }

    /// Takes the states of the callbacks out of `parts` and loads them.
    pub fn load(&mut self, parts: &mut Parts) -> Result<()> {
        for callback in &mut self.0 {
            if let Some(key) = callback.state_key() {
                let state = parts.take(key)?;
                callback.load_state_dict(state)?;
            }
        }
        Ok(())
    }

    /// Calls `f` with every callback, until the first error.
    pub fn tell(&mut self, f: impl FnMut(&mut (dyn Callback + 'a)) -> Result<()>) -> Result<()> {
        self.0.iter_mut().map(|c| &mut **c).try_for_each(f)
    }

    /// Calls `f` with every callback, and returns the first reason to stop.
    pub fn ask(
        &mut self,
        mut f: impl FnMut(&mut (dyn Callback + 'a)) -> Flow,
    ) -> Result<Option<String>> {
        let mut stop = None;
        for callback in &mut self.0 {
            if let ControlFlow::Break(reason) = f(&mut **callback)? {
                stop.get_or_insert(reason);
            }
        }
        Ok(stop)
    }
}
