//! Files of weights that are damaged or meant to do harm: each is an error that says what was found, and nothing is run.

use std::fs;
use std::io::{Cursor, Write};
use std::path::{Path, PathBuf};

use candle_core::{DType, Device};
use tallow_models::{Error, LoadWeights, WeightsProblem, load_weights, read_weights};
use tallow_ops::{Init, ParamStore};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

struct Dir(tempfile::TempDir);

impl Dir {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.0.path().join(name);
        fs::write(&path, bytes).unwrap();
        path
    }

    /// The problem of a file of these bytes, after a look at the message.
    fn problem(&self, name: &str, bytes: &[u8]) -> WeightsProblem {
        problem(&self.file(name, bytes))
    }
}

fn problem(path: &Path) -> WeightsProblem {
    let error = read_weights(path).expect_err("a bad file was read");
    let message = error.to_string();
    let name = path.file_name().unwrap().to_string_lossy();
    assert!(message.contains(&*name), "{message}");
    assert!(message.len() < 1000, "{message}");
    match error {
        Error::Weights { problem, .. } => problem,
        other => panic!("{other}"),
    }
}

fn fixture(name: &str) -> Vec<u8> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/checkpoints");
    fs::read(dir.join(name)).unwrap()
}

/// A checkpoint as `torch.save` lays it out.
fn checkpoint(pickle: &[u8], storages: &[(&str, &[u8])]) -> Vec<u8> {
    archive(pickle, storages, CompressionMethod::Stored)
}

fn archive(pickle: &[u8], storages: &[(&str, &[u8])], method: CompressionMethod) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default().compression_method(method);
    let mut add = |name: String, bytes: &[u8]| {
        zip.start_file(name, options).unwrap();
        zip.write_all(bytes).unwrap();
    };
    add("archive/data.pkl".into(), pickle);
    for (key, bytes) in storages {
        add(format!("archive/data/{key}"), bytes);
    }
    zip.finish().unwrap().into_inner()
}

/// `{"w": tensor}` of a one-dimensional view in storage "0".
fn one_tensor(kind: &str, storage: i32, offset: i32, size: i32, stride: i32) -> Vec<u8> {
    let int = |n: i32| [b"J".as_slice(), &n.to_le_bytes()].concat();
    [
        b"\x80\x02}X\x01\0\0\0wctorch._utils\n_rebuild_tensor_v2\n((X\x07\0\0\0storagectorch\n"
            .to_vec(),
        kind.as_bytes().to_vec(),
        b"\nX\x01\0\0\x000X\x03\0\0\0cpu".to_vec(),
        int(storage),
        b"tQ".to_vec(),
        int(offset),
        int(size),
        b"\x85".to_vec(),
        int(stride),
        b"\x85\x89}tRs.".to_vec(),
    ]
    .concat()
}

#[test]
fn the_builder_makes_checkpoints_that_are_read() {
    let dir = Dir::new();
    let bytes = checkpoint(&one_tensor("FloatStorage", 3, 1, 2, 1), &[("0", &[0; 12])]);
    let tensors = read_weights(dir.file("good.pth", &bytes)).unwrap();
    assert_eq!(tensors[0].0, "w");
    assert_eq!(tensors[0].1.dims(), [2]);
}

