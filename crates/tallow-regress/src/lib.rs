#![doc = include_str!("../README.md")]
#![cfg_attr(
    not(test),
    warn(clippy::unwrap_used, clippy::expect_used, clippy::panic)
)]

pub mod baseline;
mod claim;
mod compare;
mod confidence;
mod equivalence;
mod error;
mod external;
mod figure;
mod findings;
mod format;
mod guard;
mod judge;
mod junit;
mod measured;
mod plan;
mod proportion;
mod recipe;
mod record;
mod rounds;
pub mod table;
mod trace;
mod traced;
mod train;

pub use baseline::Baseline;
pub use claim::{Claim, FACTS, Rule, Sum};
pub use compare::{Bits, Comparison, VariantComparison};
pub use equivalence::{Equivalence, equivalence, equivalence_power, widest_spread};
pub use error::{Error, Result, TrainError};
pub use external::{
    Direction, Directions, ExternalBaseline, ExternalBaselineVariant, ExternalResults,
    ExternalVariant, Selection, compare as compare_external, level,
};
pub use figure::Figure;
pub use findings::Findings;
pub use guard::{Guard, Worse};
pub use judge::{FRESH_ROUNDS, FRESH_SEEDS, Judgement, MetricComparison};
pub use junit::junit;
pub use measured::Measured;
pub use plan::{Plan, PlannedVariant};
pub use proportion::proportion_interval;
pub use recipe::comparable;
pub use record::record_of_results;
pub use rounds::{Rounds, no_baseline, record};
pub use tallow_record::ClaimResult;
pub use trace::{Change, Entry, Trace};
pub use traced::record as record_traces;
pub use train::{Train, Trained};
