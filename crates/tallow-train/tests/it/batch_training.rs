//! Training with mixing, clipping, chunks, averages, sharpness-aware steps, skipped steps and views.

use std::sync::atomic::{AtomicUsize, Ordering};

use candle_core::{DType, Device, Tensor, Var};
use candle_nn::ModuleT;
use tallow_ops::{Init, ParamStore, linear, relu};
use tallow_train::{
    BatchEnd, CONTINUE, Callback, Chunks, Clip, CrossEntropy, EmaConfig, Error, Flow,
    ForwardBackward, History, Loss, MixConfig, Result, SamConfig, StepInput, StepOutput, SwaConfig,
    Target, TrainConfig, TrainStep, Trainer, Tta, WithTta, update_batch_norm,
};

use crate::batch::tensor;
use crate::common::{CLASSES, bytes, loaders, net, recipe};

/// Weights and history of a run with these settings.
fn run(config: TrainConfig) -> (ParamStore, History) {
    let (net, store) = net(0);
    let (train, test) = loaders(0, 0);
    let history = Trainer::new(config).fit(&net, &store, &train, Some(&test));
    (store, history.unwrap())
}

fn weights(config: TrainConfig, workers: usize) -> Vec<u8> {
    let (net, store) = net(0);
    let (train, test) = loaders(0, workers);
    Trainer::new(config)
        .fit(&net, &store, &train, Some(&test))
        .unwrap();
    bytes(&store, tempfile::tempdir().unwrap().path())
}

fn flat(tensor: &Tensor) -> Vec<f64> {
    let tensor = tensor.to_dtype(DType::F64).unwrap();
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}

/// Values by name.
fn values(store: &ParamStore) -> Vec<(String, Vec<f64>)> {
    let state = store.state_dict().unwrap();
    state
        .iter()
        .map(|(name, t)| (name.clone(), flat(t)))
        .collect()
}

/// Every setting at once, on a schedule that lets a run be prolonged.
fn everything(epochs: usize) -> TrainConfig {
    TrainConfig {
        mix: Some(MixConfig {
            mixup_alpha: 0.4,
            cutmix_alpha: 1.0,
            ..MixConfig::default()
        }),
        clip: Some(Clip::Norm(1.0)),
        chunks: 3,
        sam: Some(SamConfig::default()),
        ema: Some(EmaConfig {
            decay: 0.9,
            every: 2,
            ..EmaConfig::default()
        }),
        skip_non_finite: 2,
        tta: Some(Tta::Flip),
        ..recipe(epochs)
    }
}

#[test]
fn the_number_of_workers_changes_nothing() {
    let expected = weights(everything(2), 0);
    assert!(weights(everything(2), 3) == expected);
    assert!(weights(recipe(2), 0) != expected);
}

#[test]
fn settings_at_their_default_leave_the_bits_as_they_are() {
    let expected = weights(recipe(2), 0);
    let mut config = recipe(2);
    // A limit that is not reached.
    config.clip = Some(Clip::Norm(1e9));
    config.skip_non_finite = 3;
    assert!(weights(config, 0) == expected);
    let text = serde_json::to_string(&recipe(2)).unwrap();
    for key in [
        "mix",
        "clip",
        "chunks",
        "sam",
        "ema",
        "swa",
        "skip_non_finite",
        "tta",
    ] {
        assert!(!text.contains(&format!("\"{key}\"")), "{text}");
    }
    let text = serde_json::to_string(&everything(2)).unwrap();
    assert_eq!(
        serde_json::from_str::<TrainConfig>(&text).unwrap(),
        everything(2)
    );
}

#[test]
fn a_run_that_was_stopped_continues_to_the_bit() {
    let dir = tempfile::tempdir().unwrap();
    let fit = |epochs: usize, checkpoints: &str, seed: u64| {
        let (net, store) = net(seed);
        let (train, test) = loaders(0, 1);
        let mut trainer =
            Trainer::new(everything(epochs)).with_checkpoints(dir.path().join(checkpoints));
        let history = trainer.fit(&net, &store, &train, Some(&test)).unwrap();
        let rows: Vec<_> = history
            .rows
            .iter()
            .map(|row| (row.train_loss, row.test_loss))
            .collect();
        (rows, bytes(&store, dir.path()))
    };
    let straight = fit(4, "straight", 0);
    fit(2, "stopped", 0);
    // Other initial weights: everything must come from the checkpoint.
    assert!(fit(4, "stopped", 8) == straight);
    // At its end there is nothing left to do, and the average is in its place.
    assert!(fit(4, "stopped", 9) == straight);
}

