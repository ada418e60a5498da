//! Pictures of folders and lists written as Parquet files, and read again.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::RowAccessor;
use tallow_datasets::{
    Error, PackOptions, PictureOptions, Split, export, inspect, load, pack, verify,
};

use super::{label, ppm, streamed};
use crate::sets::make::Dir;

/// A folder of `count` pictures, in those of their classes.
fn folder(dir: &Dir, place: &str, count: usize) {
    for sample in 0..count {
        let class = ["ant", "bee", "cat", "dog", "eel"][label(sample) as usize];
        dir.write(&format!("{place}/{class}/{sample:03}.ppm"), ppm(sample));
    }
}

/// Class and planes of every sample of a training split, by its planes.
fn contents(name: &str) -> Vec<(Vec<u8>, String)> {
    let set = load(name, Split::Train, &streamed(1 << 20)).unwrap();
    let mut scratch = Vec::new();
    let mut all = Vec::new();
    for index in 0..set.len() {
        let class = &set.info().classes[set.label(index).unwrap() as usize];
        let image = set.image(index, &mut scratch).unwrap();
        all.push((image.data.to_vec(), class.clone()));
    }
    all.sort();
    all
}

/// Bytes, path and label of every row of a file.
fn rows(file: &Path) -> Vec<(Vec<u8>, String, i64)> {
    let reader = SerializedFileReader::new(fs::File::open(file).unwrap()).unwrap();
    let rows = reader.get_row_iter(None).unwrap().map(|row| {
        let row = row.unwrap();
        let image = row.get_group(0).unwrap();
        let bytes = image.get_bytes(0).unwrap().data().to_vec();
        (
            bytes,
            image.get_string(1).unwrap().clone(),
            row.get_long(1).unwrap(),
        )
    });
    rows.collect()
}

fn name(dir: &Dir, kind: &str, place: &str) -> String {
    format!("{kind}:{}", dir.path(place).display())
}

#[test]
fn a_folder_becomes_a_file_and_is_the_same() {
    let dir = Dir::new();
    folder(&dir, "birds", 40);
    let out = dir.path("birds.parquet");
    let written = pack(
        &name(&dir, "folder", "birds"),
        &out,
        &PackOptions::default(),
    )
    .unwrap();
    assert_eq!(written.images, [(Split::Train, 40)]);
    assert_eq!(written.files, std::slice::from_ref(&out));
    assert_eq!(written.classes, ["ant", "bee", "cat", "dog", "eel"]);
    assert_eq!(
        contents(&name(&dir, "folder", "birds")),
        contents(&name(&dir, "parquet", "birds.parquet"))
    );

    // The bytes are those of the files, and each row knows its own.
    let rows = rows(&out);
    assert_eq!(rows.len(), 40);
    for (bytes, path, label) in &rows {
        let file = fs::read(dir.path("birds").join(path)).unwrap();
        assert!(*bytes == file, "{path}");
        assert!(path.starts_with(&written.classes[*label as usize]));
    }
    // They are shuffled, the same way each time, or in order.
    let paths: Vec<&str> = rows.iter().map(|(_, path, _)| path.as_str()).collect();
    assert!(!paths.is_sorted());
    let again = dir.path("again.parquet");
    pack(
        &name(&dir, "folder", "birds"),
        &again,
        &PackOptions::default(),
    )
    .unwrap();
    assert!(fs::read(&again).unwrap() == fs::read(&out).unwrap());
    let in_order = PackOptions {
        in_order: true,
        ..PackOptions::default()
    };
    let ordered = dir.path("ordered.parquet");
    pack(&name(&dir, "folder", "birds"), &ordered, &in_order).unwrap();
    let paths: Vec<String> = self::rows(&ordered).into_iter().map(|row| row.1).collect();
    assert!(paths.is_sorted());

    // The metadata is that of `datasets`.
    let reader = SerializedFileReader::new(fs::File::open(&out).unwrap()).unwrap();
    let metadata = reader.metadata().file_metadata();
    let pairs = metadata.key_value_metadata().unwrap();
    let pair = pairs.iter().find(|pair| pair.key == "huggingface").unwrap();
    let value: serde_json::Value = serde_json::from_str(pair.value.as_ref().unwrap()).unwrap();
    assert_eq!(
        value,
        serde_json::json!({ "info": { "features": {
            "image": { "_type": "Image" },
            "label": { "names": ["ant", "bee", "cat", "dog", "eel"], "_type": "ClassLabel" },
        } } })
    );
    let columns = metadata.schema_descr().columns().iter();
    let columns: Vec<String> = columns.map(|column| column.path().string()).collect();
    assert_eq!(columns, ["image.bytes", "image.path", "label"]);
}

