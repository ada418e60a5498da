//! Recipes with what acts on a batch, its gradients or the weights.

use candle_core::{Device, safetensors};
use tallow_experiment::{Experiment, NoProgress, Predictor, Registry, Tier};
use tallow_models::{Model, ModelConfig};
use tallow_record::{Profile, Run, StatisticsRow};

use crate::support::{SMALL, experiment, runner, train};

const ALL: &[&str] = &[
    "train.mix={ mixup_alpha = 0.2, cutmix_alpha = 1.0, probability = 0.5 }",
    "train.clip.norm=1.0",
    "train.chunks=2",
    "train.norm_statistics=mean",
    "train.sam.rho=0.05",
    "train.ema={ decay = 0.9, warmup = {} }",
    "train.skip_non_finite=3",
    "train.tta=flip",
];

#[test]
fn a_recipe_trains_with_all_of_them() {
    let dir = tempfile::tempdir().unwrap();
    let mut experiment = experiment(SMALL, ALL);
    experiment.keep_only(&["cnn".to_string()]).unwrap();
    let mut runner = runner(dir.path());
    runner.options_mut().profile = true;
    let outcome = runner.run(&experiment, "test", &mut NoProgress);
    let outcome = outcome.unwrap().unwrap();
    let folder = &outcome.runs[0];
    let read = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap();
    let config: toml::Table = toml::from_str(&read("config.toml")).unwrap();
    let keys = config["train"].as_table().unwrap();
    assert_eq!(keys["clip"]["norm"].as_float(), Some(1.0));
    assert_eq!(keys["chunks"].as_integer(), Some(2));
    assert_eq!(keys["norm_statistics"].as_str(), Some("mean"));
    assert_eq!(keys["ema"]["warmup"]["gamma"].as_float(), Some(1.0));
    assert_eq!(keys["tta"].as_str(), Some("flip"));

    let profile: Profile = serde_json::from_str(&read("profile.json")).unwrap();
    assert!(profile.steps > 0 && profile.forward > 0.0, "{profile:?}");
    let layers: Vec<&str> = profile.layers.iter().map(|l| l.name.as_str()).collect();
    assert!(layers.contains(&"conv1"), "{layers:?}");
    let rows: Vec<StatisticsRow> = serde_json::from_str(&read("statistics.json")).unwrap();
    assert_eq!(rows.len(), 2);
    for row in &rows {
        let (name, gradient) = &row.gradients[0];
        assert_eq!(name, "conv1.weight");
        assert!(gradient.std > 0.0 && gradient.min < gradient.max, "{row:?}");
        let names: Vec<&str> = row.activations.iter().map(|(n, _)| n.as_str()).collect();
        assert_eq!(names, layers);
    }
    let record = Run::read(folder).unwrap();
    let summary = record.summary.unwrap();
    assert!(summary.metrics["test_accuracy"] > Some(0.2), "{summary:?}");
    Predictor::from_run(folder, &Device::Cpu, &Registry::default()).unwrap();
}

/// A network of fused layers with batch norm, of which a chunk has its part in the statistics of the batch.
#[test]
fn batch_norm_over_all_chunks_is_a_setting_of_a_recipe() {
    let dir = tempfile::tempdir().unwrap();
    let small = |statistics: &str| {
        let sets = [
            "model.name=mnist-cnn",
            "train.epochs=1",
            "train.chunks=4",
            &format!("train.norm_statistics={statistics}"),
        ];
        let mut experiment = experiment(SMALL, &sets);
        experiment.keep_only(&["cnn".to_string()]).unwrap();
        let outcome = train(&experiment, &dir.path().join(statistics));
        let folder = outcome.runs[0].clone();
        let config = std::fs::read_to_string(folder.join("config.toml")).unwrap();
        let config: toml::Table = toml::from_str(&config).unwrap();
        let kept = config["train"].as_table().unwrap().get("norm_statistics");
        let kept = kept.and_then(|value| value.as_str()).map(str::to_string);
        let weights = safetensors::load(folder.join("model.safetensors"), &Device::Cpu).unwrap();
        let mut counts: Vec<i64> = weights
            .iter()
            .filter(|(name, _)| name.ends_with("num_batches_tracked"))
            .map(|(_, count)| count.to_scalar::<i64>().unwrap())
            .collect();
        counts.dedup();
        (
            kept,
            counts,
            std::fs::read(folder.join("model.safetensors")).unwrap(),
        )
    };
    let (kept, counts, weights) = small("sync");
    assert_eq!(kept.as_deref(), Some("sync"));
    // 300 images in batches of 32: a batch counts once, in however many chunks.
    assert_eq!(counts, [10]);
    assert!(weights != small("first").2);
}