#[test]
fn a_checkpoint_without_the_average_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let fit = |ema: Option<EmaConfig>| {
        let (net, store) = net(0);
        let (train, _) = loaders(0, 0);
        let config = TrainConfig { ema, ..recipe(1) };
        let mut trainer = Trainer::new(config).with_checkpoints(dir.path());
        trainer.fit(&net, &store, &train, None)
    };
    fit(None).unwrap();
    let error = fit(Some(EmaConfig::default())).unwrap_err().to_string();
    assert!(error.contains("ema"), "{error}");
}

#[test]
fn the_average_is_evaluated_and_kept() {
    // The weights after each of five steps.
    let after = |steps: usize| {
        let config = TrainConfig {
            max_steps: Some(steps),
            ..recipe(1)
        };
        values(&run(config).0)
    };
    let mut expected = after(1);
    for steps in 2..=5 {
        for ((_, average), (_, value)) in expected.iter_mut().zip(after(steps)) {
            for (a, v) in average.iter_mut().zip(value) {
                *a += (1.0 - 0.8) * (v - *a);
            }
        }
    }
    let config = TrainConfig {
        max_steps: Some(5),
        ema: Some(EmaConfig {
            decay: 0.8,
            ..EmaConfig::default()
        }),
        ..recipe(1)
    };
    let (store, history) = run(config.clone());
    for ((name, found), (_, expected)) in values(&store).iter().zip(&expected) {
        for (found, expected) in found.iter().zip(expected) {
            assert!(
                (found - expected).abs() < 1e-5,
                "{name}: {found} {expected}"
            );
        }
    }
    // The evaluation is that of the weights after training.
    let (net, copy) = net(1);
    copy.load_state_dict(&store.state_dict().unwrap(), true)
        .unwrap();
    let (_, test) = loaders(0, 0);
    let evaluation = Trainer::new(config).evaluate(&net, &copy, &test).unwrap();
    assert_eq!(history.evaluation.unwrap(), evaluation);
}

#[test]
fn swa_is_the_mean_of_the_epochs_with_statistics_of_its_own() {
    let plain = |epochs: usize| values(&run(recipe(epochs)).0);
    let config = TrainConfig {
        swa: Some(SwaConfig {
            start: 1,
            lr: None,
            anneal_epochs: 10,
            anneal: Default::default(),
        }),
        ..recipe(3)
    };
    let (store, history) = run(config.clone());
    let (second, third) = (plain(2), plain(3));
    let mut found = values(&store).into_iter();
    for ((name, a), (_, b)) in second.iter().zip(&third) {
        let (_, found) = found.next().unwrap();
        if name.contains("running") {
            continue;
        }
        for ((a, b), found) in a.iter().zip(b).zip(found) {
            assert!((found - (a + b) / 2.0).abs() < 1e-6, "{name}");
        }
    }
    // The first epochs are those of the weights that are trained, the last one that of the average.
    let losses = |history: &History| -> Vec<_> {
        history
            .rows
            .iter()
            .map(|row| row.test_loss.unwrap())
            .collect()
    };
    let (averaged, trained) = (losses(&history), losses(&run(recipe(3)).1));
    assert_eq!(averaged[..2], trained[..2]);
    assert_ne!(averaged[2], trained[2]);
    let (net, copy) = net(1);
    copy.load_state_dict(&store.state_dict().unwrap(), true)
        .unwrap();
    let (train, test) = loaders(0, 0);
    let evaluation = Trainer::new(config).evaluate(&net, &copy, &test).unwrap();
    assert_eq!(evaluation.loss, averaged[2]);
    // The statistics are those of one more epoch of training batches, but for dropout, which comes after the norm.
    for (_, buffer) in copy.buffers() {
        buffer.set(&buffer.zeros_like().unwrap()).unwrap();
    }
    update_batch_norm(&net, &copy, &train, 3).unwrap();
    assert_eq!(values(&copy), values(&store));
}

