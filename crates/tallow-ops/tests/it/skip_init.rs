//! Stores that leave out their random initial values: the same numbers later, and never zeros in their place.
use std::fs;

use candle_core::{DType, Device, Tensor};
use tallow_ops::{Error, Init, ParamStore, Result};

const CPU: &Device = &Device::Cpu;

/// All that draw, in ranges without 0.
const DRAWN: [(&str, Init); 3] = [
    ("uniform", Init::Uniform { lo: 1., up: 2. }),
    ("normal", Init::Normal { mean: 9., std: 0.1 }),
    (
        "kaiming",
        Init::KaimingUniform {
            fan_in: 3,
            a: 2.236,
        },
    ),
];

/// Odd and even counts, between constants, a copy and a layer's own draw.
fn model(store: ParamStore) -> Result<ParamStore> {
    for count in [1usize, 2, 7, 64] {
        for (name, init) in DRAWN {
            let layer = store.root().pp(count).pp(name);
            layer.param("weight", (count, 3), init)?;
            layer.param("bias", count, Init::Const(0.5))?;
            layer.buffer("codes", count, init)?;
        }
    }
    let own = store.root().pp("own");
    let values = store
        .generator()
        .uniform(3., 4., 5, store.dtype(), store.device())?;
    own.param("weight", 5, Init::Const(0.))?.set(&values)?;
    own.buffer_from("count", &Tensor::new(3i64, CPU)?)?;
    store
        .root()
        .pp("head")
        .param("weight", (), Init::Normal { mean: 9., std: 1. })?;
    Ok(store)
}

fn values(store: &ParamStore) -> Vec<(String, Vec<f64>)> {
    let flat = |tensor: &Tensor| {
        let wide = tensor.to_dtype(DType::F64).unwrap();
        wide.flatten_all().unwrap().to_vec1::<f64>().unwrap()
    };
    let state = store.state_dict().unwrap();
    state
        .iter()
        .map(|(name, tensor)| (name.clone(), flat(tensor)))
        .collect()
}

fn uninitialized(error: Error) -> Vec<String> {
    match error {
        Error::Uninitialized { names } => names,
        other => panic!("{other}"),
    }
}

#[test]
fn what_was_left_out_is_drawn_later_with_the_same_bits() {
    for dtype in [DType::F32, DType::F64, DType::F16, DType::BF16] {
        let drawn = model(ParamStore::new(dtype, CPU, 7)).unwrap();
        let skipped = model(ParamStore::skip_init(dtype, CPU, 7)).unwrap();
        let state = drawn.generator().state();
        assert_eq!(skipped.generator().state(), state, "{dtype:?}");
        skipped.init_missing().unwrap();
        assert_eq!(values(&skipped), values(&drawn), "{dtype:?}");
        // Dropout goes on where it would.
        assert_eq!(skipped.generator().state(), state, "{dtype:?}");
        // Nothing is missing any more.
        let (_, first) = &skipped.parameters()[0];
        first.set(&first.zeros_like().unwrap()).unwrap();
        skipped.init_missing().unwrap();
        assert_eq!(values(&skipped)[0].1, [0.; 3]);
    }
}

#[test]
fn names_shapes_and_counts_are_the_same() {
    let drawn = model(ParamStore::new(DType::F32, CPU, 7)).unwrap();
    let skipped = model(ParamStore::skip_init(DType::F32, CPU, 7)).unwrap();
    let state = drawn.state_dict().unwrap();
    let shapes: Vec<_> = state
        .iter()
        .map(|(name, tensor)| (name.clone(), tensor.shape().clone()))
        .collect();
    assert_eq!(drawn.shapes(), shapes);
    assert_eq!(skipped.shapes(), shapes);
    assert_eq!(skipped.num_parameters(), drawn.num_parameters());
    for (a, b) in [
        (skipped.parameters(), drawn.parameters()),
        (skipped.buffers(), drawn.buffers()),
    ] {
        assert_eq!(a.len(), b.len());
        for ((a, ours), (b, theirs)) in a.iter().zip(&b) {
            assert_eq!((a, ours.dtype()), (b, theirs.dtype()));
        }
    }
}

#[test]
fn zeros_do_not_pass_for_values() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.safetensors");
    let store = model(ParamStore::skip_init(DType::F32, CPU, 7)).unwrap();
    let drawn = model(ParamStore::new(DType::F32, CPU, 7)).unwrap();
    let mut expected: Vec<String> = drawn.shapes().into_iter().map(|(name, _)| name).collect();
    expected.retain(|name| !name.ends_with("bias") && !name.starts_with("own"));
    assert_eq!(expected.len(), 4 * 3 * 2 + 1);

    assert_eq!(uninitialized(store.state_dict().unwrap_err()), expected);
    assert_eq!(uninitialized(store.save(&path).unwrap_err()), expected);
    let error = store.check_initialized().unwrap_err();
    let message = error.to_string();
    assert!(
        message.contains("1.uniform.weight, 1.uniform.codes, 1.normal.weight and 22 more"),
        "{message}"
    );
    assert_eq!(uninitialized(error), expected);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);

    // Weights that do not fit leave it as it is.
    let state = drawn.state_dict().unwrap();
    store.load_state_dict(&state[1..], true).unwrap_err();
    assert_eq!(uninitialized(store.state_dict().unwrap_err()), expected);
    // Part of the weights is not all of them.
    store.load_state_dict(&state[2..], false).unwrap();
    let missing = uninitialized(store.state_dict().unwrap_err());
    assert_eq!(missing, ["1.uniform.weight"]);
    store.load_state_dict(&state, true).unwrap();
    assert_eq!(values(&store), values(&drawn));
    drawn.check_initialized().unwrap();
}

#[test]
fn what_was_loaded_is_not_drawn() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.safetensors");
    let trained = model(ParamStore::new(DType::F32, CPU, 1)).unwrap();
    trained.save(&path).unwrap();
    let whole = model(ParamStore::skip_init(DType::F32, CPU, 2)).unwrap();
    assert!(whole.load(&path, true).unwrap().is_clean());
    assert_eq!(values(&whole), values(&trained));

    let drawn = model(ParamStore::new(DType::F32, CPU, 2)).unwrap();
    let state = trained.state_dict().unwrap();
    let part = &state[..state.len() - 1];
    let skipped = model(ParamStore::skip_init(DType::F32, CPU, 2)).unwrap();
    for store in [&drawn, &skipped] {
        let report = store.load_state_dict(part, false).unwrap();
        assert_eq!(report.missing, ["head.weight"]);
        store.init_missing().unwrap();
    }
    assert_eq!(values(&skipped), values(&drawn));
    assert_ne!(values(&skipped), values(&trained));
}

#[test]
fn what_cannot_be_drawn_is_refused_at_once() {
    for (dtype, init) in [
        (DType::F32, Init::KaimingUniform { fan_in: 0, a: 0. }),
        (DType::F32, Init::Uniform { lo: 1., up: -1. }),
        (DType::F64, Init::Normal { mean: 0., std: -1. }),
        (DType::U32, Init::Uniform { lo: 0., up: 1. }),
        (DType::U32, Init::Normal { mean: 0., std: 1. }),
    ] {
        let [drawn, skipped] = [ParamStore::new, ParamStore::skip_init].map(|make| {
            let store = make(dtype, CPU, 0);
            let error = store.root().param("w", 3, init).unwrap_err();
            assert!(store.shapes().is_empty());
            error.to_string()
        });
        assert_eq!(skipped, drawn);
    }
}
