//! ONNX files of models. `xtask/pytorch/check_onnx.py` compares their logits in ONNX Runtime.

use std::collections::{BTreeMap, BTreeSet};

use candle_core::{DType, Device, ModuleT, Tensor};
use prost::Message;
use tallow_models::nn::{Add, FromCandle, Linear, Relu, Sequential};
use tallow_models::tallow_onnx::proto::{GraphProto, ModelProto, NodeProto, TensorProto};
use tallow_models::{
    Context, Model, ModelConfig, Module, OnnxInput, OnnxOptions, Result, onnx_parameter, registry,
};
use tallow_ops::{ParamPath, ParamStore};

use crate::common::{fill, small};

fn decoded(model: &Model, options: &OnnxOptions) -> ModelProto {
    let file = model.to_onnx(options).unwrap();
    ModelProto::decode(&file[..]).unwrap()
}

fn graph(model: &Model) -> GraphProto {
    decoded(model, &OnnxOptions::default()).graph.unwrap()
}

fn operators(graph: &GraphProto) -> Vec<&str> {
    graph.node.iter().map(NodeProto::op_type).collect()
}

fn floats(array: &TensorProto) -> Vec<f32> {
    let bytes = array.raw_data.as_ref().unwrap().chunks_exact(4);
    bytes
        .map(|b| f32::from_le_bytes(b.try_into().unwrap()))
        .collect()
}

/// Parameters in a graph: name, shape, values. Constants have a slash in their names.
fn parameters(graph: &GraphProto) -> BTreeMap<String, (Vec<usize>, Vec<f32>)> {
    let arrays = graph.initializer.iter().filter(|a| !a.name().contains('/'));
    arrays
        .map(|array| {
            let dims = array.dims.iter().map(|n| *n as usize).collect();
            (array.name().to_string(), (dims, floats(array)))
        })
        .collect()
}

fn state(store: &ParamStore) -> BTreeMap<String, (Vec<usize>, Vec<f32>)> {
    let state = store.state_dict().unwrap().into_iter();
    state
        .filter(|(name, _)| !name.ends_with("num_batches_tracked"))
        .map(|(name, tensor)| {
            let values = tensor.to_dtype(DType::F32).unwrap().flatten_all().unwrap();
            (name, (tensor.dims().to_vec(), values.to_vec1().unwrap()))
        })
        .collect()
}

fn own<M: Module>(build: impl FnOnce(&ParamPath) -> Result<M>) -> Model {
    let config = ModelConfig::new(3, (1, 2, 2));
    Model::from_network("own", &config, |p, _| build(p)).unwrap()
}

/// Every value is an input, an array, or the output of an earlier operator; names occur once; and the parameters are the state dict's.
#[test]
fn every_model_has_a_graph_with_all_its_weights() {
    for entry in registry() {
        let model = entry.build(&small(entry)).unwrap();
        fill(&model, 0.);
        let graph = graph(&model);
        let name = entry.name();
        assert!(parameters(&graph) == state(model.store()), "{name}");

        let mut known = BTreeSet::from(["images"]);
        for array in &graph.initializer {
            assert!(known.insert(array.name()), "{name}: {}", array.name());
        }
        let mut nodes = BTreeSet::new();
        let mut used = BTreeSet::new();
        for node in &graph.node {
            assert!(nodes.insert(node.name()), "{name}: {}", node.name());
            for input in &node.input {
                assert!(known.contains(input.as_str()), "{name}: {input}");
                used.insert(input.as_str());
            }
            for output in &node.output {
                assert!(known.insert(output), "{name}: {output}");
            }
        }
        known.remove("logits");
        assert_eq!(known, used, "{name}: unused values");

        // Each convolution and linear layer of the summary is one operator.
        let layers = model.summary().unwrap().layers;
        let heavy = layers.iter().filter(|layer| layer.multiply_adds > 0);
        let heavy: Vec<&str> = heavy.map(|layer| layer.name.as_str()).collect();
        for layer in heavy.iter().filter(|layer| !layer.ends_with("output")) {
            let of_layer = |n: &&NodeProto| n.name().rsplit_once('/').unwrap().0 == *layer;
            let products = ["Conv", "ConvTranspose", "Gemm"];
            let products = |n: &&NodeProto| products.contains(&n.op_type());
            let count = graph.node.iter().filter(of_layer).filter(products).count();
            assert_eq!(count, 1, "{name}: {layer}");
        }
    }
}

