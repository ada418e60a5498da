use std::fmt;

use serde::de::{self, Deserializer, SeqAccess, Visitor};
use serde::{Deserialize, Serialize, Serializer};
use tallow_datasets::Dataset;

use crate::error::{Error, Result};

/// Weights of the classes in a loss, for classes of different frequency.
///
/// In TOML: `class_weights = "balanced"`, or a number for each class, `class_weights = [1.0, 4.5]`.
#[derive(Clone, Debug, PartialEq)]
pub enum ClassWeights {
    /// Weights inversely proportional to the number of training samples of the class, `N / (K n_k)` for the `K` classes that have
    /// samples, as scikit-learn's `compute_class_weight("balanced")`. Their mean over the training samples is 1, which is also the weight
    /// of a class without any.
    Balanced,
    /// One weight for each class, in their order: finite, at least 0, and not all 0.
    Fixed(Vec<f64>),
}

impl ClassWeights {
    /// Weights for the classes of `dataset`, by its labels if they are balanced.
    pub(super) fn of(&self, dataset: &dyn Dataset) -> Result<Vec<f64>> {
        let classes = dataset.info().classes.len();
        match self {
            Self::Fixed(weights) if weights.len() != classes => Err(wrong(format!(
                "{} weights, but the dataset has {classes} classes",
                weights.len()
            ))),
            Self::Fixed(weights) => Ok(weights.clone()),
            Self::Balanced => {
                let mut counts = vec![0u64; classes];
                for index in 0..dataset.len() {
                    let label = dataset.label(index)?;
                    let Some(count) = counts.get_mut(label as usize) else {
                        let message =
                            format!("sample {index} has label {label}, expected below {classes}");
                        return Err(wrong(message));
                    };
                    *count += 1;
                }
                Ok(balanced(&counts))
            }
        }
    }

    /// Checks that the weights are finite, at least 0, and not all 0.
    pub(super) fn validate(&self) -> Result<()> {
        let Self::Fixed(weights) = self else {
            return Ok(());
        };
        if let Some(weight) = weights.iter().find(|w| !(w.is_finite() && **w >= 0.0)) {
            return Err(wrong(format!(
                "{weight} is not a finite number of at least 0"
            )));
        }
        if weights.iter().all(|weight| *weight == 0.0) {
            return Err(wrong("at least one weight must be above 0".to_string()));
        }
        Ok(())
    }
}

fn wrong(message: String) -> Error {
    Error::config("loss.class_weights", message)
}

/// `N / (K n_k)` over the classes with samples, 1 for the others.
fn balanced(counts: &[u64]) -> Vec<f64> {
    let samples = counts.iter().sum::<u64>() as f64;
    let present = counts.iter().filter(|count| **count > 0).count() as f64;
    let weight = |&count: &u64| match count {
        0 => 1.0,
        count => samples / (present * count as f64),
    };
    counts.iter().map(weight).collect()
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for ClassWeights {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "ClassWeights".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "description": "Weights of the classes in a loss, for classes of different frequency.",
            "anyOf": [
                {
                    "description": "Weights inversely proportional to the number of training samples of the class, as scikit-learn's `compute_class_weight(\"balanced\")`.",
                    "type": "string",
                    "const": "balanced"
                },
                {
                    "description": "One weight for each class, in their order.",
                    "type": "array",
                    "items": { "type": "number", "minimum": 0 }
                }
            ]
        })
    }
}

impl Serialize for ClassWeights {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Balanced => serializer.serialize_str("balanced"),
            Self::Fixed(weights) => weights.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for ClassWeights {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextOrList;
        impl<'de> Visitor<'de> for TextOrList {
            type Value = ClassWeights;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("`balanced` or a list of one number for each class")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<ClassWeights, E> {
                match text {
                    "balanced" => Ok(ClassWeights::Balanced),
                    other => Err(E::invalid_value(de::Unexpected::Str(other), &self)),
                }
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<ClassWeights, A::Error> {
                let mut weights = Vec::new();
                while let Some(weight) = list.next_element()? {
                    weights.push(weight);
                }
                Ok(ClassWeights::Fixed(weights))
            }
        }
        deserializer.deserialize_any(TextOrList)
    }
}

#[cfg(test)]
mod tests {
    use tallow_datasets::{ImageSet, Split};

    use super::*;
    use crate::loss::LossConfig;

    /// One pixel for each label; classes `a` to `d`.
    fn set(labels: Vec<u32>) -> ImageSet {
        let classes = ["a", "b", "c", "d"].map(String::from).to_vec();
        let pixels = vec![0; labels.len()];
        ImageSet::from_parts("s", Split::Train, "s", classes, (1, 1, 1), pixels, labels).unwrap()
    }

    /// scikit-learn 1.7: `compute_class_weight("balanced", classes=[0, 1, 3], y=[0, 0, 0, 0, 1, 3, 3, 3])`.
    #[test]
    fn balanced_weights_are_scikit_learns() {
        let weights = ClassWeights::Balanced
            .of(&set(vec![0, 3, 0, 1, 3, 0, 3, 0]))
            .unwrap();
        assert_eq!(weights, [8.0 / 12.0, 8.0 / 3.0, 1.0, 8.0 / 9.0]);
    }

    #[test]
    fn one_weight_for_each_class_is_expected() {
        let set = set(vec![0, 1]);
        let fixed = |weights: &[f64]| ClassWeights::Fixed(weights.to_vec());
        assert_eq!(
            fixed(&[1.0, 2.0, 0.0, 4.0]).of(&set).unwrap(),
            [1.0, 2.0, 0.0, 4.0]
        );
        assert_eq!(
            fixed(&[1.0, 2.0]).of(&set).unwrap_err().to_string(),
            "loss.class_weights: 2 weights, but the dataset has 4 classes"
        );
        for wrong in [vec![1.0, -1.0], vec![f64::NAN], vec![0.0, 0.0], vec![]] {
            assert!(ClassWeights::Fixed(wrong).validate().is_err());
        }
        assert!(fixed(&[0.0, 1.0]).validate().is_ok());
    }

    #[test]
    fn settings_are_read_and_written_and_left_out_by_default() {
        for text in [
            r#"{"name":"cross-entropy","label_smoothing":0.0}"#,
            r#"{"name":"cross-entropy","label_smoothing":0.0,"class_weights":"balanced"}"#,
            r#"{"name":"cross-entropy","label_smoothing":0.1,"class_weights":[1.0,2.5]}"#,
        ] {
            let config: LossConfig = serde_json::from_str(text).unwrap();
            assert_eq!(serde_json::to_string(&config).unwrap(), text);
        }
        let default = serde_json::to_string(&LossConfig::default()).unwrap();
        assert_eq!(default, r#"{"name":"cross-entropy","label_smoothing":0.0}"#);
        let whole = r#"{"name":"cross-entropy","class_weights":[1,2]}"#;
        assert!(serde_json::from_str::<LossConfig>(whole).is_ok());
        let slip = r#"{"name":"cross-entropy","class_weights":"balance"}"#;
        let error = serde_json::from_str::<LossConfig>(slip).unwrap_err();
        assert!(error.to_string().contains("expected `balanced` or a list"));
    }
}
