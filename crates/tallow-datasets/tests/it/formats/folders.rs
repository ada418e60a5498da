//! Kinds of folders of pictures, on a system that has links and names of any bytes.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::sync::Arc;

use tallow_datasets::{Dataset, Error, Result, Split};

use crate::formats::table::{Outcome, Table};
use crate::sets::make::{Dir, fixture_bytes, labels};

/// Folder `set` with these files, all of which hold the same picture.
fn set(files: &[&str]) -> Dir {
    let dir = Dir::new();
    for file in files {
        dir.write(&format!("set/{file}"), fixture_bytes("folder/rgb.png"));
    }
    dir
}

/// A folder with these files beside a class `a` in both splits.
fn beside(files: &[&str]) -> Dir {
    set(&[&["train/a/1.png", "test/a/1.png"], files].concat())
}

fn load(dir: &Dir, split: Split) -> Result<Arc<dyn Dataset>> {
    dir.load(&format!("folder:{}", dir.path("set").display()), split)
}

/// Row of a folder that is read: the labels of both splits, the number of classes, and words of the provenance of the test split, which are
/// shown.
fn read(
    table: &mut Table,
    kind: &str,
    dir: &Dir,
    (train_labels, test_labels, classes): (&[u32], &[u32], usize),
    words: &str,
) {
    let [train, test] = Split::ALL.map(|split| load(dir, split).unwrap());
    assert_eq!(labels(&*train), train_labels, "{kind}");
    assert_eq!(labels(&*test), test_labels, "{kind}");
    for set in [&train, &test] {
        assert_eq!(set.info().classes.len(), classes, "{kind}");
        set.image(0, &mut Vec::new()).unwrap();
    }
    let told = [&train, &test].map(|set| set.info().provenance.clone());
    assert!(told.iter().any(|told| told.contains(words)), "{told:?}");
    table.row(kind, Outcome::Read, words);
}

/// Row of files that are left out of a folder, with the words that say so.
fn left_out(table: &mut Table, kind: &str, dir: &Dir, words: &str) {
    let train = load(dir, Split::Train).unwrap();
    assert_eq!(labels(&*train), [0], "{kind}");
    let told = &train.info().provenance;
    assert!(told.contains(words), "{told}");
    let details = format!("left out, and the provenance says: {words}");
    table.row(kind, Outcome::Refused, &details);
}

/// Row of a folder that is refused, with its error.
fn refused(table: &mut Table, kind: &str, dir: &Dir) {
    let error = load(dir, Split::Train).and_then(|_| load(dir, Split::Test));
    let error = error.map(|set| set.len()).expect_err(kind);
    assert!(
        matches!(error, Error::Invalid { .. } | Error::Io { .. }),
        "{error:?}"
    );
    let root = format!("{}/", dir.path("").display());
    let root = root.replace("//", "/");
    let mut details = error.to_string().replace(&root, "");
    // The path of a circle of links is as long as it is deep.
    while details.contains("/again/again") {
        details = details.replace("/again/again", "/again");
    }
    table.row(kind, Outcome::Refused, &details);
}

