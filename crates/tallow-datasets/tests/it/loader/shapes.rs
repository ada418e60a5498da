//! Shapes that differ, and transforms that do not suit.

use std::sync::Arc;

use tallow_datasets::{Batch, DataLoader, Error, LoaderConfig, Result};
use tallow_transforms::{Compose, TransformConfig};

use crate::loader::told::{Ragged, Told};
use crate::loader::{config, loader, plain, set};

#[test]
fn unlike_shapes_are_an_error() {
    for workers in [0, 2] {
        let config = LoaderConfig {
            shuffle: false,
            ..config(3, workers)
        };
        let seen: Vec<Result<Batch>> = loader(Ragged::new(&[4, 4, 4, 5, 5, 3]), plain(), config)
            .epoch(0)
            .collect();
        assert_eq!(seen.len(), 2);
        assert_eq!(seen[0].as_ref().unwrap().images.dims(), [3, 1, 2, 4]);
        let error = seen[1].as_ref().unwrap_err();
        assert!(
            matches!(
                error,
                Error::Shapes {
                    index: 5,
                    name: None,
                    expected: (1, 2, 5),
                    found: (1, 2, 3)
                }
            ),
            "{error:?}"
        );
        assert!(
            error
                .to_string()
                .contains("sample 5 is (1, 2, 3) after the transforms"),
            "{error}"
        );
    }
}

#[test]
fn a_crop_makes_shapes_alike() {
    let crop = Compose::new(vec![
        TransformConfig::center_crop(2),
        TransformConfig::to_tensor(),
    ])
    .unwrap();
    let config = LoaderConfig {
        shuffle: false,
        ..config(3, 0)
    };
    let batch = loader(Ragged::new(&[4, 5, 2]), crop, config)
        .epoch(0)
        .next()
        .unwrap()
        .unwrap();
    assert_eq!(batch.images.dims(), [3, 1, 2, 2]);
    let means: Vec<f32> = batch.images.mean((1, 2, 3)).unwrap().to_vec1().unwrap();
    assert_eq!(means, [0.0, 0.2, 0.4]);
}
#[test]
fn arguments() {
    let new = |transform, config| DataLoader::new(Arc::new(set(4)), transform, config);
    let error = new(plain(), config(0, 0)).unwrap_err();
    assert!(matches!(error, Error::Argument(_)), "{error:?}");
    // Grey statistics are fine for any image, those of RGB are not for one of two channels: said at once.
    let rgb = Compose::new(vec![
        TransformConfig::to_tensor(),
        TransformConfig::normalize([0.5; 3], [0.5; 3]),
    ])
    .unwrap();
    let error = new(rgb.clone(), config(2, 0)).unwrap_err();
    assert!(matches!(error, Error::Transform(_)), "{error:?}");
    // Where the shape is not known beforehand, it comes at the sample.
    let config = LoaderConfig {
        shuffle: false,
        ..config(2, 0)
    };
    let error = loader(Told::new(4, |_| Ok(())), rgb, config)
        .epoch(0)
        .next()
        .unwrap()
        .unwrap_err();
    assert!(matches!(error, Error::Sample { index: 0, .. }), "{error:?}");
}
