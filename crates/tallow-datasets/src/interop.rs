//! Conversion to the type of `candle-datasets`.

use candle_core::{Device, Tensor};
use candle_datasets::vision;

use crate::dataset::Dataset;
use crate::error::{Error, Result};

/// Both splits as the type that `candle-datasets` loads: images `(N, C, H, W)` in `f32` from 0 to 1, labels `(N)` in `u8`, on
/// the CPU. For code written against that crate; it takes four times the memory of the set itself.
///
/// Rows and columns are in order, while the CIFAR loader of `candle-datasets` 0.11 swaps them.
///
/// # Errors
/// [`Error::Candle`] when the images have no common shape or there are more than 256 classes; the errors of reading an image.
pub fn to_candle(train: &dyn Dataset, test: &dyn Dataset) -> Result<vision::Dataset> {
    let (train_images, train_labels) = tensors(train)?;
    let (test_images, test_labels) = tensors(test)?;
    Ok(vision::Dataset {
        train_images,
        train_labels,
        test_images,
        test_labels,
        labels: train.info().classes.len(),
    })
}

fn tensors(set: &dyn Dataset) -> Result<(Tensor, Tensor)> {
    let name = &set.info().name;
    let Some((c, h, w)) = set.shape() else {
        return Err(candle("its images have no common shape", name));
    };
    let mut pixels = Vec::with_capacity(set.len() * c * h * w);
    let mut labels = Vec::with_capacity(set.len());
    let mut scratch = Vec::new();
    for index in 0..set.len() {
        let image = set.image(index, &mut scratch)?;
        pixels.extend(image.data.iter().map(|&v| f32::from(v) / 255.0));
        match u8::try_from(set.label(index)?) {
            Ok(label) => labels.push(label),
            Err(_) => return Err(candle("it has more than 256 classes", name)),
        }
    }
    let images = Tensor::from_vec(pixels, (set.len(), c, h, w), &Device::Cpu)?;
    Ok((images, Tensor::from_vec(labels, set.len(), &Device::Cpu)?))
}

fn candle(what: &str, name: &str) -> Error {
    candle_core::Error::Msg(format!("{name} cannot become a candle dataset: {what}")).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::{ImageSet, Split};

    #[test]
    fn rows_stay_rows_and_values_become_fractions() {
        let set = |split| {
            let pixels = vec![0, 51, 102, 153, 204, 255, 255, 0, 0, 0, 0, 0];
            let classes = vec!["a".into(), "b".into()];
            ImageSet::from_parts(
                "tiny",
                split,
                "made up",
                classes,
                (1, 2, 3),
                pixels,
                vec![1, 0],
            )
            .unwrap()
        };
        let both = to_candle(&set(Split::Train), &set(Split::Test)).unwrap();
        assert_eq!(both.labels, 2);
        assert_eq!(both.train_images.dims(), [2, 1, 2, 3]);
        let first = both.train_images.get(0).unwrap().get(0).unwrap();
        assert_eq!(
            first.to_vec2::<f32>().unwrap(),
            [[0.0, 0.2, 0.4], [0.6, 0.8, 1.0]]
        );
        assert_eq!(both.test_labels.to_vec1::<u8>().unwrap(), [1, 0]);
    }
}
