//! Teachers of distillation: models of earlier runs.

use std::path::Path;

use candle_core::Device;
use serde_json::to_value;
use tallow_transforms::Compose;

use crate::data::Splits;
use crate::error::{Context, Error, Result};
use crate::experiment::Experiment;
use crate::model::{Model, Registry};
use crate::predictor::trained::of_run;

/// Teachers that the variants of `experiment` name, each once.
///
/// A teacher sees the batches of its student. It must have been trained on the same classes, with the same transforms of every image:
/// another normalisation would change its outputs without a word.
pub(crate) fn load(
    experiment: &Experiment,
    splits: &Splits,
    device: &Device,
    registry: &Registry,
) -> Result<Vec<(String, Model)>> {
    let mut teachers: Vec<(String, Model)> = Vec::new();
    for variant in &experiment.variants {
        let recipe = &variant.recipe;
        let Some(name) = recipe.train.loss.teacher() else {
            continue;
        };
        if teachers.iter().any(|(known, _)| known == name) {
            continue;
        }
        let place = || format!("variant `{}`: train.loss.teacher = {name:?}", variant.name);
        let teacher = of_run(Path::new(name), device, registry).context(place)?;
        let refuse = |message: String| Err(Error::Recipe(message)).context(place);
        let classes = &splits.train.info().classes;
        if teacher.classes != *classes {
            return refuse(format!(
                "the teacher knows the classes {:?}, expected those of the data, {classes:?}",
                teacher.classes
            ));
        }
        let transforms = Compose::new(recipe.test_transforms().to_vec())?;
        let (own, expected) = (to_value(&teacher.transforms)?, to_value(&transforms)?);
        if own != expected {
            return refuse(format!(
                "the teacher was trained with data.transforms {own}, expected those of this recipe, {expected}"
            ));
        }
        teachers.push((name.to_string(), teacher.model));
    }
    Ok(teachers)
}
