//! Names, order, files and their errors.
use std::fs;
use std::path::Path;

use candle_core::{DType, Device, Tensor, Var};
use tallow_ops::{Error, Init, LoadReport, ParamStore};

const CPU: &Device = &Device::Cpu;
const LINEAR: Init = Init::Uniform { lo: -1., up: 1. };

/// A small network's worth of names, deliberately not in alphabetical order.
fn model(seed: u64) -> ParamStore {
    let store = ParamStore::new(DType::F32, CPU, seed);
    let conv = store.root().pp("features").pp(0);
    conv.param("weight", (4, 3, 3, 3), LINEAR).unwrap();
    conv.param("bias", 4, LINEAR).unwrap();
    let norm = store.root().pp("features").pp(1);
    norm.param("weight", 4, Init::Const(1.)).unwrap();
    norm.buffer("running_var", 4, Init::Const(1.)).unwrap();
    norm.buffer_from("num_batches_tracked", &Tensor::new(0i64, CPU).unwrap())
        .unwrap();
    store
        .root()
        .pp("classifier")
        .param("weight", (10, 4), LINEAR)
        .unwrap();
    store
}

const NAMES: [&str; 6] = [
    "features.0.weight",
    "features.0.bias",
    "features.1.weight",
    "features.1.running_var",
    "features.1.num_batches_tracked",
    "classifier.weight",
];

fn values(tensors: &[(String, Tensor)]) -> Vec<(String, Vec<f64>)> {
    let flat = |t: &Tensor| {
        t.to_dtype(DType::F64)
            .unwrap()
            .flatten_all()
            .unwrap()
            .to_vec1()
            .unwrap()
    };
    tensors
        .iter()
        .map(|(name, t)| (name.clone(), flat(t)))
        .collect()
}

fn state(store: &ParamStore) -> Vec<(String, Vec<f64>)> {
    values(&store.state_dict().unwrap())
}

fn listing(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn keeps_creation_order() {
    let store = model(0);
    let names = |list: Vec<(String, Var)>| list.into_iter().map(|(n, _)| n).collect::<Vec<_>>();
    assert_eq!(
        names(store.parameters()),
        [NAMES[0], NAMES[1], NAMES[2], NAMES[5]]
    );
    assert_eq!(names(store.buffers()), [NAMES[3], NAMES[4]]);
    let all: Vec<_> = store
        .state_dict()
        .unwrap()
        .into_iter()
        .map(|(n, _)| n)
        .collect();
    assert_eq!(all, NAMES);
    assert_eq!(store.num_parameters(), 4 * 27 + 4 + 4 + 40);
}

#[test]
fn a_name_is_used_once() {
    let store = model(0);
    let path = store.root().pp("features").pp(0);
    assert_eq!(path.name(), "features.0");
    for result in [
        path.param("weight", 1, LINEAR),
        path.buffer("weight", 1, LINEAR),
    ] {
        let error = result.unwrap_err();
        assert!(matches!(error, Error::Config { .. }));
        assert!(error.to_string().contains("features.0.weight"), "{error}");
    }
    assert_eq!(store.state_dict().unwrap().len(), NAMES.len());
}

#[test]
fn same_seed_same_values() {
    assert_eq!(state(&model(7)), state(&model(7)));
    assert_ne!(state(&model(7)), state(&model(8)));
}

#[test]
fn initialisation_follows_pytorch() {
    let store = ParamStore::new(DType::F32, CPU, 1);
    let n = 200_000;
    for (fan_in, a, bound) in [
        (75, 5f64.sqrt(), 1. / 75f64.sqrt()),
        (784, 5f64.sqrt(), 1. / 28.),
        (9, 0., (6f64 / 9.).sqrt()),
    ] {
        let name = format!("{fan_in}");
        let w = store
            .root()
            .param(&name, n, Init::KaimingUniform { fan_in, a })
            .unwrap();
        let w: Vec<f64> = w.to_dtype(DType::F64).unwrap().to_vec1().unwrap();
        let largest = w.iter().fold(0f64, |m, v| m.max(v.abs()));
        assert!(
            largest <= bound * (1. + 1e-7) && largest > 0.999 * bound,
            "{largest} of {bound}"
        );
        let variance = w.iter().map(|v| v * v).sum::<f64>() / n as f64;
        // Five standard errors of the second moment: sqrt(0.8 / n) of it each.
        assert!(
            (variance / (bound * bound / 3.) - 1.).abs() < 0.01,
            "{variance}"
        );
    }
    let w = store
        .root()
        .param("normal", n, Init::Normal { mean: 2., std: 0.1 })
        .unwrap();
    let mean = w.mean_all().unwrap().to_scalar::<f32>().unwrap();
    assert!((mean - 2.).abs() < 0.0012, "{mean}");
    let c = store.root().param("const", 3, Init::Const(0.5)).unwrap();
    assert_eq!(c.to_vec1::<f32>().unwrap(), [0.5; 3]);
    let refused = store
        .root()
        .param("none", 3, Init::KaimingUniform { fan_in: 0, a: 0. });
    assert!(matches!(refused, Err(Error::Config { .. })));
}

#[test]
fn file_is_byte_for_byte_what_the_format_says() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.safetensors");
    let store = ParamStore::new(DType::F32, CPU, 0);
    store.root().param("b", 2, Init::Const(1.)).unwrap();
    store
        .root()
        .pp("a")
        .buffer("c", (1, 1), Init::Const(-2.))
        .unwrap();
    store.save(&path).unwrap();
    let mut header = br#"{"a.c":{"dtype":"F32","shape":[1,1],"data_offsets":[0,4]},"b":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}}"#.to_vec();
    header.resize(header.len().next_multiple_of(8), b' ');
    let mut expected = (header.len() as u64).to_le_bytes().to_vec();
    expected.extend(header);
    for value in [-2f32, 1., 1.] {
        expected.extend(value.to_le_bytes());
    }
    assert_eq!(fs::read(&path).unwrap(), expected);
    assert_eq!(listing(folder.path()), ["m.safetensors"]);
}

