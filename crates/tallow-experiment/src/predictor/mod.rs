//! Prediction: classes of images by a trained network.

mod drawing;
mod fit;
mod picture;
pub(crate) mod trained;

use std::path::{Path, PathBuf};

use candle_core::{DType, Device, ModuleT, Tensor};
use image::RgbImage;
use serde::Serialize;
use tallow_datasets::{Alpha, PictureOptions, decode_picture};
use tallow_ops::no_grad;
use tallow_train::{Tta, WithTta};
use tallow_transforms::{Compose, ImageRef, SampleRng, Transform};

use crate::error::{Context, Error, Result};
use crate::model::{Model, Registry};
use crate::{heat_map, preparation};
use fit::Fitted;
use trained::Trained;
pub use trained::WeightsRequest;

/// Predictor: decodes images, transforms them as the test images of training, and returns classes with probabilities.
///
/// `M` is any network from images `(N, C, H, W)` to logits `(N, K)`.
pub struct Predictor<M = Model> {
    module: M,
    device: Device,
    transforms: Compose,
    source: String,
    classes: Vec<String>,
    image_shape: Option<(usize, usize, usize)>,
    dataset: String,
    weights: Option<PathBuf>,
    notes: Vec<String>,
    pictures: PictureOptions,
    tta: Option<Tta>,
}

/// Image that is ready for a predictor.
#[derive(Clone, Debug)]
pub struct Prepared {
    /// Input of the network, `(1, C, H, W)`.
    pub image: Tensor,
    /// Steps from the file to the input, in words.
    pub steps: Vec<String>,
}

/// Probability of a class.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ClassProbability {
    /// Label of the class.
    pub index: usize,
    /// Name of the class.
    pub class: String,
    /// Probability: softmax of the logits.
    pub probability: f64,
}

impl Predictor {
    /// Predictor of a finished run, from the folder of its record: model, weights, classes, transforms and input size are those of the
    /// run.
    pub fn from_run(dir: &Path, device: &Device, registry: &Registry) -> Result<Self> {
        Ok(Self::of(trained::of_run(dir, device, registry)?))
    }

    /// Predictor of a file of weights.
    pub fn from_weights(request: &WeightsRequest) -> Result<Self> {
        Ok(Self::of(trained::of_weights(request)?))
    }

    fn of(trained: Trained) -> Self {
        Self {
            device: trained.model.store().device().clone(),
            module: trained.model,
            transforms: trained.transforms,
            source: trained.source,
            classes: trained.classes,
            image_shape: trained.image_shape,
            dataset: trained.dataset,
            weights: Some(trained.weights),
            notes: trained.notes,
            pictures: trained.pictures,
            tta: trained.tta,
        }
    }

    /// Name of the model.
    pub fn model_name(&self) -> &str {
        self.module.name()
    }

    /// Last layer with a feature map, the usual one for [`heat_map`](Self::heat_map). Fails for a model without convolutions.
    pub fn last_feature_map(&self) -> Result<String> {
        Ok(tallow_models::last_feature_map(&self.module)?)
    }

    /// Grad-CAM heat map of a class at a layer, over the image in grey. The longer side has at least `side` pixels.
    pub fn heat_map(
        &self,
        prepared: &Prepared,
        class: usize,
        layer: &str,
        side: u32,
    ) -> Result<RgbImage> {
        let class = u32::try_from(class).unwrap_or(u32::MAX);
        let pictures = heat_map::overlays(&self.module, &prepared.image, &[class], layer, side)?;
        let picture = pictures.into_iter().next();
        picture.ok_or_else(|| Error::Image("there is no image".to_string()))
    }
}

impl<M: ModuleT> Predictor<M> {
    /// Predictor of any network whose parameters are on `device`.
    ///
    /// `transforms` are those of the test images in training, `classes` the names of the labels. Images are brought to `image_shape`
    /// `(C, H, W)` before the transforms; `None` is for transforms that take RGB images of any size.
    pub fn new(
        module: M,
        device: &Device,
        transforms: Compose,
        classes: impl IntoIterator<Item = impl Into<String>>,
        image_shape: Option<(usize, usize, usize)>,
    ) -> Result<Self> {
        if image_shape.is_none() && trained::one_size(&transforms).is_none() {
            return Err(Error::Data(
                "images of any size need transforms that bring them to one size, such as resize; or give the shape of the images".to_string(),
            ));
        }
        Ok(Self {
            module,
            device: device.clone(),
            transforms,
            source: "as given".to_string(),
            classes: classes.into_iter().map(Into::into).collect(),
            image_shape,
            dataset: String::new(),
            weights: None,
            notes: Vec::new(),
            pictures: PictureOptions::default(),
            tta: None,
        })
    }

    /// The same with other options of decoding; those of a run are the default of a run's predictor.
    pub fn with_pictures(mut self, pictures: PictureOptions) -> Self {
        self.pictures = pictures;
        self
    }

    /// Network.
    pub fn module(&self) -> &M {
        &self.module
    }

    /// Names of the classes, in the order of the labels.
    pub fn classes(&self) -> &[String] {
        &self.classes
    }

