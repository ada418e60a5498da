//! Files on disk at each time, and checkpoints that are refused.

use candle_core::{DType, Device};
use tallow_ops::Init;

use super::*;
use crate::optimizer::OptimizerConfig;
use tallow_record::EpochRow;

fn data() -> Data {
    Data {
        digest: "0123".to_string(),
        transforms: serde_json::json!([{"name": "to-tensor"}]),
        batch_size: 32,
        shuffle: true,
        drop_last: false,
        seed: 0,
        steps_per_epoch: 5,
    }
}

fn config() -> TrainConfig {
    TrainConfig::new(4, OptimizerConfig::sgd_momentum(0.1, 0.9))
}

fn store(value: f64) -> ParamStore {
    let store = ParamStore::new(DType::F32, &Device::Cpu, 7);
    store.root().param("w", 3, Init::Const(value)).unwrap();
    store
}

fn optimizer(store: &ParamStore) -> Box<dyn Optimizer> {
    config().optimizer(store).unwrap()
}

fn setup(config: &TrainConfig) -> Setup {
    Setup {
        config: config.clone(),
        own: Vec::new(),
        data: data(),
        extendable: !config.schedule.build(1).depends_on_total(),
    }
}

fn history(epochs: usize) -> History {
    let row = |epoch| EpochRow {
        epoch,
        train_loss: 0.1,
        train_accuracy: 0.9,
        test_loss: None,
        test_accuracy: None,
        test_top5: None,
        lr: 0.1,
        seconds: 1.0,
        images_per_second: 1.0,
        metrics: Default::default(),
    };
    History {
        rows: (0..epochs).map(row).collect(),
        ..History::default()
    }
}

/// The checkpoint after `epochs`, with weights of that value.
fn save(checkpoints: &Checkpoints, epochs: usize) {
    let store = store(epochs as f64);
    checkpoints
        .save(
            &setup(&config()),
            &store,
            &*optimizer(&store),
            &history(epochs),
        )
        .unwrap();
}

fn resume(checkpoints: &Checkpoints, config: &TrainConfig) -> Result<(usize, Vec<f32>)> {
    let store = store(-1.0);
    let history = checkpoints.resume(&setup(config), &store, &mut *optimizer(&store))?;
    let weights = store.parameters()[0].1.to_vec1().unwrap();
    Ok((history.rows.len(), weights))
}

fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn the_newest_is_resumed_and_the_older_are_removed() {
    let dir = tempfile::tempdir().unwrap();
    let checkpoints = Checkpoints::new(dir.path().join("made/by/save"));
    assert_eq!(resume(&checkpoints, &config()).unwrap(), (0, vec![-1.0; 3]));
    for epochs in 1..4 {
        save(&checkpoints, epochs);
        assert_eq!(names(&checkpoints.dir), [format!("epoch-{epochs:06}")]);
        let expected = (epochs, vec![epochs as f32; 3]);
        assert_eq!(resume(&checkpoints, &config()).unwrap(), expected);
    }
}

#[test]
fn the_generator_goes_on_where_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let checkpoints = Checkpoints::new(dir.path());
    let before = store(0.0);
    let draw = |store: &ParamStore| {
        let drawn = store
            .generator()
            .uniform(0.0, 1.0, 4, DType::F32, &Device::Cpu);
        drawn.unwrap().to_vec1::<f32>().unwrap()
    };
    draw(&before);
    checkpoints
        .save(
            &setup(&config()),
            &before,
            &*optimizer(&before),
            &history(1),
        )
        .unwrap();
    let after = store(0.0);
    checkpoints
        .resume(&setup(&config()), &after, &mut *optimizer(&after))
        .unwrap();
    assert_eq!(draw(&before), draw(&after));
}

/// Run by `killed_before_the_rename` in a process of its own.
#[test]
#[ignore = "aborts"]
fn stage_and_abort() {
    let Some(dir) = std::env::var_os("TALLOW_TEST_ABORT_IN") else {
        return;
    };
    let checkpoints = Checkpoints::new(PathBuf::from(dir));
    save(&checkpoints, 1);
    let store = store(2.0);
    let state = State {
        version: VERSION,
        config: config(),
        own: Vec::new(),
        data: data(),
        generator: store.generator().state(),
        history: history(2),
    };
    checkpoints
        .stage(&state, &store, &*optimizer(&store))
        .unwrap();
    std::process::abort();
}

