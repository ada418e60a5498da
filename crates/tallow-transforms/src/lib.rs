//! Image transforms on u8 and f32 buffers with torchvision's definitions, deterministic per (seed, epoch, sample).
#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::expect_used, clippy::panic))]