#[test]
fn shards_and_splits_have_files_of_their_own() {
    let dir = Dir::new();
    for (split, count) in [("train", 50), ("val", 11), ("test", 14)] {
        folder(&dir, &format!("birds/{split}"), count);
    }
    let options = PackOptions {
        shard_bytes: Some(500),
        ..PackOptions::default()
    };
    let out = dir.path("packed");
    let source = name(&dir, "folder", "birds");
    let written = pack(&source, &out, &options).unwrap();
    let expected = [
        (Split::Train, 50),
        (Split::Validation, 11),
        (Split::Test, 14),
    ];
    assert_eq!(written.images, expected);
    // A picture has 47 bytes, so that eleven fill a shard.
    let files: Vec<String> = (written.files.iter())
        .map(|file| file.strip_prefix(&out).unwrap().display().to_string())
        .collect();
    let mut all: Vec<String> = (0..5)
        .map(|i| format!("train-{i:05}-of-00005.parquet"))
        .collect();
    all.push("validation-00000-of-00001.parquet".into());
    all.extend((0..2).map(|i| format!("test-{i:05}-of-00002.parquet")));
    assert_eq!(files, all);
    assert!(written.files.iter().all(|file| file.is_file()));
    let packed = name(&dir, "parquet", "packed");
    for (split, count) in expected {
        let set = load(&packed, split, &dir.options()).unwrap();
        assert_eq!((set.len(), set.info().split), (count, split));
    }
    assert_eq!(contents(&source), contents(&packed));

    // One file in shards is found by its name.
    let single = dir.path("all.parquet");
    folder(&dir, "plain", 30);
    let source = name(&dir, "folder", "plain");
    let written = pack(&source, &single, &options).unwrap();
    assert_eq!(written.files.len(), 3);
    assert!(written.files[0].ends_with("all-00000-of-00003.parquet"));
    assert_eq!(
        contents(&source),
        contents(&name(&dir, "parquet", "all.parquet"))
    );
    let taken = pack(&source, &single, &PackOptions::default());
    let taken = taken.unwrap_err().to_string();
    assert!(taken.contains("3 shards of it"), "{taken}");
}

#[test]
fn what_was_packed_is_counted_verified_and_exported() {
    let dir = Dir::new();
    for (split, count) in [("train", 30), ("val", 12), ("test", 15)] {
        folder(&dir, &format!("birds/{split}"), count);
    }
    let source = name(&dir, "folder", "birds");
    pack(&source, dir.path("packed"), &PackOptions::default()).unwrap();
    let packed = name(&dir, "parquet", "packed");
    let count = |name: &str| {
        let found = inspect(name, &dir.options()).unwrap();
        let train = &found.splits[0];
        (
            found.splits.len(),
            train.len,
            train.per_class.clone(),
            (train.channels, train.heights, train.widths),
        )
    };
    assert_eq!(count(&packed), count(&source));
    let found = inspect(&packed, &dir.options()).unwrap();
    let file = dir.path("packed/train-00000-of-00001.parquet");
    let size = fs::metadata(&file).unwrap().len();
    assert_eq!(found.splits[0].files, [(file.clone(), size)]);

    let verified = verify(&packed, &dir.options()).unwrap();
    assert!(verified.is_sound());
    assert_eq!((verified.files.len(), verified.splits.len()), (2, 2));

    // Back to pictures: all splits, with the same pixels.
    let written = export(&packed, dir.path("copy"), &dir.options()).unwrap();
    let expected = [
        (Split::Train, 30),
        (Split::Test, 15),
        (Split::Validation, 12),
    ];
    assert_eq!(written.images, expected);
    assert_eq!(contents(&source), contents(&name(&dir, "folder", "copy")));
    let copy = load(
        &name(&dir, "folder", "copy"),
        Split::Validation,
        &dir.options(),
    );
    assert_eq!(copy.unwrap().len(), 12);
}

