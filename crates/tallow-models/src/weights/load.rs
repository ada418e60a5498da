use std::collections::{HashMap, HashSet};
use std::path::Path;

use candle_core::{Tensor, Var};
use tallow_ops::{LoadReport, MisShaped, ParamStore};

use crate::error::{Error, Result};
use crate::model::Model;
use crate::weights::error::WeightsProblem;
use crate::weights::read::read_weights;

/// Options of loading weights.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadWeights {
    /// Whether a missing, unexpected or mis-shaped tensor is an error, as in PyTorch; true.
    pub strict: bool,
    /// Layers that keep their values, by dotted name, with all layers inside; their tensors in the file are ignored.
    pub skip: Vec<String>,
    /// Layers with another name in the file: `(theirs, ours)`, dotted; the first that matches applies. An empty name is the root, so
    /// that `("backbone", "")` removes a prefix.
    pub rename: Vec<(String, String)>,
}

impl Default for LoadWeights {
    fn default() -> Self {
        Self {
            strict: true,
            skip: Vec::new(),
            rename: Vec::new(),
        }
    }
}

/// Loads a file of weights (see [`read_weights`]) into the parameters and buffers of the same names.
///
/// The prefixes `module.` and `_orig_mod.`, which data parallelism and compilation add to every name, are removed. Floating-point types
/// are converted to the store's; integers in place of floating-point numbers, or the reverse, are an error. A missing
/// `num_batches_tracked` is not: PyTorch before 0.4.1 had none, and the store's value stays.
///
/// With `strict`, missing, unexpected and mis-shaped tensors are an error that lists all of them; without, they are in the report.
/// A file without any fitting tensor is always an error. After an error nothing is changed.
pub fn load_weights(
    store: &ParamStore,
    path: impl AsRef<Path>,
    options: &LoadWeights,
) -> Result<LoadReport> {
    let path = path.as_ref();
    let targets = [store.parameters(), store.buffers()].concat();
    let found = named(read_weights(path)?, &targets, options);
    let fit = Fit::new(&targets, found, options).map_err(|problem| Error::Weights {
        path: path.into(),
        problem,
    })?;
    store.load_state_dict(&fit.ready, false)?;
    Ok(fit.report)
}

impl Model {
    /// Loads a file of weights; see [`load_weights`].
    ///
    /// ```
    /// use tallow_models::{LoadWeights, Model, find};
    ///
    /// let path = std::env::temp_dir().join(format!("tallow-doc-{}.safetensors", std::process::id()));
    /// let trained = Model::build("resnet20", &find("resnet20")?.config()?)?;
    /// trained.save_weights(&path)?;
    ///
    /// // For 100 classes: all but the head, which is new.
    /// let mut config = find("resnet20")?.config()?;
    /// config.classes = 100;
    /// let model = Model::build("resnet20", &config)?;
    /// let options = LoadWeights { skip: vec![model.head()], ..Default::default() };
    /// assert!(model.load_weights(&path, &options)?.is_clean());
    /// # std::fs::remove_file(&path)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn load_weights(
        &self,
        path: impl AsRef<Path>,
        options: &LoadWeights,
    ) -> Result<LoadReport> {
        load_weights(self.store(), path, options)
    }

    /// Writes parameters and buffers as safetensors, with PyTorch's names.
    pub fn save_weights(&self, path: impl AsRef<Path>) -> Result<()> {
        Ok(self.store().save(path)?)
    }

    /// Dotted name of the last layer, whose outputs are the classes: `fc` of a ResNet, `classifier.6` of a VGG; empty when the last
    /// layer made does not have one output per class.
    ///
    /// To train a network for other classes, load its weights with this layer in [`LoadWeights::skip`].
    pub fn head(&self) -> String {
        // Layers are made in the order of the network. The one head without parameters (`lenet5-1998-rbf`) has its prototypes
        // as the last buffer.
        let classes = self.classes();
        let last = |entries: Vec<(String, Var)>| {
            let (name, var) = entries.into_iter().next_back()?;
            let layer = name.rsplit_once('.')?.0;
            (var.dims().first() == Some(&classes)).then(|| layer.to_string())
        };
        last(self.store().parameters())
            .or_else(|| last(self.store().buffers()))
            .unwrap_or_default()
    }
}

/// Tensors by their names in the model, without those of skipped layers.
fn named(
    mut tensors: Vec<(String, Tensor)>,
    targets: &[(String, Var)],
    options: &LoadWeights,
) -> Vec<(String, Tensor)> {
    for prefix in ["module.", "_orig_mod.", "module."] {
        let theirs = tensors.iter().all(|(name, _)| name.starts_with(prefix));
        let ours = targets.iter().all(|(name, _)| name.starts_with(prefix));
        if theirs && !ours {
            for (name, _) in &mut tensors {
                name.drain(..prefix.len());
            }
        }
    }
    for (name, _) in &mut tensors {
        let renamed = options.rename.iter().find_map(|(theirs, ours)| {
            let rest = inside(name, theirs)?;
            Some(if ours.is_empty() || rest.is_empty() {
                format!("{ours}{rest}")
            } else {
                format!("{ours}.{rest}")
            })
        });
        if let Some(renamed) = renamed {
            *name = renamed;
        }
    }
    tensors.retain(|(name, _)| !is_skipped(name, options));
    tensors
}

/// Rest of `name` when it is `layer` or inside of it.
fn inside<'a>(name: &'a str, layer: &str) -> Option<&'a str> {
    if layer.is_empty() {
        return Some(name);
    }
    match name.strip_prefix(layer)? {
        "" => Some(""),
        rest => rest.strip_prefix('.'),
    }
}

fn is_skipped(name: &str, options: &LoadWeights) -> bool {
    options
        .skip
        .iter()
        .any(|layer| inside(name, layer).is_some())
}

/// Tensors that can be loaded, and a report of the rest.
struct Fit {
    ready: Vec<(String, Tensor)>,
    report: LoadReport,
}

impl Fit {
    fn new(
        targets: &[(String, Var)],
        found: Vec<(String, Tensor)>,
        options: &LoadWeights,
    ) -> Result<Self, WeightsProblem> {
        let mut ready = Vec::new();
        let mut report = LoadReport::default();
        let known: HashSet<&str> = targets.iter().map(|(name, _)| name.as_str()).collect();
        report.unexpected = found
            .iter()
            .filter(|(name, _)| !known.contains(name.as_str()))
            .map(|(name, _)| name.clone())
            .collect();
        report.unexpected.sort_unstable();
        let found: HashMap<String, Tensor> = found.into_iter().collect();
        for (name, var) in targets
            .iter()
            .filter(|(name, _)| !is_skipped(name, options))
        {
            let Some(tensor) = found.get(name) else {
                if !name.ends_with(".num_batches_tracked") {
                    report.missing.push(name.clone());
                }
                continue;
            };
            if tensor.dtype().is_float() != var.dtype().is_float() {
                return Err(WeightsProblem::Type {
                    tensor: name.clone(),
                    expected: if var.dtype().is_float() {
                        "floating-point numbers"
                    } else {
                        "integers"
                    },
                    found: tensor.dtype().as_str().into(),
                });
            }
            if tensor.shape() == var.shape() {
                ready.push((name.clone(), tensor.clone()));
            } else {
                report.mis_shaped.push(MisShaped {
                    name: name.clone(),
                    expected: var.shape().clone(),
                    found: tensor.shape().clone(),
                });
            }
        }
        if ready.is_empty() || options.strict && !report.is_clean() {
            return Err(WeightsProblem::Fit(report));
        }
        Ok(Self { ready, report })
    }
}
