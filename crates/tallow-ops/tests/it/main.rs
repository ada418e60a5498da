//! Integration tests of tallow-ops.

mod activation;
mod batch_norm;
mod conv;
mod conv_bn_relu;
mod conv_relu;
mod device;
mod dropout;
mod generator;
mod layer_norm;
mod linear;
mod loss;
mod norm_sync;
mod pool;
mod skip_init;
mod squeeze_excite;
mod store;
mod tape;
mod torch;
