//! Weights that a run begins with.

use std::path::Path;
use std::sync::Arc;

use tallow_datasets::{DataLoader, Dataset, LoaderConfig};
use tallow_models::LoadWeights;
use tallow_transforms::Compose;

use crate::data::first_batch;
use crate::error::{Error, Result};
use crate::model::Model;
use crate::recipe::{self, Recipe};
use crate::weights;

/// Classes of published weights, ImageNet's.
const PRETRAINED_CLASSES: usize = 1000;

/// Loads the weights that the model begins with, if `file` has them. Returns notes on them for the user.
pub(super) fn initial_weights(
    model: &Model,
    recipe: &Recipe,
    file: Option<&Path>,
) -> Result<Vec<String>> {
    let Some(path) = file else {
        return Ok(Vec::new());
    };
    let mut options = LoadWeights {
        key: recipe.model.weights_key.clone(),
        ..LoadWeights::default()
    };
    // As timm's `create_model(pretrained=True, num_classes=...)`.
    let other = recipe.model.pretrained.is_some() && model.classes() != PRETRAINED_CLASSES;
    if recipe.model.new_head || other {
        options.skip.push(model.head());
    }
    let mut notes = weights::load(model, path, &options)?;
    if other {
        notes.push(format!(
            "{}: the last layer, `{}`, is new: {} classes in place of {PRETRAINED_CLASSES}",
            path.display(),
            model.head(),
            model.classes()
        ));
    }
    Ok(notes)
}

/// Sets the weights of the model's whitening layer from the first training images, as `model.whiten` says.
pub(super) fn whiten(
    model: &Model,
    settings: &recipe::Model,
    train: &Arc<dyn Dataset>,
    transforms: &Compose,
) -> Result<()> {
    let Some(images) = settings.whiten else {
        return match model.has_whitening() {
            true => Err(Error::Recipe(format!(
                "model `{}` begins with a whitening layer, whose weights come from training images: set model.whiten to their number, 5000 for example",
                model.name()
            ))),
            false => Ok(()),
        };
    };
    let loader = DataLoader::new(train.clone(), transforms.clone(), LoaderConfig::default())?;
    match first_batch(&loader, images)? {
        Some(batch) => Ok(model.whiten(&batch.images)?),
        None => Err(Error::Data("there are no training images".to_string())),
    }
}