    /// Transforms of every image.
    pub fn transforms(&self) -> &Compose {
        &self.transforms
    }

    /// Name of the dataset that the network was trained on; empty if it is not known.
    pub fn dataset(&self) -> &str {
        &self.dataset
    }

    /// File of weights, if they were read from one.
    pub fn weights(&self) -> Option<&Path> {
        self.weights.as_deref()
    }

    /// Whether predictions are averages over several views of each image.
    pub fn has_tta(&self) -> bool {
        self.tta.is_some()
    }

    /// Notes on the weights for the user, such as the set taken of several in the file.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Reads and transforms a picture file of any size; its content tells the format. The pixels are those that training
    /// reads from the same file.
    pub fn prepare_file(&self, path: &Path) -> Result<Prepared> {
        let prepared = picture::read(path).and_then(|bytes| self.prepare_bytes(&bytes));
        prepared.context(|| path.display().to_string())
    }

    /// Decodes and transforms the bytes of a picture file of any size.
    pub fn prepare_bytes(&self, bytes: &[u8]) -> Result<Prepared> {
        let mut options = self.pictures;
        // The paper of a drawing may be transparent; the datasets of drawings have no alpha channel to agree with.
        if fit::drawn(self.image_shape, &self.dataset).is_some() {
            options.alpha = Alpha::Blend;
        }
        let picture = decode_picture(bytes, &options)?;
        let mut steps = picture::describe(&picture);
        let Fitted {
            bytes,
            shape,
            notes,
        } = fit::fit(&picture, self.image_shape, &self.dataset)?;
        steps.extend(notes);
        let image = ImageRef::new(&bytes, shape.0, shape.1, shape.2)?;
        let prepared = self.prepare_image(image)?;
        steps.extend(prepared.steps);
        Ok(Prepared { steps, ..prepared })
    }

    /// Transforms an image that has the shape of the training images already, such as one of a dataset.
    pub fn prepare_image(&self, image: ImageRef<'_>) -> Result<Prepared> {
        let (c, h, w) = self.transforms.output_shape(image.shape())?;
        let length = c.checked_mul(h).and_then(|n| n.checked_mul(w));
        let length = length
            .ok_or_else(|| Error::Image(format!("an image of {c} x {h} x {w} is too large")))?;
        let mut values = vec![0f32; length];
        (self.transforms).apply(image, &mut SampleRng::new(0, 0, 0), &mut values)?;
        let names: Vec<&str> = self.transforms.transforms().map(Transform::name).collect();
        let figures = match preparation::describe(&self.transforms.configs()).as_str() {
            "" => String::new(),
            figures => format!(" with {figures}"),
        };
        Ok(Prepared {
            image: Tensor::from_vec(values, (1, c, h, w), &self.device)?,
            steps: vec![format!("{}{figures}, {}", names.join(", "), self.source)],
        })
    }

    /// The `top` most probable classes of each image, the most probable first. Images of one shape are predicted in batches.
    ///
    /// Fails if an output of the network is not finite.
    pub fn predict(&self, images: &[Prepared], top: usize) -> Result<Vec<Vec<ClassProbability>>> {
        const BATCH: usize = 64;
        let views = WithTta::new(&self.module, self.tta);
        let mut predictions = Vec::with_capacity(images.len());
        for same in images.chunk_by(|a, b| a.image.dims() == b.image.dims()) {
            for batch in same.chunks(BATCH) {
                let tensors: Vec<&Tensor> = batch.iter().map(|prepared| &prepared.image).collect();
                let batch = Tensor::cat(&tensors, 0)?;
                let logits = no_grad(|| views.forward_t(&batch, false))?;
                // A softmax over NaN or infinity is NaN, which is in no order with other numbers.
                let values: Vec<f32> = logits.flatten_all()?.to_dtype(DType::F32)?.to_vec1()?;
                if values.iter().any(|value| !value.is_finite()) {
                    return Err(Error::Data(
                        "the outputs of the network are not finite, so that no class is the most probable; the weights are of a run that has diverged, or the images need other transforms".to_string(),
                    ));
                }
                let rows: Vec<Vec<f32>> = candle_nn::ops::softmax(&logits, 1)?.to_vec2()?;
                for row in rows {
                    predictions.push(self.most_probable(&row, top)?);
                }
            }
        }
        Ok(predictions)
    }

    fn most_probable(&self, row: &[f32], top: usize) -> Result<Vec<ClassProbability>> {
        if row.len() != self.classes.len() || row.is_empty() {
            return Err(Error::Data(format!(
                "the network has {} outputs for {} classes",
                row.len(),
                self.classes.len()
            )));
        }
        let class = |(index, (&probability, class)): (usize, (&f32, &String))| ClassProbability {
            index,
            class: class.clone(),
            probability: f64::from(probability),
        };
        let classes = row.iter().zip(&self.classes).enumerate();
        let mut classes: Vec<ClassProbability> = classes.map(class).collect();
        classes.sort_by(|a, b| b.probability.total_cmp(&a.probability));
        classes.truncate(top);
        Ok(classes)
    }
}
