//! Mergeable classification metrics with the definitions of torchmetrics and scikit-learn.
#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::expect_used, clippy::panic))]
