use candle_core::{DType, Tensor};

use crate::error::{Error, Result};

/// Targets of a batch. Cloning shares the tensor.
#[derive(Clone, Debug)]
pub enum Target {
    /// Class indices `(N)`, `u32` below `K`.
    Classes(Tensor),
    /// Soft labels `(N, K)`: probabilities of the classes, as mixup, CutMix and distillation give them.
    Soft(Tensor),
    /// Multi-label targets `(N, K)`: 1 for each class that is present, else 0.
    MultiLabel(Tensor),
    /// Targets with the logits `(N, K)` of a teacher for the same images, see [`Distillation`](super::Distillation).
    Teacher {
        /// Targets without the teacher.
        target: Box<Target>,
        /// Logits of the teacher `(N, K)`, without gradient.
        logits: Tensor,
    },
}

impl Target {
    /// Targets as `(N, K)`: soft labels and multi-label targets as they are, class indices as one-hot rows of `f32`. A teacher's logits
    /// are left out.
    ///
    /// # Errors
    /// [`Error::Label`] when a class index is not below `classes`, [`Error::LabelType`] when the indices are not `u32`.
    pub fn probabilities(&self, classes: usize) -> Result<Tensor> {
        match self {
            Target::Soft(values) | Target::MultiLabel(values) => Ok(values.clone()),
            Target::Classes(labels) => one_hot(labels, classes),
            Target::Teacher { target, .. } => target.probabilities(classes),
        }
    }

    /// Number of samples.
    ///
    /// # Errors
    /// When the tensor is a scalar.
    pub fn samples(&self) -> Result<usize> {
        Ok(match self {
            Target::Classes(rows) | Target::Soft(rows) | Target::MultiLabel(rows) => rows.dim(0)?,
            Target::Teacher { logits, .. } => logits.dim(0)?,
        })
    }

    /// Targets of `len` samples, from sample `start` on.
    ///
    /// # Errors
    /// When there are not so many.
    pub fn narrow(&self, start: usize, len: usize) -> Result<Self> {
        Ok(self.map(&mut |rows| rows.narrow(0, start, len))?)
    }

    /// Targets of the same kind, with what `f` makes of each tensor.
    pub(crate) fn map(
        &self,
        f: &mut dyn FnMut(&Tensor) -> candle_core::Result<Tensor>,
    ) -> candle_core::Result<Self> {
        Ok(match self {
            Target::Classes(rows) => Target::Classes(f(rows)?),
            Target::Soft(rows) => Target::Soft(f(rows)?),
            Target::MultiLabel(rows) => Target::MultiLabel(f(rows)?),
            Target::Teacher { target, logits } => Target::Teacher {
                target: Box::new(target.map(f)?),
                logits: f(logits)?,
            },
        })
    }

    /// Name of the kind, for messages.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Target::Classes(_) => "class indices",
            Target::Soft(_) => "soft labels",
            Target::MultiLabel(_) => "multi-label targets",
            Target::Teacher { .. } => "the logits of a teacher",
        }
    }
}

/// One-hot rows `(N, classes)` of `f32` for labels `(N)`.
///
/// On other devices than the CPU the labels are not read back, which would wait for the device at every step. There, a row whose label
/// is not below `classes` is NaN, and with it the loss.
fn one_hot(labels: &Tensor, classes: usize) -> Result<Tensor> {
    if labels.dtype() != DType::U32 {
        let found = labels.dtype();
        return Err(Error::LabelType { found });
    }
    let rows = rows(labels, classes)?;
    if !labels.device().is_cpu() {
        return Ok(nan_where_out_of_range(&rows, labels, classes)?);
    }
    let labels = labels.to_vec1::<u32>()?;
    match labels.iter().position(|&label| label as usize >= classes) {
        None => Ok(rows),
        Some(sample) => Err(Error::Label {
            label: labels[sample],
            sample,
            classes,
        }),
    }
}

fn rows(labels: &Tensor, classes: usize) -> candle_core::Result<Tensor> {
    let classes = Tensor::arange(0u32, classes as u32, labels.device())?;
    let hit = labels.unsqueeze(1)?.broadcast_eq(&classes.unsqueeze(0)?)?;
    hit.to_dtype(DType::F32)
}

/// Adds 0 to the rows whose label is below `classes`, NaN to the others.
fn nan_where_out_of_range(
    rows: &Tensor,
    labels: &Tensor,
    classes: usize,
) -> candle_core::Result<Tensor> {
    let valid = labels.lt(classes as u32)?.to_dtype(DType::F32)?;
    // 0 * ln 1 = 0; 0 * ln 0 is NaN.
    let penalty = (valid.log()? * 0.0)?;
    rows.broadcast_add(&penalty.unsqueeze(1)?)
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    #[test]
    fn class_indices_become_one_hot_rows() {
        let labels = Tensor::new(&[2u32, 0], &Device::Cpu).unwrap();
        let rows = Target::Classes(labels.clone()).probabilities(3).unwrap();
        let rows = rows.to_vec2::<f32>().unwrap();
        assert_eq!(rows, [[0., 0., 1.], [1., 0., 0.]]);

        let error = Target::Classes(labels).probabilities(2).unwrap_err();
        assert!(
            matches!(
                error,
                Error::Label {
                    label: 2,
                    sample: 0,
                    classes: 2
                }
            ),
            "{error}"
        );
        let signed = Tensor::new(&[1i64], &Device::Cpu).unwrap();
        let error = Target::Classes(signed).probabilities(2).unwrap_err();
        assert!(matches!(error, Error::LabelType { .. }), "{error}");
    }

    #[test]
    fn rows_of_other_devices_are_nan_where_the_label_is_out_of_range() {
        let labels = Tensor::new(&[1u32, 7, 0], &Device::Cpu).unwrap();
        let rows = rows(&labels, 2).unwrap();
        let rows = nan_where_out_of_range(&rows, &labels, 2).unwrap();
        let rows = rows.to_vec2::<f32>().unwrap();
        assert_eq!((&rows[0][..], &rows[2][..]), (&[0., 1.][..], &[1., 0.][..]));
        assert!(rows[1].iter().all(|value| value.is_nan()), "{rows:?}");
    }
}
