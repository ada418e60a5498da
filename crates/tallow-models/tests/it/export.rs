//! Weights as files for other programs.

use std::collections::BTreeMap;
use std::fs;

use candle_core::{DType, Tensor};
use safetensors::SafeTensors;
use tallow_models::{LoadWeights, Model, ModelConfig, read_weights, registry};
use tallow_pickle::{Limits, Pickle};

use crate::common::{fill, small};

fn model(name: &str, dtype: DType) -> Model {
    let entry = registry().find(name).unwrap();
    let config = ModelConfig {
        dtype,
        ..small(entry)
    };
    let model = entry.build(&config).unwrap();
    fill(&model, 0.);
    model
}

fn values(tensors: Vec<(String, Tensor)>) -> BTreeMap<String, (DType, Vec<usize>, Vec<f64>)> {
    let values = |tensor: &Tensor| tensor.to_dtype(DType::F64)?.flatten_all()?.to_vec1();
    tensors
        .into_iter()
        .map(|(name, tensor)| {
            let content = (
                tensor.dtype(),
                tensor.dims().to_vec(),
                values(&tensor).unwrap(),
            );
            (name, content)
        })
        .collect()
}

/// Every name, type, shape and value; batch norms have an integer among them.
#[test]
fn a_checkpoint_is_read_back() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("model.pt");
    for dtype in [DType::F32, DType::F64, DType::BF16, DType::F16] {
        let model = model("resnet20-b", dtype);
        fs::write(&path, model.to_torch().unwrap()).unwrap();
        let found = read_weights(&path).unwrap();
        let state = model.store().state_dict().unwrap();
        let names = |tensors: &[(String, Tensor)]| -> Vec<String> {
            tensors.iter().map(|(name, _)| name.clone()).collect()
        };
        // A checkpoint has an order.
        assert_eq!(names(&found), names(&state));
        assert!(values(found) == values(state), "{dtype:?}");
    }
    // It is loaded as any other, strictly.
    let original = model("resnet20-b", DType::F32);
    fs::write(&path, original.to_torch().unwrap()).unwrap();
    let other = small(registry().find("resnet20-b").unwrap());
    let other = Model::build("resnet20-b", &other).unwrap();
    other.load_weights(&path, &LoadWeights::default()).unwrap();
    assert!(
        values(other.store().state_dict().unwrap())
            == values(original.store().state_dict().unwrap())
    );
}

/// Needs of PyTorch: names of plain data only, which `weights_only=True` allows, uncompressed entries at multiples of 64 bytes.
#[test]
fn a_checkpoint_is_plain_data() {
    let model = model("cifar-cnn-bn", DType::F32);
    let file = model.to_torch().unwrap();
    assert!(
        file == model.to_torch().unwrap(),
        "equal weights, different bytes"
    );
    let mut zip = zip::ZipArchive::new(std::io::Cursor::new(&file)).unwrap();
    let mut names = Vec::new();
    for index in 0..zip.len() {
        let entry = zip.by_index(index).unwrap();
        assert_eq!(entry.compression(), zip::CompressionMethod::Stored);
        assert_eq!(entry.data_start().unwrap() % 64, 0);
        names.push(entry.name().unwrap().to_string());
    }
    assert_eq!(
        names[..3],
        ["archive/data.pkl", "archive/byteorder", "archive/data/0"]
    );
    assert_eq!(names.last().unwrap(), "archive/version");

    let mut pickle = Vec::new();
    std::io::copy(&mut zip.by_name("archive/data.pkl").unwrap(), &mut pickle).unwrap();
    let allowed = [
        ("collections", "OrderedDict"),
        ("torch._utils", "_rebuild_tensor_v2"),
        ("torch", "FloatStorage"),
        ("torch", "LongStorage"),
    ];
    let allows = |module: &str, name: &str| allowed.contains(&(module, name));
    let (pickle, length) = Pickle::read(&pickle, &Limits::default(), allows).unwrap();
    assert!(length > 0);
    assert_eq!(
        pickle.persistent().count(),
        model.store().state_dict().unwrap().len()
    );
}

#[test]
fn safetensors_have_metadata_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let (saved, path) = (
        dir.path().join("saved.safetensors"),
        dir.path().join("model.safetensors"),
    );
    let model = model("cifar-cnn-bn", DType::F32);
    model.store().save(&saved).unwrap();
    // Without metadata it is the file of a run.
    assert!(model.to_safetensors(&[]).unwrap() == fs::read(&saved).unwrap());

    let metadata = [
        ("model", "cifar-cnn-bn"),
        ("classes", "[\"a\", \"é\\n\"]"),
        ("a", ""),
    ];
    let metadata = metadata.map(|(key, value)| (key.to_string(), value.to_string()));
    let file = model.to_safetensors(&metadata).unwrap();
    assert!(
        file == model.to_safetensors(&metadata).unwrap(),
        "equal weights, different bytes"
    );
    let (length, header) = SafeTensors::read_metadata(&file).unwrap();
    assert_eq!(length % 8, 0);
    let found = header.metadata().clone().unwrap();
    assert_eq!(found, metadata.into_iter().collect());
    fs::write(&path, file).unwrap();
    let state = model.store().state_dict().unwrap();
    assert!(values(read_weights(&path).unwrap()) == values(state));
}

#[test]
fn a_type_without_storage_is_refused() {
    use candle_core::{Device, Var};
    use tallow_models::Context;
    use tallow_models::Module;
    struct Nothing;
    impl Module for Nothing {
        fn forward(&self, x: &Tensor, _: &mut Context) -> tallow_models::Result<Tensor> {
            Ok(x.clone())
        }
    }
    let model = Model::from_network("own", &ModelConfig::new(1, (1, 1, 1)), |p, _| {
        let counts = Var::new(&[1u32, 2], &Device::Cpu)?;
        p.buffer_from("counts", counts.as_tensor())?;
        Ok(Nothing)
    })
    .unwrap();
    let error = model.to_torch().unwrap_err().to_string();
    assert_eq!(
        error,
        "`counts`: PyTorch has no storage for U32; expected F32, F64, F16, BF16, I64 or U8"
    );
}