#[test]
fn swa_leaves_the_schedule_for_its_own_rate() {
    let config = TrainConfig {
        swa: Some(SwaConfig {
            start: 2,
            lr: Some(0.01),
            anneal_epochs: 2,
            anneal: tallow_train::Anneal::Linear,
        }),
        ..recipe(6)
    };
    let rates: Vec<f64> = run(config).1.rows.iter().map(|row| row.lr).collect();
    let expected = [0.05, 0.05, 0.05, 0.03, 0.01, 0.01];
    assert!(
        rates
            .iter()
            .zip(expected)
            .all(|(a, b)| (a - b).abs() < 1e-12),
        "{rates:?}"
    );
    let config = TrainConfig {
        swa: Some(SwaConfig {
            start: 6,
            lr: None,
            anneal_epochs: 10,
            anneal: Default::default(),
        }),
        ..recipe(6)
    };
    let (net, store) = net(0);
    let (train, _) = loaders(0, 0);
    let error = Trainer::new(config)
        .fit(&net, &store, &train, None)
        .unwrap_err();
    assert!(
        error.to_string().starts_with("swa.start: 6 epochs"),
        "{error}"
    );
}

/// Two layers without batch norm and dropout.
struct TwoLayers([Var; 4]);

impl ModuleT for TwoLayers {
    fn forward_t(&self, x: &Tensor, _: bool) -> candle_core::Result<Tensor> {
        let [w1, b1, w2, b2] = &self.0;
        let hidden = relu(&linear(&x.flatten_from(1)?, w1, Some(b1))?)?;
        Ok(linear(&hidden, w2, Some(b2))?)
    }
}

fn two_layers(dtype: DType) -> (TwoLayers, ParamStore) {
    let store = ParamStore::new(dtype, &Device::Cpu, 0);
    let uniform = || Init::Uniform { lo: -0.1, up: 0.1 };
    let root = store.root();
    let model = TwoLayers([
        root.param("w1", (20, 64), uniform()).unwrap(),
        root.param("b1", 20, uniform()).unwrap(),
        root.param("w2", (CLASSES, 20), uniform()).unwrap(),
        root.param("b2", CLASSES, uniform()).unwrap(),
    ]);
    (model, store)
}

/// Step of `samples` samples by `step`.
fn step_of(
    samples: usize,
    step: &mut dyn TrainStep,
    loss: &dyn Loss,
    dtype: DType,
) -> (StepOutput, ParamStore) {
    let (model, store) = two_layers(dtype);
    let images = tensor(&[samples, 1, 8, 8], 3).to_dtype(dtype).unwrap();
    let labels = (0..samples).map(|i| (i * i % CLASSES) as u32);
    let target = Target::Classes(Tensor::from_iter(labels, &Device::Cpu).unwrap());
    let output = step.step(&StepInput {
        model: &model,
        store: &store,
        loss,
        images: &images,
        target: &target,
        epoch: 0,
        step: 0,
    });
    (output.unwrap(), store)
}

/// 4 x 32 is 128, and so is every other division, with and without class weights.
#[test]
fn chunks_give_the_gradients_of_the_batch() {
    let plain = CrossEntropy::default();
    let weighted = CrossEntropy {
        label_smoothing: 0.1,
        weight: Some(vec![0.5, 3.0, 0.0, 1.25, 2.0, 0.125]),
    };
    for loss in [&plain, &weighted] {
        for dtype in [DType::F32, DType::F64] {
            for (samples, chunks) in [(128, 4), (128, 3), (10, 7), (3, 8)] {
                let (whole, store) = step_of(samples, &mut ForwardBackward, loss, dtype);
                let mut step = Chunks::new(chunks, ForwardBackward);
                let (parts, other) = step_of(samples, &mut step, loss, dtype);
                let tolerance = if dtype == DType::F32 { 1e-6 } else { 1e-14 };
                let close = |a: &Tensor, b: &Tensor, what: &str| {
                    for (a, b) in flat(a).iter().zip(flat(b)) {
                        assert!(
                            (a - b).abs() <= tolerance,
                            "{samples}/{chunks} {what}: {a} {b}"
                        );
                    }
                };
                close(&whole.loss, &parts.loss, "loss");
                close(&whole.logits, &parts.logits, "logits");
                assert_eq!(parts.logits.dims(), [samples, CLASSES]);
                let pairs = store.parameters().into_iter().zip(other.parameters());
                for ((name, a), (_, b)) in pairs {
                    close(
                        whole.grads.get(&a).unwrap(),
                        parts.grads.get(&b).unwrap(),
                        &name,
                    );
                }
            }
        }
    }
}

