//! Pictures packed into Parquet files, and training on them as they are streamed.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use image::{Rgb, RgbImage};
use serde_json::Value;

use crate::common::{Sandbox, stderr, stdout};
use crate::resume::{assert_same, checkpoint, finish, wait_for_checkpoint};

/// The files have about 4 MB of pictures, so that there are several windows of 1 MiB.
const EXPERIMENT: &str = r#"
    question = "Does it stream?"
    seeds = [0]

    [data]
    dataset = "parquet:packed"
    streaming = true
    shuffle_window = 1
    transforms = [{ name = "resize", size = 16 }, { name = "to-tensor" }]

    [train]
    epochs = 2
    batch_size = 16
    optimizer = { name = "sgd", lr = 0.05 }

    [[variants]]
    name = "mlp"
    model.name = "mlp"
"#;

/// Runs the program, which must end well.
fn tallow(sandbox: &Sandbox, args: &[&str]) -> String {
    let output = sandbox.tallow().args(args).output().unwrap();
    assert!(output.status.success(), "{args:?}: {}", stderr(&output));
    stdout(&output)
}

/// Pictures of two classes: 150 of each for training, 10 for the test.
fn pictures(folder: &Path) {
    for (split, count) in [("train", 150), ("test", 10)] {
        for (class, green) in [("meadow", 160), ("sea", 40)] {
            let dir = folder.join(split).join(class);
            fs::create_dir_all(&dir).unwrap();
            for number in 0..count {
                let picture = RgbImage::from_fn(66, 64, |x, y| {
                    let noise = ((x * 7 + y * 13 + number * 29) % 64) as u8;
                    Rgb([noise, green + noise, 3 * noise])
                });
                picture.save(dir.join(format!("{number}.bmp"))).unwrap();
            }
        }
    }
}

/// Runs the experiment with these settings; its weights, and the provenance of its data.
fn trained(sandbox: &Sandbox, out: &str, args: &[&str]) -> (Vec<u8>, String) {
    let run = ["run", "exp.toml", "--threads", "2", "--out", out];
    tallow(sandbox, &[&run[..], args].concat());
    let entries = fs::read_dir(sandbox.path().join(out).join("exp")).unwrap();
    let entries = entries.map(|entry| entry.unwrap().path());
    let run: PathBuf = entries
        .into_iter()
        .find(|path| path.join("summary.json").is_file())
        .unwrap();
    let summary = fs::read(run.join("summary.json")).unwrap();
    let summary: Value = serde_json::from_slice(&summary).unwrap();
    let provenance = summary["run"]["dataset"]["provenance"].as_str().unwrap();
    let weights = fs::read(run.join("model.safetensors")).unwrap();
    (weights, provenance.to_string())
}

#[test]
fn pictures_are_packed_and_streamed() {
    let sandbox = Sandbox::new();
    pictures(&sandbox.path().join("pictures"));
    let text = pack(&sandbox);
    assert!(
        text.contains("300 images in train and 20 images in test, 2 classes: meadow, sea"),
        "{text}"
    );
    assert!(
        text.contains("train-00000-of-00003.parquet")
            && text.contains("test-00000-of-00001.parquet"),
        "{text}"
    );
    let info = tallow(&sandbox, &["data", "info", "parquet:packed"]);
    assert!(info.contains("train: 300 images of 3x64x66"), "{info}");
    assert!(info.contains("150  meadow"), "{info}");
    let verdict = tallow(&sandbox, &["data", "verify", "parquet:packed"]);
    assert!(
        verdict.contains("train-00002-of-00003.parquet") && verdict.contains("test: 20 images"),
        "{verdict}"
    );

    // Any number of workers gives the same weights; another window or order gives others.
    fs::write(sandbox.path().join("exp.toml"), EXPERIMENT).unwrap();
    let (weights, provenance) = trained(&sandbox, "a", &["--workers", "0"]);
    assert!(
        provenance.contains("3 files, streamed, shuffled in windows of 1048576 bytes"),
        "{provenance}"
    );
    let (same, _) = trained(&sandbox, "b", &["--workers", "3"]);
    assert!(weights == same, "other weights");
    let text = EXPERIMENT
        .replace("streaming = true", "streaming = false")
        .replace("shuffle_window = 1", "");
    fs::write(sandbox.path().join("exp.toml"), text).unwrap();
    let (other, provenance) = trained(&sandbox, "c", &[]);
    assert!(provenance.contains("3 files, in memory"), "{provenance}");
    assert!(weights != other, "the same weights");

    // What has no effect is refused, and files that are there are kept.
    let mnist = "data.dataset=mnist";
    let streaming = "data.streaming=true";
    let cases: [(&[&str], &str); 5] = [
        (
            &["run", "exp.toml", "--set", mnist, "--set", streaming],
            "`mnist` is read into memory",
        ),
        (&["data", "pack", "pictures", "packed"], "name another one"),
        (
            &["data", "pack", "pictures", "all.parquet"],
            "the name of one file for the splits train, test",
        ),
        (
            &["data", "pack", "fashion-mnist-sample", "x.parquet"],
            "expected pictures in files",
        ),
        (
            &["data", "pack", "pictures", "y", "--shard-size", "much"],
            "no size",
        ),
    ];
    for (args, part) in cases {
        let output = sandbox.tallow().args(args).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert!(stderr(&output).contains(part), "{}", stderr(&output));
    }
}

