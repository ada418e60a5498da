//! The file of a graph, read with the messages of the format.

use prost::Message;
use tallow_onnx::proto::{ModelProto, TensorProto, ValueInfoProto};
use tallow_onnx::{Array, Dim, ElementType, Error, Graph, ModelInfo, OPSET};

fn shape(info: &ValueInfoProto) -> Vec<String> {
    let tensor = info.r#type.as_ref().unwrap().tensor_type.as_ref().unwrap();
    let dims = tensor.shape.as_ref().unwrap().dim.iter();
    dims.map(|dim| match (&dim.dim_param, dim.dim_value) {
        (Some(name), None) => name.clone(),
        (None, Some(size)) => size.to_string(),
        other => panic!("{other:?}"),
    })
    .collect()
}

fn floats(array: &TensorProto) -> Vec<f32> {
    let bytes = array.raw_data.as_ref().unwrap();
    let floats = bytes.chunks_exact(4);
    floats
        .map(|b| f32::from_le_bytes(b.try_into().unwrap()))
        .collect()
}

#[test]
fn a_graph_is_read_back() {
    let mut graph = Graph::new("net");
    let dims = [Dim::Free("batch"), Dim::Size(2)];
    let bytes = graph.input("images", ElementType::U8, &dims);
    let x = graph.layer("cast").to_f32(&bytes);
    let mut fc = graph.layer("head.fc");
    let weight = Array::f32(&[3, 2], &[1., 2., 3., 4., 5., 6.]).unwrap();
    let weight = fc.parameter("weight", weight).unwrap();
    let y = fc.linear(&x, &weight, None);
    graph.output(&y, "logits", &[Dim::Free("batch"), Dim::Size(3)]);
    let info = ModelInfo {
        producer: "test".into(),
        producer_version: "1.2".into(),
        description: String::new(),
        metadata: [("b", "1"), ("a", "2")]
            .map(|(k, v)| (k.into(), v.into()))
            .to_vec(),
    };
    let file = graph.into_file(&info).unwrap();

    let model = ModelProto::decode(&file[..]).unwrap();
    assert_eq!(model.encode_to_vec(), file);
    assert_eq!(
        (model.ir_version, model.opset_import[0].version),
        (Some(8), Some(OPSET))
    );
    assert_eq!(model.opset_import[0].domain.as_deref(), Some(""));
    assert_eq!(model.producer_version.as_deref(), Some("1.2"));
    assert_eq!(model.doc_string, None);
    let metadata: Vec<_> = model
        .metadata_props
        .iter()
        .map(|e| (e.key(), e.value()))
        .collect();
    assert_eq!(metadata, [("b", "1"), ("a", "2")]);

    let graph = model.graph.unwrap();
    let (input, output) = (&graph.input[0], &graph.output[0]);
    assert_eq!(
        (input.name(), shape(input)),
        ("images", vec!["batch".to_string(), "2".into()])
    );
    let kind = |info: &ValueInfoProto| info.r#type.clone().unwrap().tensor_type.unwrap().elem_type;
    // TensorProto.DataType: UINT8 and FLOAT.
    assert_eq!((kind(input), kind(output)), (Some(2), Some(1)));
    assert_eq!(
        (output.name(), shape(output)),
        ("logits", vec!["batch".to_string(), "3".into()])
    );
    let array = &graph.initializer[0];
    assert_eq!(
        (array.name(), &array.dims[..], array.data_type),
        ("head.fc.weight", &[3, 2][..], Some(1))
    );
    assert_eq!(floats(array), [1., 2., 3., 4., 5., 6.]);
    let nodes: Vec<_> = graph.node.iter().map(|n| (n.op_type(), n.name())).collect();
    assert_eq!(
        nodes,
        [
            ("Cast", "cast/Cast"),
            ("Gemm", "head.fc/Gemm"),
            ("Identity", "logits/Identity")
        ]
    );
    assert_eq!(graph.node[1].input, ["cast/Cast/output", "head.fc.weight"]);
    assert_eq!(graph.node[2].input, graph.node[1].output);
}

/// The bytes that the Python package `onnx` 1.23 writes for a model with these fields.
#[test]
fn numbers_of_fields_are_those_of_onnx() {
    let mut graph = Graph::new("g");
    let x = graph.input("x", ElementType::F32, &[Dim::Free("n")]);
    let mut layer = graph.layer("l");
    let y = layer.times(&x, 2.);
    graph.output(&y, "y", &[Dim::Free("n")]);
    let file = graph.into_file(&ModelInfo::default()).unwrap();
    assert_eq!(file, include_bytes!("../fixtures/doubled.onnx"));
}

#[test]
fn names_are_unique_and_parameters_shared() {
    let mut graph = Graph::new("net");
    let x = graph.input("x", ElementType::F32, &[Dim::Size(1)]);
    let mut layer = graph.layer("x");
    let first = layer.plain("Relu", &[&x]);
    let second = layer.plain("Relu", &[&first]);
    assert_eq!(
        (first.name(), second.name()),
        ("x/Relu/output", "x/Relu_1/output")
    );
    let ones = || Array::f32(&[2], &[1., 1.]).unwrap();
    let shared = layer.parameter("bias", ones()).unwrap();
    assert_eq!(layer.parameter("bias", ones()).unwrap(), shared);
    // An input has this name.
    let taken = layer.parameter("", ones()).unwrap_err();
    assert_eq!(taken, Error::Taken { name: "x".into() });
    let (a, b) = (layer.constant("c", ones()), layer.constant("c", ones()));
    assert_eq!((a.name(), b.name()), ("x/c", "x/c_1"));

    let others = [Array::f32(&[2], &[1., 2.]), Array::f32(&[1, 2], &[1., 1.])];
    for other in others {
        let error = layer.parameter("bias", other.unwrap()).unwrap_err();
        assert_eq!(
            error,
            Error::Taken {
                name: "x.bias".into()
            }
        );
    }
}

#[test]
fn arrays_have_the_values_of_their_shape() {
    for (dims, values) in [(&[2, 2][..], 3), (&[], 0), (&[usize::MAX, 2], 2), (&[0], 1)] {
        let error = Array::f32(dims, &vec![0.; values]).unwrap_err();
        assert_eq!(
            error,
            Error::Array {
                dims: dims.to_vec(),
                values
            }
        );
    }
    assert!(Array::f32(&[], &[1.]).is_ok());
    assert!(Array::integers([1, 2]).reshaped(&[2, 1]).is_ok());
    let error = Array::integers([1, 2])
        .reshaped(&[3])
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("[3]") && error.contains("2 values"),
        "{error}"
    );
}
