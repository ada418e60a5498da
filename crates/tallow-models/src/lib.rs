#![doc = include_str!("../README.md")]
#![cfg_attr(
    not(test),
    warn(clippy::unwrap_used, clippy::expect_used, clippy::panic)
)]

mod config;
mod depth;
mod eigen;
mod error;
mod grad_cam;
mod head;
mod model;
mod module;
mod nearest;
pub mod nn;
mod onnx;
mod registry;
mod summary;
mod trace;
mod weights;
mod whiten;
mod zoo;

pub use config::ModelConfig;
pub use error::{Error, Result};
pub use grad_cam::{grad_cam, last_feature_map};
pub use head::{conv_head_to_linear, linear_head_to_conv};
pub use model::Model;
pub use module::{Context, LayerOutput, Module, Operator};
pub use nearest::nearest;
pub use onnx::{OnnxInput, OnnxOptions};
pub use registry::{Entry, Registry};
pub use summary::{LayerSummary, ModelSummary};
pub use tallow_onnx;
pub use trace::onnx_parameter;
pub use weights::{
    Checkpoint, LoadWeights, LoadedWeights, Pretrained, ResizeFilter, WeightsProblem, checkpoints,
    load_weights, pretrained, read_weights, shards,
};
pub use whiten::whitening_filters;
pub use zoo::{Block, Naming, ResNet, Stem, find, registry};
