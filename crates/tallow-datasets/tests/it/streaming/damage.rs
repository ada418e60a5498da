//! Parquet files that are cut off, damaged, too large or of another kind: errors name the file and where they can the row.

use std::fs;
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;

use tallow_datasets::{Error, PictureError, Result, Split, load};

use super::{How, loader, ppm, streamed, train, write, write_rows, write_shards};
use crate::sets::make::{Dir, fixture_bytes};

const WINDOW: u64 = 2000;

/// Error of opening the dataset.
fn error(path: &Path) -> String {
    let opened = train(path, &streamed(WINDOW)).map(|_| ());
    opened.unwrap_err().to_string()
}

/// Opens `dir/d` and asks for every picture. Gives the first error.
fn read(dir: &Dir) -> Result<()> {
    let set = train(&dir.path("d"), &streamed(WINDOW))?;
    let mut scratch = Vec::new();
    (0..set.len()).try_for_each(|index| set.image(index, &mut scratch).map(|_| ()))
}

const SECOND: &str = "d/train-00001-of-00002.parquet";

/// Two shards of 20 samples.
fn shards() -> Dir {
    let dir = Dir::new();
    write_shards(&dir.path("d"), &[20, 20], &How::default());
    dir
}

#[test]
fn files_of_another_kind_and_cut_off_ones_are_refused_when_opened() {
    let dir = shards();
    let whole = fs::read(dir.path(SECOND)).unwrap();
    let end = whole.len();
    let cases: [(&[u8], &str); 7] = [
        (b"", "a file of 0 bytes"),
        (
            b"<!DOCTYPE html> not found",
            "does not end with the bytes PAR1",
        ),
        (&whole[..end / 2], "a sound Parquet file"),
        (&whole[..end - 1], "a sound Parquet file"),
        // The beginning is missing.
        (&whole[end / 2..], "a sound Parquet file"),
        (
            &fixture_bytes("kinds/text-labels.parquet"),
            "integers for labels",
        ),
        (
            &fixture_bytes("kinds/lists.parquet"),
            "an image column called",
        ),
    ];
    for (bytes, part) in cases {
        dir.write(SECOND, bytes);
        let error = error(&dir.path("d"));
        assert!(error.contains(part), "`{part}` is missing from: {error}");
        let file = dir.path(SECOND).display().to_string();
        assert!(error.starts_with(&file), "{error}");
    }
    fs::remove_file(dir.path(SECOND)).unwrap();
    let missing = error(&dir.path("d"));
    assert!(missing.contains("all of the 2 shards"), "{missing}");
    let nothing = error(&dir.path("e"));
    assert!(nothing.contains("no such file or folder"), "{nothing}");
}

#[test]
fn wrong_rows_are_named() {
    let dir = shards();
    let rows = |label: i64| {
        let rows = (0..20).map(|i| (ppm(i), if i == 13 { label } else { 1 }));
        rows.collect::<Vec<_>>()
    };
    for label in [5, -1, 1 << 40] {
        write_rows(&dir.path(SECOND), &rows(label), &How::default());
        let error = error(&dir.path("d"));
        let expected = format!("expected labels from 0 to 4, found label {label} at row 13");
        assert!(error.contains(&expected), "{error}");
    }
    // A picture that is none is met when it is asked for.
    let mut broken = rows(2);
    broken[13].0 = b"not a picture".to_vec();
    write_rows(&dir.path(SECOND), &broken, &How::default());
    match read(&dir).unwrap_err() {
        Error::Row { path, row, source } => {
            assert_eq!((path, row), (dir.path(SECOND), 13));
            assert!(matches!(source, PictureError::NotAnImage(_)), "{source}");
        }
        other => panic!("{other}"),
    }
    let message = read(&dir).unwrap_err().to_string();
    let expected = format!(
        "{}: the picture in row 13 is no image",
        dir.path(SECOND).display()
    );
    assert!(message.starts_with(&expected), "{message}");
    // Larger than the limit by its header.
    broken[13].0 = b"P6 60000 60000 255\n".to_vec();
    write_rows(&dir.path(SECOND), &broken, &How::default());
    let error = read(&dir).unwrap_err();
    assert!(
        matches!(
            error,
            Error::Row {
                row: 13,
                source: PictureError::TooLarge { .. },
                ..
            }
        ),
        "{error}"
    );
    // Without a row.
    write_rows(&dir.path(SECOND), &[], &How::default());
    assert_eq!(train(&dir.path("d"), &streamed(WINDOW)).unwrap().len(), 20);
    fs::copy(dir.path(SECOND), dir.path("d/train-00000-of-00002.parquet")).unwrap();
    let none = self::error(&dir.path("d"));
    assert!(none.contains("expected images, found no rows"), "{none}");
}

#[test]
fn shards_of_other_classes_are_refused() {
    let dir = shards();
    let how = How {
        names: false,
        ..How::default()
    };
    write(&dir.path(SECOND), 0..20, &how);
    let error = error(&dir.path("d"));
    assert!(
        error.contains("the class names of") && error.contains("no class names"),
        "{error}"
    );
}

