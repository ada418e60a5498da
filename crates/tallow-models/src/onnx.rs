//! Models as ONNX files.

use candle_core::Tensor;
use tallow_onnx::{Array, Dim, ElementType, Graph, ModelInfo, Value};
use tallow_ops::no_grad;

use crate::error::{Error, Result};
use crate::model::Model;
use crate::module::Context;
use crate::trace::Trace;

/// Settings of [`Model::to_onnx`].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct OnnxOptions {
    /// Values that the graph takes.
    pub input: OnnxInput,
    /// Names and values for the programs that read the file (`metadata_props`), after the model's own.
    pub metadata: Vec<(String, String)>,
}

/// Values of the images that a graph takes, `(N, C, H, W)`.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum OnnxInput {
    /// 32-bit floats as [`Model::forward`] takes them.
    #[default]
    Normalized,
    /// 32-bit floats in `[0, 1]`; the graph subtracts the mean of each channel and divides by the standard deviation.
    Unit {
        /// Mean of each channel.
        mean: Vec<f32>,
        /// Standard deviation of each channel.
        std: Vec<f32>,
    },
    /// Bytes; the graph divides them by 255 and goes on as for [`OnnxInput::Unit`].
    Bytes {
        /// Mean of each channel.
        mean: Vec<f32>,
        /// Standard deviation of each channel.
        std: Vec<f32>,
    },
}

/// Name of a graph's input, `(N, C, H, W)`.
const IMAGES: &str = "images";
/// Name of a graph's output, `(N, classes)`.
const LOGITS: &str = "logits";

impl Model {
    /// ONNX file of the model in evaluation mode: input `images` `(N, C, H, W)`, output `logits` `(N, classes)`, for any N.
    ///
    /// The graph has the operators of the layers one by one, batch norms included, and the parameters under their PyTorch names, in
    /// 32-bit floats. It is found by a forward pass with one black image, in which each layer describes itself by [`Context::onnx`].
    ///
    /// # Errors
    /// [`Error::Layer`] for a layer without a description; [`Error::Config`] for a mean or standard deviation that has not one value
    /// for each channel; [`Error::Onnx`] above 2 GiB.
    ///
    /// ```
    /// use tallow_models::{Model, ModelConfig, OnnxOptions};
    ///
    /// let model = Model::build("cnn", &ModelConfig::new(10, (1, 28, 28)))?;
    /// let file = model.to_onnx(&OnnxOptions::default())?;
    /// assert!(file.len() > 4 * model.store().num_parameters());
    /// # Ok::<(), tallow_models::Error>(())
    /// ```
    pub fn to_onnx(&self, options: &OnnxOptions) -> Result<Vec<u8>> {
        self.check_initialized()?;
        let (channels, h, w) = self.input_shape();
        let of_model = |error: Error| error.of_model(self.name());
        let mut graph = Graph::new(self.name());
        let batch = Dim::Free("batch");
        let kind = match options.input {
            OnnxInput::Bytes { .. } => ElementType::U8,
            _ => ElementType::F32,
        };
        let shape = [batch, Dim::Size(channels), Dim::Size(h), Dim::Size(w)];
        let images = graph.input(IMAGES, kind, &shape);
        let input = normalised(&mut graph, &options.input, images, channels).map_err(of_model)?;

        let image = self.black_image()?;
        let mut trace = Trace::new(graph, &image, input);
        let logits = no_grad(|| {
            let mut cx = Context::tracing(&mut trace);
            self.network().forward(&image, &mut cx)
        })
        .map_err(of_model)?;
        let value = trace.value(&logits).cloned().ok_or_else(|| {
            let message = "cannot be written as ONNX: its output was computed after the last layer; put the computation into a layer that calls Context::onnx";
            of_model(Error::Config {
                message: message.into(),
            })
        })?;
        self.check_logits(&logits)?;
        let mut graph = trace.into_graph();
        graph.output(&value, LOGITS, &[batch, Dim::Size(self.classes())]);

        let model = ("model".to_string(), self.name().to_string());
        let info = ModelInfo {
            producer: "tallow".into(),
            producer_version: env!("CARGO_PKG_VERSION").into(),
            description: format!(
                "{}: images (N, {channels}, {h}, {w}) to logits (N, {})",
                self.name(),
                self.classes()
            ),
            metadata: [model]
                .into_iter()
                .chain(options.metadata.clone())
                .collect(),
        };
        Ok(graph.into_file(&info)?)
    }

    fn check_logits(&self, logits: &Tensor) -> Result<()> {
        if logits.dims() == [1, self.classes()] {
            return Ok(());
        }
        let message = format!(
            "expected logits (1, {}) of one image, found {:?}",
            self.classes(),
            logits.dims()
        );
        Err(Error::Config { message }.of_model(self.name()))
    }
}

/// The network's input, from the graph's.
fn normalised(
    graph: &mut Graph,
    input: &OnnxInput,
    images: Value,
    channels: usize,
) -> Result<Value> {
    let (mean, std, bytes) = match input {
        OnnxInput::Normalized => return Ok(images),
        OnnxInput::Unit { mean, std } => (mean, std, false),
        OnnxInput::Bytes { mean, std } => (mean, std, true),
    };
    if mean.len() != channels || std.len() != channels || std.contains(&0.) {
        let message = format!(
            "expected a mean and a standard deviation other than 0 for each of {channels} channels, found {mean:?} and {std:?}"
        );
        return Err(Error::Config { message });
    }
    let mut layer = graph.layer("normalize");
    let mut x = images;
    if bytes {
        let most = layer.constant("most", Array::scalar(255.));
        let floats = layer.to_f32(&x);
        x = layer.plain("Div", &[&floats, &most]);
    }
    let shape = [1, channels, 1, 1];
    let mean = layer.constant("mean", Array::f32(&shape, mean)?);
    let std = layer.constant("std", Array::f32(&shape, std)?);
    let centred = layer.plain("Sub", &[&x, &mean]);
    Ok(layer.plain("Div", &[&centred, &std]))
}