#[test]
fn same_values_give_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let mut files = Vec::new();
    for i in 0..8 {
        let path = folder.path().join(format!("{i}"));
        model(3).save(&path).unwrap();
        files.push(fs::read(path).unwrap());
    }
    assert!(files.iter().all(|f| *f == files[0]));
    // Other creation order, same values: loading into a model built differently and saving again changes nothing.
    let other = ParamStore::new(DType::F32, CPU, 9);
    for (name, tensor) in model(3).state_dict().unwrap().iter().rev() {
        other.root().buffer_from(name, tensor).unwrap();
    }
    let path = folder.path().join("other");
    other.save(&path).unwrap();
    assert_eq!(fs::read(path).unwrap(), files[0]);
}

#[test]
fn loading_sets_the_models_own_variables() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.safetensors");
    let (source, target) = (model(1), model(2));
    source.buffers()[1]
        .1
        .set(&Tensor::new(12i64, CPU).unwrap())
        .unwrap();
    source.save(&path).unwrap();
    let held = target.parameters()[0].1.clone();
    let report = target.load(&path, true).unwrap();
    assert!(report.is_clean());
    assert_eq!(state(&target), state(&source));
    let held = held.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    let expected = source.parameters()[0]
        .1
        .flatten_all()
        .unwrap()
        .to_vec1::<f32>()
        .unwrap();
    assert_eq!(held, expected);
    // A second save over the first leaves one file.
    target.save(&path).unwrap();
    assert_eq!(listing(folder.path()), ["m.safetensors"]);
}

#[test]
fn other_types_are_converted() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m");
    let wide = ParamStore::new(DType::F64, CPU, 0);
    wide.root().param("w", 3, Init::Const(1. / 3.)).unwrap();
    wide.save(&path).unwrap();
    let narrow = ParamStore::new(DType::F32, CPU, 0);
    let w = narrow.root().param("w", 3, Init::Const(0.)).unwrap();
    narrow.load(&path, true).unwrap();
    assert_eq!(w.to_vec1::<f32>().unwrap(), [1f32 / 3.; 3]);
}

/// A file with one tensor missing, one too many and one of another shape.
fn misfit(folder: &Path) -> std::path::PathBuf {
    let store = ParamStore::new(DType::F32, CPU, 0);
    let root = store.root();
    root.param("features.0.weight", (4, 3, 3, 3), Init::Const(5.))
        .unwrap();
    root.param("features.0.bias", 5, Init::Const(5.)).unwrap();
    root.param("features.1.weight", 4, Init::Const(5.)).unwrap();
    root.param("features.1.running_var", 4, Init::Const(5.))
        .unwrap();
    root.param("features.1.num_batches_tracked", (), Init::Const(5.))
        .unwrap();
    root.param("head.weight", 2, Init::Const(5.)).unwrap();
    root.param("extra", 2, Init::Const(5.)).unwrap();
    let path = folder.join("misfit.safetensors");
    store.save(&path).unwrap();
    path
}

#[test]
fn strict_loading_lists_what_does_not_fit_and_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let store = model(0);
    let before = state(&store);
    let error = store.load(misfit(folder.path()), true).unwrap_err();
    assert!(matches!(error, Error::Weights { .. }));
    let message = error.to_string();
    for part in [
        "misfit.safetensors",
        "missing classifier.weight",
        "unexpected extra, head.weight",
        "features.0.bias expected [4], found [5]",
    ] {
        assert!(message.contains(part), "`{part}` is not in `{message}`");
    }
    assert_eq!(state(&store), before);
}

