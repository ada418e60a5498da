//! The table of weights in `docs/formats.md`: every kind of file, read into a network of which the values are known.

use std::fs;
use std::io::{Cursor, Write};

use candle_core::Tensor;
use tallow_models::{Error, LoadWeights, WeightsProblem, load_weights, read_weights};

use crate::checkpoints::{check, fixture, store, values};
use crate::formats_table::{Outcome, Table};
use crate::wrapped_weights::safetensors;

/// Kinds that PyTorch wrote (`fixtures/make_checkpoints.py`).
const WRITTEN: [(&str, &str); 39] = [
    ("`torch.save` of a state dict: the zip format", "plain.pth"),
    ("`torch.save` before PyTorch 1.6", "legacy.pth"),
    ("views and strides, channels last", "channels-last.pth"),
    ("half precision", "half.pth"),
    ("bfloat16", "bfloat16.pth"),
    ("double precision", "double.pth"),
    (
        "`state_dict` beside epoch, optimizer, arguments",
        "training.pth",
    ),
    ("the same before PyTorch 1.6", "training-legacy.th"),
    ("under an unknown key, the only one", "only-one.pth"),
    ("under two unknown keys", "unknown-keys.pth"),
    (
        "torchvision's reference script: `model`, `model_ema`",
        "torchvision.pth",
    ),
    ("timm: `state_dict`, `state_dict_ema`", "timm.pth.tar"),
    ("`AveragedModel` (SWA, EMA): `n_averaged`", "averaged.pth"),
    ("`Parameter`s; `net`, `_orig_mod.module.`", "parameters.pt"),
    (
        "PyTorch's ImageNet example: a part in `DataParallel`, a part compiled",
        "part.pth.tar",
    ),
    (
        "`module._orig_mod.ema.net.`, one inside another",
        "nested.pth",
    ),
    (
        "`student.backbone.` beside `teacher.backbone.`",
        "student.ckpt",
    ),
    (
        "Lightning: `.ckpt` with hyper-parameters and callbacks",
        "lightning.ckpt",
    ),
    ("the same before PyTorch 1.6", "lightning-legacy.ckpt"),
    ("the same, pickle protocol 5", "lightning-5.ckpt"),
    ("without `num_batches_tracked`", "no-count.pth"),
    ("`num_batches_tracked` of 32 bits", "count-int32.pth"),
    ("`num_batches_tracked` of floating point", "count-float.pth"),
    ("`num_batches_tracked` of 8 bits", "count-byte.pth"),
    (
        "`num_batches_tracked` as a vector of one",
        "count-vector.pth",
    ),
    (
        "`num_batches_tracked` as a number of Python",
        "count-number.pth",
    ),
    ("NaN in a tensor", "nan.pth"),
    ("infinity in a tensor", "infinite.pth"),
    ("infinity in the model's precision", "large.pth"),
    ("integers in place of weights", "integers.pth"),
    ("a sparse tensor", "sparse.pth"),
    ("a quantised tensor", "quantised.pth"),
    ("complex numbers", "complex.pth"),
    ("floating point of 8 bits", "float8.pth"),
    ("a whole module, `torch.save(model)`", "module.pth"),
    ("TorchScript", "script.pt"),
    ("`pickle.dump` of a state dict", "pickled.pkl"),
    ("a tensor alone", "tensor.pt"),
    ("a checkpoint of the optimizer alone", "optimizer.pth"),
];

/// Row of a file, by what loading it gives.
fn row(table: &mut Table, kind: &str, path: &std::path::Path) {
    let store = store("");
    match load_weights(&store, path, &LoadWeights::default()) {
        Ok(loaded) => {
            // Files without a number of batches leave that of the network.
            let own = values(&store, "bn.num_batches_tracked") == [41.0];
            check(&store, if own { 41.0 } else { 7.0 });
            assert!(loaded.is_clean(), "{kind}: {}", loaded.report);
            let mut details = match loaded.key {
                Some(key) => format!("`{key}`"),
                None => "all tensors".to_string(),
            };
            if !loaded.others.is_empty() {
                let others = loaded.others.join("`, `");
                details.push_str(&format!("; `--weights-key` takes `{others}`"));
            }
            if !loaded.ignored.is_empty() {
                let ignored = loaded.ignored.join("`, `");
                details.push_str(&format!("; ignored: `{ignored}`"));
            }
            table.row(kind, Outcome::Read, &details);
        }
        Err(Error::Weights { problem, .. }) => {
            let outcome = match &problem {
                WeightsProblem::Kind { found } if found.starts_with("a file that begins with") => {
                    Outcome::Unknown
                }
                _ => Outcome::Refused,
            };
            table.row(kind, outcome, &problem.to_string());
        }
        Err(error) => panic!("{kind}: {error}"),
    }
}

