use crate::array::Array;
use crate::error::Result;
use crate::graph::Graph;
use crate::proto::{AttributeProto, AttributeType, NodeProto};
use crate::value::Value;

/// Layer of a [`Graph`]: its operators are named `<layer>/<operator>`, and its parameters as PyTorch names them, `<layer>.<parameter>`.
///
/// [`Layer::node`] appends any operator of ONNX. The other methods append those of common layers, for activations `(N, C, H, W)`.
#[derive(Debug)]
pub struct Layer<'g> {
    graph: &'g mut Graph,
    name: String,
}

/// Value of an attribute of an operator.
#[derive(Clone, Debug, PartialEq)]
pub enum Attribute {
    /// Float.
    Float(f32),
    /// Integer.
    Int(i64),
    /// Integers.
    Ints(Vec<i64>),
}

impl Graph {
    /// Layer that appends operators; their names begin with its.
    pub fn layer(&mut self, name: &str) -> Layer<'_> {
        Layer {
            graph: self,
            name: name.into(),
        }
    }
}

impl Layer<'_> {
    /// Dotted name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Parameter or buffer `<layer>.<name>`; with an empty name, `<layer>`. Given twice, it is shared.
    ///
    /// # Errors
    /// [`Error::Taken`](crate::Error::Taken) when the graph has another array or an input of this name.
    pub fn parameter(&mut self, name: &str, array: Array) -> Result<Value> {
        let name = match name {
            "" => self.name.clone(),
            name => format!("{}.{name}", self.name),
        };
        self.graph.array(&name, array)
    }

    /// Constant that is no parameter, `<layer>/<name>`.
    pub fn constant(&mut self, name: &str, array: Array) -> Value {
        self.graph.constant(&format!("{}/{name}", self.name), array)
    }

    /// Appends an operator of ONNX with one output.
    pub fn node<'n>(
        &mut self,
        operator: &str,
        inputs: &[&Value],
        attributes: impl IntoIterator<Item = (&'n str, Attribute)>,
    ) -> Value {
        let node = NodeProto {
            input: inputs.iter().map(|value| value.name().into()).collect(),
            op_type: Some(operator.into()),
            attribute: attributes.into_iter().map(attribute).collect(),
            ..NodeProto::default()
        };
        self.graph.node(&format!("{}/{operator}", self.name), node)
    }

    /// Appends an operator without attributes.
    pub fn plain(&mut self, operator: &str, inputs: &[&Value]) -> Value {
        self.node(operator, inputs, [])
    }
}

fn attribute((name, value): (&str, Attribute)) -> AttributeProto {
    let kind = match value {
        Attribute::Float(_) => AttributeType::Float,
        Attribute::Int(_) => AttributeType::Int,
        Attribute::Ints(_) => AttributeType::Ints,
    };
    let mut proto = AttributeProto {
        name: Some(name.into()),
        r#type: Some(kind.into()),
        ..AttributeProto::default()
    };
    match value {
        Attribute::Float(value) => proto.f = Some(value),
        Attribute::Int(value) => proto.i = Some(value),
        Attribute::Ints(values) => proto.ints = values,
    }
    proto
}
