use serde::{Deserialize, Serialize};

use crate::error::Problem;
use crate::transform::{Kind, Stage, Transform};

/// Conversion of u8 to f32 in `[0, 1]`: `value / 255`. Every pipeline has exactly one (torchvision's `ToTensor`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(from = "NoFields", into = "NoFields")]
pub struct ToTensor;

impl ToTensor {
    /// The conversion.
    pub fn new() -> Self {
        Self
    }
}

impl Transform for ToTensor {
    fn name(&self) -> &'static str {
        "to-tensor"
    }

    fn kind(&self) -> Kind {
        Kind::ToTensor
    }

    fn check(&self, stage: Stage) -> Result<(), Problem> {
        match stage {
            Stage::U8 => Ok(()),
            Stage::F32 => Err(Problem::SecondToTensor),
        }
    }

    fn is_random(&self) -> bool {
        false
    }
}

/// serde accepts any fields for a unit struct; this refuses them.
#[derive(Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
struct NoFields {}

impl From<NoFields> for ToTensor {
    fn from(NoFields {}: NoFields) -> Self {
        Self
    }
}

impl From<ToTensor> for NoFields {
    fn from(ToTensor: ToTensor) -> Self {
        Self {}
    }
}
