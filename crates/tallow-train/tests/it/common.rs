//! A generated dataset, and a small network with everything that a checkpoint must contain:
//! weights, momentum, running statistics, and the generator of dropout.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use candle_core::{DType, Device, Result, Tensor, Var};
use candle_nn::ModuleT;
use tallow_datasets::{DataLoader, Dataset, ImageSet, LoaderConfig, Split};
use tallow_ops::{BatchNormConfig, Generator, Init, Layout, ParamStore, Pool2dConfig};
use tallow_train::{BatchEnd, CONTINUE, Callback, EpochEnd, Flow, OptimizerConfig, TrainConfig};
use tallow_transforms::{Compose, TransformConfig};

pub const CLASSES: usize = 6;

/// Grey 8x8 images of six textures, shifted at random, under noise.
pub fn textures(split: Split, count: usize) -> ImageSet {
    let mut state = 1 + split as u32;
    let mut random = move |below: u32| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 16) % below
    };
    let (mut pixels, mut labels) = (Vec::new(), Vec::new());
    for _ in 0..count {
        let class = random(CLASSES as u32);
        let (dx, dy) = (random(4), random(4));
        for y in 0..8 {
            for x in 0..8 {
                let (x, y) = (x + dx, y + dy);
                let bright = match class {
                    0 => x % 2 == 0,
                    1 => y % 2 == 0,
                    2 => (x + y) % 2 == 0,
                    3 => (x + y) % 4 < 2,
                    4 => x % 4 < 2,
                    _ => y % 4 < 2,
                };
                pixels.push((40 + 100 * u32::from(bright) + random(76)) as u8);
            }
        }
        labels.push(class);
    }
    let classes = (0..CLASSES)
        .map(|class| format!("texture {class}"))
        .collect();
    ImageSet::from_parts(
        "textures",
        split,
        "textures (made up)",
        classes,
        (1, 8, 8),
        pixels,
        labels,
    )
    .unwrap()
}

pub fn loader(set: ImageSet, seed: u64, workers: usize) -> DataLoader {
    let train = set.info().split == Split::Train;
    let mut transforms = vec![
        TransformConfig::to_tensor(),
        TransformConfig::normalize([0.5], [0.25]),
    ];
    if train {
        let flip = r#"{"name": "random-horizontal-flip"}"#;
        transforms.insert(0, serde_json::from_str(flip).unwrap());
    }
    let config = LoaderConfig {
        batch_size: 32,
        shuffle: train,
        drop_last: false,
        num_workers: workers,
        prefetch: 2,
        seed,
    };
    let set: Arc<dyn Dataset> = Arc::new(set);
    DataLoader::new(set, Compose::new(transforms).unwrap(), config).unwrap()
}

/// Loaders of 600 training and 200 test images (the last batch is not full).
pub fn loaders(seed: u64, workers: usize) -> (DataLoader, DataLoader) {
    (
        loader(textures(Split::Train, 600), seed, workers),
        loader(textures(Split::Test, 200), seed, workers),
    )
}

/// conv3x3 - batch norm - ReLU - max pool - dropout - linear.
pub struct Net {
    conv: Var,
    bn: [Var; 2],
    running: [Var; 2],
    fc: [Var; 2],
    generator: Generator,
}

pub fn net(seed: u64) -> (Net, ParamStore) {
    net_on(&Device::Cpu, seed)
}

pub fn net_on(device: &Device, seed: u64) -> (Net, ParamStore) {
    let store = ParamStore::new(DType::F32, device, seed);
    (net_in(&store), store)
}

pub fn net_in(store: &ParamStore) -> Net {
    let root = store.root();
    let uniform = |bound: f64| Init::Uniform {
        lo: -bound,
        up: bound,
    };
    let (conv, bn, fc) = (root.pp("conv"), root.pp("bn"), root.pp("fc"));
    Net {
        conv: conv
            .param("weight", (8, 1, 3, 3), uniform(1.0 / 3.0))
            .unwrap(),
        bn: [
            bn.param("weight", 8, Init::Const(1.0)).unwrap(),
            bn.param("bias", 8, Init::Const(0.0)).unwrap(),
        ],
        running: [
            bn.buffer("running_mean", 8, Init::Const(0.0)).unwrap(),
            bn.buffer("running_var", 8, Init::Const(1.0)).unwrap(),
        ],
        fc: [
            fc.param("weight", (CLASSES, 72), uniform(0.11)).unwrap(),
            fc.param("bias", CLASSES, Init::Const(0.0)).unwrap(),
        ],
        generator: store.generator(),
    }
}

impl ModuleT for Net {
    fn forward_t(&self, x: &Tensor, train: bool) -> Result<Tensor> {
        let x = tallow_ops::conv2d(x, &self.conv, None, &Default::default())?;
        let ([weight, bias], [mean, var]) = (&self.bn, &self.running);
        let config = BatchNormConfig::default();
        let x = if train {
            tallow_ops::batch_norm_train(&x, weight, bias, mean, var, &config)?
        } else {
            tallow_ops::batch_norm_eval(&x, weight, bias, mean, var, &config)?
        };
        let x = tallow_ops::max_pool2d(&tallow_ops::relu(&x)?, &Pool2dConfig::new(2))?;
        let mut x = tallow_ops::flatten(&x, Layout::Nchw)?;
        if train {
            x = tallow_ops::dropout(&x, 0.1, &self.generator)?;
        }
        Ok(tallow_ops::linear(&x, &self.fc[0], Some(&self.fc[1]))?)
    }
}

pub fn recipe(epochs: usize) -> TrainConfig {
    TrainConfig::new(epochs, OptimizerConfig::sgd_momentum(0.05, 0.9))
}

/// Bytes of the weights as a file.
pub fn bytes(store: &ParamStore, dir: &Path) -> Vec<u8> {
    let path = dir.join("weights.safetensors");
    store.save(&path).unwrap();
    std::fs::read(path).unwrap()
}

/// Elements of a tensor.
pub fn flat(tensor: &Tensor) -> Vec<f64> {
    let tensor = tensor.to_dtype(DType::F64).unwrap();
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}

/// Values by name.
pub fn values(store: &ParamStore) -> Vec<(String, Vec<f64>)> {
    let state = store.state_dict().unwrap();
    state
        .iter()
        .map(|(name, t)| (name.clone(), flat(t)))
        .collect()
}

/// Asks to stop in the given epoch: after its third batch, or at its end.
pub struct StopIn {
    pub epoch: usize,
    pub at_end: bool,
}

impl Callback for StopIn {
    fn on_batch_end(&mut self, batch: &BatchEnd) -> Flow {
        if batch.epoch == self.epoch && batch.step == 2 && !self.at_end {
            return Ok(ControlFlow::Break("asked to".to_string()));
        }
        CONTINUE
    }

    fn on_epoch_end(&mut self, end: &EpochEnd) -> Flow {
        if end.row.epoch == self.epoch && self.at_end {
            return Ok(ControlFlow::Break("asked to".to_string()));
        }
        CONTINUE
    }
}