#[test]
fn folders_are_as_the_page_says() {
    let mut table = Table::new("folders");
    let t = &mut table;
    for test in ["test", "val", "valid", "validation"] {
        let kind = format!("folders `train` and `{test}` with a folder for every class");
        let words = match test {
            "test" => String::new(),
            _ => format!("`{test}` is the test split, as there is no `test`"),
        };
        let test = format!("{test}/b/1.png");
        let dir = set(&[
            "train/a/1.png",
            "train/b/1.png",
            &test,
            &test.replace("/b/", "/a/"),
        ]);
        read(t, &kind, &dir, (&[0, 1], &[0, 1], 2), &words);
    }
    let every = [
        "jpg", "jpeg", "png", "ppm", "bmp", "pgm", "tif", "tiff", "webp", "JPG",
    ];
    let every = every.map(|extension| format!("train/a/x.{extension}"));
    let every: Vec<&str> = every
        .iter()
        .map(String::as_str)
        .chain(["test/a/1.png"])
        .collect();
    let dir = set(&every);
    read(
        t,
        "`.jpg .jpeg .png .ppm .bmp .pgm .tif .tiff .webp`, in any case, whatever format the contents have",
        &dir,
        (&[0; 10], &[0], 1),
        "",
    );
    let dir = set(&["train/a/x/y/1.png", "test/a/1.png"]);
    read(
        t,
        "pictures in folders below a class",
        &dir,
        (&[0], &[0], 1),
        "",
    );
    let dir = set(&[
        "train/a/1.png",
        "train/b/1.png",
        "train/c/1.png",
        "test/a/1.png",
        "test/c/1.png",
    ]);
    read(
        t,
        "a class without pictures in one split",
        &dir,
        (&[0, 1, 2], &[0, 2], 3),
        "no test pictures of b",
    );
    let dir = beside(&["val/a/1.png", "val/a/2.png"]);
    let validation = load(&dir, Split::Validation).unwrap();
    assert_eq!(labels(&*validation), [0, 0]);
    read(
        t,
        "`val` beside `test`: the validation split",
        &dir,
        (&[0], &[0], 1),
        "",
    );
    let dir = beside(&["val/a/1.png", "valid/a/2.png"]);
    read(
        t,
        "`val` and `valid` beside `test`",
        &dir,
        (&[0], &[0], 1),
        "not used: valid",
    );
    left_out(
        t,
        "other extensions",
        &beside(&["train/a/k.gif", "train/a/l.heic", "train/a/notes.txt"]),
        "left out 3 files: a/k.gif, a/l.heic, a/notes.txt",
    );
    left_out(
        t,
        "files beside the folders of the classes",
        &beside(&["train/list.csv", "train/stray.png"]),
        "left out 2 files: list.csv, stray.png",
    );
    left_out(
        t,
        "names that begin with a dot",
        &beside(&["train/a/.DS_Store", "train/.ipynb_checkpoints/1.png"]),
        "left out 2 hidden",
    );
    refused(
        t,
        "a class that only the test split has",
        &beside(&["test/crow/1.png"]),
    );
    let dir = beside(&[]);
    for split in ["train", "test"] {
        fs::create_dir(dir.path(&format!("set/{split}/empty"))).unwrap();
    }
    refused(t, "a class without pictures in any split", &dir);
    refused(
        t,
        "test split of a folder with folders of classes alone, which are its training split",
        &set(&["a/1.png", "b/1.png"]),
    );
    refused(t, "no folder of a test split", &set(&["train/a/1.png"]));
    refused(
        t,
        "pictures without folders of classes",
        &set(&["train/1.png", "test/1.png"]),
    );
    odd_names_and_links(t);
    table.check();
}

fn odd_names_and_links(t: &mut Table) {
    let dir = beside(&[]);
    let png = fixture_bytes("folder/rgb.png");
    fs::write(
        dir.path("set/train/a").join(OsStr::from_bytes(b"\xff.png")),
        &png,
    )
    .unwrap();
    read(
        t,
        "a picture whose name is no UTF-8",
        &dir,
        (&[0, 0], &[0], 1),
        "",
    );
    let dir = beside(&[]);
    let class = dir.path("set/train").join(OsStr::from_bytes(b"\xff"));
    fs::create_dir(&class).unwrap();
    fs::write(class.join("1.png"), &png).unwrap();
    refused(t, "a class whose name is no UTF-8", &dir);
    let dir = beside(&[]);
    symlink(dir.path("elsewhere"), dir.path("set/train/a/2.png")).unwrap();
    refused(t, "a link to a picture that is not there", &dir);
    let dir = beside(&[]);
    dir.write("elsewhere/2.png", &png);
    symlink(dir.path("elsewhere"), dir.path("set/train/a/more")).unwrap();
    read(t, "a link to a folder", &dir, (&[0, 0], &[0], 1), "");
    let dir = beside(&[]);
    symlink(dir.path("set/train/a"), dir.path("set/train/a/again")).unwrap();
    refused(t, "links in a circle", &dir);
    let dir = beside(&[]);
    symlink("nowhere", dir.path("set/train/a/pipe")).unwrap();
    left_out(
        t,
        "pipes, devices, other links that lead nowhere",
        &dir,
        "left out 1 file: a/pipe",
    );
}
