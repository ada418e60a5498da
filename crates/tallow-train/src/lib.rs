//! Optimizers, schedules, the training loop, callbacks and run records for candle.
#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::expect_used, clippy::panic))]