#[test]
fn the_operators_of_a_network_are_its_layers() {
    let config = ModelConfig::new(10, (1, 28, 28));
    let model = Model::build("cnn", &config).unwrap();
    let file = decoded(&model, &OnnxOptions::default());
    let graph = file.graph.as_ref().unwrap();
    assert_eq!(
        operators(graph).join(" "),
        "Conv Relu MaxPool Conv Relu MaxPool Flatten Gemm Relu Gemm Identity"
    );
    assert_eq!(
        graph.node[0].input,
        ["images", "conv1.weight", "conv1.bias"]
    );
    assert_eq!(
        file.doc_string(),
        "cnn: images (N, 1, 28, 28) to logits (N, 10)"
    );
    assert_eq!(
        (file.producer_name(), file.metadata_props[0].value()),
        ("tallow", "cnn")
    );
    let dims = |info: &tallow_models::tallow_onnx::proto::ValueInfoProto| {
        let tensor = info.r#type.clone().unwrap().tensor_type.unwrap();
        let dims = tensor.shape.unwrap().dim.into_iter();
        dims.map(|d| {
            d.dim_param
                .unwrap_or_else(|| d.dim_value.unwrap().to_string())
        })
        .collect::<Vec<_>>()
        .join(" ")
    };
    assert_eq!(dims(&graph.input[0]), "batch 1 28 28");
    assert_eq!(dims(&graph.output[0]), "batch 10");
}

/// A residual block: the shortcut is the value before the block.
#[test]
fn branches_are_found() {
    let model = Model::build("resnet20", &small(registry().find("resnet20").unwrap())).unwrap();
    let graph = graph(&model);
    let add = graph
        .node
        .iter()
        .find(|n| n.name() == "layer1.0.add/Add")
        .unwrap();
    assert_eq!(add.input[1], "relu/Relu/output");
    assert!(add.input[0].starts_with("layer1.0.bn2/"), "{:?}", add.input);
}

#[test]
fn layouts_and_types_give_the_same_graph() {
    let entry = registry().find("resnet20-d").unwrap();
    let file = |dtype, layout| {
        let config = ModelConfig {
            dtype,
            layout,
            ..small(entry)
        };
        let model = entry.build(&config).unwrap();
        // Values that are the same in all types.
        for (_, var) in model.store().parameters() {
            var.set(&(var.ones_like().unwrap() * 0.5).unwrap()).unwrap();
        }
        model.to_onnx(&OnnxOptions::default()).unwrap()
    };
    let first = file(DType::F32, None);
    for (dtype, layout) in [
        (DType::F32, Some(tallow_ops::Layout::Nchw)),
        (DType::F64, None),
    ] {
        assert!(file(dtype, layout) == first, "{dtype:?}, {layout:?}");
    }
}

#[test]
fn a_graph_can_normalise() {
    let entry = registry().find("lenet").unwrap();
    let model = entry.build(&entry.config().unwrap()).unwrap();
    let (mean, std) = (vec![0.5, 0.25, 0.125], vec![1., 2., 4.]);
    for (input, expected, kind) in [
        (OnnxInput::Normalized, "Conv Relu", 1),
        (
            OnnxInput::Unit {
                mean: mean.clone(),
                std: std.clone(),
            },
            "Sub Div Conv",
            1,
        ),
        (
            OnnxInput::Bytes {
                mean: mean.clone(),
                std: std.clone(),
            },
            "Cast Div Sub Div Conv",
            2,
        ),
    ] {
        let normalised = input != OnnxInput::Normalized;
        let metadata = vec![("classes".to_string(), "[]".to_string())];
        let file = decoded(&model, &OnnxOptions { input, metadata });
        assert_eq!(file.metadata_props[1].key(), "classes");
        let graph = file.graph.unwrap();
        let found = operators(&graph).join(" ");
        assert!(found.starts_with(expected), "{found}");
        let tensor = graph.input[0].r#type.clone().unwrap().tensor_type.unwrap();
        assert_eq!(tensor.elem_type, Some(kind));
        if normalised {
            let array = |name: &str| {
                let array = graph.initializer.iter().find(|a| a.name() == name).unwrap();
                (array.dims.clone(), floats(array))
            };
            assert_eq!(array("normalize/mean"), (vec![1, 3, 1, 1], mean.clone()));
            assert_eq!(array("normalize/std"), (vec![1, 3, 1, 1], std.clone()));
        }
    }
    for (mean, std) in [(vec![0.5], vec![1.]), (vec![0.; 3], vec![1., 0., 1.])] {
        let input = OnnxInput::Unit { mean, std };
        let options = OnnxOptions {
            input,
            metadata: Vec::new(),
        };
        let error = model.to_onnx(&options).unwrap_err().to_string();
        assert!(
            error.starts_with("lenet: expected a mean and a standard deviation"),
            "{error}"
        );
    }
}

