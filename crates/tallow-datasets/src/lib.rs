//! Finding, checking, decoding and batching image classification datasets for candle.
#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::expect_used, clippy::panic))]
