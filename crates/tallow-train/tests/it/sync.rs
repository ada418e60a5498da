//! Batch norm over all chunks of a batch, on one rank and on several.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use candle_core::{DType, Device, Tensor, Var};
use candle_nn::ModuleT;
use tallow_datasets::Split;
use tallow_ops::{
    BatchNormConfig, Conv2dConfig, Init, Layout, Norm, ParamStore, batch_norm_train,
    conv_bn_relu_train, conv2d, flatten, linear, relu, to_layout,
};
use tallow_train::{
    Chunks, Communicator, CrossEntropy, Error, ForwardBackward, LrFinder, NormStatistics,
    OptimizerConfig, StepInput, StepOutput, Target, Threads, TrainConfig, TrainStep, Trainer,
};

use crate::batch::tensor;
use crate::common::{CLASSES, bytes, flat, loader, net, net_in, recipe, textures, values};
use crate::ranks::{everything, world};

/// Two convolutions with a batch norm each, the second one fused, and no dropout.
struct TwoNorms {
    conv: [Var; 2],
    norm: [[Var; 2]; 2],
    running: [[Var; 2]; 2],
    head: Var,
}

fn two_norms(dtype: DType) -> (TwoNorms, ParamStore) {
    let store = ParamStore::new(dtype, &Device::Cpu, 4);
    let root = store.root();
    let uniform = |bound: f64| Init::Uniform {
        lo: -bound,
        up: bound,
    };
    let conv = |i: usize, inputs: usize| {
        root.param(&format!("conv{i}"), (4, inputs, 3, 3), uniform(0.4))
            .unwrap()
    };
    let norm = |i: usize| {
        let param = |name: &str, value: f64| {
            let name = format!("bn{i}.{name}");
            root.param(&name, 4, Init::Const(value)).unwrap()
        };
        [param("weight", 1.0), param("bias", 0.1)]
    };
    let running = |i: usize| {
        let buffer = |name: &str, value: f64| {
            let name = format!("bn{i}.{name}");
            root.buffer(&name, 4, Init::Const(value)).unwrap()
        };
        [buffer("running_mean", 0.0), buffer("running_var", 1.0)]
    };
    let model = TwoNorms {
        conv: [conv(0, 1), conv(1, 4)],
        norm: [norm(0), norm(1)],
        running: [running(0), running(1)],
        head: root.param("head", (CLASSES, 64), uniform(0.2)).unwrap(),
    };
    (model, store)
}

impl ModuleT for TwoNorms {
    fn forward_t(&self, x: &Tensor, train: bool) -> candle_core::Result<Tensor> {
        assert!(train);
        let conv = Conv2dConfig {
            layout: Layout::Nhwc,
            ..Conv2dConfig::default()
        };
        let config = BatchNormConfig {
            layout: Layout::Nhwc,
            ..BatchNormConfig::default()
        };
        let x = to_layout(x, Layout::Nchw, Layout::Nhwc)?;
        let x = conv2d(&x, &self.conv[0], None, &conv)?;
        let ([weight, bias], [mean, var]) = (&self.norm[0], &self.running[0]);
        let x = relu(&batch_norm_train(&x, weight, bias, mean, var, &config)?)?;
        let ([weight, bias], [running_mean, running_var]) = (&self.norm[1], &self.running[1]);
        let norm = Norm {
            weight,
            bias,
            running_mean,
            running_var,
            config,
        };
        let x = conv_bn_relu_train(&x, &self.conv[1], None, norm, &conv, false)?;
        Ok(linear(&flatten(&x, Layout::Nhwc)?, &self.head, None)?)
    }
}

/// Loss without a weight for the first class.
fn weighted() -> CrossEntropy {
    CrossEntropy {
        label_smoothing: 0.0,
        weight: Some(vec![0.0, 0.5, 3.0, 1.25, 2.0, 0.125]),
    }
}