/// Layer of a user that describes itself.
struct Shift(Tensor);

impl Module for Shift {
    fn forward(&self, x: &Tensor, cx: &mut Context) -> Result<Tensor> {
        let y = x.broadcast_add(&self.0)?;
        cx.onnx("shift", [x], &y, |layer, [x]| {
            let by = onnx_parameter(layer, "by", &self.0)?;
            Ok(layer.plain("Add", &[x, &by]))
        })?;
        cx.report("shift", "Shift", y, 3, 0)
    }
}

fn head(p: &ParamPath) -> Result<Linear> {
    Linear::new(p.pp("fc"), 4, 3)
}

#[test]
fn a_layer_of_a_user_describes_itself() {
    let by = Tensor::new(&[1f32, 2., 3.], &Device::Cpu).unwrap();
    let model = own(|p| {
        Ok(Sequential::build(p, (1, 2, 2))
            .flatten()
            .linear("fc", 3)
            .finish()?
            .add(Shift(by.clone())))
    });
    let graph = graph(&model);
    assert_eq!(operators(&graph), ["Flatten", "Gemm", "Add", "Identity"]);
    assert_eq!(parameters(&graph)["shift.by"], (vec![3], vec![1., 2., 3.]));
}

/// Layer of a user that does not.
struct Square;

impl Module for Square {
    fn forward(&self, x: &Tensor, cx: &mut Context) -> Result<Tensor> {
        cx.report("square", "Square", x.sqr()?, 0, 0)
    }
}

struct Negated;

impl ModuleT for Negated {
    fn forward_t(&self, x: &Tensor, _: bool) -> candle_core::Result<Tensor> {
        x.neg()
    }
}

#[test]
fn a_layer_without_a_description_is_named() {
    let square = own(|p| {
        Ok(Sequential::build(p, (1, 2, 2))
            .flatten()
            .linear("fc", 3)
            .finish()?
            .add(Square))
    });
    let candle = own(|p| Ok(FromCandle::new(p.pp("net"), Negated)));
    for (model, layer) in [(square, "Square `square`"), (candle, "ModuleT `net`")] {
        let error = model
            .to_onnx(&OnnxOptions::default())
            .unwrap_err()
            .to_string();
        let expected = format!(
            "own: {layer}: has no description in ONNX; its forward pass must call Context::onnx before Context::report"
        );
        assert_eq!(error, expected);
    }
}

/// Network that computes between its layers, before them, or after them.
struct Between {
    first: Relu,
    add: Add,
    fc: Linear,
    after: bool,
}

impl Module for Between {
    fn forward(&self, x: &Tensor, cx: &mut Context) -> Result<Tensor> {
        let y = self.first.forward(x, cx)?;
        let y = self.add.forward(&y, x, cx)?;
        if self.after {
            let y = tallow_models::nn::Flatten::new(
                ParamStore::new(DType::F32, &Device::Cpu, 0).root(),
            )
            .forward(&y, cx)?;
            return Ok((self.fc.forward(&y, cx)? * 2.)?);
        }
        self.fc.forward(&y.flatten_from(1)?, cx)
    }
}

#[test]
fn computation_outside_of_layers_is_refused() {
    for (after, expected) in [
        (
            false,
            "own: layer `fc`: cannot be written as ONNX: its input was computed between layers",
        ),
        (
            true,
            "own: cannot be written as ONNX: its output was computed after the last layer",
        ),
    ] {
        let model = own(|p| {
            Ok(Between {
                first: Relu::new(p.pp("first")),
                add: Add::new(p.pp("add")),
                fc: head(p)?,
                after,
            })
        });
        let error = model
            .to_onnx(&OnnxOptions::default())
            .unwrap_err()
            .to_string();
        assert!(error.starts_with(expected), "{error}");
        // The same network trains and is summed up.
        assert!(model.summary().is_ok());
    }
}
