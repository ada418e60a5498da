//! Result of a claim.

use serde::Serialize;

/// Result of a claim.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ClaimResult {
    /// Text of the claim.
    pub text: String,
    /// Whether the claim holds; `None` if a variant was not run to its end.
    pub holds: Option<bool>,
    /// Both sides, with numbers in place of names.
    pub figures: String,
}
