//! Schedules compared with PyTorch, and their settings; `fixtures/make_schedules.py` made the expected values.

use serde::Deserialize;
use serde_json::Value;
use tallow_train::{
    EpochRow, Error, OptimizerConfig, Schedule, ScheduleConfig, TrainConfig, Trainer,
};

use crate::common::{bytes, loaders, net, recipe};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Fixtures {
    base_lr: f64,
    cases: Vec<Case>,
    metrics: Vec<Option<f64>>,
    plateaus: Vec<Reduction>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    case: String,
    schedule: ScheduleConfig,
    total: u64,
    steps_per_epoch: usize,
    rates: Vec<f64>,
    momenta: Option<Vec<f64>>,
}

/// Settings of a `reduce-on-plateau`, and the rate of each epoch.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Reduction {
    case: serde_json::Map<String, Value>,
    rates: Vec<f64>,
}

fn fixtures() -> Fixtures {
    serde_json::from_str(include_str!("../fixtures/schedules.json")).unwrap()
}

fn assert_close(found: &[f64], expected: &[f64], what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (time, (found, expected)) in found.iter().zip(expected).enumerate() {
        assert!(
            (found - expected).abs() <= 2e-15,
            "{what} at {time}: {found}, expected {expected}"
        );
    }
}

#[test]
fn schedules_are_pytorchs() {
    let all = fixtures();
    assert_eq!(all.cases.len(), 32);
    for case in &all.cases {
        let schedule = case.schedule.build(case.steps_per_epoch);
        schedule.validate(case.total).unwrap();
        let times = 0..case.total;
        let rates = times
            .clone()
            .map(|t| schedule.lr(all.base_lr, t, case.total));
        assert_close(&rates.collect::<Vec<_>>(), &case.rates, &case.case);
        let momenta: Option<Vec<f64>> = times.map(|t| schedule.momentum(t, case.total)).collect();
        assert_eq!(momenta.is_some(), case.momenta.is_some(), "{}", case.case);
        if let (Some(found), Some(expected)) = (momenta, &case.momenta) {
            assert_close(&found, expected, &case.case);
        }
    }
}

fn row(epoch: usize, metric: f64) -> EpochRow {
    serde_json::from_value(serde_json::json!({
        "epoch": epoch, "train_loss": 1.0, "train_accuracy": 0.5, "lr": 0.1, "seconds": 1.0, "images_per_second": 1.0,
    }))
    .map(|row| EpochRow {
        train_loss: metric,
        test_accuracy: Some(metric),
        ..row
    })
    .unwrap()
}

/// Rate of each epoch, where the epochs have these metrics.
fn reduced(config: &ScheduleConfig, metrics: &[Option<f64>], base_lr: f64) -> Vec<f64> {
    let mut schedule = config.build(7);
    let total = metrics.len() as u64 + 1;
    schedule.validate(total).unwrap();
    let mut rows = Vec::new();
    let mut rates = Vec::new();
    for epoch in 0..=metrics.len() {
        schedule.observe(&rows).unwrap();
        rates.push(schedule.lr(base_lr, epoch as u64, total));
        if let Some(metric) = metrics.get(epoch) {
            rows.push(row(epoch, metric.unwrap_or(f64::NAN)));
        }
    }
    rates
}

fn plateau(settings: &serde_json::Map<String, Value>) -> Value {
    let mut curve = settings.clone();
    curve.insert("name".into(), "reduce-on-plateau".into());
    curve.into()
}

#[test]
fn reductions_on_plateaus_are_pytorchs() {
    let all = fixtures();
    assert_eq!(all.plateaus.len(), 8);
    for case in &all.plateaus {
        let config = serde_json::json!({ "curve": plateau(&case.case) });
        let config: ScheduleConfig = serde_json::from_value(config).unwrap();
        let rates = reduced(&config, &all.metrics, all.base_lr);
        assert_close(&rates, &case.rates, &format!("{:?}", case.case));
    }
}