/// Step of a batch by a step that `make` makes of the model.
fn step_of<'m>(
    (model, store): &'m (TwoNorms, ParamStore),
    labels: &[u32],
    make: impl FnOnce(&'m TwoNorms) -> Box<dyn TrainStep + 'm>,
) -> StepOutput {
    let images = tensor(&[labels.len(), 1, 8, 8], 3);
    let target = Target::Classes(Tensor::new(labels, &Device::Cpu).unwrap());
    let input = StepInput {
        model,
        store,
        loss: &weighted(),
        images: &images.to_dtype(store.dtype()).unwrap(),
        target: &target,
        epoch: 0,
        step: 0,
    };
    make(model).step(&input).unwrap()
}

fn in_chunks<'m>(chunks: usize) -> impl FnOnce(&'m TwoNorms) -> Box<dyn TrainStep + 'm> {
    move |model| {
        let step = Chunks::new(chunks, ForwardBackward)
            .with_norm_statistics(NormStatistics::Sync)
            .with_shared_model(model);
        Box::new(step)
    }
}

#[track_caller]
fn assert_close(what: &str, found: &Tensor, expected: &Tensor, tolerance: f64) {
    assert_eq!(found.dims(), expected.dims(), "{what}");
    for (a, b) in flat(found).iter().zip(flat(expected)) {
        let close = (a - b).abs() <= tolerance * b.abs().max(1.0);
        assert!(close, "{what}: {a}, expected {b}");
    }
}

/// Equal and unequal chunks, empty ones, and one whose labels have no weight: its samples are in the statistics of the others.
#[test]
fn chunks_are_computed_as_the_whole_batch() {
    let mixed: Vec<u32> = (0..10).map(|i| (i * i + 1) % CLASSES as u32).collect();
    let mut without_weight = mixed.clone();
    without_weight[..5].fill(0);
    for (labels, chunks) in [
        (&mixed, 2),
        (&mixed, 4),
        (&mixed, 16),
        (&without_weight, 2),
        (&without_weight, 3),
    ] {
        for (dtype, tolerance) in [(DType::F64, 1e-11), (DType::F32, 1e-4)] {
            let what = |name: &str| format!("{chunks} chunks of {labels:?}, {dtype:?}: {name}");
            let (whole, parts) = (two_norms(dtype), two_norms(dtype));
            let expected = step_of(&whole, labels, |_| Box::new(ForwardBackward));
            let found = step_of(&parts, labels, in_chunks(chunks));
            assert_close(&what("loss"), &found.loss, &expected.loss, tolerance);
            assert_close(&what("logits"), &found.logits, &expected.logits, tolerance);
            let pairs = parts.1.parameters().into_iter().zip(whole.1.parameters());
            for ((name, a), (_, b)) in pairs {
                let found = found.grads.get(&a).unwrap();
                let expected = expected.grads.get(&b).unwrap();
                assert!(flat(expected).iter().any(|value| value.abs() > 1e-6));
                assert_close(&what(&name), found, expected, tolerance);
            }
            let pairs = parts.1.buffers().into_iter().zip(whole.1.buffers());
            for ((name, a), (_, b)) in pairs {
                assert_close(&what(&name), &a, &b, tolerance);
            }
        }
    }
}

/// The first chunk alone has other statistics than the batch, and so has the mean over the chunks.
#[test]
fn a_chunk_by_itself_is_normalized_otherwise() {
    let labels: Vec<u32> = (0..10).map(|i| i % CLASSES as u32).collect();
    let (sync, by_itself) = (two_norms(DType::F64), two_norms(DType::F64));
    let found = step_of(&sync, &labels, in_chunks(2));
    let other = step_of(&by_itself, &labels, |_| {
        Box::new(Chunks::new(2, ForwardBackward))
    });
    let off = flat(&found.logits)
        .iter()
        .zip(flat(&other.logits))
        .map(|(a, b)| (a - b).abs())
        .fold(0.0, f64::max);
    assert!(off > 1e-3, "{off}");
}

