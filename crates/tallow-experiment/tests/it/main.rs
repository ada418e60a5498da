//! Integration tests.

mod batch;
mod evaluate;
mod predict;
mod regression;
mod reports;
mod run;
mod support;
mod trials;
mod validation;
