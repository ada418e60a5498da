use candle_core::{DType, Tensor};

use crate::error::{Error, Result};

const OP: &str = "cross_entropy";

/// Hyper-parameters of a cross-entropy.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct CrossEntropyConfig {
    /// Label smoothing: the part of the target that is uniform over all classes, in `[0, 1]` (Szegedy et al. 2016); 0.
    pub label_smoothing: f64,
}

/// Checks shapes, types and hyper-parameters, and gives the number of classes.
pub(crate) fn check_labels(
    logits: &Tensor,
    labels: &Tensor,
    config: &CrossEntropyConfig,
) -> Result<usize> {
    let op = OP;
    let (rows, classes) = check_logits(op, logits)?;
    if labels.dims() != [rows] {
        let expected = format!("({rows}), one per row of the logits");
        return Err(Error::Shape {
            op,
            argument: "labels",
            expected,
            found: labels.shape().clone(),
        });
    }
    let bad = |message| Err(Error::Config { op, message });
    if labels.dtype() != DType::U32 {
        return bad(format!(
            "expected labels of type U32, found {:?}",
            labels.dtype()
        ));
    }
    if !(0. ..=1.).contains(&config.label_smoothing) {
        return bad(format!(
            "expected a label_smoothing in [0, 1], found {}",
            config.label_smoothing
        ));
    }
    Ok(classes)
}

/// Labels, each checked to be below the number of classes.
pub(crate) fn read_labels(labels: &Tensor, classes: usize) -> Result<Vec<u32>> {
    let labels = labels.to_vec1::<u32>()?;
    if let Some(row) = labels.iter().position(|&label| label as usize >= classes) {
        let message = format!(
            "label {} of row {row} is not below the number of classes, {classes}",
            labels[row]
        );
        return Err(Error::Config { op: OP, message });
    }
    Ok(labels)
}

pub(crate) fn check_probabilities(
    logits: &Tensor,
    probabilities: &Tensor,
) -> Result<(usize, usize)> {
    let op = "cross_entropy_soft";
    let (rows, classes) = check_logits(op, logits)?;
    if probabilities.dims() != [rows, classes] {
        let expected = format!("({rows}, {classes}), as the logits");
        return Err(Error::Shape {
            op,
            argument: "probabilities",
            expected,
            found: probabilities.shape().clone(),
        });
    }
    if probabilities.dtype() != logits.dtype() {
        let message = format!(
            "probabilities have type {:?}, expected {:?} as the logits",
            probabilities.dtype(),
            logits.dtype()
        );
        return Err(Error::Config { op, message });
    }
    Ok((rows, classes))
}

fn check_logits(op: &'static str, logits: &Tensor) -> Result<(usize, usize)> {
    match *logits.dims() {
        [rows, classes] if rows > 0 && classes > 0 => Ok((rows, classes)),
        _ => {
            let expected = "(N, K) with N and K above 0".into();
            Err(Error::Shape {
                op,
                argument: "logits",
                expected,
                found: logits.shape().clone(),
            })
        }
    }
}
