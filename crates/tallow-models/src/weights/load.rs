use std::collections::{HashMap, HashSet};
use std::path::Path;

use candle_core::{DType, Tensor, Var};
use tallow_ops::{LoadReport, MisShaped, ParamStore};

use crate::error::{Error, Result};
use crate::model::Model;
use crate::weights::error::WeightsProblem;
use crate::weights::file::WeightsFile;
use crate::weights::names::named;
use crate::weights::read::read_file;
use crate::weights::shards::index_of;
use crate::weights::timm::to_torchvision;

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
    /// Set of weights to load from a file with several: the dotted key of a state dict (`state_dict_ema`), or the prefix of its names
    /// (`teacher`). Default: `state_dict`, `model_state_dict`, `model` or `net`; of several prefixes, the one that has most of the
    /// network, without averaged weights where there are others.
    pub key: Option<String>,
    /// Whether NaN and infinite values are loaded; false, which makes them an error.
    pub allow_non_finite: bool,
}

impl Default for LoadWeights {
    fn default() -> Self {
        Self {
            strict: true,
            skip: Vec::new(),
            rename: Vec::new(),
            key: None,
            allow_non_finite: false,
        }
    }
}

/// Result of loading weights.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LoadedWeights {
    /// Tensors that do not match the model.
    pub report: LoadReport,
    /// Key of the set of weights that was loaded, where it has one.
    pub key: Option<String>,
    /// Keys of other sets of weights in the file; see [`LoadWeights::key`].
    pub others: Vec<String>,
    /// Names in the file of tensors outside of the network, such as the weights of a loss in a training module.
    pub ignored: Vec<String>,
}

impl LoadedWeights {
    /// True if all tensors match.
    pub fn is_clean(&self) -> bool {
        self.report.is_clean()
    }
}

/// Loads a file of weights (see [`read_weights`](crate::read_weights)) into the parameters and buffers of the same names.
///
/// Prefixes of names that the model does not have are removed: `module.`, `_orig_mod.` and other wrappers, wherever they are in the
/// name, and at its beginning `model.`, `net.`, `backbone.`, `student.`, `ema.` and the like, also one inside another. `n_averaged` of
/// `torch.optim.swa_utils.AveragedModel` is left out, as are tensors beside a network that is complete under a prefix.
///
/// timm's names of MobileNetV3, EfficientNet, ConvNeXt and VGG are replaced by torchvision's.
///
/// Floating-point types are converted to the store's; integers in place of floating-point numbers, or the reverse, are an error.
/// `num_batches_tracked` may be a number of any type, or missing: PyTorch before 0.4.1 had none, and the store's value stays.
/// NaN and infinite values are an error, unless [`LoadWeights::allow_non_finite`] is set.
///
/// With `strict`, missing, unexpected and mis-shaped tensors are an error that lists all of them; without, they are in the report.
/// A file without any fitting tensor is always an error. After an error nothing is changed.
///
/// In a store by [`ParamStore::skip_init`], parameters that are not loaded are drawn then, as by a store that draws all at first.
pub fn load_weights(
    store: &ParamStore,
    path: impl AsRef<Path>,
    options: &LoadWeights,
) -> Result<LoadedWeights> {
    let path = path.as_ref();
    let file = read_file(path, options.key.as_deref())?;
    let targets = [store.parameters(), store.buffers()].concat();
    let (fit, loaded) = fit(&targets, file, options).map_err(|problem| Error::Weights {
        path: path.into(),
        problem: match problem {
            WeightsProblem::Fit(report) => match index_of(path) {
                Some(index) if !report.missing.is_empty() => WeightsProblem::Part { index },
                _ => WeightsProblem::Fit(report),
            },
            other => other,
        },
    })?;
    store.load_state_dict(&fit, false)?;
    store.init_missing()?;
    Ok(loaded)
}

