//! Published checkpoints, and how their images were normalised: weights do not say.

/// A published checkpoint that fits a model of the registry.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Checkpoint {
    /// Its file's name.
    pub file: &'static str,
    /// The model it fits.
    pub model: &'static str,
    /// What it was trained on.
    pub trained_on: &'static str,
    /// How the SHA-256 of the file begins: eight hexadecimal digits, which publishers put into the name too.
    pub digest: &'static str,
    /// Subtracted from each channel of an image in `[0, 1]`.
    pub mean: [f32; 3],
    /// What each channel is then divided by.
    pub std: [f32; 3],
    /// The published share of test images it gets right.
    pub test_accuracy: f64,
    /// The file at its publisher's.
    pub url: &'static str,
    /// The licence.
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

/// The checkpoints that are known.
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
