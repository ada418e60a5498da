//! Operators that layers append, and their settings.

use prost::Message;
use tallow_onnx::proto::{GraphProto, ModelProto, NodeProto};
use tallow_onnx::{Array, Conv, Dim, ElementType, Graph, Layer, ModelInfo, Pool, Value};

/// Graph of a layer on `(N, 2, H, W)`.
fn graph(describe: impl FnOnce(&mut Layer, &Value) -> Value) -> GraphProto {
    let mut graph = Graph::new("net");
    let dims = [Dim::Free("n"), Dim::Size(2), Dim::Free("h"), Dim::Free("w")];
    let x = graph.input("x", ElementType::F32, &dims);
    let y = describe(&mut graph.layer("layer"), &x);
    graph.output(&y, "y", &[]);
    let file = graph.into_file(&ModelInfo::default()).unwrap();
    let mut graph = ModelProto::decode(&file[..]).unwrap().graph.unwrap();
    assert_eq!(graph.node.pop().unwrap().op_type(), "Identity");
    graph
}

fn operators(graph: &GraphProto) -> Vec<&str> {
    graph.node.iter().map(NodeProto::op_type).collect()
}

fn ints(node: &NodeProto, name: &str) -> Vec<i64> {
    let attribute = node.attribute.iter().find(|a| a.name() == name).unwrap();
    match attribute.i {
        Some(value) => vec![value],
        None => attribute.ints.clone(),
    }
}

/// Integers of a constant.
fn integers(graph: &GraphProto, name: &str) -> Vec<i64> {
    let array = graph.initializer.iter().find(|a| a.name() == name).unwrap();
    let bytes = array.raw_data.as_ref().unwrap().chunks_exact(8);
    bytes
        .map(|b| i64::from_le_bytes(b.try_into().unwrap()))
        .collect()
}

#[test]
fn convolutions() {
    let settings = Conv {
        stride: (2, 1),
        padding: (3, 0),
        dilation: (1, 2),
        groups: 2,
    };
    let graph = graph(|layer, x| {
        let weight = Array::f32(&[2, 1, 1, 1], &[1., 1.]).unwrap();
        let weight = layer.parameter("weight", weight).unwrap();
        let y = layer.conv(x, &weight, None, &settings);
        layer.conv_transpose(&y, &weight, Some(&y), &settings)
    });
    assert_eq!(operators(&graph), ["Conv", "ConvTranspose"]);
    assert_eq!(graph.node[0].input, ["x", "layer.weight"]);
    assert_eq!(graph.node[1].input.len(), 3);
    for node in &graph.node {
        assert_eq!(ints(node, "strides"), [2, 1]);
        // Begins of rows and columns, then ends.
        assert_eq!(ints(node, "pads"), [3, 0, 3, 0]);
        assert_eq!(ints(node, "dilations"), [1, 2]);
        assert_eq!(ints(node, "group"), [2]);
    }
}

/// 3x3 windows of stride 2, rounded up: PyTorch gives 4 x 4 for 7 x 6 with padding 1, and 3 x 3 without.
#[test]
fn pooling_has_no_ceil_mode() {
    let pool = |padding| Pool {
        kernel: (3, 3),
        stride: (2, 2),
        padding: (padding, padding),
        dilation: (1, 1),
    };
    let max = graph(|layer, x| layer.max_pool(x, &pool(1), (7, 6), (4, 4)));
    assert_eq!(ints(&max.node[0], "pads"), [1, 1, 1, 2]);

    // What lies beyond the image counts in no average.
    let average = graph(|layer, x| layer.average_pool(x, &pool(0), (7, 6), (3, 3)));
    assert_eq!(ints(&average.node[0], "pads"), [0, 0, 0, 1]);
    assert_eq!(ints(&average.node[0], "count_include_pad"), [0]);

    // The padding counts, and what lies beyond it does not.
    let both = graph(|layer, x| layer.average_pool(x, &pool(1), (7, 6), (4, 4)));
    assert_eq!(operators(&both), ["Pad", "AveragePool"]);
    assert_eq!(integers(&both, "layer/pads"), [0, 0, 1, 1, 0, 0, 1, 1]);
    assert_eq!(ints(&both.node[1], "pads"), [0, 0, 0, 1]);
    assert_eq!(ints(&both.node[1], "count_include_pad"), [0]);

    let padding = graph(|layer, x| layer.average_pool(x, &pool(1), (7, 7), (4, 4)));
    assert_eq!(operators(&padding), ["AveragePool"]);
    assert_eq!(ints(&padding.node[0], "count_include_pad"), [1]);
}

#[test]
fn adaptive_pooling_for_any_size() {
    let of = |input, output| {
        graph(move |layer, x| layer.adaptive_average_pool(x, input, output).unwrap())
    };
    assert_eq!(operators(&of((7, 5), (1, 1))), ["GlobalAveragePool"]);
    assert_eq!(operators(&of((7, 7), (7, 7))), [""; 0]);
    let even = of((14, 6), (7, 2));
    assert_eq!(operators(&even), ["AveragePool"]);
    assert_eq!(ints(&even.node[0], "kernel_shape"), [2, 3]);
    assert_eq!(ints(&even.node[0], "strides"), [2, 3]);
    // Windows of different sizes, or more of them than rows.
    for input in [(8, 7), (1, 2)] {
        let uneven = of(input, (7, 7));
        assert_eq!(operators(&uneven), ["MatMul", "MatMul"]);
        let dims: Vec<_> = uneven.initializer.iter().map(|a| a.dims.clone()).collect();
        assert_eq!(dims, [[7, input.0 as i64], [input.1 as i64, 7]]);
    }
}

#[test]
fn norms_and_linear_layers_on_maps_and_features() {
    let row = || Array::f32(&[2], &[1., 1.]).unwrap();
    let norm = |maps| {
        graph(move |layer, x| {
            let weight = layer.parameter("weight", row()).unwrap();
            layer.layer_norm(x, &weight, &weight, 1e-6, maps)
        })
    };
    assert_eq!(operators(&norm(false)), ["LayerNormalization"]);
    let maps = norm(true);
    assert_eq!(
        operators(&maps),
        ["Transpose", "LayerNormalization", "Transpose"]
    );
    assert_eq!(ints(&maps.node[0], "perm"), [0, 2, 3, 1]);
    assert_eq!(ints(&maps.node[2], "perm"), [0, 3, 1, 2]);
    let eps = maps.node[1]
        .attribute
        .iter()
        .find(|a| a.name() == "epsilon");
    assert_eq!(eps.unwrap().f, Some(1e-6));

    let square = || Array::f32(&[2, 2], &[1.; 4]).unwrap();
    let linear = graph(|layer, x| {
        let weight = layer.parameter("weight", square()).unwrap();
        let y = layer.linear_on_maps(x, &weight, None);
        let y = layer.flatten(&y);
        layer.linear(&y, &weight, Some(&weight))
    });
    assert_eq!(operators(&linear), ["Unsqueeze", "Conv", "Flatten", "Gemm"]);
    assert_eq!(integers(&linear, "layer/axes"), [2, 3]);
    assert_eq!(ints(&linear.node[3], "transB"), [1]);
}
