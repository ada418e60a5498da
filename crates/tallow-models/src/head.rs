//! Conversion between two equivalent heads.
//!
//! A 1x1 convolution and the average over the map are linear and commute. A head that convolves and then averages, as in network in
//! network, therefore has the outputs of one that averages and then applies a linear layer with the same weights, as in a ResNet. Only
//! the shape of the weight differs, `(O, I, 1, 1)` or `(O, I)`.

use candle_core::Tensor;

use crate::error::{Error, Result};

/// State of a network with global average pooling and a linear layer `layer`, from that of the network with a 1x1 convolution `layer`
/// and global average pooling. The bias is the same.
///
/// # Errors
/// When there is no `<layer>.weight` in the state, or when it is not `(O, I, 1, 1)`.
///
/// ```
/// use tallow_models::{Model, conv_head_to_linear, find};
///
/// let nin = Model::build("nin", &find("nin")?.config()?)?;
/// let fc = Model::build("nin-fc", &find("nin-fc")?.config()?)?;
/// let state = conv_head_to_linear(&nin.store().state_dict()?, "classifier")?;
/// fc.store().load_state_dict(&state, true)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn conv_head_to_linear(
    state: &[(String, Tensor)],
    layer: &str,
) -> Result<Vec<(String, Tensor)>> {
    with_weight(state, layer, |weight| match *weight.dims() {
        [o, i, 1, 1] => Ok(weight.reshape((o, i))?),
        _ => Err(wrong(layer, "a 1x1 convolution, (O, I, 1, 1)", weight)),
    })
}

/// Inverse of [`conv_head_to_linear`]: state of the network with a 1x1 convolution, from that of the network with a linear layer.
///
/// # Errors
/// When there is no `<layer>.weight` in the state, or when it is not `(O, I)`.
pub fn linear_head_to_conv(
    state: &[(String, Tensor)],
    layer: &str,
) -> Result<Vec<(String, Tensor)>> {
    with_weight(state, layer, |weight| match *weight.dims() {
        [o, i] => Ok(weight.reshape((o, i, 1, 1))?),
        _ => Err(wrong(layer, "a linear layer, (O, I)", weight)),
    })
}

fn with_weight(
    state: &[(String, Tensor)],
    layer: &str,
    change: impl Fn(&Tensor) -> Result<Tensor>,
) -> Result<Vec<(String, Tensor)>> {
    let weight = format!("{layer}.weight");
    let mut state = state.to_vec();
    let Some((_, tensor)) = state.iter_mut().find(|(name, _)| *name == weight) else {
        return Err(Error::State {
            layer: layer.into(),
            message: format!("there is no {weight} in the state"),
        });
    };
    *tensor = change(tensor)?;
    Ok(state)
}

fn wrong(layer: &str, expected: &str, found: &Tensor) -> Error {
    Error::State {
        layer: layer.into(),
        message: format!(
            "expected the weight of {expected}, found {:?}",
            found.dims()
        ),
    }
}