/// Weights, buffers and losses of a run.
type Run = (Vec<u8>, Vec<f64>);

/// Run of 99 images in batches of 32: the last batch has three.
fn fit(
    config: &TrainConfig,
    ranks: Option<Arc<dyn Communicator>>,
    dir: Option<&Path>,
) -> Result<Run, Error> {
    let (net, store) = net(0);
    let mut trainer = Trainer::new(config.clone()).with_shared_model(&net);
    if let Some(ranks) = ranks {
        trainer = trainer.with_communicator(ranks);
    }
    if let Some(dir) = dir {
        trainer = trainer.with_checkpoints(dir);
    }
    let train = loader(textures(Split::Train, 99), 0, 1);
    let test = loader(textures(Split::Test, 200), 0, 1);
    let history = trainer.fit(&net, &store, &train, Some(&test))?;
    let rows = history.rows.iter();
    let losses = rows.flat_map(|row| [Some(row.train_loss), row.test_loss].into_iter().flatten());
    let weights = bytes(&store, tempfile::tempdir().unwrap().path());
    Ok((weights, losses.collect()))
}

fn sync(config: TrainConfig) -> TrainConfig {
    TrainConfig {
        norm_statistics: NormStatistics::Sync,
        ..config
    }
}

/// With dropout, mixing, clipping, two passes a step and an average of the weights.
#[test]
fn any_number_of_ranks_trains_the_same_weights() {
    let six = TrainConfig {
        chunks: 6,
        ..everything(1)
    };
    for (config, worlds) in [(everything(2), [1, 2, 4]), (six, [1, 3, 6])] {
        let config = sync(config);
        let alone = fit(&config, None, None).unwrap();
        for size in worlds {
            let runs = world(Threads::world(size), |_, ranks| {
                fit(&config, Some(ranks), None).unwrap()
            });
            for run in runs {
                assert!(run.unwrap() == alone, "{size} ranks");
            }
        }
        let by_itself = TrainConfig {
            norm_statistics: NormStatistics::First,
            ..config
        };
        assert!(fit(&by_itself, None, None).unwrap() != alone);
    }
}

/// Network with a buffer that each chunk sets by its own samples, before the batch norms. So the backward pass reads it after those.
struct Scaled {
    net: TwoNorms,
    gain: Var,
    scale: Var,
}

impl ModuleT for Scaled {
    fn forward_t(&self, x: &Tensor, train: bool) -> candle_core::Result<Tensor> {
        self.scale.set(&x.sqr()?.mean_all()?.reshape(1)?)?;
        let x = x.broadcast_mul(&self.gain)?;
        let x = x.broadcast_mul(&self.scale.as_detached_tensor())?;
        self.net.forward_t(&x, train)
    }
}

#[test]
fn buffers_that_differ_are_those_of_the_chunk_in_the_backward_pass_too() {
    let fit = |ranks: Option<Arc<dyn Communicator>>| {
        let (net, store) = two_norms(DType::F32);
        let root = store.root();
        let one = Init::Const(1.0);
        let model = Scaled {
            net,
            gain: root.param("gain", (1, 1, 8, 8), one).unwrap(),
            scale: root.buffer("scale", 1, one).unwrap(),
        };
        let config = TrainConfig {
            chunks: 4,
            ..sync(recipe(1))
        };
        let mut trainer = Trainer::new(config).with_shared_model(&model);
        if let Some(ranks) = ranks {
            trainer = trainer.with_communicator(ranks);
        }
        let train = loader(textures(Split::Train, 99), 0, 0);
        trainer.fit(&model, &store, &train, None).unwrap();
        bytes(&store, tempfile::tempdir().unwrap().path())
    };
    let alone = fit(None);
    for size in [2, 4] {
        for weights in world(Threads::world(size), |_, ranks| fit(Some(ranks))) {
            assert!(weights.unwrap() == alone, "{size} ranks");
        }
    }
}

