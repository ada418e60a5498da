//! Kinds of files in which people keep datasets of their own.

use tallow_datasets::Split;

use crate::formats::table::{Outcome, Table};
use crate::sets::make::{Dir, fixture_bytes, labels};
use crate::sets::python::npy;

/// Row of a dataset `prefix:own` of these files: what its training labels are, or its error.
fn row(
    table: &mut Table,
    kind: &str,
    (prefix, place): (&str, &str),
    files: &[(&str, &[u8])],
    expected: &[u32],
) {
    let dir = Dir::new();
    for index in 0..2 {
        dir.write(&format!("p/{index}.png"), fixture_bytes("folder/rgb.png"));
    }
    for (name, bytes) in files {
        dir.write(name, bytes);
    }
    let name = format!("{prefix}:{}", dir.path(place).display());
    match dir
        .load(&name, Split::Train)
        .and_then(|set| Ok((set, dir.load(&name, Split::Test)?)))
    {
        Ok((train, test)) => {
            assert_eq!(labels(&*train), expected, "{kind}");
            assert_eq!(test.len(), 1, "{kind}");
            let place = if place.is_empty() { "PATH" } else { place };
            table.row(kind, Outcome::Read, &format!("`{prefix}:{place}`"));
        }
        Err(error) => {
            let root = format!("{}/", dir.path("").display()).replace("//", "/");
            let error = error
                .to_string()
                .replace(&root, "")
                .replace(root.trim_end_matches('/'), "PATH");
            table.row(kind, Outcome::Refused, &error);
        }
    }
}

#[test]
fn datasets_of_ones_own_are_as_the_page_says() {
    let mut table = Table::new("own");
    let t = &mut table;
    let medmnist = fixture_bytes("kinds/medmnist.npz");
    row(
        t,
        "MedMNIST's `.npz`",
        ("npz", "own.npz"),
        &[("own.npz", &medmnist)],
        &[0, 2, 1],
    );
    let keras = fixture_bytes("kinds/keras.npz");
    row(
        t,
        "`.npz` with `x_train`, `y_train`, `x_test`, `y_test`",
        ("npz", "own.npz"),
        &[("own.npz", &keras)],
        &[3, 8],
    );
    let images = npy("|u1", "(2, 2, 3)", &[7; 12]);
    let labels = npy("<i8", "(2,)", &[0; 16]);
    let (image, label) = (
        npy("|u1", "(1, 2, 3)", &[7; 6]),
        npy("<i8", "(1,)", &[0; 8]),
    );
    let npy_files: [(&str, &[u8]); 4] = [
        ("x_train.npy", &images),
        ("y_train.npy", &labels),
        ("x_test.npy", &image),
        ("y_test.npy", &label),
    ];
    row(
        t,
        "a folder of these as `.npy`",
        ("npz", ""),
        &npy_files,
        &[0, 0],
    );
    let mut fortran = images.clone();
    let at = fortran.windows(5).position(|w| w == b"False").unwrap();
    fortran[at..at + 5].copy_from_slice(b"True ");
    for (kind, images) in [
        (
            "images of floating-point numbers",
            npy("<f4", "(2, 2, 3)", &[0; 48]),
        ),
        ("images with alpha", npy("|u1", "(2, 2, 3, 4)", &[0; 48])),
        ("images in Fortran's order", fortran),
        (
            "an object array, which is a pickle",
            npy("|O", "(2,)", b"\x80\x04]\x94."),
        ),
    ] {
        let mut files = npy_files;
        files[0].1 = &images;
        row(t, kind, ("npz", ""), &files, &[]);
    }
    let one_hot = npy("|u1", "(2, 2)", &[1, 0, 0, 1]);
    let mut files = npy_files;
    files[1].1 = &one_hot;
    row(t, "one-hot labels", ("npz", ""), &files, &[]);

    let csv = b"path,label\np/1.png,dog\np/0.png,cat\n".as_slice();
    let test = b"path,label\np/0.png,cat\n".as_slice();
    row(
        t,
        "`train.csv`, `test.csv` with a path and a label in each line",
        ("csv", ""),
        &[("train.csv", csv), ("test.csv", test)],
        &[1, 0],
    );
    row(
        t,
        "`val.csv`, `valid.csv` or `validation.csv` in place of `test.csv`",
        ("csv", ""),
        &[("train.csv", csv), ("valid.csv", test)],
        &[1, 0],
    );
    let semicolons = b"file;class\np/1.png;10\np/0.png;9\n".as_slice();
    let nine = b"file;class\np/0.png;9\n".as_slice();
    row(
        t,
        "semicolons or tabs, labels as numbers",
        ("csv", ""),
        &[("train.csv", semicolons), ("test.csv", nine)],
        &[1, 0],
    );
    let lines = b"{\"path\": \"p/1.png\", \"label\": \"dog\"}\n{\"path\": \"p/0.png\", \"label\": \"cat\"}\n".as_slice();
    let second = lines.iter().position(|byte| *byte == b'\n').unwrap() + 1;
    row(
        t,
        "`train.jsonl`, `test.jsonl`",
        ("csv", ""),
        &[("train.jsonl", lines), ("test.jsonl", &lines[second..])],
        &[1, 0],
    );
    let metadata = b"file_name,label\n../p/1.png,dog\n../p/0.png,cat\n".as_slice();
    let cat = b"file_name,label\n../p/0.png,cat\n".as_slice();
    row(
        t,
        "Hugging Face's `imagefolder`: `train/metadata.csv` or `.jsonl`",
        ("csv", ""),
        &[("train/metadata.csv", metadata), ("test/metadata.csv", cat)],
        &[1, 0],
    );
    row(
        t,
        "a list without a header",
        ("csv", ""),
        &[("train.csv", &csv[11..]), ("test.csv", test)],
        &[],
    );
    row(
        t,
        "a list of a picture that is not there",
        ("csv", ""),
        &[
            ("train.csv", b"path,label\np/7.png,cat\n"),
            ("test.csv", test),
        ],
        &[],
    );
    row(
        t,
        "several labels for a picture",
        ("csv", ""),
        &[
            (
                "train.jsonl",
                b"{\"path\": \"p/0.png\", \"label\": [\"cat\", \"dog\"]}\n",
            ),
            ("test.csv", test),
        ],
        &[],
    );
    table.check();
}
