//! Loads damaged Parquet files and reports whatever is not an error in bounded time and memory:
//! `cargo run --release -p tallow-datasets --example damage_parquet -- 200000`.

use std::error::Error;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::{Duration, Instant};

use rand_chacha::ChaCha8Rng;
use rand_core::{RngCore, SeedableRng};
use tallow_datasets::{LoadOptions, Split, load};

/// Files of the tests, and the dataset that each is of.
const FILES: [(&str, &str); 6] = [
    ("cifar10-png.parquet", "cifar10"),
    ("cifar10-jpeg75.parquet", "cifar10"),
    ("cifar10-jpeg75-zstd.parquet", "cifar10"),
    ("cifar10-mixed.parquet", "cifar10"),
    ("cifar100-png.parquet", "cifar100"),
    ("mnist-png.parquet", "mnist"),
];

/// Longest time for one file.
const LONGEST: Duration = Duration::from_secs(2);

fn main() -> Result<(), Box<dyn Error>> {
    let rounds: u64 = std::env::args().nth(1).unwrap_or("2000".into()).parse()?;
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let dir = tempfile::tempdir()?;
    let options = LoadOptions {
        data_dir: Some(dir.path().into()),
        cache_dir: Some(dir.path().join("no-cache")),
        ..Default::default()
    };
    let (mut errors, mut loaded, mut faults) = (0, 0, 0);
    let mut slowest = (Duration::ZERO, 0);
    for seed in 0..rounds {
        let (file, name) = FILES[seed as usize % FILES.len()];
        let mut bytes = fs::read(fixtures.join(file))?;
        damage(&mut bytes, &mut ChaCha8Rng::seed_from_u64(seed));
        let path = dir.path().join(name).join("train.parquet");
        fs::create_dir_all(dir.path().join(name))?;
        fs::write(&path, &bytes)?;
        let started = Instant::now();
        let result = catch_unwind(AssertUnwindSafe(|| load(name, Split::Train, &options)));
        let time = started.elapsed();
        slowest = slowest.max((time, seed));
        match result {
            Ok(Err(_)) => errors += 1,
            Ok(Ok(_)) => loaded += 1,
            Err(_) => {
                println!("seed {seed}: a panic");
                faults += 1;
            }
        }
        if time > LONGEST {
            println!("seed {seed}: {time:.1?}");
            faults += 1;
        }
    }
    println!(
        "{rounds} files: {errors} errors, {loaded} loaded, {faults} faults; slowest {:.1?} (seed {})",
        slowest.0, slowest.1
    );
    if let Ok(status) = fs::read_to_string("/proc/self/status") {
        status
            .lines()
            .filter(|line| line.starts_with("VmHWM"))
            .for_each(|line| println!("peak memory {}", line["VmHWM:".len()..].trim()));
    }
    match faults {
        0 => Ok(()),
        n => Err(format!("{n} faults").into()),
    }
}

/// Changes, removes, inserts or moves a few bytes, most often in the footer or in a page header, where the numbers are.
fn damage(bytes: &mut Vec<u8>, rng: &mut ChaCha8Rng) {
    for _ in 0..1 + rng.next_u32() % 6 {
        let length = bytes.len();
        let tail = length.min(1 + rng.next_u32() as usize % 1500);
        let at = match rng.next_u32() % 3 {
            0 => rng.next_u32() as usize % length,
            1 => length - tail,
            _ => 4 + rng.next_u32() as usize % (length - 4).min(40),
        };
        match rng.next_u32() % 7 {
            0 => bytes[at] ^= 1 << (rng.next_u32() % 8),
            1 => bytes[at] = rng.next_u32() as u8,
            2 => bytes[at] = 0xff,
            3 => bytes[at] = bytes[at].wrapping_add(2),
            4 => bytes.insert(at, rng.next_u32() as u8),
            5 if length > 64 => drop(bytes.remove(at)),
            _ => {
                let from = rng.next_u32() as usize % length;
                let count = (rng.next_u32() as usize % 16).min(length - from.max(at));
                bytes.copy_within(from..from + count, at);
            }
        }
    }
}
