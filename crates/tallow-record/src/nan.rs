//! Figures that may not be finite: `null` in JSON, NaN in memory.

use serde::{Deserialize, Deserializer};

/// Reads a number, or NaN from `null`; serde_json writes a number that is not finite as `null`.
pub fn from_null<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or(f64::NAN))
}

/// The same for an optional figure, whose key is missing when it was not measured.
pub fn some_from_null<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<f64>, D::Error> {
    from_null(deserializer).map(Some)
}

/// The same for figures with a key each.
pub fn keyed<'de, K, D>(deserializer: D) -> Result<Vec<(K, f64)>, D::Error>
where
    K: Deserialize<'de>,
    D: Deserializer<'de>,
{
    let figures: Vec<(K, Option<f64>)> = Vec::deserialize(deserializer)?;
    let figures = figures.into_iter();
    Ok(figures
        .map(|(key, value)| (key, value.unwrap_or(f64::NAN)))
        .collect())
}

/// The same for a list of figures.
pub fn list<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<f64>, D::Error> {
    let figures: Vec<Option<f64>> = Vec::deserialize(deserializer)?;
    let figures = figures.into_iter();
    Ok(figures.map(|value| value.unwrap_or(f64::NAN)).collect())
}

/// Equality in which NaN equals NaN, so that a figure read back equals the one that was written.
pub fn same(a: f64, b: f64) -> bool {
    a == b || (a.is_nan() && b.is_nan())
}

/// The same for optional figures.
pub fn same_option(a: Option<f64>, b: Option<f64>) -> bool {
    match (a, b) {
        (Some(a), Some(b)) => same(a, b),
        (a, b) => a.is_none() && b.is_none(),
    }
}
