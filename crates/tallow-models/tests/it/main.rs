//! Tests of the crate from outside, as one binary.

mod bits;
mod build;
mod checkpoints;
mod common;
mod depth;
mod device;
mod export;
mod formats;
#[path = "../../../tallow-datasets/tests/it/formats/table.rs"]
mod formats_table;
mod grad_cam;
mod hostile_weights;
mod init;
mod layers;
mod modern_layers;
mod onnx;
mod operators;
mod own_model;
mod pytorch;
mod sequential;
mod skip_init;
mod table;
mod timm;
mod whitening;
mod wrapped_weights;
