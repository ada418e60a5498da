//! Files on disk at each time, and checkpoints that are refused.

use candle_core::{DType, Device};
use tallow_ops::Init;

use super::*;
use crate::optimizer::OptimizerConfig;
use crate::parts::PartState;
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

fn checkpoints_in(dir: &Path) -> Checkpoints {
    Checkpoints::new(dir, CheckpointConfig::every_epoch())
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
        validation: None,
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
        ..EpochRow::default()
    };
    History {
        rows: (0..epochs).map(row).collect(),
        ..History::default()
    }
}

/// The checkpoint after `epochs`, with weights of that value.
fn save(checkpoints: &mut Checkpoints, epochs: usize) {
    save_at(checkpoints, epochs, None, Parts::default());
}

/// A checkpoint in the middle of an epoch, or with parts.
fn save_at(checkpoints: &mut Checkpoints, epochs: usize, position: Option<Position>, parts: Parts) {
    let store = store(epochs as f64);
    let saved = Saved {
        store: &store,
        optimizer: &*optimizer(&store),
        history: &history(epochs),
        position,
        parts,
    };
    checkpoints.save(&setup(&config()), saved).unwrap();
}

fn resume(checkpoints: &Checkpoints, config: &TrainConfig) -> Result<(usize, Vec<f32>)> {
    let store = store(-1.0);
    let resumed = resumed(checkpoints, &setup(config), &store)?;
    let weights = store.parameters()[0].1.to_vec1().unwrap();
    Ok((resumed.history.rows.len(), weights))
}

fn resumed(checkpoints: &Checkpoints, setup: &Setup, store: &ParamStore) -> Result<Resumed> {
    let alone = Ranks::default();
    super::resume(
        Some(checkpoints),
        &alone,
        setup,
        store,
        &mut *optimizer(store),
    )
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
    let mut checkpoints = checkpoints_in(&dir.path().join("made/by/save"));
    assert_eq!(resume(&checkpoints, &config()).unwrap(), (0, vec![-1.0; 3]));
    for epochs in 1..4 {
        save(&mut checkpoints, epochs);
        assert_eq!(names(&checkpoints.dir), [format!("epoch-{epochs:06}")]);
        let expected = (epochs, vec![epochs as f32; 3]);
        assert_eq!(resume(&checkpoints, &config()).unwrap(), expected);
    }
}

#[test]
fn the_generator_goes_on_where_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let mut checkpoints = checkpoints_in(dir.path());
    let before = store(0.0);
    let draw = |store: &ParamStore| {
        let drawn = store
            .generator()
            .uniform(0.0, 1.0, 4, DType::F32, &Device::Cpu);
        drawn.unwrap().to_vec1::<f32>().unwrap()
    };
    draw(&before);
    let saved = Saved {
        store: &before,
        optimizer: &*optimizer(&before),
        history: &history(1),
        position: None,
        parts: Parts::default(),
    };
    checkpoints.save(&setup(&config()), saved).unwrap();
    let after = store(0.0);
    resumed(&checkpoints, &setup(&config()), &after).unwrap();
    assert_eq!(draw(&before), draw(&after));
}

/// Run by `killed_before_the_rename` in a process of its own.
#[test]
#[ignore = "aborts"]
fn stage_and_abort() {
    let Some(dir) = std::env::var_os("TALLOW_TEST_ABORT_IN") else {
        return;
    };
    let mut checkpoints = checkpoints_in(Path::new(&dir));
    save(&mut checkpoints, 1);
    let store = store(2.0);
    let state = State {
        version: VERSION,
        config: config(),
        own: Vec::new(),
        data: data(),
        validation: None,
        generator: store.generator().state(),
        history: history(2),
        position: None,
        parts: BTreeMap::new(),
        tensors: 0,
    };
    let saved = Saved {
        store: &store,
        optimizer: &*optimizer(&store),
        history: &state.history,
        position: None,
        parts: Parts::default(),
    };
    checkpoints.stage(&state, &saved).unwrap();
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

    let mut checkpoints = checkpoints_in(dir.path());
    assert_eq!(resume(&checkpoints, &config()).unwrap(), (1, vec![1.0; 3]));
    // The next save clears up.
    save(&mut checkpoints, 2);
    assert_eq!(names(dir.path()), ["epoch-000002"]);
    assert_eq!(resume(&checkpoints, &config()).unwrap(), (2, vec![2.0; 3]));
}