/// Batches of 128 in four chunks train the weights of batches of 128.
#[test]
fn four_chunks_train_as_one() {
    let fit = |chunks: usize| {
        let (model, store) = two_layers(DType::F32);
        let (train, _) = loaders(0, 0);
        let config = TrainConfig {
            chunks,
            max_steps: Some(5),
            ..recipe(1)
        };
        Trainer::new(config)
            .fit(&model, &store, &train, None)
            .unwrap();
        values(&store)
    };
    for ((name, one), (_, four)) in fit(1).iter().zip(fit(4)) {
        for (a, b) in one.iter().zip(four) {
            assert!((a - b).abs() < 1e-6, "{name}: {a} {b}");
        }
    }
}

/// Running statistics after a step in chunks are those of its first chunk, and dropout's stream is that of the step.
#[test]
fn chunks_depend_on_nothing_but_the_step() {
    let (train, _) = loaders(0, 0);
    let batch = train.epoch(0).next().unwrap().unwrap();
    let step = |chunks: usize, samples: usize, step: usize, drawn: usize| {
        let (net, store) = net(0);
        let generator = store.generator();
        for _ in 0..drawn {
            generator
                .uniform(0.0, 1.0, 7, DType::F32, &Device::Cpu)
                .unwrap();
        }
        let state = generator.state();
        let target = Target::Classes(batch.labels.narrow(0, 0, samples).unwrap());
        let input = StepInput {
            model: &net,
            store: &store,
            loss: &CrossEntropy::default(),
            images: &batch.images.narrow(0, 0, samples).unwrap(),
            target: &target,
            epoch: 0,
            step,
        };
        let output = Chunks::new(chunks, ForwardBackward).step(&input).unwrap();
        assert_eq!(generator.state(), state);
        let buffers: Vec<_> = store.buffers().iter().map(|(_, var)| flat(var)).collect();
        (buffers, flat(&output.logits))
    };
    let (buffers, logits) = step(4, 32, 0, 0);
    assert_eq!(buffers, step(1, 8, 0, 0).0);
    assert_ne!(buffers, step(1, 32, 0, 0).0);
    assert_eq!(step(4, 32, 0, 3).1, logits);
    assert_ne!(step(4, 32, 1, 0).1, logits);
}

#[test]
fn small_chunks_are_refused_before_a_batch_norm_that_needs_two_values() {
    /// Batch norm over single pixels.
    struct Net([Var; 6]);
    impl ModuleT for Net {
        fn forward_t(&self, x: &Tensor, train: bool) -> candle_core::Result<Tensor> {
            let [w, weight, bias, mean, var, head] = &self.0;
            let x = linear(&x.flatten_from(1)?, w, None)?;
            let x = x.unsqueeze(2)?.unsqueeze(3)?;
            let config = tallow_ops::BatchNormConfig::default();
            assert!(train);
            let x = tallow_ops::batch_norm_train(&x, weight, bias, mean, var, &config)?;
            Ok(linear(&x.flatten_from(1)?, head, None)?)
        }
    }
    let store = ParamStore::new(DType::F32, &Device::Cpu, 0);
    let root = store.root();
    let net = Net([
        root.param("w", (4, 64), Init::Const(0.1)).unwrap(),
        root.param("bn.weight", 4, Init::Const(1.0)).unwrap(),
        root.param("bn.bias", 4, Init::Const(0.0)).unwrap(),
        root.buffer("bn.running_mean", 4, Init::Const(0.0)).unwrap(),
        root.buffer("bn.running_var", 4, Init::Const(1.0)).unwrap(),
        root.param("head", (CLASSES, 4), Init::Const(0.1)).unwrap(),
    ]);
    let (train, _) = loaders(0, 0);
    let fit = |chunks: usize| {
        let config = TrainConfig {
            chunks,
            ..recipe(1)
        };
        Trainer::new(config).fit(&net, &store, &train, None)
    };
    // 600 images in batches of 32: the last batch has 24, in 16 chunks some of one.
    let error = fit(16).unwrap_err().to_string();
    assert!(
        error.starts_with("chunks: 16 chunks leave one of a single sample"),
        "{error}"
    );
    fit(8).unwrap();
}

