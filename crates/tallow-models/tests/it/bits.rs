//! Bits of every network, before and after a change of the code: initial state, logits, gradients and updated state, in both modes and
//! both layouts.
//!
//! They depend on the processor and the number of threads, so no file of them is in the repository. Before a change,
//! `TALLOW_BITS=/tmp/bits cargo test --release -p tallow-models bits -- --ignored` writes the file; afterwards it compares.

use std::fmt::Write;
use std::path::PathBuf;

use candle_core::backprop::GradStore;
use candle_core::{DType, Tensor};
use tallow_models::{Entry, Model, ModelConfig, registry};
use tallow_ops::{CrossEntropyConfig, Layout, Tape, cross_entropy, no_grad};

use crate::common::{digest, images, labels, small};

fn of_tensors(tensors: &[Tensor]) -> String {
    let bytes = |tensor: &Tensor| -> Vec<u8> {
        let flat = tensor.flatten_all().unwrap();
        match tensor.dtype() {
            DType::F32 => flat
                .to_vec1::<f32>()
                .unwrap()
                .into_iter()
                .flat_map(f32::to_le_bytes)
                .collect(),
            DType::F64 => flat
                .to_vec1::<f64>()
                .unwrap()
                .into_iter()
                .flat_map(f64::to_le_bytes)
                .collect(),
            _ => flat
                .to_vec1::<i64>()
                .unwrap()
                .into_iter()
                .flat_map(i64::to_le_bytes)
                .collect(),
        }
    };
    digest(&tensors.iter().flat_map(bytes).collect::<Vec<u8>>())
}

fn of_state(model: &Model) -> String {
    let (names, tensors): (Vec<_>, Vec<_>) =
        model.store().state_dict().unwrap().into_iter().unzip();
    format!(
        "{} {}",
        digest(names.concat().as_bytes()),
        of_tensors(&tensors)
    )
}

fn of_gradients(model: &Model, gradients: &GradStore) -> String {
    let parameters = model.store().parameters();
    let gradient = |(_, var): &(String, candle_core::Var)| gradients.get(var).unwrap().clone();
    of_tensors(&parameters.iter().map(gradient).collect::<Vec<_>>())
}

fn lines(entry: &Entry, layout: Layout, dtype: DType, out: &mut String) {
    let config = ModelConfig {
        seed: 3,
        layout: Some(layout),
        dtype,
        ..small(entry)
    };
    let build = || entry.build(&config).unwrap();
    let model = build();
    let mut line = |part: &str, digest: String| {
        writeln!(out, "{} {layout:?} {dtype:?} {part} {digest}", entry.name()).unwrap();
    };
    line("start", of_state(&model));
    let x = images(&model, 4, 0, dtype);
    let labels = labels(4, 0);
    let loss =
        |logits: &Tensor| cross_entropy(logits, &labels, &CrossEntropyConfig::default()).unwrap();
    line("eval", of_tensors(&[model.forward(&x, false).unwrap()]));
    let logits = no_grad(|| model.forward(&x, false).unwrap());
    line("eval-no-grad", of_tensors(&[logits]));
    for train in [false, true] {
        let mode = if train { "train" } else { "eval" };
        let logits = model.forward(&x, train).unwrap();
        let gradients = loss(&logits).backward().unwrap();
        if train {
            line(mode, of_tensors(&[logits]));
        }
        line(
            &format!("{mode}-gradients"),
            of_gradients(&model, &gradients),
        );
    }
    line("after", of_state(&model));

    let model = build();
    let tape = Tape::record();
    let logits = model.forward(&x, true).unwrap();
    let loss = loss(&logits);
    line("tape", of_tensors(&[logits]));
    line(
        "tape-gradients",
        of_gradients(&model, &tape.backward(&loss).unwrap()),
    );
    line("tape-after", of_state(&model));

    let mut layers = String::new();
    let mut outputs = Vec::new();
    let mut observer = |l: &tallow_models::LayerOutput| {
        let shape = l.output_shape();
        writeln!(
            layers,
            "{} {} {shape:?} {} {}",
            l.name, l.kind, l.parameters, l.multiply_adds
        )
        .unwrap();
        outputs.push(l.output.clone());
    };
    let logits = model.forward_observed(&x, true, &mut observer).unwrap();
    outputs.push(logits);
    line(
        "observed",
        format!("{} {}", digest(layers.as_bytes()), of_tensors(&outputs)),
    );
}

#[test]
#[ignore = "compares with a file that the same test wrote before a change; see the top of the file"]
fn bits_are_those_of_the_file() {
    let path = PathBuf::from(std::env::var_os("TALLOW_BITS").expect("TALLOW_BITS names the file"));
    let mut found = String::new();
    for entry in registry() {
        let other = match entry.default_layout {
            Layout::Nchw => Layout::Nhwc,
            Layout::Nhwc => Layout::Nchw,
        };
        lines(entry, entry.default_layout, DType::F32, &mut found);
        lines(entry, entry.default_layout, DType::F64, &mut found);
        lines(entry, other, DType::F32, &mut found);
    }
    if !path.exists() {
        return std::fs::write(path, found).unwrap();
    }
    let expected = std::fs::read_to_string(path).unwrap();
    assert_eq!(expected.lines().count(), found.lines().count());
    let different: Vec<&str> = expected
        .lines()
        .zip(found.lines())
        .filter_map(|(expected, found)| (expected != found).then_some(found))
        .collect();
    assert!(
        different.is_empty(),
        "{} lines differ:\n{}",
        different.len(),
        different.join("\n")
    );
}