#[test]
fn a_run_moves_to_another_number_of_ranks() {
    let dir = tempfile::tempdir().unwrap();
    let straight = fit(&sync(everything(2)), None, None).unwrap();
    let first = sync(everything(1));
    for run in world(Threads::world(4), |_, ranks| {
        fit(&first, Some(ranks), Some(dir.path())).map(drop)
    }) {
        run.unwrap().unwrap();
    }
    let moved = fit(&sync(everything(2)), None, Some(dir.path())).unwrap();
    assert!(moved == straight);
}

/// Five steps of batches of 32, with the running statistics.
#[test]
fn four_chunks_train_as_one() {
    let train = loader(textures(Split::Train, 600), 0, 0);
    let fit = |chunks: usize| {
        let (model, store) = two_norms(DType::F32);
        let config = TrainConfig {
            chunks,
            max_steps: Some(5),
            ..sync(recipe(1))
        };
        let mut trainer = Trainer::new(config).with_shared_model(&model);
        trainer.fit(&model, &store, &train, None).unwrap();
        values(&store)
    };
    for ((name, one), (_, four)) in fit(1).iter().zip(fit(4)) {
        for (a, b) in one.iter().zip(four) {
            assert!((a - b).abs() < 1e-4, "{name}: {a} {b}");
        }
    }
}

#[test]
fn a_loss_that_is_not_finite_ends_all_in_the_same_step() {
    let mut config = sync(everything(1));
    (config.mix, config.clip, config.sam) = (None, None, None);
    config.optimizer = OptimizerConfig::sgd_momentum(1e30, 0.9);
    let found = world(Threads::world(4), |_, ranks| {
        match fit(&config, Some(ranks), None) {
            Err(Error::NonFiniteLoss { epoch, step, .. }) => (epoch, step),
            Err(Error::NonFiniteGradient { epoch, step, .. }) => (epoch, step),
            other => panic!("{other:?}"),
        }
    });
    let found: Vec<_> = found.into_iter().map(|found| found.unwrap()).collect();
    assert!(found.iter().all(|at| *at == found[0]), "{found:?}");
}

/// Network whose forward pass fails or panics at a call, after its batch norms.
struct Fails {
    model: TwoNorms,
    calls: AtomicUsize,
    at: usize,
    panics: bool,
}

impl ModuleT for Fails {
    fn forward_t(&self, x: &Tensor, train: bool) -> candle_core::Result<Tensor> {
        let logits = self.model.forward_t(x, train)?;
        if self.calls.fetch_add(1, Ordering::Relaxed) == self.at {
            assert!(!self.panics, "on purpose");
            candle_core::bail!("the forward pass has failed")
        }
        Ok(logits)
    }
}

/// Error of a training whose forward pass fails at a call.
fn failed(at: usize, panics: bool, ranks: Option<Arc<dyn Communicator>>) -> String {
    let (model, store) = two_norms(DType::F32);
    let model = Fails {
        model,
        calls: AtomicUsize::new(0),
        at,
        panics,
    };
    let config = TrainConfig {
        chunks: 4,
        ..sync(recipe(1))
    };
    let mut trainer = Trainer::new(config).with_shared_model(&model);
    if let Some(ranks) = ranks {
        trainer = trainer.with_communicator(ranks);
    }
    let train = loader(textures(Split::Train, 99), 0, 0);
    let error = trainer.fit(&model, &store, &train, None).unwrap_err();
    // Without the backtrace that candle adds where it is asked to.
    let message = error.to_string();
    message.lines().next().unwrap_or_default().to_string()
}

