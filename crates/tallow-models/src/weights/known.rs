//! Published checkpoints and the normalisation of their images, which files of weights do not contain.

/// Published checkpoint of a built-in model.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Checkpoint {
    /// Name of the file.
    pub file: &'static str,
    /// Name of the model.
    pub model: &'static str,
    /// Dataset it was trained on.
    pub trained_on: &'static str,
    /// First eight hexadecimal digits of the file's SHA-256, which publishers also put into the name.
    pub digest: &'static str,
    /// Mean of each channel, subtracted from an image in `[0, 1]`.
    pub mean: [f32; 3],
    /// Standard deviation of each channel, by which the difference is divided.
    pub std: [f32; 3],
    /// Published test accuracy, in `[0, 1]`.
    pub test_accuracy: f64,
    /// Address of the file at its publisher.
    pub url: &'static str,
    /// Licence.
    pub licence: &'static str,
}

macro_rules! idelbayev {
    ($model:literal, $digest:literal, $accuracy:literal) => {
        Checkpoint {
            file: concat!($model, "-", $digest, ".th"),
            model: $model,
            trained_on: "CIFAR-10",
            digest: $digest,
            // That repository normalises CIFAR-10 with ImageNet's figures.
            mean: [0.485, 0.456, 0.406],
            std: [0.229, 0.224, 0.225],
            test_accuracy: $accuracy,
            url: concat!(
                "https://github.com/akamaster/pytorch_resnet_cifar10/raw/master/pretrained_models/",
                $model,
                "-",
                $digest,
                ".th"
            ),
            licence: "BSD-2-Clause",
        }
    };
}

/// Known published checkpoints.
pub fn checkpoints() -> &'static [Checkpoint] {
    // Yerlan Idelbayev's, the names, digests and accuracies as in the README of pytorch_resnet_cifar10.
    &[
        idelbayev!("resnet20", "12fca82f", 0.9173),
        idelbayev!("resnet32", "d509ac18", 0.9263),
        idelbayev!("resnet44", "014dd654", 0.9310),
        idelbayev!("resnet56", "4bfd9763", 0.9339),
        idelbayev!("resnet110", "1d1ed7c2", 0.9368),
    ]
}
