//! Dataset with the labels of another one, by the names of the classes.

use std::borrow::Cow;
use std::sync::Arc;

use tallow_datasets::{Blocks, Dataset, DatasetInfo, ImageRef};

use crate::error::{Error, Result};

/// Dataset whose labels are those of other classes.
struct Relabelled {
    dataset: Arc<dyn Dataset>,
    info: DatasetInfo,
    /// New label of each old one.
    labels: Vec<u32>,
}

/// `dataset` with the labels that its classes have in `classes`.
///
/// # Errors
/// [`Error::Data`] for a class that is not one of `classes`.
pub(crate) fn with_classes(
    dataset: Arc<dyn Dataset>,
    classes: &[String],
) -> Result<Arc<dyn Dataset>> {
    if dataset.info().classes == classes {
        return Ok(dataset);
    }
    let label = |name: &String| {
        let position = classes.iter().position(|class| class == name);
        position.map(|label| label as u32).ok_or_else(|| {
            Error::Data(format!(
                "{} has the class `{name}`, which the network does not have: its classes are {}",
                dataset.info().name,
                classes.join(", ")
            ))
        })
    };
    let labels = dataset.info().classes.iter().map(label);
    let labels = labels.collect::<Result<Vec<u32>>>()?;
    let info = DatasetInfo {
        classes: classes.to_vec(),
        ..dataset.info().clone()
    };
    Ok(Arc::new(Relabelled {
        dataset,
        info,
        labels,
    }))
}

impl Dataset for Relabelled {
    fn info(&self) -> &DatasetInfo {
        &self.info
    }

    fn len(&self) -> usize {
        self.dataset.len()
    }

    fn shape(&self) -> Option<(usize, usize, usize)> {
        self.dataset.shape()
    }

    fn name(&self, index: usize) -> Option<Cow<'_, str>> {
        self.dataset.name(index)
    }

    fn label(&self, index: usize) -> tallow_datasets::Result<u32> {
        let label = self.dataset.label(index)?;
        let new = self.labels.get(label as usize).copied();
        new.ok_or_else(|| {
            tallow_datasets::Error::Argument(format!(
                "sample {index} of {} has label {label}, there are {} classes",
                self.info.name,
                self.labels.len()
            ))
        })
    }

    fn image<'a>(
        &'a self,
        index: usize,
        scratch: &'a mut Vec<u8>,
    ) -> tallow_datasets::Result<ImageRef<'a>> {
        self.dataset.image(index, scratch)
    }

    fn blocks(&self) -> Option<Blocks> {
        self.dataset.blocks()
    }
}

#[cfg(test)]
mod tests {
    use tallow_datasets::{ImageSet, Split};

    use super::*;

    #[test]
    fn labels_follow_the_names() {
        let names = |names: &[&str]| names.iter().map(|n| n.to_string()).collect::<Vec<_>>();
        let set = |classes: &[&str]| -> Arc<dyn Dataset> {
            let (shape, pixels) = ((1, 1, 1), vec![1, 2, 3]);
            let labels = vec![1, 0, 1];
            let set = ImageSet::from_parts(
                "new",
                Split::Test,
                "new",
                names(classes),
                shape,
                pixels,
                labels,
            );
            Arc::new(set.unwrap())
        };
        let known = names(&["ant", "bee", "cat"]);
        let mapped = with_classes(set(&["cat", "ant"]), &known).unwrap();
        let labels: Vec<u32> = (0..3).map(|i| mapped.label(i).unwrap()).collect();
        assert_eq!(labels, [0, 2, 0]);
        assert_eq!(mapped.info().classes, known);
        let error = with_classes(set(&["cat", "dog"]), &known).err().unwrap();
        assert!(error.message().contains("`dog`"), "{error}");
    }
}
