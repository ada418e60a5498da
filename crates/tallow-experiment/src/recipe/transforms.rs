//! Transforms of a recipe: those of training and those of testing.

use tallow_models::Pretrained;
use tallow_transforms::TransformConfig;

use super::Recipe;
use crate::error::{Error, Result};
use crate::preparation;

impl Recipe {
    /// Transforms of training images: `data.train_transforms`, or `train.augment` and then `data.transforms`.
    pub fn train_transforms(&self) -> Vec<TransformConfig> {
        match self.data.train_transforms.is_empty() {
            true => [&self.train.augment[..], &self.data.transforms].concat(),
            false => self.data.train_transforms.clone(),
        }
    }

    /// Transforms of validation and test images and of prediction: `data.test_transforms`, or `data.transforms`.
    pub fn test_transforms(&self) -> &[TransformConfig] {
        match self.data.test_transforms.is_empty() {
            true => &self.data.transforms,
            false => &self.data.test_transforms,
        }
    }

    /// Whether training and test images have transforms of their own each.
    pub(crate) fn has_own_transforms(&self) -> bool {
        !self.data.train_transforms.is_empty() || !self.data.test_transforms.is_empty()
    }

    /// Fills in what follows from `model.pretrained`: the transforms, if the recipe has none.
    ///
    /// # Errors
    /// [`Error::Recipe`] when there are no weights of this name or they are of another model, or a recipe without them has no transforms.
    pub(crate) fn fill_in(&mut self) -> Result<()> {
        let refuse = |message: String| Err(Error::Recipe(message));
        let Some(name) = &self.model.pretrained else {
            return match (self.train_transforms().is_empty(), self.test_transforms().is_empty()) {
                (false, false) => Ok(()),
                (true, false) => refuse(
                    "there are no transforms of training images: set data.train_transforms beside data.test_transforms, or data.transforms for both".to_string(),
                ),
                (_, true) if self.has_own_transforms() => refuse(
                    "there are no transforms of test images: set data.test_transforms beside data.train_transforms, or data.transforms for both".to_string(),
                ),
                _ => refuse("missing key `transforms` in `data`: expected a list, such as [{ name = \"to-tensor\" }]".to_string()),
            };
        };
        let known = Pretrained::find(name)
            .map_err(|error| Error::Recipe(format!("model.pretrained: {error}")))?;
        if self.model.name != known.name {
            return refuse(format!(
                "model.pretrained = \"{name}\" are weights of `{}`, and model.name is `{}`",
                known.name, self.model.name
            ));
        }
        let both = !self.data.train_transforms.is_empty() && !self.data.test_transforms.is_empty();
        if self.data.transforms.is_empty() && !both {
            self.data.transforms = preparation::of_pretrained(known);
        }
        Ok(())
    }

    /// Checks that no transforms are given that would not be used.
    pub(super) fn check_transforms(&self) -> Result<()> {
        let (data, augment) = (&self.data, &self.train.augment);
        let refuse = |message: &str| Err(Error::Recipe(message.to_string()));
        if !data.train_transforms.is_empty() && !augment.is_empty() {
            return refuse(
                "data.train_transforms and train.augment are both transforms of training images alone: give one of them, such as those of train.augment at the beginning of data.train_transforms",
            );
        }
        let both = !data.train_transforms.is_empty() && !data.test_transforms.is_empty();
        if both && !data.transforms.is_empty() {
            return refuse(
                "data.transforms has no effect beside data.train_transforms and data.test_transforms: remove it, or set it to [] where a variant sets the two",
            );
        }
        Ok(())
    }
}
