//! Integration tests.

mod evaluate;
mod predict;
mod regression;
mod run;
mod support;
mod trials;