/// Loss that is not finite at some calls: its value, or its gradient only.
struct Flaky {
    calls: AtomicUsize,
    bad: &'static [usize],
    gradient_only: bool,
}

impl Flaky {
    fn new(bad: &'static [usize], gradient_only: bool) -> Self {
        let calls = AtomicUsize::new(0);
        Self {
            calls,
            bad,
            gradient_only,
        }
    }
}

impl Loss for Flaky {
    fn loss(&self, logits: &Tensor, target: &Target) -> Result<Tensor> {
        let loss = CrossEntropy::default().loss(logits, target)?;
        let call = self.calls.fetch_add(1, Ordering::Relaxed);
        if !self.bad.contains(&call) {
            return Ok(loss);
        }
        if !self.gradient_only {
            return Ok((loss * f64::NAN)?);
        }
        // The root of 0 is 0, and its slope is not finite.
        let zero = (logits - logits.detach())?;
        let root = zero.sqr()?.sum_all()?.sqrt()?;
        Ok((loss + root)?)
    }
}

#[test]
fn steps_that_are_not_finite_are_named_or_skipped() {
    let fit = |bad: &'static [usize], gradient_only: bool, allowed: usize| {
        let (net, store) = net(0);
        let (train, _) = loaders(0, 0);
        let config = TrainConfig {
            skip_non_finite: allowed,
            ema: Some(EmaConfig::default()),
            ..recipe(1)
        };
        let result = Trainer::new(config)
            .with_loss(Flaky::new(bad, gradient_only))
            .fit(&net, &store, &train, None);
        let finite = values(&store)
            .iter()
            .all(|(_, v)| v.iter().all(|x| x.is_finite()));
        assert!(finite, "the weights are those of the last good step");
        result
    };
    let error = fit(&[4], false, 0).unwrap_err();
    assert!(
        matches!(&error, Error::NonFiniteLoss { epoch: 0, step: 4, names, .. } if names.is_empty()),
        "{error}"
    );
    let error = fit(&[4], true, 0).unwrap_err();
    let Error::NonFiniteGradient {
        epoch: 0,
        step: 4,
        names,
    } = &error
    else {
        panic!("{error}")
    };
    assert_eq!(names.len(), 5, "{names:?}");
    assert!(error.to_string().contains("`fc.weight`"), "{error}");

    for gradient_only in [false, true] {
        let history = fit(&[0, 4, 5, 9], gradient_only, 2).unwrap();
        assert!(history.rows[0].train_loss.is_finite());
        let error = fit(&[0, 4, 5, 6], gradient_only, 2)
            .unwrap_err()
            .to_string();
        assert!(error.contains("in epoch 1, step 7"), "{error}");
    }
}

/// A skipped step leaves the running statistics as they were.
#[test]
fn skipped_steps_change_nothing() {
    let fit = |bad: &'static [usize], steps: usize| {
        let (net, store) = net(0);
        let (train, _) = loaders(0, 0);
        let config = TrainConfig {
            skip_non_finite: 1,
            max_steps: Some(steps),
            ..recipe(1)
        };
        Trainer::new(config)
            .with_loss(Flaky::new(bad, false))
            .fit(&net, &store, &train, None)
            .unwrap();
        values(&store)
    };
    assert_eq!(fit(&[3], 4), fit(&[], 3));
    assert_ne!(fit(&[], 4), fit(&[], 3));
}

#[test]
fn weights_that_are_not_finite_are_named() {
    let (net, store) = net(0);
    let (train, _) = loaders(0, 0);
    let (_, bias) = store
        .parameters()
        .into_iter()
        .find(|(name, _)| name == "fc.bias")
        .unwrap();
    bias.set(&(bias.as_detached_tensor() + f64::NAN).unwrap())
        .unwrap();
    let error = Trainer::new(recipe(1))
        .fit(&net, &store, &train, None)
        .unwrap_err();
    assert!(
        error.to_string().contains("; `fc.bias` is not finite:"),
        "{error}"
    );
}

