//! Lists of pictures and labels: CSV and JSON lines.

use tallow_datasets::{Dataset, Error, ImageFolder, PictureOptions, Split};

use crate::sets::make::*;

/// Folder `set` with pictures `p/0.png` to `p/3.png`, and these lists.
fn set(lists: &[(&str, &str)]) -> Dir {
    let dir = Dir::new();
    for index in 0..4 {
        dir.write(
            &format!("set/p/{index}.png"),
            fixture_bytes("folder/rgb.png"),
        );
    }
    for (name, text) in lists {
        dir.write(&format!("set/{name}"), text);
    }
    dir
}

fn open(dir: &Dir, split: Split) -> tallow_datasets::Result<ImageFolder> {
    ImageFolder::open_list(dir.path("set"), split, PictureOptions::default())
}

const TEST: (&str, &str) = ("test.csv", "path,label\np/3.png,cat\n");

#[test]
fn a_list_gives_pictures_and_labels_in_its_order() {
    let dir = set(&[
        (
            "train.csv",
            "path,label\np/1.png,dog\np/0.png,cat\np/1.png,cat\n",
        ),
        TEST,
    ]);
    let train = open(&dir, Split::Train).unwrap();
    assert_eq!(train.info().classes, ["cat", "dog"]);
    assert_eq!(labels(&train), [1, 0, 0]);
    assert_eq!(train.name(1).as_deref(), Some("p/0.png"));
    assert_eq!(train.path(0).unwrap(), dir.path("set/p/1.png"));
    assert_eq!(planes(&train)[..378], fixture_bytes("folder/rgb.png.bin"));
    assert_eq!(train.info().name, "set");
    let told = &train.info().provenance;
    assert!(told.contains("list train.csv; decoded by"), "{told}");
    let test = open(&dir, Split::Test).unwrap();
    assert_eq!(labels(&test), [0]);
    let told = &test.info().provenance;
    assert!(told.contains("no test pictures of dog"), "{told}");
    assert_ne!(train.info().digest, test.info().digest);
    let name = format!("csv:{}", dir.path("set").display());
    assert_eq!(dir.train(&name).info(), train.info());
}

#[test]
fn a_list_val_beside_test_is_of_the_validation_split() {
    let train = ("train.csv", "path,label\np/1.png,dog\np/0.png,cat\n");
    let dir = set(&[train, TEST, ("val.csv", "path,label\np/2.png,dog\n")]);
    let validation = open(&dir, Split::Validation).unwrap();
    assert_eq!(labels(&validation), [1]);
    assert_eq!(validation.info().classes, ["cat", "dog"]);
    let name = format!("csv:{}", dir.path("set").display());
    assert_eq!(labels(&*dir.validation(&name).unwrap()), [1]);
    assert_eq!(labels(&open(&dir, Split::Test).unwrap()), [0]);

    dir.write("set/val.csv", "path,label\np/2.png,crow\n");
    let error = open(&dir, Split::Train).unwrap_err().to_string();
    assert!(
        error.contains("val.csv") && error.contains("labels of the validation split"),
        "{error}"
    );
    let dir = set(&[train, TEST]);
    assert!(dir.validation(&name.replace("csv:", "folder:")).is_none());
    let error = open(&dir, Split::Validation).unwrap_err().to_string();
    assert!(error.contains("test.csv and val.csv"), "{error}");
}

