//! Text of the kernels.

use crate::call::Numbers;

/// File of kernels.
#[derive(Debug)]
pub struct File {
    /// Name of the file, for messages.
    pub name: &'static str,
    /// Text, without that of [`COMMON`].
    pub text: &'static str,
    /// Types of numbers that it is compiled for, each on its own.
    pub numbers: &'static [Numbers],
    /// Names of its kernels, without the suffix of the type.
    pub kernels: &'static [&'static str],
    /// Names of those that there are for one channel at a time and for four, without `_1` and `_4`.
    pub families: &'static [&'static str],
}

impl File {
    /// Names of the kernels for a type of numbers.
    pub fn names(&self, numbers: Numbers) -> Vec<String> {
        let suffix = numbers.suffix();
        let single = self.kernels.iter().map(|name| format!("{name}{suffix}"));
        let of_family = |name: &&str| [1, 4].map(|width| format!("{name}_{width}{suffix}"));
        single
            .chain(self.families.iter().flat_map(of_family))
            .collect()
    }

    /// Text for a type of numbers, without that of [`COMMON`].
    pub fn text_for(&self, numbers: Numbers) -> String {
        let (name, suffix) = (self.name, numbers.suffix());
        let number = match numbers {
            Numbers::F32 => "float",
            Numbers::Bf16 => "bf16",
        };
        format!(
            "#undef SUFFIX\n#define SUFFIX {suffix}\ntypedef {number} T;\n#line 1 \"{name}\"\n{}",
            self.text
        )
    }

    /// Whole program for a type of numbers.
    pub fn program(&self, numbers: Numbers) -> String {
        format!("{COMMON}\n{}", self.text_for(numbers))
    }

    fn has(&self, kernel: &str, numbers: Numbers) -> bool {
        let Some(base) = kernel.strip_suffix(numbers.suffix()) else {
            return false;
        };
        let is_of = |family: &&str| {
            let width = base.strip_prefix(*family);
            width.is_some_and(|width| width == "_1" || width == "_4")
        };
        self.numbers.contains(&numbers)
            && (self.kernels.contains(&base) || self.families.iter().any(is_of))
    }
}

/// Options of NVRTC besides the architecture: products and sums are rounded one by one, as on the CPU.
pub const OPTIONS: [&str; 2] = ["--fmad=false", "--std=c++17"];

/// Text that goes before that of every file.
pub const COMMON: &str = include_str!("kernels/common.cu");

const FLOATS: &[Numbers] = &[Numbers::F32];
const BOTH: &[Numbers] = &Numbers::ALL;

/// All files.
pub const FILES: &[File] = &[
    File {
        name: "norm.cu",
        text: include_str!("kernels/norm.cu"),
        numbers: BOTH,
        kernels: &["norm_finish", "norm_constants", "norm_gradient_finish"],
        families: &[
            "norm_statistics",
            "norm_apply",
            "norm_apply_relu",
            "norm_apply_add_relu",
            "norm_apply_pool",
            "norm_sums",
            "norm_sums_relu",
            "norm_sums_add_relu",
            "norm_sums_pool",
            "norm_gradient",
            "norm_gradient_relu",
            "norm_gradient_pool",
        ],
    },
    File {
        name: "elementwise.cu",
        text: include_str!("kernels/elementwise.cu"),
        numbers: BOTH,
        kernels: &[],
        families: &["relu", "relu_gradient", "add", "add_relu"],
    },
    File {
        name: "convert.cu",
        text: include_str!("kernels/convert.cu"),
        numbers: FLOATS,
        kernels: &["filters_narrow", "filters_widen"],
        families: &["narrow", "widen"],
    },
    File {
        name: "images.cu",
        text: include_str!("kernels/images.cu"),
        numbers: FLOATS,
        kernels: &["images"],
        families: &[],
    },
    File {
        name: "layout.cu",
        text: include_str!("kernels/layout.cu"),
        numbers: BOTH,
        kernels: &["transpose", "shortcut", "shortcut_gradient"],
        families: &[],
    },
    File {
        name: "pool.cu",
        text: include_str!("kernels/pool.cu"),
        numbers: BOTH,
        kernels: &[
            "max_pool",
            "max_pool_gradient",
            "avg_pool",
            "avg_pool_gradient",
        ],
        families: &[],
    },
    File {
        name: "loss.cu",
        text: include_str!("kernels/loss.cu"),
        numbers: FLOATS,
        kernels: &[
            "cross_entropy",
            "mean_loss",
            "cross_entropy_gradient",
            "tally",
        ],
        families: &[],
    },
    File {
        name: "rows.cu",
        text: include_str!("kernels/rows.cu"),
        numbers: FLOATS,
        kernels: &["rows_gradient"],
        families: &[],
    },
    File {
        name: "dropout.cu",
        text: include_str!("kernels/dropout.cu"),
        numbers: BOTH,
        kernels: &["dropout"],
        families: &[],
    },
    File {
        name: "optimizer.cu",
        text: include_str!("kernels/optimizer.cu"),
        numbers: FLOATS,
        kernels: &["sgd", "adam", "increment"],
        families: &[],
    },
    File {
        name: "sum.cu",
        text: include_str!("kernels/sum.cu"),
        numbers: FLOATS,
        kernels: &["sum_terms"],
        families: &[],
    },
];

/// File that has a kernel, and the numbers for which it has it.
pub fn file(kernel: &str) -> Option<(&'static File, Numbers)> {
    // A name with a suffix ends with the empty one too, so that the longer one is asked first.
    [Numbers::Bf16, Numbers::F32]
        .into_iter()
        .find_map(|numbers| {
            let file = FILES.iter().find(|file| file.has(kernel, numbers))?;
            Some((file, numbers))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kernel_is_found_by_its_name() {
        let mut all = Vec::new();
        for file in FILES {
            for &numbers in file.numbers {
                for name in file.names(numbers) {
                    let (found, of) = super::file(&name).unwrap();
                    assert_eq!((found.name, of), (file.name, numbers), "{name}");
                    all.push(name);
                }
            }
        }
        let count = all.len();
        all.sort();
        all.dedup();
        assert_eq!(all.len(), count, "a name comes twice");
        for unknown in ["relu", "relu_2", "sgd_bf16", "transpose_4", ""] {
            assert!(super::file(unknown).is_none(), "{unknown}");
        }
    }
}
