//! Policies of AutoAugment (Cubuk et al. 2018, arXiv 1805.09501), as torchvision has them.

use super::space::Operation::{self, *};

/// Operation, its probability, and which of ten strengths it has.
pub(crate) type Choice = (Operation, f64, usize);

const fn op(operation: Operation, probability: f64, magnitude: usize) -> Choice {
    (operation, probability, magnitude)
}

/// Policy found on ImageNet.
pub(crate) const IMAGENET: &[[Choice; 2]; 25] = &[
    [op(Posterize, 0.4, 8), op(Rotate, 0.6, 9)],
    [op(Solarize, 0.6, 5), op(AutoContrast, 0.6, 0)],
    [op(Equalize, 0.8, 0), op(Equalize, 0.6, 0)],
    [op(Posterize, 0.6, 7), op(Posterize, 0.6, 6)],
    [op(Equalize, 0.4, 0), op(Solarize, 0.2, 4)],
    [op(Equalize, 0.4, 0), op(Rotate, 0.8, 8)],
    [op(Solarize, 0.6, 3), op(Equalize, 0.6, 0)],
    [op(Posterize, 0.8, 5), op(Equalize, 1.0, 0)],
    [op(Rotate, 0.2, 3), op(Solarize, 0.6, 8)],
    [op(Equalize, 0.6, 0), op(Posterize, 0.4, 6)],
    [op(Rotate, 0.8, 8), op(Color, 0.4, 0)],
    [op(Rotate, 0.4, 9), op(Equalize, 0.6, 0)],
    [op(Equalize, 0.0, 0), op(Equalize, 0.8, 0)],
    [op(Invert, 0.6, 0), op(Equalize, 1.0, 0)],
    [op(Color, 0.6, 4), op(Contrast, 1.0, 8)],
    [op(Rotate, 0.8, 8), op(Color, 1.0, 2)],
    [op(Color, 0.8, 8), op(Solarize, 0.8, 7)],
    [op(Sharpness, 0.4, 7), op(Invert, 0.6, 0)],
    [op(ShearX, 0.6, 5), op(Equalize, 1.0, 0)],
    [op(Color, 0.4, 0), op(Equalize, 0.6, 0)],
    [op(Equalize, 0.4, 0), op(Solarize, 0.2, 4)],
    [op(Solarize, 0.6, 5), op(AutoContrast, 0.6, 0)],
    [op(Invert, 0.6, 0), op(Equalize, 1.0, 0)],
    [op(Color, 0.6, 4), op(Contrast, 1.0, 8)],
    [op(Equalize, 0.8, 0), op(Equalize, 0.6, 0)],
];

/// Policy found on CIFAR-10.
pub(crate) const CIFAR10: &[[Choice; 2]; 25] = &[
    [op(Invert, 0.1, 0), op(Contrast, 0.2, 6)],
    [op(Rotate, 0.7, 2), op(TranslateX, 0.3, 9)],
    [op(Sharpness, 0.8, 1), op(Sharpness, 0.9, 3)],
    [op(ShearY, 0.5, 8), op(TranslateY, 0.7, 9)],
    [op(AutoContrast, 0.5, 0), op(Equalize, 0.9, 0)],
    [op(ShearY, 0.2, 7), op(Posterize, 0.3, 7)],
    [op(Color, 0.4, 3), op(Brightness, 0.6, 7)],
    [op(Sharpness, 0.3, 9), op(Brightness, 0.7, 9)],
    [op(Equalize, 0.6, 0), op(Equalize, 0.5, 0)],
    [op(Contrast, 0.6, 7), op(Sharpness, 0.6, 5)],
    [op(Color, 0.7, 7), op(TranslateX, 0.5, 8)],
    [op(Equalize, 0.3, 0), op(AutoContrast, 0.4, 0)],
    [op(TranslateY, 0.4, 3), op(Sharpness, 0.2, 6)],
    [op(Brightness, 0.9, 6), op(Color, 0.2, 8)],
    [op(Solarize, 0.5, 2), op(Invert, 0.0, 0)],
    [op(Equalize, 0.2, 0), op(AutoContrast, 0.6, 0)],
    [op(Equalize, 0.2, 0), op(Equalize, 0.6, 0)],
    [op(Color, 0.9, 9), op(Equalize, 0.6, 0)],
    [op(AutoContrast, 0.8, 0), op(Solarize, 0.2, 8)],
    [op(Brightness, 0.1, 3), op(Color, 0.7, 0)],
    [op(Solarize, 0.4, 5), op(AutoContrast, 0.9, 0)],
    [op(TranslateY, 0.9, 9), op(TranslateY, 0.7, 9)],
    [op(AutoContrast, 0.9, 0), op(Solarize, 0.8, 3)],
    [op(Equalize, 0.8, 0), op(Invert, 0.1, 0)],
    [op(TranslateY, 0.7, 9), op(AutoContrast, 0.9, 0)],
];

/// Policy found on SVHN.
pub(crate) const SVHN: &[[Choice; 2]; 25] = &[
    [op(ShearX, 0.9, 4), op(Invert, 0.2, 0)],
    [op(ShearY, 0.9, 8), op(Invert, 0.7, 0)],
    [op(Equalize, 0.6, 0), op(Solarize, 0.6, 6)],
    [op(Invert, 0.9, 0), op(Equalize, 0.6, 0)],
    [op(Equalize, 0.6, 0), op(Rotate, 0.9, 3)],
    [op(ShearX, 0.9, 4), op(AutoContrast, 0.8, 0)],
    [op(ShearY, 0.9, 8), op(Invert, 0.4, 0)],
    [op(ShearY, 0.9, 5), op(Solarize, 0.2, 6)],
    [op(Invert, 0.9, 0), op(AutoContrast, 0.8, 0)],
    [op(Equalize, 0.6, 0), op(Rotate, 0.9, 3)],
    [op(ShearX, 0.9, 4), op(Solarize, 0.3, 3)],
    [op(ShearY, 0.8, 8), op(Invert, 0.7, 0)],
    [op(Equalize, 0.9, 0), op(TranslateY, 0.6, 6)],
    [op(Invert, 0.9, 0), op(Equalize, 0.6, 0)],
    [op(Contrast, 0.3, 3), op(Rotate, 0.8, 4)],
    [op(Invert, 0.8, 0), op(TranslateY, 0.0, 2)],
    [op(ShearY, 0.7, 6), op(Solarize, 0.4, 8)],
    [op(Invert, 0.6, 0), op(Rotate, 0.8, 4)],
    [op(ShearY, 0.3, 7), op(TranslateX, 0.9, 3)],
    [op(ShearX, 0.1, 6), op(Invert, 0.6, 0)],
    [op(Solarize, 0.7, 2), op(TranslateY, 0.6, 7)],
    [op(ShearY, 0.8, 4), op(Invert, 0.8, 0)],
    [op(ShearX, 0.7, 9), op(TranslateY, 0.8, 3)],
    [op(ShearY, 0.8, 5), op(AutoContrast, 0.7, 0)],
    [op(ShearX, 0.7, 2), op(Invert, 0.1, 0)],
];
