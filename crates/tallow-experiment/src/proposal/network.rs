//! Network of a proposed recipe, the size of its pictures, and its training.

use tallow_models::Pretrained;
use tallow_record::thousands;

use super::choice::Choice;
use super::request::Request;
use super::survey::Survey;
use crate::error::{Error, Result};
use crate::model::Registry;

/// Largest side for a stem of 3x3 without pooling; a stem of 7x7 leaves too little of smaller pictures.
const SMALL_STEM: usize = 40;

/// Multiply-adds of a training that takes a few minutes on two cores.
const WORK: f64 = 3e13;

/// Most epochs that are proposed.
const MOST_EPOCHS: usize = 30;

/// Fewest epochs that are proposed.
const FEWEST_EPOCHS: usize = 5;

/// Largest side to which pictures are scaled for a network that is trained from random weights.
const LARGEST: usize = 96;

/// Network and the size of its pictures.
pub(super) struct Network {
    /// Name of the model.
    pub model: String,
    pub reason: String,
    /// Weights that it begins with.
    pub pretrained: Option<&'static Pretrained>,
    /// Side of its pictures in pixels.
    pub size: usize,
    pub size_reason: String,
    /// Whether its pictures have one channel.
    pub grey: bool,
}

/// Chooses model and size.
pub(super) fn choose(request: &Request, survey: &Survey, registry: &Registry) -> Result<Network> {
    let (mut size, mut size_reason) = size(request, survey)?;
    let mut pretrained = None;
    let (model, reason) = match &request.model {
        Some(name) => {
            let small = format!("{name}-cifar");
            if size <= SMALL_STEM && !request.pretrained && registry.find(&small).is_ok() {
                let reason = format!(
                    "--model {name}, with a 3x3 stem without pooling: the usual one leaves {} of {size} pixels",
                    size.div_ceil(4)
                );
                (small, reason)
            } else {
                registry.find(name)?;
                (name.clone(), format!("--model {name}"))
            }
        }
        None if request.pretrained => (
            "resnet18".to_string(),
            "the smallest residual network with published weights".to_string(),
        ),
        None => usual(size, survey),
    };
    if request.pretrained {
        let known = Pretrained::find(&model)
            .map_err(|error| Error::Recipe(format!("--pretrained: {error}")))?;
        if request.size.is_some_and(|size| size != known.crop) {
            return Err(Error::Recipe(format!(
                "--pretrained: the weights of {model} are for {0}x{0} pixels: leave --size out",
                known.crop
            )));
        }
        pretrained = Some(known);
        size = known.crop;
        size_reason = String::new();
    }
    Ok(Network {
        model,
        reason,
        grey: pretrained.is_none() && !survey.colour,
        pretrained,
        size,
        size_reason,
    })
}

fn size(request: &Request, survey: &Survey) -> Result<(usize, String)> {
    if let Some(size) = request.size {
        if size == 0 || size > tallow_transforms::MAX_SIDE {
            return Err(Error::Recipe(format!(
                "--size {size}: expected pixels from 1 to {}",
                tallow_transforms::MAX_SIDE
            )));
        }
        return Ok((size, format!("--size {size}")));
    }
    if let Some((_, h, w)) = survey.shape
        && h == w
        && h <= LARGEST
    {
        return Ok((h, format!("all pictures have {h}x{h} pixels")));
    }
    let side = survey.side;
    Ok(match side {
        ..=32 => (
            side,
            format!("the median of the shorter sides is {side} pixels"),
        ),
        // A multiple of 8, which strides of 2 divide.
        33..=LARGEST => (
            side / 8 * 8,
            format!("the median of the shorter sides is {side} pixels"),
        ),
        _ => (
            LARGEST,
            format!(
                "the median of the shorter sides is {side} pixels; {LARGEST} keep the training on a processor short (--size changes it)"
            ),
        ),
    })
}

fn usual(size: usize, survey: &Survey) -> (String, String) {
    let (name, reason) = match (size, survey.colour) {
        (..12, _) => ("mlp", "pictures this small have no room for convolutions"),
        (..24, _) => (
            "convnet-fc",
            "three convolutions with batch norm, for pictures too small for a first convolution with stride 2",
        ),
        (..=SMALL_STEM, _) => (
            "mnist-cnn",
            "four convolutions with batch norm, made for short training on small pictures",
        ),
        _ => (
            "resnet18",
            "a residual network with a 7x7 stem, for pictures of this size",
        ),
    };
    (name.to_string(), reason.to_string())
}

/// Whether a network has batch norms throughout, so that it takes the large learning rates of SGD.
fn has_batch_norm(model: &str) -> bool {
    let families = [
        "resnet",
        "resnext",
        "-bn",
        "mnist-cnn",
        "convnet",
        "nin",
        "vgg16-slim",
        "wrn",
        "plain-",
    ];
    families.iter().any(|family| model.contains(family)) && !model.starts_with("convnext")
}

