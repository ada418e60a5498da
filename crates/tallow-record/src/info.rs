//! Identity and environment of a run: `environment.json`.

use serde::{Deserialize, Serialize};

/// Identity of a run: experiment, variant, seed, model and dataset.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunInfo {
    /// Name of the experiment.
    pub experiment: String,
    /// Name of the variant.
    pub variant: String,
    /// Random seed.
    pub seed: u64,
    /// Name of the model.
    pub model: String,
    /// Number of trainable parameters.
    pub parameters: usize,
    /// Training data.
    pub dataset: Dataset,
}

/// Dataset of a run or an experiment.
///
/// A run record describes its training split. A results file describes both splits: it has a
/// [`test_digest`](Self::test_digest) and no [`split`](Self::split).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Dataset {
    /// Name in the catalog of datasets, or of its folder.
    pub name: String,
    /// `train` or `test`, in a run record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub split: Option<String>,
    /// Format, and whether the bytes are the published ones: `mnist (IDX, original)`.
    pub provenance: String,
    /// SHA-256 of images and labels of the training split, in hexadecimal.
    pub digest: String,
    /// SHA-256 of images and labels of the test split, in a results file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test_digest: Option<String>,
    /// Names of the classes: label `k` is `classes[k]`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub classes: Vec<String>,
}

/// Machine and program of a run: what its numbers and times may depend on besides its settings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Environment {
    /// Version of `tallow-train`.
    pub tallow: String,
    /// Commit of the program's source, if known.
    pub commit: Option<String>,
    /// Compiler, as printed by `rustc --version`.
    pub rustc: String,
    /// Operating system and architecture: `linux x86_64`.
    pub platform: String,
    /// Name of the processor; `unknown` if the system does not report it.
    pub cpu: String,
    /// Number of compute threads.
    pub threads: usize,
    /// Compute device: `cpu`, `cuda:0` or `metal:0`.
    pub device: String,
    /// Card of a CUDA device and its libraries, on which bits and times depend; `None` elsewhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gpu: Option<Gpu>,
    /// Command line; empty in a results file.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub command: Vec<String>,
    /// Processes that trained the run together; `None` for one process, and in a results file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub world: Option<World>,
}

/// Card of a CUDA device, and its libraries.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gpu {
    /// Name of the card.
    pub name: String,
    /// Version of CUDA that the driver has: `13.0`.
    pub driver: String,
    /// Version of cuDNN: `9.19.0`; `None` where convolutions run without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cudnn: Option<String>,
}

/// Processes that train a run together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct World {
    /// Number of processes.
    pub ranks: usize,
    /// Names of their machines, each once, in the order of the processes.
    pub hosts: Vec<String>,
    /// Name and version of the MPI library, and of NCCL where it adds gradients.
    pub library: String,
}

/// Content of `environment.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EnvironmentFile {
    /// Identity of the run.
    pub run: RunInfo,
    /// Machine and program.
    pub environment: Environment,
}

impl Environment {
    /// Device for readers: `cuda:0 (NVIDIA H100, CUDA 13.0, cuDNN 9.19.0)`.
    pub fn device_text(&self) -> String {
        let Some(gpu) = &self.gpu else {
            return self.device.clone();
        };
        let cudnn = match &gpu.cudnn {
            Some(version) => format!("cuDNN {version}"),
            None => "without cuDNN".to_string(),
        };
        format!(
            "{} ({}, CUDA {}, {cudnn})",
            self.device, gpu.name, gpu.driver
        )
    }

    /// The same environment without its command line and its world, neither of which changes results, as results files and baselines keep
    /// it.
    pub fn without_command(mut self) -> Self {
        self.command.clear();
        self.world = None;
        self
    }
}
