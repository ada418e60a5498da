//! Image classifiers for candle by name, with PyTorch's parameter names and initialisation.
#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::expect_used, clippy::panic))]