#[test]
fn lenient_loading_takes_what_fits() {
    let folder = tempfile::tempdir().unwrap();
    let store = model(0);
    let before = state(&store);
    let report = store.load(misfit(folder.path()), false).unwrap();
    assert_eq!(report.missing, ["classifier.weight"]);
    assert_eq!(report.unexpected, ["extra", "head.weight"]);
    assert_eq!(report.mis_shaped.len(), 1);
    assert_eq!(report.mis_shaped[0].name, "features.0.bias");
    assert!(!report.is_clean());
    assert_eq!(LoadReport::default().to_string(), "all fitted");
    let after = state(&store);
    for (i, loaded) in [true, false, true, true, true, false]
        .into_iter()
        .enumerate()
    {
        if loaded {
            assert!(after[i].1.iter().all(|v| *v == 5.), "{}", NAMES[i]);
        } else {
            assert_eq!(after[i], before[i]);
        }
    }
}

#[test]
fn damaged_files_are_refused_and_change_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.safetensors");
    model(1).save(&path).unwrap();
    let whole = fs::read(&path).unwrap();
    let store = model(2);
    let before = state(&store);
    let refuse = |bytes: &[u8], what: &str| {
        fs::write(&path, bytes).unwrap();
        for strict in [true, false] {
            let error = store.load(&path, strict).expect_err(what);
            assert!(matches!(error, Error::Weights { .. }), "{what}: {error:?}");
            assert!(error.to_string().contains("m.safetensors"), "{error}");
        }
        assert_eq!(state(&store), before, "{what}");
    };
    for cut in (0..whole.len()).step_by(7).chain([whole.len() - 1]) {
        refuse(&whole[..cut], &format!("cut to {cut} bytes"));
    }
    let mut longer = whole.clone();
    longer.push(0);
    refuse(&longer, "a byte too many");
    refuse(b"\x89PNG\r\n\x1a\n and so on and so on", "a picture");
    let mut lying = whole.clone();
    lying[..8].copy_from_slice(&u64::MAX.to_le_bytes());
    refuse(&lying, "an absurd header length");
    let text = String::from_utf8_lossy(&whole[8..]).into_owned();
    let shape = 8 + text.find("[4,3,3,3]").unwrap();
    let mut lying = whole.clone();
    lying[shape + 1] = b'9';
    refuse(&lying, "a shape that does not match its bytes");
    let mut lying = whole.clone();
    lying[8] = b'[';
    refuse(&lying, "a header that is not an object");
}

#[test]
fn a_missing_file_is_an_input_output_error() {
    let folder = tempfile::tempdir().unwrap();
    let error = model(0)
        .load(folder.path().join("none.safetensors"), true)
        .unwrap_err();
    assert!(matches!(error, Error::Io { .. }), "{error:?}");
    assert!(error.to_string().contains("none.safetensors"));
}

#[test]
fn a_failed_save_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let taken = folder.path().join("taken");
    fs::create_dir(&taken).unwrap();
    fs::write(taken.join("inside"), "x").unwrap();
    for path in [
        taken.clone(),
        folder.path().join("no/such/folder"),
        folder.path().join(".."),
    ] {
        let error = model(0).save(&path).unwrap_err();
        assert!(matches!(error, Error::Io { .. }), "{error:?}");
    }
    assert_eq!(listing(folder.path()), ["taken"]);
    assert_eq!(listing(&taken), ["inside"]);
}

#[test]
fn a_state_is_a_snapshot_that_can_be_restored() {
    let store = model(0);
    let snapshot = store.state_dict().unwrap();
    let before = values(&snapshot);
    let generator = store.generator();
    for (_, var) in store.parameters() {
        var.set(
            &generator
                .normal(0., 1., var.shape(), DType::F32, CPU)
                .unwrap(),
        )
        .unwrap();
    }
    assert_eq!(values(&snapshot), before);
    assert_ne!(state(&store), before);
    assert!(store.load_state_dict(&snapshot, true).unwrap().is_clean());
    assert_eq!(state(&store), before);
    // Tensors that are the variables themselves load too.
    let own: Vec<_> = store
        .parameters()
        .into_iter()
        .chain(store.buffers())
        .map(|(name, var)| (name, var.as_detached_tensor()))
        .collect();
    assert!(store.load_state_dict(&own, true).unwrap().is_clean());
    assert_eq!(state(&store), before);
    let error = store.load_state_dict(&snapshot[1..], true).unwrap_err();
    assert!(
        error.to_string().contains("missing features.0.weight"),
        "{error}"
    );
}