/// Packs the pictures into three shards. What the program says.
fn pack(sandbox: &Sandbox) -> String {
    let args = ["data", "pack", "pictures", "packed"];
    tallow(sandbox, &[&args[..], &["--shard-size", "1.5MB"]].concat())
}

/// Trains once from its beginning to its end, and once killed twice within an epoch and continued, each time with another number of workers.
fn killed_within_epochs(sandbox: &Sandbox, experiment: &str) {
    fs::write(sandbox.path().join("exp.toml"), experiment).unwrap();
    let run = ["run", "exp.toml", "--threads", "2"];
    let again = ["run", "--resume"];
    let straight = ["--out", "straight", "--workers", "0"];
    finish(sandbox, &[&run[..], &straight].concat());
    let (mut within, mut kills) = (0, 0);
    while within < 2 {
        assert!(kills < 20, "{within} of {kills} kills came within an epoch");
        let start = match sandbox.records("killed").is_empty() {
            true => &run[..],
            false => &again[..],
        };
        let workers = ["3", "1"][within];
        let args = [start, &["--out", "killed", "--workers", workers]].concat();
        let log = File::create(sandbox.path().join("log")).unwrap();
        let mut child = sandbox.process(&args);
        let mut child = child.stdout(Stdio::null()).stderr(log).spawn().unwrap();
        let before = checkpoint(sandbox, "killed");
        let alive = wait_for_checkpoint(sandbox, &mut child, &before);
        let text = fs::read_to_string(sandbox.path().join("log")).unwrap();
        assert!(alive, "it ended after {kills} kills: {text}");
        child.kill().unwrap();
        child.wait().unwrap();
        kills += 1;
        let newest = checkpoint(sandbox, "killed");
        within += usize::from(newest.is_some_and(|name| name.contains("-step-")));
    }
    let resume = ["run", "--resume", "--out", "killed", "--workers", "2"];
    let text = stderr(&finish(sandbox, &resume));
    assert!(text.contains(" continues in killed/exp/"), "{text}");
    let found = sandbox.records("killed");
    assert_eq!(found.len(), 1, "{found:?}");
    assert_same(&sandbox.records("straight")[0], &found[0]);
}

/// Experiment with augmentation, long enough to be killed twice.
fn to_be_killed() -> String {
    let more = "epochs = 4\n    augment = [{ name = \"random-horizontal-flip\" }]\n    checkpoint = { every_steps = 2 }";
    EXPERIMENT.replace("epochs = 2", more)
}

#[test]
fn a_streamed_run_that_was_killed_ends_with_the_same_bits() {
    let sandbox = Sandbox::new();
    pictures(&sandbox.path().join("pictures"));
    pack(&sandbox);
    killed_within_epochs(&sandbox, &to_be_killed());
    let summary = sandbox.records("killed")[0].join("summary.json");
    let summary = fs::read_to_string(summary).unwrap();
    assert!(summary.contains("3 files, streamed"), "{summary}");
}

#[test]
fn a_run_on_a_folder_that_was_killed_ends_with_the_same_bits() {
    let sandbox = Sandbox::new();
    pictures(&sandbox.path().join("pictures"));
    let experiment = to_be_killed()
        .replace("parquet:packed", "folder:pictures")
        .replace("shuffle_window = 1", "");
    killed_within_epochs(&sandbox, &experiment);
}

/// A picture that is damaged where it is packed: the run ends when it comes to it, and says where it is.
#[test]
fn a_damaged_row_is_named() {
    let sandbox = Sandbox::new();
    pictures(&sandbox.path().join("pictures"));
    pack(&sandbox);
    fs::write(sandbox.path().join("exp.toml"), EXPERIMENT).unwrap();
    let size = fs::metadata(sandbox.path().join("pictures/train/sea/0.bmp")).unwrap();
    let header = [&b"BM"[..], &(size.len() as u32).to_le_bytes()].concat();
    let file = sandbox.path().join("packed/train-00001-of-00003.parquet");
    let mut bytes = fs::read(&file).unwrap();
    let places = bytes.windows(header.len()).enumerate();
    let places: Vec<usize> = (places.filter(|(_, bytes)| *bytes == header))
        .map(|(at, _)| at)
        .collect();
    assert!(places.len() > 90, "{}", places.len());
    bytes[places[70]] = b'X';
    fs::write(&file, bytes).unwrap();
    let args = ["run", "exp.toml", "--threads", "2", "--workers", "2"];
    let output = sandbox.tallow().args(args).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let text = stderr(&output);
    let expected = "packed/train-00001-of-00003.parquet: the picture in row 70 is no image";
    assert!(text.contains(expected), "{text}");
}
