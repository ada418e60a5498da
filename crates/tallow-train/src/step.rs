//! Training step: from a batch to the gradients of its loss.

use candle_core::Tensor;
use candle_core::backprop::GradStore;
use candle_nn::ModuleT;
use tallow_ops::ParamStore;

use crate::error::Result;
use crate::loss::{Loss, Target};

/// Training step: from a batch to the gradients of its loss. The default is [`ForwardBackward`](crate::ForwardBackward).
///
/// A training step of your own is passed to [`Trainer::with_step`](crate::Trainer::with_step): for several losses, distillation from a teacher, or more than one
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

    /// [`step`](Self::step) that hands each variable and its gradient to `ready` once the gradient is final. On several ranks it is called for
    /// the last chunk of a rank, so that gradients are sent while the others are computed.
    ///
    /// The output has the very tensors that were handed over. What is handed over cannot be changed any more, so a step that changes
    /// gradients after its backward pass, or has several passes, hands over nothing: it keeps to the default, which calls `step`.
    ///
    /// # Errors
    /// As [`step`](Self::step).
    fn step_with(
        &mut self,
        input: &StepInput,
        _ready: &mut dyn FnMut(&Tensor, &Tensor),
    ) -> Result<StepOutput> {
        self.step(input)
    }
}

impl<S: TrainStep + ?Sized> TrainStep for &mut S {
    fn step(&mut self, input: &StepInput) -> Result<StepOutput> {
        (**self).step(input)
    }

    fn step_with(
        &mut self,
        input: &StepInput,
        ready: &mut dyn FnMut(&Tensor, &Tensor),
    ) -> Result<StepOutput> {
        (**self).step_with(input, ready)
    }
}

impl<S: TrainStep + ?Sized> TrainStep for Box<S> {
    fn step(&mut self, input: &StepInput) -> Result<StepOutput> {
        (**self).step(input)
    }

    fn step_with(
        &mut self,
        input: &StepInput,
        ready: &mut dyn FnMut(&Tensor, &Tensor),
    ) -> Result<StepOutput> {
        (**self).step_with(input, ready)
    }
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
    /// Targets of the images: the class indices of the data loader, or soft labels of a mixed batch.
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