/// A page that the window cannot hold would break the bound of memory.
#[test]
fn pages_larger_than_the_window_are_refused() {
    let dir = shards();
    let how = How {
        page: 1 << 20,
        group: 200,
        ..How::default()
    };
    write(&dir.path(SECOND), 20..120, &how);
    let error = error(&dir.path("d"));
    assert!(
        error.contains("in row group 0; raise the window"),
        "{error}"
    );
    let set = train(&dir.path("d"), &streamed(1 << 16)).unwrap();
    assert_eq!(set.len(), 120);
}

/// A file that changes while it is read is an error, and not other pictures.
#[test]
fn files_that_change_are_noticed() {
    let dir = shards();
    let set = train(&dir.path("d"), &streamed(WINDOW)).unwrap();
    write(
        &dir.path(SECOND),
        0..20,
        &How {
            page: 100,
            ..How::default()
        },
    );
    let mut scratch = Vec::new();
    assert!(set.image(19, &mut scratch).is_ok());
    let error = set.image(20, &mut scratch).map(|_| ()).unwrap_err();
    let error = error.to_string();
    assert!(error.contains("as when the dataset was opened"), "{error}");
    fs::remove_file(dir.path(SECOND)).unwrap();
    let error = set.image(20, &mut scratch).map(|_| ()).unwrap_err();
    assert!(matches!(error, Error::Io { .. }), "{error}");
}

/// Places of the picture of a sample in a file.
fn places(file: &Path, sample: usize) -> Vec<usize> {
    let (whole, picture) = (fs::read(file).unwrap(), ppm(sample));
    let all = whole.windows(picture.len()).enumerate();
    all.filter(|(_, bytes)| *bytes == picture)
        .map(|(at, _)| at)
        .collect()
}

/// Change of a file. It gets a sample that the epoch has not come to.
type Harm = fn(&Path, usize);

/// A file that is removed, cut off or damaged within an epoch ends it with an error that names the file, and the row of a picture, whichever
/// thread reads it.
#[test]
fn an_epoch_ends_with_the_error_of_the_file() {
    const EACH: usize = 200;
    let harms: [(Harm, &str); 3] = [
        (|file, _| fs::remove_file(file).unwrap(), ""),
        (
            |file, _| {
                let file = fs::File::options().write(true).open(file).unwrap();
                file.set_len(file.metadata().unwrap().len() / 2).unwrap();
            },
            "as when the dataset was opened",
        ),
        (
            // In place: a worker that reads meanwhile never sees a file without its end.
            |file, sample| {
                let place = places(file, sample)[0] as u64;
                let mut file = fs::File::options().write(true).open(file).unwrap();
                file.seek(SeekFrom::Start(place)).unwrap();
                file.write_all(b"X").unwrap();
            },
            "the picture in row ROW is no image",
        ),
    ];
    for (harm, part) in harms {
        for workers in [0, 2] {
            let dir = Dir::new();
            write_shards(&dir.path("d"), &[EACH, EACH], &How::default());
            let file = dir.path(SECOND);
            let set = train(&dir.path("d"), &streamed(WINDOW)).unwrap();
            let whole = loader(set, 1, workers);
            let order = whole.epoch(0).flat_map(|batch| batch.unwrap().indices);
            let order: Vec<usize> = order.collect();
            // Some samples have the same picture.
            let late = order
                .iter()
                .rev()
                .find(|&&sample| sample >= EACH && places(&file, sample).len() == 1);
            let late = *late.unwrap();
            // What was read before is not in memory.
            let set = train(&dir.path("d"), &streamed(WINDOW)).unwrap();
            let again = loader(set, 1, workers);
            let mut epoch = again.epoch(0);
            assert!(epoch.next().unwrap().is_ok());
            harm(&file, late);
            let error = epoch.by_ref().find_map(Result::err).unwrap();
            assert!(epoch.next().is_none());
            let error = error.to_string();
            assert!(error.starts_with(&file.display().to_string()), "{error}");
            let part = part.replace("ROW", &(late - EACH).to_string());
            assert!(error.contains(&part), "{error}");
        }
    }
}

/// Every byte of a file changed in turn: an error or a picture, never a panic, in little time.
#[test]
fn no_change_of_a_byte_is_a_panic() {
    let dir = Dir::new();
    let file = dir.path("one.parquet");
    let how = How {
        dictionary: 120,
        ..How::default()
    };
    write(&file, 0..12, &how);
    let whole = fs::read(&file).unwrap();
    let name = format!("parquet:{}", file.display());
    let mut refused = 0;
    for at in 0..whole.len() {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x55;
        fs::write(&file, bytes).unwrap();
        let Ok(set) = load(&name, Split::Train, &streamed(WINDOW)) else {
            refused += 1;
            continue;
        };
        let mut scratch = Vec::new();
        for index in 0..set.len() {
            let _ = set.image(index, &mut scratch).map(|_| ());
        }
    }
    assert!(refused > whole.len() / 50, "{refused} of {}", whole.len());
}
