//! Properties of the data that a proposed recipe depends on: numbers, sizes and colours of the pictures.

use rayon::prelude::*;
use tallow_datasets::Dataset;
use tallow_transforms::{Compose, SampleRng, TransformConfig};

use crate::error::{Error, Result};

/// Most pictures that are decoded for a survey.
const PICTURES: usize = 1000;

/// Properties of training pictures.
#[derive(Clone, Debug, PartialEq)]
pub struct Survey {
    /// Number of pictures.
    pub images: usize,
    /// Names of the classes.
    pub classes: Vec<String>,
    /// Number of pictures of each class.
    pub per_class: Vec<usize>,
    /// Shape `(C, H, W)` of all pictures, if they have one.
    pub shape: Option<(usize, usize, usize)>,
    /// Median of the shorter sides of the pictures, in pixels.
    pub side: usize,
    /// Whether the pictures have colour.
    pub colour: bool,
}

/// Indices of up to [`PICTURES`] pictures, evenly over the dataset.
fn sample(images: usize) -> Vec<usize> {
    let count = images.min(PICTURES);
    (0..count).map(|i| i * images / count).collect()
}

impl Survey {
    /// Survey of a training set. Decodes up to 1,000 pictures of it, evenly over the dataset.
    ///
    /// # Errors
    /// Those of the dataset; [`Error::Data`] when it is empty.
    pub fn of(train: &dyn Dataset) -> Result<Self> {
        let indices = sample(train.len());
        let seen = indices.into_par_iter().map_init(Vec::new, |scratch, i| {
            let image = train.image(i, scratch)?;
            let size = image.height * image.width;
            let planes: Vec<&[u8]> = image.data.chunks_exact(size.max(1)).collect();
            let colour = planes.windows(2).any(|pair| pair[0] != pair[1]);
            Ok(((image.channels, image.height, image.width), colour))
        });
        let seen = seen.collect::<Result<Vec<_>>>()?;
        let first = seen.first().map(|(shape, _)| *shape);
        let mut sides: Vec<usize> = seen.iter().map(|((_, h, w), _)| *h.min(w)).collect();
        sides.sort_unstable();
        let side = sides.get(sides.len() / 2).copied();
        let mut per_class = vec![0; train.info().classes.len()];
        for index in 0..train.len() {
            if let Some(count) = per_class.get_mut(train.label(index)? as usize) {
                *count += 1;
            }
        }
        Ok(Self {
            images: train.len(),
            classes: train.info().classes.clone(),
            per_class,
            shape: first.filter(|shape| seen.iter().all(|(other, _)| other == shape)),
            side: side.ok_or_else(|| Error::Data("there are no training images".to_string()))?,
            colour: seen.iter().any(|(_, colour)| *colour),
        })
    }

    /// Largest number of pictures of a class divided by the smallest; `None` if a class has none.
    pub fn imbalance(&self) -> Option<f64> {
        let most = *self.per_class.iter().max()?;
        let least = *self.per_class.iter().min()?;
        (least > 0).then(|| most as f64 / least as f64)
    }
}

/// Mean and standard deviation of each channel of training pictures in `[0, 1]` after `transforms`, which end in `to-tensor`; of up to
/// 1,000 pictures, evenly over the dataset.
pub(super) fn moments(
    train: &dyn Dataset,
    transforms: &[TransformConfig],
) -> Result<Vec<(f64, f64)>> {
    let transforms = Compose::new(transforms.to_vec())?;
    let sums = sample(train.len())
        .into_par_iter()
        .map_init(Vec::new, |scratch, i| {
            let image = train.image(i, scratch)?;
            let (c, h, w) = transforms.output_shape(image.shape())?;
            let mut values = vec![0f32; c * h * w];
            transforms.apply(image, &mut SampleRng::new(0, 0, 0), &mut values)?;
            let plane = |plane: &[f32]| {
                let sum = plane.iter().map(|&v| f64::from(v)).sum::<f64>();
                let squares = plane.iter().map(|&v| f64::from(v).powi(2)).sum::<f64>();
                (plane.len() as f64, sum, squares)
            };
            let planes = values.chunks_exact((h * w).max(1)).map(plane);
            Ok(planes.collect::<Vec<_>>())
        });
    // In the order of the pictures, so that the figures do not depend on the threads.
    let sums = sums.collect::<Result<Vec<_>>>()?;
    let channels = sums.first().map_or(0, Vec::len);
    let moments = (0..channels).map(|channel| {
        let of = sums.iter().filter_map(|planes| planes.get(channel));
        let (count, sum, squares) = of.fold((0.0, 0.0, 0.0), |total, plane| {
            (total.0 + plane.0, total.1 + plane.1, total.2 + plane.2)
        });
        let mean = sum / count;
        (mean, (squares / count - mean * mean).max(0.0).sqrt())
    });
    Ok(moments.collect())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tallow_datasets::{ImageSet, Split};

    use super::*;

    fn set(pixels: Vec<u8>, shape: (usize, usize, usize), labels: Vec<u32>) -> Arc<dyn Dataset> {
        let classes = vec!["a".to_string(), "b".to_string()];
        let set = ImageSet::from_parts("t", Split::Train, "t", classes, shape, pixels, labels);
        Arc::new(set.unwrap())
    }

    #[test]
    fn it_counts_and_sees_colour() {
        let grey = set([vec![9; 12], vec![200; 12]].concat(), (3, 2, 2), vec![0, 1]);
        let survey = Survey::of(&*grey).unwrap();
        assert!(!survey.colour);
        assert_eq!((survey.images, survey.side), (2, 2));
        assert_eq!(survey.shape, Some((3, 2, 2)));
        assert_eq!(survey.imbalance(), Some(1.0));
        let red = set(
            [vec![9; 12], vec![200, 0, 0]].concat(),
            (3, 1, 1),
            vec![0; 5],
        );
        let survey = Survey::of(&*red).unwrap();
        assert!(survey.colour);
        assert_eq!(survey.per_class, [5, 0]);
        assert_eq!(survey.imbalance(), None);
    }

    #[test]
    fn moments_are_those_of_the_channels() {
        // Red is 0 and 255, green 51, blue 102.
        let set = set(vec![0, 255, 51, 51, 102, 102], (3, 1, 2), vec![0]);
        let found = moments(&*set, &[TransformConfig::to_tensor()]).unwrap();
        let expected = [(0.5, 0.5), (0.2, 0.0), (0.4, 0.0)];
        for (found, expected) in found.iter().zip(expected) {
            assert!((found.0 - expected.0).abs() < 1e-7, "{found:?}");
            assert!((found.1 - expected.1).abs() < 1e-4, "{found:?}");
        }
    }

    #[test]
    fn large_sets_are_sampled_evenly() {
        let indices = sample(60_000);
        assert_eq!(indices.len(), 1000);
        assert_eq!(&indices[..3], [0, 60, 120]);
        assert_eq!(indices[999], 59_940);
        assert_eq!(sample(3), [0, 1, 2]);
    }
}