/// Tensors to load by name in the model, and what is said of them.
fn fit(
    targets: &[(String, Var)],
    file: WeightsFile,
    options: &LoadWeights,
) -> Result<(Vec<(String, Tensor)>, LoadedWeights), WeightsProblem> {
    let names: HashSet<&str> = targets.iter().map(|(name, _)| name.as_str()).collect();
    let rename = |name: &str| renamed(name, options);
    let own: Vec<String> = Some(file.key.clone())
        .filter(|key| !key.is_empty())
        .into_iter()
        .collect();
    let tensors =
        to_torchvision(file.tensors, &names).map_err(|error| WeightsProblem::Damaged {
            format: "network of timm",
            found: error.to_string(),
        })?;
    let found = named(tensors, &names, rename, file.rest.as_deref());
    let mut named = found.map_err(|prefixes| WeightsProblem::Key {
        asked: options.key.clone(),
        known: [&own[..], &file.others, &prefixes].concat(),
    })?;
    named.tensors.retain(|(name, _)| !is_skipped(name, options));
    let fit = Fit::new(targets, named.tensors, options)?;
    let loaded = LoadedWeights {
        report: fit.report,
        key: named.taken.or((!file.key.is_empty()).then_some(file.key)),
        others: [file.others, named.others].concat(),
        ignored: named.ignored,
    };
    Ok((fit.ready, loaded))
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
    ) -> Result<LoadedWeights> {
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

/// Name after renaming, if a rule matches.
fn renamed(name: &str, options: &LoadWeights) -> Option<String> {
    options.rename.iter().find_map(|(theirs, ours)| {
        let rest = inside(name, theirs)?;
        Some(if ours.is_empty() || rest.is_empty() {
            format!("{ours}{rest}")
        } else {
            format!("{ours}.{rest}")
        })
    })
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
        let typed = targets
            .iter()
            .map(|(name, var)| (name.as_str(), var.dtype()));
        let dtypes: HashMap<&str, DType> = typed.collect();
        for (name, var) in targets
            .iter()
            .filter(|(name, _)| !is_skipped(name, options))
        {
            let Some(tensor) = found.get(name) else {
                if !is_count(name) {
                    report.missing.push(name.clone());
                }
                continue;
            };
            let tensor = match is_count(name) {
                true => &count(tensor, var)?,
                false => tensor,
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
        if !options.allow_non_finite {
            for (name, tensor) in &ready {
                check_finite(name, tensor, dtypes.get(name.as_str()).copied())?;
            }
        }
        Ok(Self { ready, report })
    }
}

fn is_count(name: &str) -> bool {
    name.ends_with(".num_batches_tracked")
}

/// Number of batches in the type and shape of the store, from a single number of any type.
fn count(tensor: &Tensor, var: &Var) -> Result<Tensor, WeightsProblem> {
    if tensor.elem_count() != 1 || var.elem_count() != 1 || var.dtype().is_float() {
        return Ok(tensor.clone());
    }
    let convert = || {
        let number = match tensor.dtype() {
            DType::I32 => i64::from(tensor.flatten_all()?.get(0)?.to_scalar::<i32>()?),
            DType::I16 => i64::from(tensor.flatten_all()?.get(0)?.to_scalar::<i16>()?),
            _ => {
                let number = tensor.flatten_all()?.get(0)?.to_dtype(DType::F64)?;
                // Exact up to 2^53 batches.
                number.to_scalar::<f64>()?.round() as i64
            }
        };
        Tensor::new(number, tensor.device())?.reshape(var.shape())
    };
    convert().map_err(|error| WeightsProblem::Damaged {
        format: "number of batches",
        found: error.to_string(),
    })
}

/// Checks that all values are finite in the type that they are loaded as.
fn check_finite(name: &str, tensor: &Tensor, dtype: Option<DType>) -> Result<(), WeightsProblem> {
    let Some(dtype) = dtype.filter(|dtype| dtype.is_float() && tensor.dtype().is_float()) else {
        return Ok(());
    };
    let values = || -> candle_core::Result<Vec<f64>> {
        let loaded = tensor.to_dtype(dtype)?.flatten_all()?;
        loaded.to_dtype(DType::F64)?.to_vec1()
    };
    let values = values().map_err(|error| WeightsProblem::Damaged {
        format: "tensor",
        found: format!("`{name}`: {error}"),
    })?;
    let Some(first) = values.iter().position(|value| !value.is_finite()) else {
        return Ok(());
    };
    let mut rest = first;
    let index = tensor.dims().iter().rev().map(|size| {
        let at = rest % size;
        rest /= size;
        at
    });
    let mut first: Vec<usize> = index.collect();
    first.reverse();
    Err(WeightsProblem::NonFinite {
        tensor: name.into(),
        count: values.iter().filter(|value| !value.is_finite()).count(),
        len: values.len(),
        first,
    })
}
