//! The kernels on the CPU beside the operators of tallow-ops.
// The fibers of the emulator are made by functions that other systems lack or have deprecated.
#![cfg(target_os = "linux")]

mod emulator;
mod support;

mod convert;
mod dropout;
mod elementwise;
mod images;
mod loss;
mod norm;
mod nvrtc;
mod optimizer;
mod pool;
mod rows;
mod sum;
