use std::collections::{HashMap, HashSet};

use prost::Message;

use crate::OPSET;
use crate::array::Array;
use crate::error::{Error, Result};
use crate::proto::{
    DimensionProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, StringStringEntryProto,
    TensorProto, TensorShapeProto, TensorTypeProto, TypeProto, ValueInfoProto,
};
use crate::value::{Dim, ElementType, Value};

/// Version of the file format that ONNX 1.12 introduced with operator set 17.
const IR_VERSION: i64 = 8;

/// Graph of an ONNX file, to which layers append their operators.
///
/// ```
/// use tallow_onnx::{Array, Dim, ElementType, Graph, ModelInfo};
///
/// let mut graph = Graph::new("net");
/// let images = graph.input("images", ElementType::F32, &[Dim::Free("batch"), Dim::Size(3)]);
/// let mut fc = graph.layer("fc");
/// let weight = fc.parameter("weight", Array::f32(&[1, 3], &[1., 2., 3.])?)?;
/// let logits = fc.linear(&images, &weight, None);
/// graph.output(&logits, "logits", &[Dim::Free("batch"), Dim::Size(1)]);
/// let bytes = graph.into_file(&ModelInfo::default())?;
/// # assert!(!bytes.is_empty());
/// # Ok::<(), tallow_onnx::Error>(())
/// ```
#[derive(Debug)]
pub struct Graph {
    proto: GraphProto,
    /// Places of the constant arrays by name.
    arrays: HashMap<String, usize>,
    /// Names of values and nodes that are taken.
    names: HashSet<String>,
}

/// Description of a network in its file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ModelInfo {
    /// Program that writes the file.
    pub producer: String,
    /// Its version.
    pub producer_version: String,
    /// One sentence about the network.
    pub description: String,
    /// Names and values for the programs that read the file (`metadata_props`), in order.
    pub metadata: Vec<(String, String)>,
}

impl Graph {
    /// Graph without operators.
    pub fn new(name: &str) -> Self {
        Self {
            proto: GraphProto {
                name: Some(name.into()),
                ..GraphProto::default()
            },
            arrays: HashMap::new(),
            names: HashSet::new(),
        }
    }

    /// Adds an input.
    pub fn input(&mut self, name: &str, kind: ElementType, dims: &[Dim]) -> Value {
        let name = self.free_name(name);
        self.proto.input.push(value_info(&name, kind, dims));
        Value(name)
    }

    /// Makes a value the output of this name, of 32-bit floats.
    pub fn output(&mut self, value: &Value, name: &str, dims: &[Dim]) {
        // A copy: the value may be an input, or be used elsewhere in the graph.
        let node = self.free_name(&format!("{name}/Identity"));
        let name = self.free_name(name);
        self.proto.node.push(NodeProto {
            input: vec![value.0.clone()],
            output: vec![name.clone()],
            name: Some(node),
            op_type: Some("Identity".into()),
            attribute: Vec::new(),
        });
        (self.proto.output).push(value_info(&name, ElementType::F32, dims));
    }

    /// The file.
    ///
    /// # Errors
    /// [`Error::TooLarge`] above 2 GiB, the limit of Protocol Buffers.
    pub fn into_file(self, info: &ModelInfo) -> Result<Vec<u8>> {
        let text = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
        let entry = |(key, value): &(String, String)| StringStringEntryProto {
            key: Some(key.clone()),
            value: Some(value.clone()),
        };
        let model = ModelProto {
            ir_version: Some(IR_VERSION),
            opset_import: vec![OperatorSetIdProto {
                domain: Some(String::new()),
                version: Some(OPSET),
            }],
            producer_name: text(&info.producer),
            producer_version: text(&info.producer_version),
            doc_string: text(&info.description),
            graph: Some(self.proto),
            metadata_props: info.metadata.iter().map(entry).collect(),
        };
        check_size(model.encoded_len())?;
        Ok(model.encode_to_vec())
    }

    /// Adds an array under exactly this name. The same array again is the same value, as for weights that two layers share.
    pub(crate) fn array(&mut self, name: &str, array: Array) -> Result<Value> {
        match self.arrays.get(name) {
            Some(&place) if array.is(&self.proto.initializer[place]) => {}
            // An input may have the name too.
            _ if self.names.contains(name) => return Err(Error::Taken { name: name.into() }),
            _ => self.push(name.into(), array.into_proto(name)),
        }
        Ok(Value(name.into()))
    }

    /// Adds an array under a name like this one.
    pub(crate) fn constant(&mut self, name: &str, array: Array) -> Value {
        let name = self.free_name(name);
        self.push(name.clone(), array.into_proto(&name));
        Value(name)
    }

    fn push(&mut self, name: String, array: TensorProto) {
        self.names.insert(name.clone());
        self.arrays.insert(name, self.proto.initializer.len());
        self.proto.initializer.push(array);
    }

    pub(crate) fn node(&mut self, name: &str, node: NodeProto) -> Value {
        let name = self.free_name(name);
        let output = self.free_name(&format!("{name}/output"));
        self.proto.node.push(NodeProto {
            output: vec![output.clone()],
            name: Some(name),
            ..node
        });
        Value(output)
    }

    /// The name, with a number where it is taken.
    fn free_name(&mut self, name: &str) -> String {
        let mut free = name.to_string();
        let mut number = 1;
        while !self.names.insert(free.clone()) {
            free = format!("{name}_{number}");
            number += 1;
        }
        free
    }
}

/// Refuses files that readers of Protocol Buffers do.
fn check_size(bytes: usize) -> Result<()> {
    match i32::try_from(bytes) {
        Ok(_) => Ok(()),
        Err(_) => Err(Error::TooLarge { bytes }),
    }
}

fn value_info(name: &str, kind: ElementType, dims: &[Dim]) -> ValueInfoProto {
    let dim = |dim: &Dim| match *dim {
        Dim::Size(size) => DimensionProto {
            dim_value: Some(size as i64),
            dim_param: None,
        },
        Dim::Free(name) => DimensionProto {
            dim_value: None,
            dim_param: Some(name.into()),
        },
    };
    ValueInfoProto {
        name: Some(name.into()),
        r#type: Some(TypeProto {
            tensor_type: Some(TensorTypeProto {
                elem_type: Some(kind.code()),
                shape: Some(TensorShapeProto {
                    dim: dims.iter().map(dim).collect(),
                }),
            }),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_end_at_two_gibibytes() {
        assert_eq!(check_size((1 << 31) - 1), Ok(()));
        let error = check_size(1 << 31).unwrap_err();
        assert_eq!(error, Error::TooLarge { bytes: 1 << 31 });
        assert!(error.to_string().contains("2147483648 bytes"), "{error}");
    }
}