#[test]
fn weights_are_as_the_page_says() {
    let mut table = Table::new("weights");
    for (kind, name) in WRITTEN {
        row(&mut table, kind, &fixture(name));
    }
    let dir = tempfile::tempdir().unwrap();
    let mut made = |kind: &str, name: &str, bytes: &[u8]| {
        let path = dir.path().join(name);
        fs::write(&path, bytes).unwrap();
        row(&mut table, kind, &path);
    };
    let tensors = read_weights(fixture("plain.pth")).unwrap();
    let whole = safetensors(&tensors);
    made(
        "safetensors with `__metadata__`",
        "model.safetensors",
        &whole,
    );
    let prefixed: Vec<(String, Tensor)> = (tensors.iter())
        .map(|(name, tensor)| (format!("model.{name}"), tensor.clone()))
        .collect();
    made(
        "safetensors with a prefix",
        "prefixed.safetensors",
        &safetensors(&prefixed),
    );
    let (first, second) = tensors.split_at(3);
    let parts = [1, 2].map(|i| format!("model-0000{i}-of-00002.safetensors"));
    fs::write(dir.path().join(&parts[1]), safetensors(second)).unwrap();
    made(
        "one of several files of safetensors",
        &parts[0],
        &safetensors(first),
    );
    let files = first.iter().map(|(name, _)| (name, &parts[0]));
    let files = files.chain(second.iter().map(|(name, _)| (name, &parts[1])));
    let map: serde_json::Map<String, serde_json::Value> = files
        .map(|(name, file)| (name.clone(), file.as_str().into()))
        .collect();
    let index = serde_json::json!({"weight_map": map}).to_string();
    made(
        "safetensors in several files: `model.safetensors.index.json`",
        "model.safetensors.index.json",
        index.as_bytes(),
    );
    let half = |bytes: &[u8]| bytes[..bytes.len() / 2].to_vec();
    made(
        "safetensors that ends early",
        "cut.safetensors",
        &half(&whole),
    );
    let plain = fs::read(fixture("plain.pth")).unwrap();
    made("a checkpoint that ends early", "cut.pth", &half(&plain));
    let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
    let options = zip::write::SimpleFileOptions::default();
    zip.start_file("model.pth", options).unwrap();
    zip.write_all(&plain).unwrap();
    let zip = zip.finish().unwrap().into_inner();
    made("a checkpoint in a zip archive", "packed.zip", &zip);
    for (kind, name, bytes) in [
        (
            "a gzipped checkpoint",
            "model.pth.gz",
            &b"\x1f\x8b\x08\0"[..],
        ),
        ("Keras, HDF5", "model.h5", b"\x89HDF\r\n\x1a\n"),
        ("GGUF", "model.gguf", b"GGUF\x03\0\0\0"),
        ("NumPy", "model.npy", b"\x93NUMPY\x01\0"),
        ("ONNX", "model.onnx", b"\x08\x08\x12\x07pytorch"),
        (
            "TensorFlow Lite",
            "model.tflite",
            b"\x1c\0\0\0TFL3\x14\0\0\0",
        ),
        ("JSON", "config.json", b"{\"architectures\": []}"),
        (
            "an HTML page, as a failed download leaves it",
            "page.pth",
            b"<!DOCTYPE html>",
        ),
        (
            "a pointer of Git LFS",
            "lfs.safetensors",
            b"version https://git-lfs.github.com/spec/v1\n",
        ),
        ("an empty file", "empty.pth", b""),
    ] {
        made(kind, name, bytes);
    }
    table.check();
}
