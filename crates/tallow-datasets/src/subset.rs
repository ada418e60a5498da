//! Subset of a dataset.

mod split;

use std::borrow::Cow;
use std::sync::Arc;

use sha2::{Digest, Sha256};
use tallow_transforms::ImageRef;

use crate::blocks::Blocks;
use crate::dataset::{Dataset, DatasetInfo};
use crate::digest::hex;
use crate::error::{Error, Result};
pub use split::{Fold, Sizes, k_fold, stratified_split, take_stratified};

/// Dataset of some samples of another, by index, as `torch.utils.data.Subset`. The images are not copied; clones are cheap.
///
/// It has the name of the whole set. Its provenance describes the selection, as in `mnist (IDX, original), subset 1000 of 60000`, and its
/// digest covers the digest of the whole set, the indices and the classes kept.
#[derive(Clone)]
pub struct Subset {
    dataset: Arc<dyn Dataset>,
    info: Arc<DatasetInfo>,
    indices: Arc<[usize]>,
    /// Old label to new, for a [`class_filter`].
    relabel: Option<Arc<[Option<u32>]>>,
}

impl Subset {
    /// Subset of the samples `indices` of `dataset`, in that order. An index may come more than once, as in a bootstrap sample.
    ///
    /// # Errors
    /// [`Error::Index`] for an index beyond the end.
    pub fn new(dataset: Arc<dyn Dataset>, indices: Vec<usize>) -> Result<Self> {
        let tag = format!("subset {} of {}", indices.len(), dataset.len());
        Self::tagged(dataset, indices, &tag, None)
    }

    /// `classes` are those to keep, in their new order.
    fn tagged(
        dataset: Arc<dyn Dataset>,
        indices: Vec<usize>,
        tag: &str,
        classes: Option<&[u32]>,
    ) -> Result<Self> {
        let len = dataset.len();
        if let Some(&index) = indices.iter().find(|&&index| index >= len) {
            return Err(Error::Index { index, len });
        }
        let mut info = dataset.info().clone();
        info.digest = digest(&info.digest, &indices, classes);
        info.provenance = format!("{}, {tag}", info.provenance);
        let relabel = classes.map(|classes| {
            let new = |old: usize| {
                classes
                    .iter()
                    .position(|&c| c as usize == old)
                    .map(|new| new as u32)
            };
            (0..info.classes.len()).map(new).collect()
        });
        if let Some(classes) = classes {
            info.classes = classes
                .iter()
                .map(|&class| info.classes[class as usize].clone())
                .collect();
        }
        Ok(Self {
            dataset,
            info: Arc::new(info),
            indices: indices.into(),
            relabel,
        })
    }

    /// Dataset that the samples are from.
    pub fn dataset(&self) -> &Arc<dyn Dataset> {
        &self.dataset
    }

    /// Index of each sample in [`dataset`](Self::dataset).
    pub fn indices(&self) -> &[usize] {
        &self.indices
    }

    fn inner(&self, index: usize) -> Result<usize> {
        self.indices.get(index).copied().ok_or(Error::Index {
            index,
            len: self.indices.len(),
        })
    }
}

impl Dataset for Subset {
    fn info(&self) -> &DatasetInfo {
        &self.info
    }

    fn len(&self) -> usize {
        self.indices.len()
    }

    fn shape(&self) -> Option<(usize, usize, usize)> {
        self.dataset.shape()
    }

    fn name(&self, index: usize) -> Option<Cow<'_, str>> {
        self.dataset.name(*self.indices.get(index)?)
    }

    fn label(&self, index: usize) -> Result<u32> {
        let label = self.dataset.label(self.inner(index)?)?;
        let Some(relabel) = &self.relabel else {
            return Ok(label);
        };
        let new = relabel.get(label as usize).copied().flatten();
        new.ok_or_else(|| {
            Error::Argument(format!(
                "sample {index} of {} has the label {label}, which was not kept",
                self.info.name
            ))
        })
    }

    fn image<'a>(&'a self, index: usize, scratch: &'a mut Vec<u8>) -> Result<ImageRef<'a>> {
        self.dataset.image(self.inner(index)?, scratch)
    }

    fn blocks(&self) -> Option<Blocks> {
        self.dataset.blocks()?.select(&self.indices)
    }
}

/// Subset of the first `n` samples.
///
/// # Errors
/// [`Error::Argument`] when there are fewer.
pub fn take(dataset: &Arc<dyn Dataset>, n: usize) -> Result<Subset> {
    let len = dataset.len();
    if n > len {
        return Err(Error::Argument(format!(
            "cannot take {n} samples of {}, which has {len}",
            dataset.info().name
        )));
    }
    Subset::tagged(
        dataset.clone(),
        (0..n).collect(),
        &format!("first {n} of {len}"),
        None,
    )
}

/// Subset of the samples of some classes, relabelled: class `classes[k]` becomes `k`.
///
/// # Errors
/// [`Error::Argument`] when there is no class to keep, or one is unknown or named twice.
pub fn class_filter(dataset: &Arc<dyn Dataset>, classes: &[u32]) -> Result<Subset> {
    let known = dataset.info().classes.len();
    if classes.is_empty() {
        return Err(Error::Argument(
            "a class filter must keep at least one class".into(),
        ));
    }
    for (i, &class) in classes.iter().enumerate() {
        if class as usize >= known {
            let name = &dataset.info().name;
            return Err(Error::Argument(format!(
                "there is no class {class} in {name}, which has {known}"
            )));
        }
        if classes[..i].contains(&class) {
            return Err(Error::Argument(format!("class {class} is named twice")));
        }
    }
    let mut indices = Vec::new();
    for index in 0..dataset.len() {
        if classes.contains(&dataset.label(index)?) {
            indices.push(index);
        }
    }
    let names: Vec<String> = classes.iter().map(u32::to_string).collect();
    let tag = format!(
        "classes {}: {} of {}",
        names.join(" "),
        indices.len(),
        dataset.len()
    );
    Subset::tagged(dataset.clone(), indices, &tag, Some(classes))
}

/// Subset of all samples sorted by label, those of one label in the order of the dataset: the worst order to train in, for
/// experiments with shuffling.
pub fn sort_by_class(dataset: &Arc<dyn Dataset>) -> Result<Subset> {
    let mut samples = (0..dataset.len())
        .map(|index| Ok((dataset.label(index)?, index)))
        .collect::<Result<Vec<_>>>()?;
    samples.sort_unstable();
    let indices = samples.into_iter().map(|(_, index)| index).collect();
    Subset::tagged(dataset.clone(), indices, "sorted by class", None)
}

fn digest(whole: &str, indices: &[usize], classes: Option<&[u32]>) -> String {
    let mut hash = Sha256::new();
    hash.update(b"tallow subset\0");
    hash.update(whole);
    let classes = classes.unwrap_or_default();
    hash.update((classes.len() as u64).to_le_bytes());
    classes
        .iter()
        .for_each(|class| hash.update(class.to_le_bytes()));
    indices
        .iter()
        .for_each(|&index| hash.update((index as u64).to_le_bytes()));
    hex(&hash.finalize())
}