/// The calls of the second chunk of a step and of the last one; the others wait in a batch norm, or have ended.
#[test]
fn an_error_or_a_panic_of_a_chunk_ends_all() {
    let started = Instant::now();
    for at in [1, 7] {
        assert_eq!(failed(at, false, None), "the forward pass has failed");
        let panicked = thread::scope(|scope| scope.spawn(|| failed(at, true, None)).join());
        let message = panicked.unwrap_err();
        assert_eq!(message.downcast_ref::<&str>(), Some(&"on purpose"));
    }
    for (panics, expected) in [
        (false, "rank 1 has ended before the others"),
        (true, "rank 1 has panicked"),
    ] {
        let found = world(Threads::world(4), |number, ranks| {
            let at = if number == 1 { 1 } else { usize::MAX };
            failed(at, panics, Some(ranks))
        });
        for (number, found) in found.into_iter().enumerate() {
            match (number, found) {
                (1, Ok(error)) => {
                    assert!(!panics);
                    assert_eq!(error, "the forward pass has failed");
                }
                (1, Err(_)) => assert!(panics),
                (_, found) => assert_eq!(found.unwrap(), expected),
            }
        }
    }
    assert!(started.elapsed() < Duration::from_secs(60));
}

/// Network that leaves its second batch norm out for batches of some sizes.
struct Sometimes(TwoNorms);

impl ModuleT for Sometimes {
    fn forward_t(&self, x: &Tensor, train: bool) -> candle_core::Result<Tensor> {
        if x.dim(0)? % 2 == 0 {
            return self.0.forward_t(x, train);
        }
        let x = x.narrow(2, 0, 8)?.flatten_from(1)?.contiguous()?;
        Ok(linear(&x, &self.0.head, None)?)
    }
}

#[test]
fn chunks_with_other_layers_are_refused() {
    let (model, store) = two_norms(DType::F32);
    let model = Sometimes(model);
    // Batches of 10 in four chunks of 2, 3, 2 and 3.
    let train = loader(textures(Split::Train, 10), 0, 0);
    let config = TrainConfig {
        chunks: 4,
        allow_unused: vec!["*".into()],
        ..sync(recipe(1))
    };
    let mut trainer = Trainer::new(config).with_shared_model(&model);
    let error = trainer.fit(&model, &store, &train, None).unwrap_err();
    let error = error.to_string();
    assert!(
        error.contains("another chunk is at another layer") || error.contains("fewer batch norms"),
        "{error}"
    );
}

#[test]
fn what_is_not_supported_is_refused_before_training() {
    let config = TrainConfig {
        chunks: 4,
        ..sync(recipe(1))
    };
    let train = loader(textures(Split::Train, 99), 0, 0);
    let (net, store) = net(0);
    let refused = |mut trainer: Trainer, expected: &str| {
        let error = trainer.fit(&net, &store, &train, None).unwrap_err();
        let error = error.to_string();
        assert!(error.starts_with("norm_statistics: "), "{error}");
        assert!(error.contains(expected), "{error}");
    };
    refused(
        Trainer::new(config.clone()),
        "pass it to `Trainer::with_shared_model` too",
    );
    let other = two_norms(DType::F32).0;
    refused(
        Trainer::new(config.clone()).with_shared_model(&other),
        "is not the one that is trained",
    );
    refused(
        Trainer::new(config.clone())
            .with_shared_model(&net)
            .with_step(ForwardBackward),
        "the trainer's own training step",
    );
    let with = |config| Trainer::new(config).with_shared_model(&net);
    let range = LrFinder::default().run(&config, with, &net, &store, &train);
    let error = range.unwrap_err().to_string();
    assert!(error.contains("`chunks = 1`"), "{error}");

    let half = ParamStore::new(DType::BF16, &Device::Cpu, 0);
    let half_net = net_in(&half);
    let mut trainer = Trainer::new(config.clone()).with_shared_model(&half_net);
    let error = trainer.fit(&half_net, &half, &train, None).unwrap_err();
    let error = error.to_string();
    assert!(
        error.contains("f32 or f64 on the CPU, found BF16"),
        "{error}"
    );

    // One chunk is the whole batch.
    let one = TrainConfig {
        chunks: 1,
        max_steps: Some(1),
        ..config
    };
    Trainer::new(one).fit(&net, &store, &train, None).unwrap();
}