/// The norm of a step of gradient descent is at most that of the clipped gradient, times the learning rate.
#[test]
fn steps_are_clipped() {
    let (net, store) = net(0);
    let before = values(&store);
    let (train, _) = loaders(0, 0);
    let config = TrainConfig {
        clip: Some(Clip::Norm(0.01)),
        max_steps: Some(1),
        ..TrainConfig::new(1, tallow_train::OptimizerConfig::sgd(1.0))
    };
    Trainer::new(config)
        .fit(&net, &store, &train, None)
        .unwrap();
    let mut square = 0.0;
    for ((name, before), (_, after)) in before.iter().zip(values(&store)) {
        if !name.contains("running") {
            square += before
                .iter()
                .zip(after)
                .map(|(a, b)| (a - b).powi(2))
                .sum::<f64>();
        }
    }
    assert!((square.sqrt() - 0.01).abs() < 1e-5, "{}", square.sqrt());
}

/// Accuracy of the first step, as callbacks see it.
#[derive(Default)]
struct First(Option<(f64, f64)>);

impl Callback for First {
    fn on_batch_end(&mut self, end: &BatchEnd) -> Flow {
        self.0.get_or_insert((end.mean_loss, end.accuracy));
        CONTINUE
    }
}

#[test]
fn mixed_batches_train_on_soft_labels() {
    let mix = MixConfig {
        mixup_alpha: 1.0,
        ..MixConfig::default()
    };
    let (train, _) = loaders(0, 0);
    let batch = train.epoch(0).next().unwrap().unwrap();
    let (twin, _) = net(0);
    let mixing = mix.draw((0, 0, 0), (8, 8)).unwrap();
    let logits = twin
        .forward_t(&mixing.images(&batch.images).unwrap(), true)
        .unwrap();
    let soft = mixing.target(&batch.labels, CLASSES, (8, 8)).unwrap();
    let target = Target::Soft(soft.clone());
    let loss = CrossEntropy::default().loss(&logits, &target).unwrap();
    let right = logits
        .argmax(1)
        .unwrap()
        .eq(&soft.argmax(1).unwrap())
        .unwrap();
    let accuracy = flat(&right).iter().sum::<f64>() / 32.0;

    let mut first = First::default();
    let (net, store) = net(0);
    let config = TrainConfig {
        mix: Some(mix),
        ..recipe(6)
    };
    let (train, test) = loaders(0, 0);
    let history = Trainer::new(config)
        .with_callback(&mut first)
        .fit(&net, &store, &train, Some(&test))
        .unwrap();
    assert_eq!(first.0.unwrap(), (flat(&loss)[0], accuracy));
    // Mixed images are harder than those of the test.
    let last = history.rows.last().unwrap();
    assert!(last.test_accuracy.unwrap() > 0.9, "{last:?}");
    assert!(
        last.train_accuracy < last.test_accuracy.unwrap(),
        "{last:?}"
    );
}

#[test]
fn views_are_averaged_in_evaluations_and_not_in_training() {
    let config = |tta| TrainConfig { tta, ..recipe(2) };
    let (store, history) = run(config(Some(Tta::SixView)));
    let (plain, other) = run(config(None));
    let dir = tempfile::tempdir().unwrap();
    assert!(bytes(&store, dir.path()) == bytes(&plain, dir.path()));
    assert_ne!(history.rows[1].test_loss, other.rows[1].test_loss);
    // The model with its views, evaluated without the setting.
    let (net, copy) = net(1);
    copy.load_state_dict(&store.state_dict().unwrap(), true)
        .unwrap();
    let model = WithTta::new(&net, Some(Tta::SixView));
    let (_, test) = loaders(0, 0);
    let evaluation = Trainer::new(recipe(1))
        .evaluate(&model, &copy, &test)
        .unwrap();
    assert_eq!(history.evaluation.unwrap(), evaluation);
}

#[test]
fn the_profile_is_the_time_of_the_run() {
    let started = std::time::Instant::now();
    let (net, store) = net(0);
    let (train, test) = loaders(0, 0);
    let mut trainer = Trainer::new(recipe(2));
    let history = trainer.fit(&net, &store, &train, Some(&test)).unwrap();
    let profile = trainer.profile();
    assert_eq!(profile.steps, 38);
    for (phase, seconds) in profile.phases() {
        assert!(seconds >= 0.0, "{phase}: {seconds}");
    }
    for (phase, seconds) in profile.phases().into_iter().take(5) {
        assert!(seconds > 0.0, "{phase}");
    }
    let total = profile.total();
    let rows = history.seconds();
    assert!(
        total <= started.elapsed().as_secs_f64() && total >= 0.9 * rows,
        "{total} {rows}"
    );
}