#[test]
fn settings_at_their_default_are_not_written() {
    let dir = tempfile::tempdir().unwrap();
    let mut experiment = experiment(SMALL, &["train.epochs=1"]);
    experiment.keep_only(&["mlp".to_string()]).unwrap();
    let outcome = train(&experiment, dir.path());
    let text = std::fs::read_to_string(outcome.runs[0].join("config.toml")).unwrap();
    let config: toml::Table = toml::from_str(&text).unwrap();
    for key in [
        "mix",
        "clip",
        "chunks",
        "norm_statistics",
        "sam",
        "ema",
        "swa",
        "skip_non_finite",
        "evaluate_every",
        "tta",
        "precision",
    ] {
        assert!(
            !config["train"].as_table().unwrap().contains_key(key),
            "{key}"
        );
    }
}

#[test]
fn settings_out_of_range_are_errors_of_the_recipe() {
    for (set, expected) in [
        ("train.clip.norm=0", "clip.norm: 0 is not"),
        ("train.mix={}", "mix: neither"),
        ("train.chunks=0", "chunks: must be at least 1"),
        (
            "train.evaluate_every=0",
            "evaluate_every: must be at least 1",
        ),
        ("train.sam.rho=-1", "sam.rho: -1"),
        ("train.ema.decay=2", "ema.decay: 2"),
        ("train.layer_decay=0", "train.layer_decay is 0"),
        ("train.layer_decay=1.5", "train.layer_decay is 1.5"),
        ("train.swa={ start = 9 }", "swa.start: 9"),
        ("train.tta=ten-crop", "train.tta"),
        ("train.precision=f16", "train.precision"),
        ("train.mix.mixup=1", "train.mix"),
    ] {
        let error = Experiment::parse("small", SMALL, Tier::Full, &[set.to_string()]);
        let message = error.unwrap_err().message();
        assert!(message.contains(expected), "{set}: {message}");
    }
}

#[test]
fn a_precision_that_the_device_lacks_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    for precision in ["tf32", "bf16"] {
        let experiment = experiment(SMALL, &[&format!("train.precision={precision}")]);
        let result = runner(dir.path()).run(&experiment, "test", &mut NoProgress);
        let Err(error) = result else {
            panic!("a CPU trained in {precision}")
        };
        let message = error.message();
        assert!(
            message.contains(precision) && message.contains("no CUDA device"),
            "{message}"
        );
    }
}

/// The rate of the first layer is too small to change it.
#[test]
fn layer_decay_reaches_the_optimizer() {
    let dir = tempfile::tempdir().unwrap();
    let sets = [
        "train.epochs=1",
        "train.layer_decay=1e-30",
        "train.optimizer={name=\"sgd\",lr=0.01}",
    ];
    let mut experiment = experiment(SMALL, &sets);
    experiment.keep_only(&["cnn".to_string()]).unwrap();
    let outcome = train(&experiment, dir.path());
    let config = ModelConfig {
        seed: 3,
        ..ModelConfig::new(10, (1, 28, 28))
    };
    let before = Model::build("cnn", &config)
        .unwrap()
        .store()
        .state_dict()
        .unwrap();
    let after = outcome.runs[0].join("model.safetensors");
    let after = safetensors::load(after, &Device::Cpu).unwrap();
    let values =
        |tensor: &candle_core::Tensor| tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    for (name, tensor) in &before {
        let changed = values(tensor) != values(&after[name]);
        assert_eq!(changed, name.starts_with("fc2."), "{name}");
    }
    let text = std::fs::read_to_string(outcome.runs[0].join("config.toml")).unwrap();
    let config: toml::Table = toml::from_str(&text).unwrap();
    assert_eq!(config["train"]["layer_decay"].as_float(), Some(1e-30));
}
