//! The launches of each family of kernels: sizes and addresses in, [`Call`](crate::Call)s out.

pub mod convert;
pub mod dropout;
pub mod elementwise;
pub mod images;
pub mod layout;
pub mod loss;
pub mod norm;
pub mod optimizer;
pub mod pool;
pub mod rows;
pub mod sum;