/// A list may name a picture more than once, and its folder need not be that of a class.
#[test]
fn lists_are_packed_too() {
    let dir = Dir::new();
    let mut list = String::from("path,label\n");
    for sample in 0..9 {
        dir.write(&format!("own/p/{sample}.ppm"), ppm(sample));
        list += &format!("p/{sample}.ppm,{}\n", label(sample));
        list += &format!("p/{sample}.ppm,{}\n", label(sample));
    }
    dir.write("own/train.csv", list);
    let out = dir.path("own.parquet");
    let written = pack(&name(&dir, "csv", "own"), &out, &PackOptions::default()).unwrap();
    assert_eq!(written.images, [(Split::Train, 18)]);
    let mut counts = BTreeMap::new();
    for (_, path, _) in rows(&out) {
        *counts.entry(path).or_insert(0) += 1;
    }
    assert!(counts.len() == 9 && counts.values().all(|&n| n == 2));
    assert_eq!(
        contents(&name(&dir, "csv", "own")),
        contents(&name(&dir, "parquet", "own.parquet"))
    );
}

#[test]
fn nothing_is_left_of_what_fails() {
    let dir = Dir::new();
    folder(&dir, "birds", 20);
    let source = name(&dir, "folder", "birds");
    let options = PackOptions::default();
    let before = |dir: &Dir| {
        let entries = fs::read_dir(dir.path("")).unwrap().flatten();
        let mut names: Vec<_> = entries.map(|entry| entry.file_name()).collect();
        names.sort();
        names
    };
    let there = before(&dir);
    dir.write("birds/cat/broken.ppm", "not a picture");
    let error = pack(&source, dir.path("x.parquet"), &options).unwrap_err();
    match error {
        Error::Picture { path, .. } => assert!(path.ends_with("cat/broken.ppm")),
        other => panic!("{other}"),
    }
    fs::remove_file(dir.path("birds/cat/broken.ppm")).unwrap();
    // Pictures above the limit.
    let small = PackOptions {
        pictures: PictureOptions {
            max_pixels: 4,
            ..PictureOptions::default()
        },
        ..options
    };
    let error = pack(&source, dir.path("x.parquet"), &small).unwrap_err();
    assert!(error.to_string().contains("more than the limit"), "{error}");
    let nowhere = name(&dir, "folder", "nowhere");
    for (source, out, part) in [
        ("mnist", "x.parquet", "`mnist`: expected pictures in files"),
        (source.as_str(), "birds", "one with files in it"),
        (nowhere.as_str(), "x.parquet", "nowhere"),
    ] {
        let error = pack(source, dir.path(out), &options).unwrap_err();
        assert!(error.to_string().contains(part), "{error}");
    }
    let empty = PackOptions {
        shard_bytes: Some(0),
        ..options
    };
    assert!(pack(&source, dir.path("x.parquet"), &empty).is_err());
    assert_eq!(before(&dir), there);
    // A file of that name is kept.
    dir.write("x.parquet", "mine");
    let error = pack(&source, dir.path("x.parquet"), &options).unwrap_err();
    assert!(error.to_string().contains("name another one"), "{error}");
    assert_eq!(fs::read(dir.path("x.parquet")).unwrap(), b"mine");
}
