use serde::{Deserialize, Serialize};

/// Factor of Muon's learning rate for a matrix (M, N), with the names of PyTorch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum AdjustLr {
    /// `sqrt(max(1, M / N))`, as Jordan et al.
    Original,
    /// `0.2 sqrt(max(M, N))`, which makes steps as large as AdamW's (Liu et al. 2025).
    MatchRmsAdamw,
    /// `sqrt(M / N)` (Bernstein 2025).
    SpectralUnclamped,
    /// 1, as airbench94.
    None,
}

impl AdjustLr {
    pub(super) fn factor(self, rows: usize, columns: usize) -> f64 {
        let (rows, columns) = (rows as f64, columns as f64);
        match self {
            Self::Original => (rows / columns).max(1.0).sqrt(),
            Self::MatchRmsAdamw => 0.2 * rows.max(columns).sqrt(),
            Self::SpectralUnclamped => (rows / columns).sqrt(),
            Self::None => 1.0,
        }
    }
}
