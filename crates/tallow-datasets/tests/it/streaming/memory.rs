//! Memory of an epoch over data that is larger than it may take: the peak of a process of its own.
//!
//! Linux tells the peak. The large test writes about 5 GB:
//! `cargo test --release -p tallow-datasets --test it streaming::memory -- --ignored --nocapture large`

use std::io::Write;
use std::path::Path;
use std::process::Command;

use tallow_datasets::{
    DataLoader, LoadOptions, LoaderConfig, PackOptions, Split, Streaming, load, pack,
};
use tallow_transforms::{Compose, TransformConfig};

use crate::sets::make::Dir;

/// Variables that tell the process what to read: the dataset, and the window in bytes, "memory" or "default".
const DATASET: &str = "TALLOW_TEST_STREAM";
const WINDOW: &str = "TALLOW_TEST_WINDOW";

/// Largest resident memory of this process so far, in bytes.
fn peak() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:"))?;
    let kilobytes: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kilobytes << 10)
}

/// Process that is measured: opens a dataset, and makes the batches of an epoch.
#[test]
#[ignore = "run by the other tests, in a process of its own"]
fn child() {
    let Ok(name) = std::env::var(DATASET) else {
        return;
    };
    let streaming = match std::env::var(WINDOW).unwrap().as_str() {
        "default" => Streaming::default(),
        "memory" => Streaming {
            on: Some(false),
            ..Streaming::default()
        },
        window => Streaming {
            on: Some(true),
            window: window.parse().unwrap(),
        },
    };
    let before = peak().unwrap();
    let options = LoadOptions {
        streaming,
        ..LoadOptions::default()
    };
    let set = load(&name, Split::Train, &options).unwrap();
    // Batches are small, so that what is measured is the reading.
    let transform = Compose::new(vec![
        TransformConfig::center_crop(16),
        TransformConfig::to_tensor(),
    ]);
    let config = LoaderConfig {
        batch_size: 32,
        shuffle: true,
        num_workers: 2,
        ..LoaderConfig::default()
    };
    let loader = DataLoader::new(set, transform.unwrap(), config).unwrap();
    let seen: usize = loader.epoch(0).map(|batch| batch.unwrap().len()).sum();
    let taken = peak().unwrap() - before;
    println!("\nmeasured {seen} {taken}");
}

/// Samples of an epoch, and the bytes by which the memory of a process grew; `None` where the system does not tell.
fn measured(name: &str, window: &str) -> Option<(usize, u64)> {
    if peak().is_none() {
        // Straight to standard error: what `eprintln` writes is swallowed when a test passes.
        let word = "SKIPPED: this system does not tell the peak of a process's memory\n";
        std::io::stderr().write_all(word.as_bytes()).unwrap();
        return None;
    }
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "streaming::memory::child"])
        .args(["--ignored", "--nocapture"])
        .env(DATASET, name)
        .env(WINDOW, window)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let line = text.lines().find_map(|l| l.strip_prefix("measured "));
    let (seen, taken) = line.unwrap().split_once(' ').unwrap();
    Some((seen.parse().unwrap(), taken.parse().unwrap()))
}

/// PPM of `side` x `side` pixels.
fn picture(side: usize, number: usize) -> Vec<u8> {
    let mut bytes = format!("P6 {side} {side} 255\n").into_bytes();
    bytes.extend((0..3 * side * side).map(|i| (i * 31 + number * 7 + i / 255) as u8));
    bytes
}

fn pictures(dir: &Dir, place: &str, count: usize, side: usize) -> String {
    for number in 0..count {
        let class = ["ant", "bee"][number % 2];
        let file = format!("{place}/{class}/{number}.ppm");
        dir.write(&file, picture(side, number));
    }
    format!("folder:{}", dir.path(place).display())
}

fn parquet(path: &Path) -> String {
    format!("parquet:{}", path.display())
}

const MIB: u64 = 1 << 20;

/// 96 MiB of pictures take little when they are streamed, and 96 MiB when they are not.
#[test]
fn an_epoch_takes_a_window_and_not_the_dataset() {
    const COUNT: usize = 2048;
    /// A quarter of the pictures' bytes and of their pixels; two windows are 4 MiB.
    const BOUND: u64 = 24 * MIB;
    let dir = Dir::new();
    let folder = pictures(&dir, "pictures", COUNT, 128);
    let options = PackOptions {
        shard_bytes: Some(40 * MIB),
        ..PackOptions::default()
    };
    let out = dir.path("packed");
    pack(&folder, &out, &options).unwrap();
    let packed = parquet(&out);
    let window = (2 * MIB).to_string();
    for (name, window) in [(&folder, &window), (&packed, &window)] {
        let Some((seen, taken)) = measured(name, window) else {
            return;
        };
        assert_eq!(seen, COUNT);
        assert!(taken < BOUND, "{name}: {} MiB", taken / MIB);
    }
    // The measurement sees what is held in memory.
    let (seen, taken) = measured(&packed, "memory").unwrap();
    assert_eq!(seen, COUNT);
    assert!(taken > 3 * BOUND, "{} MiB", taken / MIB);
}

/// 50,000 pictures of a folder, and 2 GB of Parquet, which are streamed by default: less than 300 MB each.
#[test]
#[ignore = "writes 5 GB: run it with --ignored"]
fn epochs_over_large_datasets_stay_below_300_megabytes() {
    const BOUND: u64 = 300_000_000;
    let told = |name: &str, expected: usize| {
        let Some((seen, taken)) = measured(name, "default") else {
            return;
        };
        println!("{name}: {seen} pictures, {} MB", taken / 1_000_000);
        assert_eq!(seen, expected);
        assert!(taken < BOUND, "{name}: {taken} bytes");
    };
    let dir = Dir::new();
    // 600 MB, as files and as pixels.
    let folder = pictures(&dir, "folder", 50_000, 64);
    told(&folder, 50_000);

    // Pictures of 105 kB, each twenty times: 2.1 GB, which are not compressed.
    let mut list = String::from("path,label\n");
    for number in 0..1000 {
        dir.write(&format!("list/{number}.ppm"), picture(187, number));
        for _ in 0..20 {
            list += &format!("{number}.ppm,{}\n", number % 2);
        }
    }
    dir.write("list/train.csv", list);
    let list = format!("csv:{}", dir.path("list").display());
    let options = PackOptions {
        shard_bytes: Some(500_000_000),
        ..PackOptions::default()
    };
    let out = dir.path("packed");
    let files = pack(&list, &out, &options).unwrap().files;
    let bytes: u64 = files.iter().map(|f| f.metadata().unwrap().len()).sum();
    assert!(bytes > 2_000_000_000, "{bytes}");
    told(&parquet(&out), 20_000);
    told(&list, 20_000);
}