/// Pickles that run a command when Python reads them.
#[test]
fn code_is_not_run() {
    let dir = Dir::new();
    let ran = dir.0.path().join("ran");
    let command = format!("touch {}", ran.display());
    let text = |s: &str| {
        [
            b"X".as_slice(),
            &(s.len() as u32).to_le_bytes(),
            s.as_bytes(),
        ]
        .concat()
    };
    let pickles: Vec<(&str, Vec<u8>)> = vec![
        // os.system(command), as a class with __reduce__ pickles itself.
        (
            "reduce",
            [
                b"\x80\x02cposix\nsystem\n".to_vec(),
                text(&command),
                b"\x85R.".to_vec(),
            ]
            .concat(),
        ),
        // The same inside a state dict, after a name that a tensor has.
        (
            "entry",
            [
                b"\x80\x02}X\x01\0\0\0wcos\nsystem\n".to_vec(),
                text(&command),
                b"\x85Rs.".to_vec(),
            ]
            .concat(),
        ),
        // By the instruction of protocol 4, whose names are values.
        (
            "stack-global",
            [
                b"\x80\x04".to_vec(),
                text("os"),
                text("system"),
                b"\x93".to_vec(),
                text(&command),
                b"\x85R.".to_vec(),
            ]
            .concat(),
        ),
        // eval through NEWOBJ, and through the instruction that sets attributes.
        (
            "newobj",
            [
                b"\x80\x02c__builtin__\neval\n".to_vec(),
                text(&format!("__import__('os').system('{command}')")),
                b"\x85\x81.".to_vec(),
            ]
            .concat(),
        ),
        (
            "build",
            [
                b"\x80\x02csubprocess\nPopen\n)\x81".to_vec(),
                text(&command),
                b"b.".to_vec(),
            ]
            .concat(),
        ),
        // A pickle within a pickle, by a function of torch itself.
        (
            "nested",
            [
                b"\x80\x02ctorch.storage\n_load_from_bytes\n".to_vec(),
                text(&command),
                b"\x85R.".to_vec(),
            ]
            .concat(),
        ),
        // An old instruction with the name in it, which no version of torch writes.
        (
            "inst",
            [b"(".to_vec(), text(&command), b"ios\nsystem\n.".to_vec()].concat(),
        ),
    ];
    let magic =
        b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.\x80\x02M\xe9\x03.\x80\x02}.";
    for (name, pickle) in &pickles {
        let files = [
            checkpoint(pickle, &[]),
            [magic.as_slice(), pickle, b"\x80\x02]."].concat(),
            pickle.clone(),
        ];
        for (form, bytes) in ["zip", "legacy", "bare"].iter().zip(files) {
            let found = dir.problem(&format!("{name}-{form}.pth"), &bytes);
            match (*name, *form) {
                (_, "bare") => assert!(
                    matches!(found, WeightsProblem::Kind { .. }),
                    "{name} {form}: {found}"
                ),
                ("inst", _) => assert!(
                    matches!(found, WeightsProblem::Damaged { .. }),
                    "{name} {form}: {found}"
                ),
                _ => assert!(
                    matches!(found, WeightsProblem::Code { .. }),
                    "{name} {form}: {found}"
                ),
            }
            assert!(!ran.exists(), "{name} {form} ran its command");
        }
    }
    // The command is one that does it, when something runs it.
    #[cfg(unix)]
    {
        std::process::Command::new("sh")
            .args(["-c", &command])
            .status()
            .unwrap();
        assert!(ran.exists());
    }
}

#[test]
fn every_truncation_is_an_error() {
    let dir = Dir::new();
    for name in [
        "plain.pth",
        "legacy.pth",
        "training-legacy.th",
        "lightning-5.ckpt",
        "lightning-legacy.ckpt",
    ] {
        let bytes = fixture(name);
        for end in (0..bytes.len()).step_by(7) {
            dir.problem(name, &bytes[..end]);
        }
    }
    let store = ParamStore::new(DType::F32, &Device::Cpu, 0);
    store
        .root()
        .param("weight", (3, 3), Init::Const(1.))
        .unwrap();
    let path = dir.0.path().join("model.safetensors");
    store.save(&path).unwrap();
    let bytes = fs::read(&path).unwrap();
    for end in 0..bytes.len() {
        dir.problem("cut.safetensors", &bytes[..end]);
    }
    dir.problem("long.safetensors", &[&bytes[..], b"more"].concat());
}

/// Whatever byte changes, there is an answer: an error, or tensors of the shapes that the file now says it has.
#[test]
fn no_changed_byte_is_a_panic() {
    let dir = Dir::new();
    let mut errors = 0;
    for name in ["plain.pth", "legacy.pth", "lightning-legacy.ckpt"] {
        let bytes = fixture(name);
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= [0xff, 0x01, 0x80][at % 3];
            errors += usize::from(read_weights(dir.file("changed.pth", &changed)).is_err());
        }
    }
    assert!(errors > 1000, "{errors}");
}

/// Dicts in dicts by the thousand, all of them the same: searching for state dicts ends, and finds none.
#[test]
fn dicts_that_contain_each_other_are_searched_once() {
    let mut pickle = b"\x80\x02}q\0}q\x01".to_vec();
    // The second dict contains the first and itself under many keys, and the first the second.
    pickle.push(b'(');
    for key in 0..5000u16 {
        let [a, b] = key.to_le_bytes().map(|byte| b'a' + byte % 26);
        pickle.extend([b'X', 3, 0, 0, 0, a, b, b'a' + (key / 26 % 26) as u8]);
        pickle.extend([b'h', (key % 2) as u8]);
    }
    pickle.extend(b"u0h\0X\x05\0\0\0modelh\x01s.");
    let found = Dir::new().problem("mutual.pth", &checkpoint(&pickle, &[]));
    assert!(
        matches!(found, WeightsProblem::NoStateDict { .. }),
        "{found}"
    );
}

