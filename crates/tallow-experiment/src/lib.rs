#![doc = include_str!("../README.md")]
#![cfg_attr(
    not(test),
    warn(clippy::unwrap_used, clippy::expect_used, clippy::panic)
)]

pub mod analysis;
mod bare_recipe;
pub mod builtin;
pub mod data;
pub mod device;
mod error;
pub mod evaluate;
pub mod experiment;
mod experiment_file;
pub mod export;
pub mod heat_map;
pub mod interrupt;
mod job;
mod keys;
pub mod model;
pub mod monitoring;
mod observe;
pub mod outcome;
pub mod pictures;
pub mod predictor;
pub mod preparation;
pub mod profile;
mod progress;
pub mod proposal;
pub mod recipe;
pub mod reference;
pub mod regression;
mod relabelled;
pub mod report;
pub mod results;
mod reuse;
pub mod runner;
pub mod schema;
pub mod speed;
mod statement;
mod streamed;
pub mod suggest;
pub mod sweep;
mod synonyms;
mod teacher;
mod tiers;
mod trial;
pub mod unfinished;
mod unknown_name;
mod unset;
pub mod weights;
mod wording;

pub use error::{Error, Result};
pub use experiment::{Experiment, Source, Tier, Variant};
pub use interrupt::StopFlag;
pub use model::Registry;
pub use outcome::Outcome;
pub use predictor::Predictor;
pub use progress::{NoProgress, PlannedRun, Progress};
pub use proposal::Proposal;
pub use recipe::Recipe;
pub use runner::{Runner, RunnerOptions};
pub use statement::Statement;
pub use sweep::Sweep;
pub use trial::{FoundLr, Overfit};
pub use unfinished::{Invocation, Resume};
