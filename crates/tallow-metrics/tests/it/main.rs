//! Integration tests of tallow-metrics.

mod against_python;
mod as_metric;
mod errors;
mod merge;