#[test]
fn a_kill_before_the_older_is_removed_does_no_harm() {
    let dir = tempfile::tempdir().unwrap();
    let (mut older, mut newer) = (
        checkpoints_in(dir.path()),
        checkpoints_in(&dir.path().join("x")),
    );
    save(&mut older, 9);
    save(&mut newer, 10);
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
    let mut checkpoints = checkpoints_in(dir.path());
    save(&mut checkpoints, 2);

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
        let resumed = resumed(&checkpoints, setup, &other);
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
    let mut checkpoints = checkpoints_in(dir.path());
    let mut cosine = config();
    cosine.schedule = serde_json::from_str(r#"{"curve": {"name": "cosine"}}"#).unwrap();
    let saved = store(1.0);
    let saved = Saved {
        store: &saved,
        optimizer: &*optimizer(&saved),
        history: &history(1),
        position: None,
        parts: Parts::default(),
    };
    checkpoints.save(&setup(&cosine), saved).unwrap();
    assert_eq!(resume(&checkpoints, &cosine).unwrap().0, 1);
    cosine.epochs += 1;
    let message = resume(&checkpoints, &cosine).unwrap_err().to_string();
    assert!(
        message.contains("other settings: epochs 4 -> 5;"),
        "{message}"
    );
}

fn position(step: usize) -> Position {
    let mut tally = crate::tally::TallyState::default();
    tally.count(0.1, 3, 7);
    Position {
        step,
        tally,
        lr: 0.1 / 3.0,
        seconds: 1.5,
    }
}

fn parts() -> Parts {
    let mut parts = Parts::default();
    let tensor = candle_core::Tensor::new(&[1.5f32, -0.0], &Device::Cpu).unwrap();
    let state = PartState {
        tensors: vec![("w".to_string(), tensor)],
        values: serde_json::json!({ "best": 0.1 + 0.2 }),
    };
    parts.put("averages", state).unwrap();
    parts
        .put("counter", PartState::of_values(&7).unwrap())
        .unwrap();
    parts
}

#[test]
fn a_position_within_an_epoch_and_the_parts_come_back_to_the_bit() {
    let dir = tempfile::tempdir().unwrap();
    let mut checkpoints = checkpoints_in(dir.path());
    save(&mut checkpoints, 2);
    save_at(&mut checkpoints, 2, Some(position(4)), parts());
    assert_eq!(names(dir.path()), ["epoch-000002-step-000004"]);

    let store = store(-1.0);
    let resumed = resumed(&checkpoints, &setup(&config()), &store).unwrap();
    assert_eq!(resumed.position, Some(position(4)));
    let (mut found, _) = resumed.parts.unwrap();
    let averages = found.take("averages").unwrap();
    let (name, tensor) = &averages.tensors[0];
    let bits: Vec<u32> = tensor
        .to_vec1::<f32>()
        .unwrap()
        .iter()
        .map(|v| v.to_bits())
        .collect();
    assert_eq!(
        (name.as_str(), bits),
        ("w", vec![1.5f32.to_bits(), (-0.0f32).to_bits()])
    );
    assert_eq!(averages.values["best"], 0.1 + 0.2);
    // What nobody takes is named, and so is what is not there.
    let left = found.clone().finish().unwrap_err().to_string();
    assert!(
        left.contains("started with `counter`, which this one lacks"),
        "{left}"
    );
    assert_eq!(
        found
            .take("counter")
            .unwrap()
            .read_values::<usize>()
            .unwrap(),
        7
    );
    found.clone().finish().unwrap();
    let missing = found.take("schedule").unwrap_err().to_string();
    assert!(missing.contains("started without `schedule`"), "{missing}");

    // The end of the epoch is newer than any of its steps.
    save(&mut checkpoints, 3);
    assert_eq!(names(dir.path()), ["epoch-000003"]);
}

#[test]
fn names_of_parts_are_unique_and_have_no_slash() {
    let mut parts = parts();
    let message = parts
        .put("counter", PartState::default())
        .unwrap_err()
        .to_string();
    assert!(
        message.contains("two parts of the run are named `counter`"),
        "{message}"
    );
    let message = parts
        .put("a/b", PartState::default())
        .unwrap_err()
        .to_string();
    assert!(message.contains("`a/b` contains `/`"), "{message}");
}

#[test]
fn the_last_few_are_kept() {
    let dir = tempfile::tempdir().unwrap();
    let config = CheckpointConfig {
        keep_last: Some(3),
        ..CheckpointConfig::default()
    };
    let mut checkpoints = Checkpoints::new(dir.path(), config);
    save(&mut checkpoints, 1);
    for step in [2, 4] {
        save_at(&mut checkpoints, 1, Some(position(step)), Parts::default());
    }
    save(&mut checkpoints, 2);
    let kept = [
        "epoch-000001-step-000002",
        "epoch-000001-step-000004",
        "epoch-000002",
    ];
    assert_eq!(names(dir.path()), kept);
    // The newest was damaged and removed by hand.
    fs::remove_dir_all(dir.path().join("epoch-000002")).unwrap();
    assert_eq!(
        resume(&checkpoints, &super::tests::config()).unwrap(),
        (1, vec![1.0; 3])
    );
    // The run comes to a moment of which there is a checkpoint already.
    save_at(&mut checkpoints, 1, Some(position(4)), parts());
    assert_eq!(names(dir.path()).len(), 2);
}

#[test]
fn checkpoints_are_due_by_epochs_steps_and_minutes() {
    let now = Instant::now();
    let every = |key: &str, value: f64| -> CheckpointConfig {
        serde_json::from_value(serde_json::json!({ key: value as u64 })).unwrap()
    };
    let steps = every("every_steps", 3.0);
    let due: Vec<usize> = (1..8)
        .filter(|&step| steps.due_after_step(step, now))
        .collect();
    assert_eq!(due, [3, 6]);
    assert!(!steps.due_after_epoch(3, now));
    let epochs = every("every_epochs", 2.0);
    let due: Vec<usize> = (1..6)
        .filter(|&epoch| epochs.due_after_epoch(epoch, now))
        .collect();
    assert_eq!(due, [2, 4]);
    assert!(!epochs.due_after_step(2, now));
    let minutes = |minutes| CheckpointConfig {
        every_minutes: Some(minutes),
        ..CheckpointConfig::default()
    };
    assert!(minutes(0.0).due_after_step(1, now) && minutes(0.0).due_after_epoch(1, now));
    assert!(!minutes(1e6).due_after_step(1, now) && !minutes(1e300).due_after_epoch(1, now));

    for wrong in ["every_steps", "every_epochs", "keep_last"] {
        let message = every(wrong, 0.0).validate().unwrap_err().to_string();
        assert!(
            message.starts_with(&format!("checkpoint.{wrong}: is 0")),
            "{message}"
        );
    }
    for wrong in [-1.0, f64::NAN, f64::INFINITY] {
        assert!(minutes(wrong).validate().is_err());
    }
}

#[test]
fn damaged_checkpoints_are_named() {
    let files = [
        "state.json",
        "model.safetensors",
        "optimizer.safetensors",
        "parts.safetensors",
    ];
    for file in files {
        let dir = tempfile::tempdir().unwrap();
        let mut checkpoints = checkpoints_in(dir.path());
        save_at(&mut checkpoints, 1, Some(position(3)), parts());
        let folder = dir.path().join("epoch-000001-step-000003");
        let path = folder.join(file);
        let bytes = fs::read(&path).unwrap();
        let refused = || {
            let message = resume(&checkpoints, &config()).unwrap_err().to_string();
            assert!(message.contains(file), "{message}");
            let remedy = format!("delete the folder {}", folder.display());
            assert!(message.contains(&remedy), "{message}");
        };
        // Cut short, empty, of another kind, with a header of another size, and gone.
        let header = [&u64::MAX.to_le_bytes(), &bytes[8..]].concat();
        let damages: [&[u8]; 5] = [
            &bytes[..bytes.len() / 2],
            &[],
            b"[1, 2]",
            &[0xff; 64],
            &header,
        ];
        for damage in damages {
            fs::write(&path, damage).unwrap();
            refused();
        }
        fs::remove_file(&path).unwrap();
        refused();
    }
}

#[test]
fn a_state_of_another_moment_or_version_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let mut checkpoints = checkpoints_in(dir.path());
    save_at(&mut checkpoints, 1, Some(position(3)), Parts::default());
    let folder = dir.path().join("epoch-000001-step-000003");
    let moved = dir.path().join("epoch-000001-step-000004");
    fs::rename(&folder, &moved).unwrap();
    let message = resume(&checkpoints, &config()).unwrap_err().to_string();
    assert!(
        message.contains("after 1 epochs and 3 steps, expected 1 and 4"),
        "{message}"
    );
    fs::rename(&moved, &folder).unwrap();
    let path = folder.join("state.json");
    let text = fs::read_to_string(&path).unwrap();
    let newer = text.replacen("\"version\": 2", "\"version\": 3", 1);
    assert_ne!(text, newer);
    fs::write(&path, newer).unwrap();
    let message = resume(&checkpoints, &config()).unwrap_err().to_string();
    assert!(
        message.contains("version 3, expected at most 2"),
        "{message}"
    );
}

/// A checkpoint of the version before: without position and parts.
#[test]
fn checkpoints_of_the_first_version_are_read() {
    let dir = tempfile::tempdir().unwrap();
    let mut checkpoints = checkpoints_in(dir.path());
    save(&mut checkpoints, 2);
    let path = dir.path().join("epoch-000002/state.json");
    let text = fs::read(&path).unwrap();
    let mut state: serde_json::Value = serde_json::from_slice(&text).unwrap();
    let keys = state.as_object_mut().unwrap();
    keys.insert("version".into(), 1.into());
    assert!(keys.remove("parts").is_some() && keys.remove("tensors").is_some());
    fs::write(&path, state.to_string()).unwrap();
    assert_eq!(resume(&checkpoints, &config()).unwrap(), (2, vec![2.0; 3]));
}