#[test]
fn lists_have_many_forms() {
    let in_p = |text: &str| text.replace("p/", "");
    let rows = "p/1.png,10\np/0.png,9\n";
    for (name, text) in [
        ("train.csv", format!("path,label\n{rows}")),
        (
            "train.csv",
            format!("\u{feff}Filename,Class\r\n{}", rows.replace('\n', "\r\n")),
        ),
        (
            "train.csv",
            "target;id;file\n10;x;p/1.png\n9;y;\"p/0.png\"\n".into(),
        ),
        (
            "train.csv",
            "image\tcategory\np/1.png\t10\np/0.png\t9".into(),
        ),
        (
            "train.jsonl",
            "{\"path\": \"p/1.png\", \"label\": 10}\n\n{\"label\": \"9\", \"path\": \"p/0.png\"}\n"
                .into(),
        ),
        (
            "train/metadata.csv",
            format!("file_name,label\n{}", rows.replace("p/", "../p/")),
        ),
    ] {
        let dir = set(&[(name, &text), ("val.csv", "path,label\np/3.png,9\n")]);
        let train = open(&dir, Split::Train).unwrap_or_else(|e| panic!("{name}: {e}"));
        // Numbers are in the order of numbers.
        assert_eq!(train.info().classes, ["9", "10"], "{text}");
        assert_eq!(labels(&train), [1, 0], "{text}");
        assert_eq!(labels(&open(&dir, Split::Test).unwrap()), [0]);
    }
    let dir = set(&[("train.csv", &in_p("path,label\np/1.png,1\n"))]);
    let error = open(&dir, Split::Train).unwrap_err().to_string();
    assert!(error.contains("a picture at line 2"), "{error}");
    assert!(error.contains("1.png"), "{error}");
}

#[test]
fn wrong_lists_are_named_with_the_line() {
    for (name, text, parts) in [
        (
            "train.csv",
            "p/0.png,cat\n",
            &["a header with a column of paths", "found p/0.png, cat"][..],
        ),
        (
            "train.csv",
            "path\np/0.png\n",
            &["one of labels (label,", "found path"],
        ),
        ("train.csv", "", &["a header"]),
        ("train.csv", "path,label\n", &["at least one picture"]),
        (
            "train.csv",
            "path,label\np/0.png,cat\np/1.png,\n",
            &["line 3", "no label"],
        ),
        ("train.csv", "path,label\n,cat\n", &["line 2", "no path"]),
        (
            "train.csv",
            "path,label\np/0.png,cat,3\n",
            &["a CSV file", "line: 2"],
        ),
        (
            "train.csv",
            "path,label\np/9.png,cat\n",
            &["line 2", "no file", "9.png"],
        ),
        ("train.csv", "path,label\np,cat\n", &["line 2", "no file"]),
        (
            "train.jsonl",
            "{\"path\": \"p/0.png\", \"label\": \"cat\"}\n[]\n",
            &["line 2", "an object of JSON"],
        ),
        (
            "train.jsonl",
            "{\"path\": 3, \"label\": \"cat\"}\n",
            &["line 1", "no path"],
        ),
        (
            "train.jsonl",
            "{\"path\": \"p/0.png\", \"label\": [1]}\n",
            &["line 1", "no label"],
        ),
    ] {
        let dir = set(&[(name, text), TEST]);
        let error = open(&dir, Split::Train).unwrap_err();
        assert!(matches!(error, Error::Invalid { .. }), "{error:?}");
        let error = error.to_string();
        for part in parts.iter().chain([&name]) {
            assert!(error.contains(part), "`{part}` is missing from: {error}");
        }
    }
    // The line is of the other list.
    let dir = set(&[("train.csv", "path,label\np/0.png,dog\n"), TEST]);
    let error = open(&dir, Split::Train).unwrap_err().to_string();
    for part in [
        "test.csv",
        "the class `cat` (line 2)",
        "the training split lacks",
    ] {
        assert!(error.contains(part), "`{part}` is missing from: {error}");
    }
    let dir = set(&[TEST]);
    let error = open(&dir, Split::Train).unwrap_err().to_string();
    assert!(error.contains("train.csv or train.jsonl"), "{error}");
    dir.write("set/train.csv", b"path,label\n\xff.png,cat\n");
    let error = open(&dir, Split::Train).unwrap_err().to_string();
    assert!(error.contains("a list in UTF-8"), "{error}");
    dir.write("set/train.csv", b"path,label\n\0\0\0");
    assert!(open(&dir, Split::Train).is_err());
}
