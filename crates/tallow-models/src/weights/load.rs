use std::collections::{HashMap, HashSet};
use std::path::Path;

use candle_core::{Tensor, Var};
use tallow_ops::{LoadReport, MisShaped, ParamStore};

use super::error::WeightsProblem;
use super::read_weights;
use crate::{Error, Model, Result};

/// How to load weights.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadWeights {
    /// Whether a missing, unexpected or mis-shaped tensor is an error, as in PyTorch; true.
    pub strict: bool,
    /// Layers that stay as they are, by dotted name, with all that is in them: what the file has for them is ignored.
    pub skip: Vec<String>,
    /// Layers that have another name in the file: `(theirs, ours)`, dotted, the first that matches. An empty name is the root, so
    /// that `("backbone", "")` takes a prefix away.
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

/// Puts what a file of weights has (see [`read_weights`]) into the parameters and buffers of the same names.
///
/// `module.` and `_orig_mod.`, which data parallelism and compilation put before every name, are taken away. Floating-point types
/// are converted to the store's; integers in the place of floating-point numbers, or the other way round, are an error. A missing
/// `num_batches_tracked` is not: PyTorch before 0.4.1 had none, and as there the store's stays.
///
/// With `strict`, the error lists all that is missing, unexpected or mis-shaped; without, the report does. Not one fitting tensor
/// is an error in any case. After an error nothing is changed.
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
    /// let trained = Model::build("resnet20", &find("resnet20")?.config())?;
    /// trained.save_weights(&path)?;
    ///
    /// // For 100 classes: all but the head, which is new.
    /// let mut config = find("resnet20")?.config();
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

    /// Writes parameters and buffers as safetensors, under the names they have in PyTorch.
    pub fn save_weights(&self, path: impl AsRef<Path>) -> Result<()> {
        Ok(self.store().save(path)?)
    }

    /// The dotted name of the last layer, whose outputs are the classes: `fc` of a ResNet, `classifier.6` of a VGG; empty when the
    /// last layer made does not give one output a class.
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

/// The tensors by their names in the model, without those of skipped layers.
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

/// The rest of `name` when it is in `layer`, or is it.
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

/// What can be loaded, and what cannot.
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
