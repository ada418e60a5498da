//! Training with mixing, clipping, chunks, averages, sharpness-aware steps, skipped steps and views.

use candle_nn::ModuleT;
use tallow_ops::ParamStore;
use tallow_train::{
    BatchEnd, CONTINUE, Callback, Clip, CrossEntropy, EmaConfig, Flow, History, Loss, MixConfig,
    SamConfig, SwaConfig, Target, TrainConfig, Trainer, Tta, WithTta, update_batch_norm,
};

use crate::common::{CLASSES, bytes, flat, loaders, net, recipe, values};

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
    for (phase, seconds) in profile.phases().into_iter().take(6) {
        assert_eq!(seconds > 0.0, phase != "exchange", "{phase}");
    }
    let total = profile.total();
    let rows = history.seconds();
    assert!(
        total <= started.elapsed().as_secs_f64() && total >= 0.9 * rows,
        "{total} {rows}"
    );
}
