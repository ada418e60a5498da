//! Pictures packed into Parquet files, and training on them as they are streamed.

use std::fs;
use std::path::{Path, PathBuf};

use image::{Rgb, RgbImage};
use serde_json::Value;

use crate::common::{Sandbox, stderr, stdout};

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
    let text = tallow(
        &sandbox,
        &[
            "data",
            "pack",
            "pictures",
            "packed",
            "--shard-size",
            "1.5MB",
        ],
    );
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
