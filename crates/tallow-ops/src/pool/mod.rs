//! Pooling over windows of the two spatial axes.

mod avg;
pub(crate) mod config;
mod max;

pub use avg::{adaptive_avg_pool2d, avg_pool2d};
pub use config::Pool2dConfig;
pub use max::max_pool2d;
