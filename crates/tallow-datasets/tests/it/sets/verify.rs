//! `inspect` and `verify`.

use std::fs;

use sha2::{Digest, Sha256};
use tallow_datasets::{
    DigestCheck, Error, Format, ImageFolder, Split, export, inspect, load, verify,
};

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
        (train.len, train.channels, train.format),
        (3, 1, Format::Idx)
    );
    assert_eq!((train.heights, train.widths), ((28, 28), (28, 28)));
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

/// Pictures of one's own: counts and sizes, and every file that cannot be decoded.
#[test]
fn folders_are_inspected_and_verified() {
    let dir = Dir::new();
    for file in [
        "root/train/ant/a.png",
        "root/train/bee/b.png",
        "root/test/bee/c.png",
    ] {
        dir.write(file, fixture_bytes("folder/rgb.png"));
    }
    dir.write("root/train/bee/d.png", fixture_bytes("folder/grey.png"));
    let name = format!("folder:{}", dir.path("root").display());
    let found = inspect(&name, &dir.options()).unwrap();
    assert_eq!(found.name, name);
    let [train, test] = &found.splits[..] else {
        panic!("{found:?}")
    };
    assert_eq!((train.len, test.len), (3, 1));
    assert_eq!(
        (&train.per_class[..], &test.per_class[..]),
        (&[1, 2][..], &[0, 1][..])
    );
    assert_eq!((train.channels, train.format), (3, Format::ImageFolder));
    assert!(verify(&name, &dir.options()).unwrap().is_sound());

    dir.write("root/test/bee/e.png", "not a picture").write(
        "root/train/ant/f.jpg",
        &fixture_bytes("folder/quality95.jpg")[..200],
    );
    let result = verify(&name, &dir.options()).unwrap();
    assert!(!result.is_sound());
    let broken: Vec<_> = result
        .broken
        .iter()
        .map(|b| (b.split, &b.message))
        .collect();
    assert_eq!(broken.len(), 2, "{broken:?}");
    assert!(
        broken[0].0 == Split::Train && broken[0].1.contains("f.jpg"),
        "{broken:?}"
    );
    assert!(
        broken[1].0 == Split::Test && broken[1].1.contains("e.png"),
        "{broken:?}"
    );
    assert!(inspect("folder:/nowhere/at/all", &dir.options()).is_err());
}

/// Class folders right below the root are the training split, and there is no other.
#[test]
fn class_folders_alone_are_the_training_split() {
    let dir = Dir::new();
    for file in ["root/ant/a.png", "root/bee/b.png", "root/bee/c.png"] {
        dir.write(file, fixture_bytes("folder/rgb.png"));
    }
    let name = format!("folder:{}", dir.path("root").display());
    let train = load(&name, Split::Train, &dir.options()).unwrap();
    assert_eq!(
        (train.len(), &train.info().classes[..]),
        (3, &["ant".to_string(), "bee".into()][..])
    );
    assert!(!ImageFolder::has_splits(dir.path("root")));
    assert!(matches!(
        load(&name, Split::Test, &dir.options()),
        Err(Error::Invalid { path, .. }) if path == dir.path("root")
    ));
    let found = inspect(&name, &dir.options()).unwrap();
    assert_eq!(found.splits.len(), 1);
    // A test folder alone makes it no class.
    dir.write("root/test/ant/d.png", fixture_bytes("folder/rgb.png"));
    assert!(ImageFolder::has_splits(dir.path("root")));
    assert!(load(&name, Split::Train, &dir.options()).is_err());
}

/// Images that are exported and read again, grey and in colour; nothing is left of an export that fails.
#[test]
fn what_is_exported_is_what_there_was() {
    let dir = Dir::new();
    for split in ["train", "test"] {
        dir.write(
            &format!("source/{split}/ant/a.png"),
            fixture_bytes("folder/rgb.png"),
        )
        .write(
            &format!("source/{split}/x y/b.png"),
            fixture_bytes("folder/grey.png"),
        );
    }
    let name = |folder: &str| format!("folder:{}", dir.path(folder).display());
    let written = export(&name("source"), dir.path("copy"), &dir.options()).unwrap();
    assert_eq!(written.images, [(Split::Train, 2), (Split::Test, 2)]);
    assert_eq!(written.folders, ["ant", "x y"]);
    for split in [Split::Train, Split::Test] {
        let read = |folder: &str| {
            let set = load(&name(folder), split, &dir.options()).unwrap();
            let mut scratch = Vec::new();
            let image = |i: usize| {
                let mut bytes = Vec::<u8>::new();
                bytes.extend(set.image(i, &mut scratch).unwrap().data);
                (set.label(i).unwrap(), bytes)
            };
            (0..set.len()).map(image).collect::<Vec<_>>()
        };
        assert_eq!(read("source"), read("copy"));
    }
    let again = export(&name("source"), dir.path("copy"), &dir.options());
    assert!(again.unwrap_err().to_string().contains("name another one"));
    dir.write("source/test/ant/broken.png", "not a picture");
    let failed = export(&name("source"), dir.path("second"), &dir.options());
    assert!(failed.unwrap_err().to_string().contains("broken.png"));
    let left: Vec<_> = fs::read_dir(dir.path("")).unwrap().flatten().collect();
    let names: Vec<_> = left.iter().map(|entry| entry.file_name()).collect();
    assert!(
        !names
            .iter()
            .any(|name| name.to_string_lossy().contains("second")),
        "{names:?}"
    );
}
