//! Augmentation of a proposed recipe.

use super::choice::Choice;
use super::network::Network;
use super::request::Augment;
use super::survey::Survey;

/// Chooses `train.augment`, whose transforms come before those of every picture.
pub(super) fn choose(asked: Option<Augment>, network: &Network, survey: &Survey) -> Choice {
    let amount = asked.unwrap_or_default();
    let size = network.size;
    let strong = amount == Augment::Strong;
    let mut steps = Vec::new();
    let mut words = Vec::new();
    if amount != Augment::None {
        if survey.colour && amount != Augment::Light {
            steps.push(r#"{ name = "random-horizontal-flip" }"#.to_string());
            words.push("mirror images");
        }
        if !survey.colour && amount != Augment::Light {
            steps.push(r#"{ name = "random-rotation", degrees = 10 }"#.to_string());
            words.push("rotations by up to 10 degrees, and no mirror images, since grey pictures may be of letters or digits");
        }
        if strong {
            steps.push(r#"{ name = "trivial-augment-wide" }"#.to_string());
            words.push("an operation of TrivialAugment");
        }
        let scaled = survey.shape.is_none_or(|(_, h, w)| (h, w) != (size, size));
        if scaled {
            let least = match amount {
                Augment::Light => 0.7,
                _ => 0.35,
            };
            steps.push(format!(
                r#"{{ name = "random-resized-crop", size = {size}, scale = [{least:?}, 1.0] }}"#
            ));
            words.push("random windows");
        } else {
            let padding = (size / 8).clamp(1, 4);
            steps.push(format!(
                r#"{{ name = "random-crop", size = {size}, padding = {padding} }}"#
            ));
            words.push("shifts by a few pixels");
        }
        if strong {
            steps.push(r#"{ name = "random-erasing", p = 0.25 }"#.to_string());
            words.push("erased rectangles");
        }
    }
    let what = match words.is_empty() {
        true => "the training pictures are not changed".to_string(),
        false => words.join(", "),
    };
    let given = match asked {
        Some(amount) => format!("--augment {}: ", amount.as_str()),
        None => String::new(),
    };
    Choice {
        key: "train.augment".into(),
        value: format!("[{}]", steps.join(", ")),
        reason: format!("{given}{what}"),
    }
}
