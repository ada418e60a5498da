//! Text of the kernels.

/// File of kernels.
#[derive(Debug)]
pub struct File {
    /// Name of the file, for messages.
    pub name: &'static str,
    /// Text, without that of [`COMMON`].
    pub text: &'static str,
    /// Names of its kernels.
    pub kernels: &'static [&'static str],
}

/// Text that goes before that of every file.
pub const COMMON: &str = include_str!("kernels/common.cu");

/// All files.
pub const FILES: &[File] = &[
    File {
        name: "norm.cu",
        text: include_str!("kernels/norm.cu"),
        kernels: &[
            "norm_statistics_1",
            "norm_statistics_4",
            "norm_finish",
            "norm_constants",
            "norm_apply_1",
            "norm_apply_4",
            "norm_apply_relu_1",
            "norm_apply_relu_4",
            "norm_apply_add_relu_1",
            "norm_apply_add_relu_4",
            "norm_apply_pool_1",
            "norm_apply_pool_4",
            "norm_sums_1",
            "norm_sums_4",
            "norm_sums_relu_1",
            "norm_sums_relu_4",
            "norm_sums_add_relu_1",
            "norm_sums_add_relu_4",
            "norm_sums_pool_1",
            "norm_sums_pool_4",
            "norm_gradient_finish",
            "norm_gradient_1",
            "norm_gradient_4",
            "norm_gradient_relu_1",
            "norm_gradient_relu_4",
            "norm_gradient_pool_1",
            "norm_gradient_pool_4",
        ],
    },
    File {
        name: "elementwise.cu",
        text: include_str!("kernels/elementwise.cu"),
        kernels: &[
            "relu_1",
            "relu_4",
            "relu_gradient_1",
            "relu_gradient_4",
            "add_relu_1",
            "add_relu_4",
        ],
    },
    File {
        name: "layout.cu",
        text: include_str!("kernels/layout.cu"),
        kernels: &["transpose"],
    },
    File {
        name: "pool.cu",
        text: include_str!("kernels/pool.cu"),
        kernels: &[
            "max_pool",
            "max_pool_gradient",
            "avg_pool",
            "avg_pool_gradient",
        ],
    },
    File {
        name: "loss.cu",
        text: include_str!("kernels/loss.cu"),
        kernels: &["cross_entropy", "mean_loss", "cross_entropy_gradient"],
    },
    File {
        name: "dropout.cu",
        text: include_str!("kernels/dropout.cu"),
        kernels: &["dropout"],
    },
    File {
        name: "optimizer.cu",
        text: include_str!("kernels/optimizer.cu"),
        kernels: &["sgd", "adam"],
    },
    File {
        name: "sum.cu",
        text: include_str!("kernels/sum.cu"),
        kernels: &["sum_terms"],
    },
];

/// File that has a kernel.
pub fn file(kernel: &str) -> Option<&'static File> {
    FILES.iter().find(|file| file.kernels.contains(&kernel))
}