/// Epochs of the warmup do not count: the same metrics after a warmup give the same rates after it.
#[test]
fn a_plateau_is_observed_after_the_warmup() {
    let all = fixtures();
    let case = &all.plateaus[1];
    let config = serde_json::json!({ "curve": plateau(&case.case), "warmup": { "epochs": 2 } });
    let config: ScheduleConfig = serde_json::from_value(config).unwrap();
    let metrics = [&[Some(0.0), Some(0.0)], &all.metrics[..]].concat();
    let rates = reduced(&config, &metrics, all.base_lr);
    assert!((rates[0] - all.base_lr / 3.0).abs() < 1e-15);
    assert_close(&rates[2..], &case.rates, "after a warmup");
}

#[test]
fn a_missing_metric_is_named() {
    let text = r#"{"curve": {"name": "reduce-on-plateau", "monitor": "test_loss"}}"#;
    let config: ScheduleConfig = serde_json::from_str(text).unwrap();
    let error = config.build(1).observe(&[row(0, 1.0)]).unwrap_err();
    let expected = "schedule.monitor: epoch 1 has no test_loss: the run does not measure it";
    assert_eq!(error.to_string(), expected);
}

#[test]
fn schedules_out_of_range_are_refused() {
    let refused = |text: &str, setting: &str| {
        let schedule: ScheduleConfig = serde_json::from_str(text).unwrap();
        let message = schedule.build(4).validate(10).unwrap_err().to_string();
        assert!(message.starts_with(setting), "{text}: {message}");
    };
    let curve = |settings: &str, setting: &str| {
        refused(&format!(r#"{{"curve": {{"name": {settings}}}}}"#), setting);
    };
    curve(r#""step", "size": 0"#, "schedule.size");
    curve(r#""step", "size": 1, "gamma": -1"#, "schedule.gamma");
    curve(r#""exponential", "gamma": -0.5"#, "schedule.gamma");
    curve(r#""cosine", "t_max": 0"#, "schedule.t_max");
    curve(r#""cosine-warm-restarts", "t_0": 0"#, "schedule.t_0");
    curve(
        r#""cosine-warm-restarts", "t_0": 1, "t_mult": 0"#,
        "schedule.t_mult",
    );
    curve(r#""linear", "start_factor": 0"#, "schedule.start_factor");
    curve(r#""linear", "end_factor": 1.5"#, "schedule.end_factor");
    curve(r#""linear", "length": 0"#, "schedule.length");
    curve(r#""polynomial", "power": -1"#, "schedule.power");
    curve(r#""triangular", "peak": 1.5"#, "schedule.peak");
    curve(r#""triangular", "end": -1"#, "schedule.end");
    curve(r#""one-cycle", "pct_start": 1.5"#, "schedule.pct_start");
    curve(r#""one-cycle", "div_factor": 0"#, "schedule.div_factor");
    curve(r#""one-cycle", "max_momentum": 1"#, "schedule.max_momentum");
    curve(r#""reduce-on-plateau", "factor": 1"#, "schedule.factor");
    curve(
        r#""reduce-on-plateau", "threshold": -1"#,
        "schedule.threshold",
    );
    curve(
        r#""sequence", "curves": [], "milestones": []"#,
        "schedule.milestones",
    );
    curve(
        r#""sequence", "curves": [{"name": "constant"}, {"name": "cosine"}], "milestones": [0]"#,
        "schedule.milestones",
    );
    curve(
        r#""sequence", "curves": [{"name": "constant"}, {"name": "reduce-on-plateau"}], "milestones": [3]"#,
        "schedule.curves",
    );
    curve(
        r#""sequence", "curves": [{"name": "constant"}, {"name": "exponential", "gamma": -1}], "milestones": [3]"#,
        "schedule.gamma",
    );
    refused(
        r#"{"warmup": {"length": 3, "start_factor": 0}}"#,
        "schedule.warmup.start_factor",
    );
    refused(
        r#"{"curve": {"name": "cosine"}, "warmup": {"length": 10}}"#,
        "schedule.warmup.length",
    );
    refused(
        r#"{"curve": {"name": "cosine"}, "per": "step", "warmup": {"epochs": 3}}"#,
        "schedule.warmup.epochs",
    );
    for unknown in [
        r#"{"curve": {"name": "cosine", "tmax": 3}}"#,
        r#"{"curve": {"name": "constant", "gamma": 3}}"#,
        r#"{"curve": {"name": "one-cycle", "max_lr": 3}}"#,
        r#"{"curve": {"name": "reduce-on-plateau", "mode": "min"}}"#,
        r#"{"curve": {"name": "cosin"}}"#,
        r#"{"warm": {"length": 3}}"#,
        r#"{"per": "batch"}"#,
    ] {
        assert!(
            serde_json::from_str::<ScheduleConfig>(unknown).is_err(),
            "{unknown}"
        );
    }
}

/// Recipes of earlier versions are written as before.
#[test]
fn settings_at_their_default_are_left_out() {
    for text in [
        r#"{"curve":{"name":"constant"},"per":"epoch"}"#,
        r#"{"curve":{"name":"step","size":3,"gamma":0.1},"per":"step","warmup":{"length":4,"start_factor":0.5}}"#,
        r#"{"curve":{"name":"one-cycle","pct_start":0.3,"div_factor":25.0,"final_div_factor":10000.0,"anneal":"cos"},"per":"step"}"#,
    ] {
        let config: ScheduleConfig = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_string(&config).unwrap(), text);
    }
}

fn with_schedule(epochs: usize, schedule: &str) -> TrainConfig {
    TrainConfig {
        schedule: serde_json::from_str(schedule).unwrap(),
        ..recipe(epochs)
    }
}

/// A run with these settings that is stopped after two epochs and resumed ends with the weights of one that was not.
fn resumes_to_the_bit(config: &TrainConfig, stopped: &TrainConfig) -> Vec<f64> {
    let dir = tempfile::tempdir().unwrap();
    let (train, test) = loaders(1, 0);
    let run = |config: &TrainConfig, checkpoints: &str, seed: u64| {
        let (net, store) = net(seed);
        let mut trainer =
            Trainer::new(config.clone()).with_checkpoints(dir.path().join(checkpoints));
        let history = trainer.fit(&net, &store, &train, Some(&test)).unwrap();
        let rates: Vec<f64> = history.rows.iter().map(|row| row.lr).collect();
        (rates, bytes(&store, dir.path()))
    };
    let (rates, straight) = run(config, "straight", 1);
    run(stopped, "stopped", 1);
    let (_, resumed) = run(config, "stopped", 8);
    assert!(straight == resumed);
    rates
}

#[test]
fn a_plateau_resumes_to_the_bit() {
    // Nothing counts as an improvement: reduced after every epoch but the first.
    let schedule = r#"{"curve": {"name": "reduce-on-plateau", "patience": 0, "factor": 0.5, "threshold": 9, "threshold_mode": "abs"}}"#;
    let rates = resumes_to_the_bit(&with_schedule(4, schedule), &with_schedule(2, schedule));
    assert_eq!(rates, [0.05, 0.05, 0.025, 0.0125]);
}

#[test]
fn one_cycle_changes_the_momentum() {
    let cycle = |momentum: bool| {
        with_schedule(
            3,
            &format!(
                r#"{{"curve": {{"name": "one-cycle", "cycle_momentum": {momentum}}}, "per": "step"}}"#
            ),
        )
    };
    let weights = |config: TrainConfig| {
        let dir = tempfile::tempdir().unwrap();
        let (train, _) = loaders(1, 0);
        let (net, store) = net(1);
        Trainer::new(config)
            .fit(&net, &store, &train, None)
            .unwrap();
        bytes(&store, dir.path())
    };
    assert!(weights(cycle(true)) != weights(cycle(false)));

    let without = TrainConfig {
        optimizer: OptimizerConfig::sgd(0.05),
        ..cycle(true)
    };
    let (train, _) = loaders(1, 0);
    let (net, store) = net(1);
    let error = Trainer::new(without)
        .fit(&net, &store, &train, None)
        .unwrap_err();
    assert!(
        matches!(
            error,
            Error::Config {
                setting: "schedule.cycle_momentum",
                ..
            }
        ),
        "{error}"
    );
}
