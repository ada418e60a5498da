//! Results of other programs: reading them, their baselines, and their comparison without further training.

mod baseline;
mod compare;
mod csv;
mod direction;
mod folder;
mod json;
mod results;
mod run;

pub use baseline::{ExternalBaseline, ExternalBaselineVariant, Selection};
pub use compare::{compare, level};
pub use direction::{Direction, Directions};
pub use results::{ExternalResults, ExternalVariant};