/// Chooses batch size, epochs, optimizer and schedule. `work` is the number of multiply-adds of a forward pass for one picture.
pub(super) fn training(
    request: &Request,
    network: &Network,
    survey: &Survey,
    work: u64,
) -> Vec<Choice> {
    let images = survey.images;
    let choice = |key: &str, value: String, reason: String| Choice {
        key: format!("train.{key}"),
        value,
        reason,
    };
    let by_count = match images {
        ..500 => 16,
        500..2_000 => 32,
        2_000..20_000 => 64,
        _ => 128,
    };
    let by_size = match network.size {
        ..64 => 128,
        64..160 => 64,
        _ => 32,
    };
    let batch = by_count.min(by_size).min(images);
    let mut choices = vec![choice(
        "batch_size",
        batch.to_string(),
        format!(
            "for {} pictures of {1}x{1} pixels: {2} steps in an epoch",
            thousands(images as u64),
            network.size,
            thousands(images.div_ceil(batch.max(1)) as u64)
        ),
    )];
    if batch > 1 && images % batch == 1 {
        choices.push(choice(
            "drop_last",
            "true".to_string(),
            "the last batch would have one picture, too few for batch norm".to_string(),
        ));
    }
    let by_work = WORK / (3.0 * work.max(1) as f64 * images.max(1) as f64);
    let (epochs, reason) = match request.epochs {
        Some(epochs) => (epochs, format!("--epochs {epochs}")),
        None => (
            (by_work as usize).clamp(FEWEST_EPOCHS, MOST_EPOCHS),
            format!(
                "as many as some minutes on two cores allow at {} multiply-adds a picture, from {FEWEST_EPOCHS} to {MOST_EPOCHS}",
                millions(work)
            ),
        ),
    };
    choices.push(choice("epochs", epochs.to_string(), reason));
    let (optimizer, reason) = if network.pretrained.is_some() {
        (
            r#"{ name = "adamw", lr = 3e-4, weight_decay = 0.01 }"#.to_string(),
            "small steps, which change pretrained weights and do not replace them".to_string(),
        )
    } else if has_batch_norm(&network.model) {
        let lr = 0.1 * (batch as f64 / 128.0).max(0.125);
        (
            format!(
                r#"{{ name = "sgd", lr = {lr:?}, momentum = 0.9, nesterov = true, weight_decay = 5e-4 }}"#
            ),
            "SGD with Nesterov momentum, usual for networks with batch norm; the rate is 0.1 for a batch of 128, in proportion".to_string(),
        )
    } else {
        (
            r#"{ name = "adamw", lr = 1e-3, weight_decay = 0.01 }"#.to_string(),
            "AdamW, which needs no search for the rate of a network without batch norm".to_string(),
        )
    };
    choices.push(choice("optimizer", optimizer, reason));
    choices.push(choice(
        "schedule",
        r#"{ curve = { name = "one-cycle" }, per = "step" }"#.to_string(),
        "the rate rises and falls to zero over the whole run, which is best for few epochs"
            .to_string(),
    ));
    choices
}

/// A number in millions.
fn millions(number: u64) -> String {
    format!("{:.1} million", number as f64 / 1e6)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn survey(images: usize, shape: Option<(usize, usize, usize)>, side: usize) -> Survey {
        Survey {
            images,
            classes: vec!["a".into(), "b".into()],
            per_class: vec![images / 2; 2],
            shape,
            side,
            colour: true,
        }
    }

    fn chosen(request: &Request, survey: &Survey) -> Network {
        choose(request, survey, &Registry::default()).unwrap()
    }

    #[test]
    fn the_size_follows_from_the_pictures() {
        let request = Request::new("folder:x");
        for (shape, side, size) in [
            (Some((3, 28, 28)), 28, 28),
            (Some((3, 90, 90)), 90, 90),
            (Some((3, 30, 40)), 30, 30),
            (None, 47, 40),
            (None, 500, 96),
        ] {
            let network = chosen(&request, &survey(100, shape, side));
            assert_eq!(network.size, size, "{shape:?} {side}");
        }
        let asked = Request {
            size: Some(64),
            ..request.clone()
        };
        assert_eq!(chosen(&asked, &survey(100, None, 500)).size, 64);
        let wrong = Request {
            size: Some(0),
            ..request
        };
        assert!(choose(&wrong, &survey(100, None, 500), &Registry::default()).is_err());
    }

    #[test]
    fn the_stem_follows_from_the_size() {
        let asked = Request {
            model: Some("resnet18".into()),
            ..Request::new("cifar10")
        };
        let small = chosen(&asked, &survey(100, Some((3, 32, 32)), 32));
        assert_eq!(small.model, "resnet18-cifar");
        assert!(small.reason.contains("3x3"), "{}", small.reason);
        assert_eq!(chosen(&asked, &survey(100, None, 200)).model, "resnet18");
        let unknown = Request {
            model: Some("resnet17".into()),
            ..asked.clone()
        };
        let error = choose(&unknown, &survey(9, None, 200), &Registry::default());
        assert!(error.err().unwrap().message().contains("resnet"));
        let pretrained = Request {
            pretrained: true,
            ..asked
        };
        let network = chosen(&pretrained, &survey(100, Some((3, 32, 32)), 32));
        assert_eq!((network.model.as_str(), network.size), ("resnet18", 224));
    }

    #[test]
    fn a_last_batch_of_one_picture_is_dropped() {
        let survey = survey(97, Some((3, 32, 32)), 32);
        let request = Request::new("x");
        let network = chosen(&request, &survey);
        let choices = training(&request, &network, &survey, 10_000_000);
        let value = |key: &str| {
            let choice = choices.iter().find(|choice| choice.key == key);
            choice.map(|choice| choice.value.as_str())
        };
        assert_eq!(value("train.batch_size"), Some("16"));
        assert_eq!(value("train.drop_last"), Some("true"));
        assert_eq!(value("train.epochs"), Some("30"));
    }

    #[test]
    fn networks_without_batch_norm_are_told_apart() {
        for name in ["resnet18", "vgg11-bn-cifar", "mnist-cnn", "resnext50-32x4d"] {
            assert!(has_batch_norm(name), "{name}");
        }
        for name in ["mlp", "vgg11", "convnext-tiny", "lenet", "my-net"] {
            assert!(!has_batch_norm(name), "{name}");
        }
    }
}
