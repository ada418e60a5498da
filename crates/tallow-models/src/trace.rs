use std::collections::HashMap;

use candle_core::{DType, Device, Tensor, TensorId};
use tallow_onnx::{Array, Graph, Layer, Value};

use crate::error::{Error, Result};

/// Graph in ONNX of a forward pass: the layers that ran append their operators, and tensors are recognised by their identity.
pub(crate) struct Trace {
    graph: Graph,
    /// Values of the tensors so far. candle never gives the number of a tensor to another one.
    values: HashMap<TensorId, Value>,
}

impl Trace {
    /// Trace that begins at `input`, the value of the tensor `images`.
    pub(crate) fn new(graph: Graph, images: &Tensor, input: Value) -> Self {
        Self {
            graph,
            values: HashMap::from([(images.id(), input)]),
        }
    }

    /// Lets `describe` append the operators of a layer, and keeps the value that it returns for `output`.
    pub(crate) fn layer<const N: usize>(
        &mut self,
        name: &str,
        inputs: [&Tensor; N],
        output: &Tensor,
        describe: impl FnOnce(&mut Layer, [&Value; N]) -> Result<Value>,
    ) -> Result<()> {
        let known = inputs.map(|tensor| self.values.get(&tensor.id()).cloned());
        let known: Vec<Value> = known.into_iter().flatten().collect();
        let Ok(known) = <[Value; N]>::try_from(known) else {
            let message = "cannot be written as ONNX: its input was computed between layers; put the computation into a layer that calls Context::onnx";
            return Err(Error::layer(name, "layer", message.into()));
        };
        let value = describe(&mut self.graph.layer(name), known.each_ref())?;
        self.values.insert(output.id(), value);
        Ok(())
    }

    /// Value of a tensor, if a layer has described it.
    pub(crate) fn value(&self, tensor: &Tensor) -> Option<&Value> {
        self.values.get(&tensor.id())
    }

    /// Graph without the tensors.
    pub(crate) fn into_graph(self) -> Graph {
        self.graph
    }
}

/// Parameter or buffer `<layer>.<name>` of a layer in ONNX, in 32-bit floats; with an empty name, `<layer>`.
///
/// # Errors
/// [`Error::Onnx`] when another array has this name.
pub fn onnx_parameter(layer: &mut Layer, name: &str, tensor: &Tensor) -> Result<Value> {
    let values: Vec<f32> = tensor
        .to_device(&Device::Cpu)?
        .to_dtype(DType::F32)?
        .flatten_all()?
        .to_vec1()?;
    Ok(layer.parameter(name, Array::f32(tensor.dims(), &values)?)?)
}

/// [`onnx_parameter`] of a parameter that may be missing, such as a bias.
pub(crate) fn onnx_optional(
    layer: &mut Layer,
    name: &str,
    tensor: Option<&Tensor>,
) -> Result<Option<Value>> {
    tensor
        .map(|tensor| onnx_parameter(layer, name, tensor))
        .transpose()
}
