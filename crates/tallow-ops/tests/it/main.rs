//! Integration tests of tallow-ops.

mod batch_norm;
mod conv;
mod conv_bn_relu;
mod conv_relu;
mod device;
mod dropout;
mod generator;
mod linear;
mod loss;
mod pool;
mod store;
mod tape;
mod torch;
