//! `inspect` and `verify`.

use std::fs;

use sha2::{Digest, Sha256};
use tallow_datasets::{DigestCheck, Error, Format, inspect, verify};

use crate::sets::make::*;

fn both_splits() -> Dir {
    let dir = Dir::new();
    for (prefix, labels) in [("train", [5, 0, 5]), ("t10k", [1, 1, 1])] {
        let images = idx_images(3, 28, 28, &pixels(3, 784));
        dir.write(&format!("kmnist/{prefix}-images-idx3-ubyte.gz"), gz(images));
        dir.write(
            &format!("kmnist/{prefix}-labels-idx1-ubyte"),
            idx_labels(3, &labels),
        );
    }
    dir
}

#[test]
fn inspect_tells_files_and_counts() {
    let dir = both_splits();
    let found = inspect("kmnist", &dir.options()).unwrap();
    let train = &found.splits[0];
    assert_eq!(
        (train.len, train.shape, train.format),
        (3, (1, 28, 28), Format::Idx)
    );
    assert_eq!(train.place, "given directory");
    assert_eq!(train.per_class, [1, 0, 0, 0, 0, 2, 0, 0, 0, 0]);
    assert_eq!(
        train.files[1],
        (dir.path("kmnist/train-labels-idx1-ubyte"), 11)
    );
    assert_eq!(found.splits[1].per_class[1], 3);
    assert_eq!(train.info.provenance, "kmnist (IDX, unverified)");
    assert!(
        serde_json::to_string(&found)
            .unwrap()
            .contains("\"given directory\"")
    );
    fs::remove_file(dir.path("kmnist/t10k-labels-idx1-ubyte")).unwrap();
    assert!(matches!(
        inspect("kmnist", &dir.options()),
        Err(Error::NotFound(_))
    ));
}

#[test]
fn verify_compares_with_recorded_digests() {
    let dir = both_splits();
    let result = verify("kmnist", &dir.options()).unwrap();
    assert!(result.is_sound());
    assert!(
        result
            .files
            .iter()
            .all(|f| f.verdict == DigestCheck::Unknown)
    );
    assert_eq!((result.files.len(), result.splits.len()), (4, 2));

    let sums: String = result
        .files
        .iter()
        .map(|f| {
            let bytes = fs::read(&f.path).unwrap();
            let sum: String = Sha256::digest(&bytes)
                .iter()
                .map(|b| format!("{b:02x}"))
                .collect();
            assert_eq!(sum, f.sha256);
            format!(
                "{sum}  kmnist/{}\n",
                f.path.file_name().unwrap().to_str().unwrap()
            )
        })
        .collect();
    dir.write("SHA256SUMS", sums);
    let result = verify("kmnist", &dir.options()).unwrap();
    assert!(
        result
            .files
            .iter()
            .all(|f| matches!(f.verdict, DigestCheck::Same { .. }))
    );

    // A change that the format cannot show.
    dir.write("kmnist/t10k-labels-idx1-ubyte", idx_labels(3, &[1, 1, 2]));
    let result = verify("kmnist", &dir.options()).unwrap();
    assert!(!result.is_sound());
    let differs: Vec<_> = result
        .files
        .iter()
        .filter(|f| matches!(f.verdict, DigestCheck::Differs { .. }))
        .collect();
    assert_eq!(differs.len(), 1);
    assert!(differs[0].path.ends_with("t10k-labels-idx1-ubyte"));
}

#[test]
fn verify_compares_contents_with_published_digests() {
    let dir = both_splits();
    for prefix in ["train", "t10k"] {
        for (kind, end) in [("images-idx3-ubyte", ".gz"), ("labels-idx1-ubyte", "")] {
            let bytes = fs::read(dir.path(&format!("kmnist/{prefix}-{kind}{end}"))).unwrap();
            dir.write(&format!("mnist/{prefix}-{kind}{end}"), bytes);
        }
    }
    let result = verify("mnist", &dir.options()).unwrap();
    assert!(!result.is_sound(), "this is not MNIST");
    assert!(
        matches!(&result.splits[0].verdict, DigestCheck::Differs { from, .. } if from == "the published images and labels")
    );
}
