//! Integration tests.

mod batch;
mod evaluate;
mod own_transforms;
mod predict;
mod ranks;
mod reference;
mod regression;
mod reports;
mod run;
mod schema;
mod support;
mod traces;
mod trials;
mod validation;