#[test]
fn killed_before_the_rename() {
    let dir = tempfile::tempdir().unwrap();
    let child = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "checkpoint::tests::stage_and_abort", "--ignored"])
        .env("TALLOW_TEST_ABORT_IN", dir.path())
        .output()
        .unwrap();
    assert!(!child.status.success());
    assert_eq!(
        names(dir.path()),
        ["epoch-000001", "epoch-000002.unfinished"]
    );

    let checkpoints = Checkpoints::new(dir.path());
    assert_eq!(resume(&checkpoints, &config()).unwrap(), (1, vec![1.0; 3]));
    // The next save clears up.
    save(&checkpoints, 2);
    assert_eq!(names(dir.path()), ["epoch-000002"]);
    assert_eq!(resume(&checkpoints, &config()).unwrap(), (2, vec![2.0; 3]));
}

#[test]
fn a_kill_before_the_older_is_removed_does_no_harm() {
    let dir = tempfile::tempdir().unwrap();
    let (older, newer) = (
        Checkpoints::new(dir.path()),
        Checkpoints::new(dir.path().join("x")),
    );
    save(&older, 9);
    save(&newer, 10);
    fs::rename(
        dir.path().join("x/epoch-000010"),
        dir.path().join("epoch-000010"),
    )
    .unwrap();
    assert_eq!(resume(&older, &config()).unwrap().0, 10);
}

#[test]
fn other_settings_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let checkpoints = Checkpoints::new(dir.path());
    save(&checkpoints, 2);

    let mut longer = config();
    longer.epochs = 10;
    assert_eq!(resume(&checkpoints, &longer).unwrap().0, 2);

    let mut faster = config();
    faster.optimizer = OptimizerConfig::sgd_momentum(0.2, 0.9);
    let message = resume(&checkpoints, &faster).unwrap_err().to_string();
    assert!(
        message.contains(
            "state.json: the run was started with other settings: optimizer.lr 0.1 -> 0.2;"
        ),
        "{message}"
    );

    let other = store(0.0);
    let refused = |setup: &Setup| {
        let resumed = checkpoints.resume(setup, &other, &mut *optimizer(&other));
        resumed.unwrap_err().to_string()
    };
    let mut shuffled = setup(&config());
    shuffled.data.seed = 1;
    let message = refused(&shuffled);
    assert!(
        message.contains("state.json: the run was trained on other data: seed 0 -> 1;"),
        "{message}"
    );
    let mut own = setup(&config());
    own.own = vec!["loss".into()];
    let message = refused(&own);
    assert!(
        message.contains("parts of the caller's own: none -> loss;"),
        "{message}"
    );
}

#[test]
fn a_schedule_over_the_whole_run_fixes_its_length() {
    let dir = tempfile::tempdir().unwrap();
    let checkpoints = Checkpoints::new(dir.path());
    let mut cosine = config();
    cosine.schedule = serde_json::from_str(r#"{"curve": {"name": "cosine"}}"#).unwrap();
    let saved = store(1.0);
    checkpoints
        .save(&setup(&cosine), &saved, &*optimizer(&saved), &history(1))
        .unwrap();
    assert_eq!(resume(&checkpoints, &cosine).unwrap().0, 1);
    cosine.epochs += 1;
    let message = resume(&checkpoints, &cosine).unwrap_err().to_string();
    assert!(
        message.contains("other settings: epochs 4 -> 5;"),
        "{message}"
    );
}

#[test]
fn damaged_checkpoints_are_named() {
    for file in ["state.json", "model.safetensors", "optimizer.safetensors"] {
        let dir = tempfile::tempdir().unwrap();
        let checkpoints = Checkpoints::new(dir.path());
        save(&checkpoints, 1);
        let path = dir.path().join("epoch-000001").join(file);
        let bytes = fs::read(&path).unwrap();
        fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
        let message = resume(&checkpoints, &config()).unwrap_err().to_string();
        assert!(message.contains(file), "{message}");
        fs::remove_file(&path).unwrap();
        let message = resume(&checkpoints, &config()).unwrap_err().to_string();
        assert!(message.contains(file), "{message}");
    }
}
