//! Weights as files for other programs.

use std::io::{Cursor, Write};

use candle_core::{DType, Device, Tensor};
use serde_json::{Map, Value};
use tallow_pickle::Object;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use crate::error::{Error, Result};
use crate::model::Model;

/// Alignment of the numbers in a checkpoint, as in PyTorch's.
const ALIGNMENT: u16 = 64;

impl Model {
    /// safetensors file of the parameters and buffers, under PyTorch's names, with `metadata`: names and values of text, in order.
    ///
    /// Equal weights and metadata give equal bytes.
    ///
    /// # Errors
    /// [`Error::Candle`] when the weights cannot be copied from their device.
    pub fn to_safetensors(&self, metadata: &[(String, String)]) -> Result<Vec<u8>> {
        let state = self.store().state_dict()?;
        let on_cpu = |(name, tensor): (String, Tensor)| Ok((name, tensor.to_device(&Device::Cpu)?));
        let state = state.into_iter().map(on_cpu).collect::<Result<Vec<_>>>()?;
        // The crate would write the metadata in hash order.
        let bytes = safetensors::serialize(state, None).map_err(candle_core::Error::wrap)?;
        Ok(with_metadata(bytes, metadata))
    }

    /// Checkpoint of PyTorch with the state dict, as `torch.save(model.state_dict(), path)` writes it since PyTorch 1.6.
    ///
    /// `torch.load(path, weights_only=True)` gives an `OrderedDict` of tensors on the CPU. Equal weights give equal bytes.
    ///
    /// # Errors
    /// [`Error::State`] for weights of a type that PyTorch has no storage for; [`Error::Candle`] when they cannot be copied from
    /// their device.
    pub fn to_torch(&self) -> Result<Vec<u8>> {
        let state = self.store().state_dict()?;
        let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
        let mut put = |name: &str, content: &[u8]| {
            let options = SimpleFileOptions::default()
                .compression_method(CompressionMethod::Stored)
                .large_file(u32::try_from(content.len()).is_err())
                .with_alignment(ALIGNMENT);
            zip.start_file(format!("archive/{name}"), options)
                .map_err(candle_core::Error::wrap)?;
            zip.write_all(content).map_err(candle_core::Error::wrap)
        };
        let keys: Vec<String> = (0..state.len()).map(|index| index.to_string()).collect();
        put("data.pkl", &pickle(&state, &keys)?)?;
        put("byteorder", b"little")?;
        for ((name, tensor), key) in state.iter().zip(&keys) {
            put(&format!("data/{key}"), &numbers(name, tensor)?)?;
        }
        put("version", b"3\n")?;
        let file = zip.finish().map_err(candle_core::Error::wrap)?;
        Ok(file.into_inner())
    }
}

/// The file with metadata at the front of its header.
fn with_metadata(bytes: Vec<u8>, metadata: &[(String, String)]) -> Vec<u8> {
    let Some((length, rest)) = bytes.split_first_chunk::<8>() else {
        return bytes;
    };
    let length = u64::from_le_bytes(*length) as usize;
    let (Some(header), false) = (rest.get(..length), metadata.is_empty()) else {
        return bytes;
    };
    let text = |(name, value): &(String, String)| (name.clone(), Value::from(value.as_str()));
    let metadata: Map<String, Value> = metadata.iter().map(text).collect();
    let mut file = vec![0; 8];
    file.extend(format!("{{\"__metadata__\":{}", Value::from(metadata)).as_bytes());
    match header.trim_ascii_end() {
        b"{}" => {}
        _ => file.push(b','),
    }
    file.extend(header.trim_ascii_end().get(1..).unwrap_or_default());
    // The numbers begin at a multiple of eight bytes.
    file.resize(file.len().next_multiple_of(8), b' ');
    let length = (file.len() - 8) as u64;
    file[..8].copy_from_slice(&length.to_le_bytes());
    file.extend(&rest[header.len()..]);
    file
}

/// `data.pkl`: an `OrderedDict` of tensors, whose numbers are in the storages of these keys.
fn pickle(state: &[(String, Tensor)], keys: &[String]) -> Result<Vec<u8>> {
    let ordered = || Object::call("collections", "OrderedDict", Vec::new());
    let mut entries = Vec::with_capacity(state.len());
    for ((name, tensor), key) in state.iter().zip(keys) {
        let int = |n: &usize| Object::Int(*n as i64);
        let storage = Object::Persistent(Box::new(Object::Tuple(vec![
            Object::Str("storage"),
            Object::Global("torch", storage(name, tensor)?),
            Object::Str(key),
            Object::Str("cpu"),
            int(&tensor.elem_count()),
        ])));
        let strides = strides(tensor.dims());
        let rebuilt = Object::call(
            "torch._utils",
            "_rebuild_tensor_v2",
            vec![
                storage,
                Object::Int(0),
                Object::Tuple(tensor.dims().iter().map(int).collect()),
                Object::Tuple(strides.iter().map(int).collect()),
                // requires_grad, and hooks of the backward pass.
                Object::Bool(false),
                ordered(),
            ],
        );
        entries.push((Object::Str(name), rebuilt));
    }
    Ok(Object::Filled(Box::new(ordered()), entries).to_pickle())
}

/// Values from one index to the next along each axis, in row-major order.
fn strides(dims: &[usize]) -> Vec<usize> {
    let from = |axis: usize| dims[axis + 1..].iter().product();
    (0..dims.len()).map(from).collect()
}

/// PyTorch's class of a tensor's storage.
fn storage(name: &str, tensor: &Tensor) -> Result<&'static str> {
    Ok(match tensor.dtype() {
        DType::F32 => "FloatStorage",
        DType::F64 => "DoubleStorage",
        DType::F16 => "HalfStorage",
        DType::BF16 => "BFloat16Storage",
        DType::I64 => "LongStorage",
        DType::U8 => "ByteStorage",
        other => {
            return Err(Error::State {
                layer: name.into(),
                message: format!(
                    "PyTorch has no storage for {other:?}; expected F32, F64, F16, BF16, I64 or U8"
                ),
            });
        }
    })
}

/// Numbers of a tensor in row-major order, little-endian.
fn numbers(name: &str, tensor: &Tensor) -> Result<Vec<u8>> {
    use safetensors::View;
    let tensor = tensor.to_device(&Device::Cpu)?.contiguous()?;
    storage(name, &tensor)?;
    Ok(View::data(&tensor).into_owned())
}