#[test]
fn a_changed_number_fails_the_checksum() {
    let numbers: Vec<u8> = [1.5f32, -2.5, 3.5]
        .iter()
        .flat_map(|n| n.to_le_bytes())
        .collect();
    let mut bytes = checkpoint(&one_tensor("FloatStorage", 3, 0, 3, 1), &[("0", &numbers)]);
    let at = bytes.windows(12).position(|w| w == numbers).unwrap();
    bytes[at + 1] ^= 0x10;
    let found = Dir::new().problem("changed.pth", &bytes).to_string();
    assert!(
        found.contains("archive/data/0") && found.contains("checksum"),
        "{found}"
    );
}

#[test]
fn sizes_that_lie_are_not_believed() {
    let dir = Dir::new();
    let damaged = |name: &str, bytes: &[u8], words: &[&str]| {
        let found = dir.problem(name, bytes);
        assert!(
            matches!(found, WeightsProblem::Damaged { .. }),
            "{name}: {found}"
        );
        let found = found.to_string();
        assert!(
            words.iter().all(|word| found.contains(word)),
            "{name}: {found}"
        );
    };
    // More numbers than there are; a view beyond its storage; one of a single number a billion times; a negative size.
    let one = |storage, offset, size, stride| {
        checkpoint(
            &one_tensor("FloatStorage", storage, offset, size, stride),
            &[("0", &[0; 12])],
        )
    };
    damaged(
        "long.pth",
        &one(i32::MAX, 0, 3, 1),
        &["storage 0 of 12 bytes"],
    );
    damaged(
        "huge.pth",
        &one(i32::MAX, 0, i32::MAX, 1),
        &["8589934588 bytes in a file of"],
    );
    damaged(
        "beyond.pth",
        &one(3, 2, 2, 1),
        &["`w` of shape [2] in a storage of 3"],
    );
    damaged(
        "expanded.pth",
        &one(1, 0, 1_000_000_000, 0),
        &["1000000000"],
    );
    damaged("stride.pth", &one(3, 0, 2, i32::MAX), &["`w`"]);
    damaged("negative.pth", &one(3, 0, -2, 1), &["`w`"]);
    damaged("offset.pth", &one(3, -1, 2, 1), &["`w`"]);
    damaged(
        "absent.pth",
        &checkpoint(&one_tensor("FloatStorage", 3, 0, 3, 1), &[]),
        &["archive/data/0"],
    );

    // A million zeros packed into a thousand bytes, as pickle and as storage.
    let zeros = vec![0u8; 1_000_000];
    let packed = archive(
        &one_tensor("FloatStorage", 250_000, 0, 250_000, 1),
        &[("0", &zeros)],
        CompressionMethod::Deflated,
    );
    assert!(packed.len() < 5000);
    damaged("packed.pth", &packed, &["packs nothing"]);

    // A text of four gigabytes announced, in a pickle of a few bytes.
    damaged(
        "text.pth",
        &checkpoint(b"\x80\x02X\xff\xff\xff\xffabc", &[]),
        &["4294967295 bytes"],
    );
    // A list in a list, a million deep, and one that doubles sixty times.
    let deep = [vec![b'N'], vec![0x85; 1_000_000], b".".to_vec()].concat();
    let doubling = [b"Nq\0".to_vec(), b"h\0h\0\x86q\0".repeat(60), b".".to_vec()].concat();
    for (name, pickle) in [("deep.pth", deep), ("doubling.pth", doubling)] {
        let found = dir.problem(name, &checkpoint(&pickle, &[]));
        assert!(
            matches!(found, WeightsProblem::NoStateDict { .. }),
            "{found}"
        );
    }
    // The legacy form, with a storage of 2^62 numbers.
    let legacy = fixture("no-count.pth");
    let pickle = b"\x80\x02]";
    let storages = legacy
        .windows(pickle.len())
        .rposition(|w| w == pickle)
        .unwrap();
    let end = storages + legacy[storages..].iter().position(|b| *b == b'e').unwrap() + 2;
    let mut lying = legacy[..end].to_vec();
    assert_eq!(legacy[end - 1], b'.');
    lying.extend((1i64 << 62).to_le_bytes());
    lying.extend([0; 64]);
    damaged("legacy.pth", &lying, &["its end within storage"]);
}

