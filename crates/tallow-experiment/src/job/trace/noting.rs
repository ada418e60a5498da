//! Model and training step that compute nothing and note what they are given.

use std::cell::RefCell;

use candle_core::{DType, Tensor};
use candle_nn::ModuleT;
use tallow_train::{StepInput, StepOutput, Target, TrainStep};

use super::digest::Digest;
use super::gradients::FixedGradients;

/// Epochs in whose first steps all parameters get a gradient.
const FULL_EPOCHS: usize = 8;

/// Steps at the start of the first epoch in which all parameters get a gradient; later ones have two.
const FULL_STEPS: usize = 4;

/// Model whose logits are 0.
pub(super) struct NoModel<'n> {
    pub classes: usize,
    /// Digest of the inputs in evaluation.
    pub inputs: Option<&'n RefCell<Digest>>,
}

impl ModuleT for NoModel<'_> {
    fn forward_t(&self, images: &Tensor, train: bool) -> candle_core::Result<Tensor> {
        if let (Some(inputs), false) = (self.inputs, train) {
            inputs.borrow_mut().tensor(images)?;
        }
        logits(images, self.classes)
    }
}

/// Training step that gives fixed gradients.
pub(super) struct Noting<'n> {
    gradients: FixedGradients,
    classes: usize,
    /// Whether all parameters get a gradient in every step.
    always_all: bool,
    /// Digest of the batches of each epoch.
    batches: Option<&'n RefCell<Vec<Digest>>>,
    /// Weights after some of the steps.
    values: Option<&'n RefCell<Vec<f64>>>,
    number: usize,
}

impl<'n> Noting<'n> {
    pub fn new(gradients: FixedGradients, classes: usize, always_all: bool) -> Self {
        Self {
            gradients,
            classes,
            always_all,
            batches: None,
            values: None,
            number: 0,
        }
    }

    pub fn with_batches(self, batches: &'n RefCell<Vec<Digest>>) -> Self {
        let batches = Some(batches);
        Self { batches, ..self }
    }

    pub fn with_values(self, values: &'n RefCell<Vec<f64>>) -> Self {
        let values = Some(values);
        Self { values, ..self }
    }
}

impl TrainStep for Noting<'_> {
    fn step(&mut self, input: &StepInput) -> tallow_train::Result<StepOutput> {
        let &StepInput {
            images,
            target,
            epoch,
            step,
            ..
        } = input;
        if let Some(batches) = self.batches {
            let mut batches = batches.borrow_mut();
            if batches.len() <= epoch {
                batches.resize_with(epoch + 1, Digest::default);
            }
            batches[epoch].tensor(images)?;
            add_target(&mut batches[epoch], target)?;
        }
        // The weights are those after the step before.
        if let Some(values) = self.values {
            if self.number.is_power_of_two() {
                values.borrow_mut().extend(self.gradients.value_of_least()?);
            }
            if self.number == FULL_STEPS {
                values.borrow_mut().extend(self.gradients.values()?);
            }
        }
        let full = match epoch {
            0 => step < FULL_STEPS,
            epoch => epoch < FULL_EPOCHS && step < 2,
        };
        let grads = self.gradients.step(self.number, self.always_all || full)?;
        self.number += 1;
        Ok(StepOutput {
            loss: Tensor::zeros((), DType::F32, images.device())?,
            logits: logits(images, self.classes)?,
            grads,
        })
    }
}

fn logits(images: &Tensor, classes: usize) -> candle_core::Result<Tensor> {
    Tensor::zeros((images.dim(0)?, classes), DType::F32, images.device())
}

fn add_target(digest: &mut Digest, target: &Target) -> candle_core::Result<()> {
    match target {
        Target::Classes(values) | Target::Soft(values) | Target::MultiLabel(values) => {
            digest.tensor(values)
        }
        // The logits of a teacher depend on its kernels.
        Target::Teacher { target, .. } => add_target(digest, target),
    }
}
