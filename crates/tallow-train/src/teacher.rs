//! Teacher of a distillation.

use candle_core::Tensor;
use candle_nn::ModuleT;
use tallow_ops::no_grad;

use crate::error::{Error, Result};
use crate::loss::{LossConfig, Target};

/// Targets with the logits of the teacher for `images`, if there is one.
pub(crate) fn taught(
    teacher: Option<&dyn ModuleT>,
    images: &Tensor,
    target: Target,
) -> Result<Target> {
    let Some(teacher) = teacher else {
        return Ok(target);
    };
    let logits = no_grad(|| teacher.forward_t(images, false))?.detach();
    Ok(Target::Teacher {
        target: Box::new(target),
        logits,
    })
}

/// Checks that a built-in loss has the teacher that it needs, and no other has one.
pub(crate) fn check_teacher(loss: &LossConfig, given: bool) -> Result<()> {
    match (loss.teacher(), given) {
        (Some(_), false) => Err(Error::config(
            "loss.teacher",
            "distillation needs the model of the teacher: set it with `Trainer::with_teacher`",
        )),
        (None, true) => Err(Error::config(
            "loss",
            "a teacher was set, but the loss does not use one: expected `distillation`",
        )),
        _ => Ok(()),
    }
}