#[test]
fn safetensors_headers_are_not_believed() {
    let dir = Dir::new();
    let file = |header: &str, data: usize| {
        [
            &(header.len() as u64).to_le_bytes(),
            header.as_bytes(),
            &vec![0; data],
        ]
        .concat()
    };
    for (name, bytes) in [
        (
            "oversize.safetensors",
            [&u64::MAX.to_le_bytes()[..], b"{\"a\":{}}"].concat(),
        ),
        (
            "oversize-by-content",
            [&(1u64 << 40).to_le_bytes()[..], b"{\"a\":{}}"].concat(),
        ),
        ("json.safetensors", file("{\"a\": [", 8)),
        (
            "shape.safetensors",
            file(
                r#"{"a":{"dtype":"F32","shape":[1000000000000],"data_offsets":[0,4]}}"#,
                4,
            ),
        ),
        (
            "overflow.safetensors",
            file(
                r#"{"a":{"dtype":"F32","shape":[4294967296,4294967296,4294967296],"data_offsets":[0,4]}}"#,
                4,
            ),
        ),
        (
            "offsets.safetensors",
            file(
                r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}"#,
                4,
            ),
        ),
        (
            "overlap.safetensors",
            file(
                r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"b":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#,
                4,
            ),
        ),
        (
            "kind.safetensors",
            file(
                r#"{"a":{"dtype":"Q9","shape":[1],"data_offsets":[0,4]}}"#,
                4,
            ),
        ),
    ] {
        let found = dir.problem(name, &bytes);
        let WeightsProblem::Damaged { format, .. } = found else {
            panic!("{name}: {found}")
        };
        assert_eq!(format, "safetensors file");
    }
}

#[test]
fn integers_in_place_of_weights() {
    let dir = Dir::new();
    let store = ParamStore::new(DType::F32, &Device::Cpu, 0);
    store.root().param("w", 3, Init::Const(1.)).unwrap();
    let long = checkpoint(&one_tensor("LongStorage", 3, 0, 3, 1), &[("0", &[1; 24])]);
    let header = r#"{"w":{"dtype":"I64","shape":[3],"data_offsets":[0,24]}}"#;
    let safe = [
        &(header.len() as u64).to_le_bytes(),
        header.as_bytes(),
        &[1; 24],
    ]
    .concat();
    for (name, bytes) in [("long.pth", long), ("long.safetensors", safe)] {
        let path = dir.file(name, &bytes);
        let error = load_weights(&store, &path, &LoadWeights::default()).unwrap_err();
        let message = error.to_string();
        assert!(message.contains(name), "{message}");
        assert!(
            message.contains("`w`: expected floating-point numbers, found i64"),
            "{message}"
        );
        assert_eq!(store.parameters()[0].1.to_vec1::<f32>().unwrap(), [1.0; 3]);
    }
    let quantised = checkpoint(&one_tensor("QInt8Storage", 3, 0, 3, 1), &[("0", &[1; 3])]);
    let found = dir.problem("quantised.pth", &quantised);
    assert!(matches!(found, WeightsProblem::Type { .. }), "{found}");
}

#[test]
fn other_files_are_called_by_their_name() {
    let dir = Dir::new();
    let tar = [&[0; 257][..], b"ustar\0", &[0; 512]].concat();
    let empty_zip = ZipWriter::new(Cursor::new(Vec::new()))
        .finish()
        .unwrap()
        .into_inner();
    for (name, bytes, word) in [
        ("empty.pth", &b""[..], "empty"),
        ("page.pth", b"<!DOCTYPE html><html>", "web page"),
        (
            "pointer.pth",
            b"version https://git-lfs.github.com/spec/v1\n",
            "Git LFS",
        ),
        ("model.h5", b"\x89HDF\r\n\x1a\n", "HDF5"),
        ("model.gguf", b"GGUF\x03\0\0\0", "GGUF"),
        ("model.pth.gz", b"\x1f\x8b\x08\0", "gzip"),
        ("weights.npy", b"\x93NUMPY\x01\0", "NumPy"),
        ("old.pth", &tar, "tar archive"),
        ("no-entries.pth", &empty_zip, "zip"),
        ("picture.png", b"\x89PNG\r\n\x1a\n\0\0\0", "PNG"),
    ] {
        let found = dir.problem(name, bytes);
        assert!(
            matches!(found, WeightsProblem::Kind { .. }),
            "{name}: {found}"
        );
        assert!(found.to_string().contains(word), "{name}: {found}");
    }
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    zip.start_file("readme.txt", SimpleFileOptions::default())
        .unwrap();
    let found = dir.problem("other.zip", &zip.finish().unwrap().into_inner());
    assert!(
        found.to_string().contains("zip archive without a data.pkl"),
        "{found}"
    );
    let found = dir.problem(
        "numbers.pth",
        &checkpoint(b"\x80\x02}X\x05\0\0\0epochK\x03s.", &[]),
    );
    assert!(
        found
            .to_string()
            .contains("a dict of epoch without tensors"),
        "{found}"
    );
    let found = dir.problem("list.pth", &checkpoint(b"\x80\x02].", &[]));
    assert!(found.to_string().contains("no dict at all"), "{found}");

    assert!(matches!(
        problem(&dir.0.path().join("nothing.pth")),
        WeightsProblem::Io(_)
    ));
    let folder = dir.0.path().join("folder.pth");
    fs::create_dir(&folder).unwrap();
    assert!(problem(&folder).to_string().contains("no regular file"));
}
