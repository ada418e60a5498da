//! Teacher of a distillation.

use candle_core::Tensor;
use candle_nn::ModuleT;
use tallow_ops::no_grad;

use crate::error::{Error, Result};
use crate::loss::{LossConfig, Target};

/// Targets with the logits of the teacher for `images`, if there is one. It sees the images in chunks of these lengths: as the ranks that
/// share the chunks out.
pub(crate) fn taught(
    teacher: Option<&dyn ModuleT>,
    images: &Tensor,
    target: Target,
    chunks: &[usize],
) -> Result<Target> {
    let Some(teacher) = teacher else {
        return Ok(target);
    };
    let (mut start, mut logits) = (0, Vec::new());
    for &len in chunks {
        let chunk = images.narrow(0, start, len)?.contiguous()?;
        logits.push(no_grad(|| teacher.forward_t(&chunk, false))?.detach());
        start += len;
    }
    let logits = match logits.as_slice() {
        [] => return Ok(target),
        [logits] => logits.clone(),
        logits => Tensor::cat(logits, 0)?,
    };
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
