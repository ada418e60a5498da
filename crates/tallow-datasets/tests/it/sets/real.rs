//! The datasets themselves, where `TALLOW_DATA` has them.

use std::io::Write;
use std::path::PathBuf;
use std::time::Instant;

use tallow_datasets::{Error, LoadOptions, Split, entry, load, verify};

#[cfg(feature = "parquet")]
use crate::sets::make::{labels, planes};

/// Options to read `name` from `TALLOW_DATA`, or a word on what to set.
pub fn options(name: &str) -> Option<LoadOptions> {
    let root = std::env::var_os("TALLOW_DATA").map(PathBuf::from);
    match root.filter(|root| root.join(name).is_dir()) {
        Some(root) => Some(LoadOptions {
            data_dir: Some(root),
            ..Default::default()
        }),
        None => {
            // Straight to standard error: what `eprintln` writes is swallowed when a test passes.
            let word = format!("SKIPPED: {name} is not there; set TALLOW_DATA\n");
            std::io::stderr().write_all(word.as_bytes()).unwrap();
            None
        }
    }
}

#[test]
fn mnist_and_fashion_mnist_are_the_originals() {
    for name in ["mnist", "fashion-mnist"] {
        let Some(options) = options(name) else {
            continue;
        };
        for split in Split::ALL {
            let start = Instant::now();
            let set = load(name, split, &options).unwrap();
            eprintln!(
                "{name} {split}: {} images in {:?}",
                set.len(),
                start.elapsed()
            );
            assert_eq!(set.len(), entry(name).unwrap().len(split));
            // As the original hosts have them, or the hub.
            let known = ["IDX", "parquet"].map(|format| format!("{name} ({format}, original)"));
            let found = &set.info().provenance;
            assert!(known.contains(found), "{found}");
        }
    }
}

#[test]
fn one_set_does_not_pass_for_another() {
    let Some(mut options) = options("mnist") else {
        return;
    };
    options.data_dir = options.data_dir.map(|d| d.join("mnist"));
    let error = load("fashion-mnist", Split::Train, &options)
        .map(|_| ())
        .unwrap_err();
    assert!(matches!(error, Error::Invalid { .. }));
    assert!(
        error.to_string().contains("found the train split of mnist"),
        "{error}"
    );
}

#[cfg(feature = "parquet")]
#[test]
fn cifar10_is_read() {
    let Some(options) = options("cifar10") else {
        return;
    };
    for split in Split::ALL {
        let start = Instant::now();
        let set = load("cifar10", split, &options).unwrap();
        let seconds = start.elapsed().as_secs_f64();
        eprintln!(
            "cifar10 {split}: {} images, {:.0} a second",
            set.len(),
            set.len() as f64 / seconds
        );
        assert_eq!(
            (set.len(), set.shape()),
            (entry("cifar10").unwrap().len(split), Some((3, 32, 32)))
        );
        let mut counts = [0; 10];
        labels(&*set).iter().for_each(|&l| counts[l as usize] += 1);
        assert_eq!(counts, [set.len() / 10; 10]);
    }
}

#[cfg(feature = "parquet")]
/// The mean of each channel of the published training images, as everyone normalises by, and of a lossy
/// copy, which differs by little.
#[test]
fn cifar10_has_the_known_means() {
    let Some(options) = options("cifar10") else {
        return;
    };
    let set = load("cifar10", Split::Train, &options).unwrap();
    let mut sums = [0u64; 3];
    for image in planes(&*set).chunks_exact(3072) {
        for (sum, plane) in sums.iter_mut().zip(image.chunks_exact(1024)) {
            *sum += plane.iter().map(|&p| p as u64).sum::<u64>();
        }
    }
    let means = sums.map(|s| s as f64 / 255.0 / 1024.0 / set.len() as f64);
    for (mean, known) in means.into_iter().zip([0.4914, 0.4822, 0.4465]) {
        assert!((mean - known).abs() < 0.002, "{means:?}");
    }
}

#[test]
fn verify_finds_the_real_ones_sound() {
    for name in ["mnist", "fashion-mnist", "cifar10"] {
        if cfg!(not(feature = "parquet")) && name == "cifar10" {
            continue;
        }
        let Some(options) = options(name) else {
            continue;
        };
        let result = verify(name, &options).unwrap();
        assert!(result.is_sound(), "{result:?}");
    }
}
