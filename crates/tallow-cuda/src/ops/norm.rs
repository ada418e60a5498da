//! Batch norm in (N, H, W, C), with ReLU, addition and pooling; biases.

use candle_core::{CudaStorage, Var};

use super::counted;
use crate::calls::norm as calls;
use crate::calls::norm::{Affine, Finished, Forward, Parameters};
pub use crate::calls::norm::{Maps, Tail};
use crate::engine::{Engine, Memory};
use crate::error::{Error, Result};
use crate::view::{View, with_floats};

const OP: &str = "batch_norm";

/// Constants of a norm on the device, kept for the backward pass.
pub struct Constants {
    values: Memory<f32>,
    channels: usize,
    /// Whether mean and variance are those of the batch, and so depend on the input.
    of_batch: bool,
}

impl Constants {
    fn calls(&self) -> calls::Constants {
        calls::Constants {
            address: self.values.address(),
            channels: self.channels,
        }
    }
}

/// Parameters of a norm, with one float a channel each.
#[derive(Clone, Copy)]
pub struct Weights<'a> {
    /// Factor of the normalized values.
    pub weight: View<'a>,
    /// Shift of the normalized values.
    pub bias: View<'a>,
    /// Bias of the convolution before, which was left out of it.
    pub conv_bias: Option<View<'a>>,
}

/// Running statistics, and how a batch moves them.
#[derive(Clone, Debug)]
pub struct Running {
    /// Running mean, changed in place.
    pub mean: Var,
    /// Running variance, changed in place.
    pub var: Var,
    /// Weight of the newest batch.
    pub momentum: f64,
}

impl Weights<'_> {
    fn parameters(&self, channels: usize, mean: View, var: View) -> Result<Parameters> {
        let conv_bias = match self.conv_bias {
            Some(bias) => bias.expect(OP, "the convolution's bias", channels)?,
            None => 0,
        };
        Ok(Parameters {
            weight: self.weight.expect(OP, "weight", channels)?,
            bias: self.bias.expect(OP, "bias", channels)?,
            conv_bias,
            running_mean: mean.expect(OP, "running_mean", channels)?,
            running_var: var.expect(OP, "running_var", channels)?,
        })
    }
}

/// Constants of a norm from the statistics of `y`; moves the running statistics.
pub fn of_batch(
    y: View,
    maps: Maps,
    weights: &Weights,
    running: &Running,
    eps: f64,
) -> Result<Constants> {
    let engine = Engine::of(y.device())?;
    let from = y.expect(OP, "the input", maps.elements())?;
    let partition = calls::by_pixel(maps, &[from]).ok_or_else(|| too_large(maps))?;
    let partial = engine.uninit::<f64>(partition.partial_sums())?;
    let values = engine.uninit(calls::Constants::len(maps.c))?;
    with_floats(OP, &running.mean, |mean| {
        with_floats(OP, &running.var, |var| {
            let parameters = weights.parameters(maps.c, mean, var)?;
            let calls = [
                calls::statistics(from, partial.address(), &partition),
                calls::finish(
                    partial.address(),
                    &partition,
                    from,
                    &parameters,
                    (eps, running.momentum),
                    values.address(),
                ),
            ];
            for call in &calls {
                // SAFETY: `y` has the floats of the maps, the partial sums those of the partition, and all others one or four a channel. The
                // running statistics are variables, which are meant to change.
                unsafe { engine.launch(call)? };
            }
            Ok(())
        })
    })?;
    Ok(Constants {
        values,
        channels: maps.c,
        of_batch: true,
    })
}

/// Constants of a norm from the running statistics.
pub fn of_running(
    weights: &Weights,
    mean: View,
    var: View,
    channels: usize,
    eps: f64,
) -> Result<Constants> {
    let engine = Engine::of(weights.weight.device())?;
    let parameters = weights.parameters(channels, mean, var)?;
    let values = engine.uninit(calls::Constants::len(channels))?;
    let count = counted(OP, channels)?;
    let call = calls::constants(&parameters, count, eps, values.address());
    // SAFETY: all have one float a channel, and the constants four.
    unsafe { engine.launch(&call)? };
    Ok(Constants {
        values,
        channels,
        of_batch: false,
    })
}

/// Output of a norm and its tail. [`Tail::AddRelu`] needs a shortcut.
pub fn apply(
    y: View,
    maps: Maps,
    constants: &Constants,
    tail: Tail,
    shortcut: Option<View>,
) -> Result<CudaStorage> {
    let engine = Engine::of(y.device())?;
    let from = y.expect(OP, "the input", maps.elements())?;
    let shortcut = match (tail, shortcut) {
        (Tail::AddRelu, Some(shortcut)) => shortcut.expect(OP, "the shortcut", y.len())?,
        (Tail::AddRelu, None) => return Err(missing("shortcut")),
        _ => 0,
    };
    let outputs = outputs(maps, tail);
    let out = engine.uninit::<f32>(outputs.elements())?;
    let affine = constants.of(maps)?.affine();
    let call = calls::apply(from, maps, &affine, tail, shortcut, out.address())
        .ok_or_else(|| too_large(maps))?;
    // SAFETY: input, shortcut and output have the floats of the maps, and the constants theirs.
    unsafe { engine.launch(&call)? };
    Ok(engine.storage(out))
}

/// Adds a bias to each row of `y`, which is changed in place.
pub fn add_bias(y: &mut CudaStorage, bias: View) -> Result<()> {
    let engine = Engine::of(bias.device())?;
    let channels = bias.len();
    let at = crate::view::address(y.as_cuda_slice_mut::<f32>()?);
    let elements = y.as_cuda_slice::<f32>()?.len();
    let maps = rows(elements, channels)?;
    let affine = Affine {
        shift: bias.address(),
        ..Default::default()
    };
    let call =
        calls::apply(at, maps, &affine, Tail::Linear, 0, at).ok_or_else(|| too_large(maps))?;
    // SAFETY: `y` is changed value by value, and the bias has a float for each column.
    unsafe { engine.launch(&call) }
}

/// Sums over the rows of `grad`, which has `channels` columns: the gradient of a bias.
pub fn bias_gradient(grad: View, channels: usize) -> Result<CudaStorage> {
    let engine = Engine::of(grad.device())?;
    let maps = rows(grad.len(), channels)?;
    let forward = Forward {
        y: grad.address(),
        maps,
        affine: Affine::default(),
        tail: Tail::Linear,
    };
    let partition =
        calls::gradient_partition(&forward, &[grad.address()]).ok_or_else(|| too_large(maps))?;
    let partial = engine.uninit::<f64>(partition.partial_sums())?;
    let db = engine.uninit::<f32>(channels)?;
    let into = Finished {
        bias: db.address(),
        ..Default::default()
    };
    let calls = [
        calls::gradient_sums(
            &forward,
            grad.address(),
            (0, 0),
            &partition,
            partial.address(),
        ),
        calls::gradient_finish(partial.address(), &partition, 0, maps.pixels(), &into),
    ];
    for call in &calls {
        // SAFETY: the gradient has the floats of the matrix, the partial sums those of the partition, and the result one a column.
        unsafe { engine.launch(call)? };
    }
    Ok(engine.storage(db))
}

/// Gradients of a norm and its tail.
pub struct Gradients {
    /// Gradient of the input.
    pub input: CudaStorage,
    /// Gradients of weight and bias, one behind the other, and as many zeros behind them as were asked for.
    pub parameters: CudaStorage,
    /// Gradient of the shortcut, with [`Tail::AddRelu`].
    pub shortcut: Option<CudaStorage>,
}

/// Gradients of a norm and its tail. `out` is the output, which [`Tail::AddRelu`] needs; `zeros` is the number of zeros behind the parameters'
/// gradients: the gradient of the convolution's bias, which the norm subtracts again.
pub fn backward(
    y: View,
    grad: View,
    out: Option<View>,
    maps: Maps,
    constants: &Constants,
    tail: Tail,
    zeros: usize,
) -> Result<Gradients> {
    let engine = Engine::of(y.device())?;
    let from = y.expect(OP, "the input", maps.elements())?;
    let grad = grad.expect(OP, "the gradient", outputs(maps, tail).elements())?;
    let out = match (tail, out) {
        (Tail::AddRelu, Some(out)) => out.expect(OP, "the output", maps.elements())?,
        (Tail::AddRelu, None) => return Err(missing("output")),
        _ => 0,
    };
    let channels = maps.c;
    let norm = constants.of(maps)?;
    let forward = Forward {
        y: from,
        maps,
        affine: norm.affine(),
        tail,
    };
    let masked = match tail {
        Tail::AddRelu => Some(engine.uninit::<f32>(maps.elements())?),
        _ => None,
    };
    let masked_at = masked.as_ref().map_or(0, Memory::address);
    let partition = calls::gradient_partition(&forward, &[from, grad, out, masked_at])
        .ok_or_else(|| too_large(maps))?;
    let partial = engine.uninit::<f64>(partition.partial_sums())?;
    let parameters = engine.zeroed_tail(2 * channels, zeros)?;
    let through = match constants.of_batch {
        true => Some(engine.uninit::<f32>(2 * channels)?),
        false => None,
    };
    let through = through.as_ref();
    let into = Finished {
        through: through.map_or(0, Memory::address),
        weight: parameters.address(),
        bias: parameters.address() + 4 * channels as u64,
    };
    let dy = engine.uninit::<f32>(maps.elements())?;
    let d = match tail {
        Tail::AddRelu => masked_at,
        _ => grad,
    };
    let calls = [
        calls::gradient_sums(
            &forward,
            grad,
            (out, masked_at),
            &partition,
            partial.address(),
        ),
        calls::gradient_finish(
            partial.address(),
            &partition,
            norm.inverse(),
            maps.pixels(),
            &into,
        ),
        calls::gradient(&forward, d, into.through, dy.address()).ok_or_else(|| too_large(maps))?,
    ];
    for call in &calls {
        // SAFETY: input, gradients and output have the floats of the maps, the partial sums those of the partition, and all others one, two
        // or four a channel.
        unsafe { engine.launch(call)? };
    }
    Ok(Gradients {
        input: engine.storage(dy),
        parameters: engine.storage(parameters),
        shortcut: masked.map(|masked| engine.storage(masked)),
    })
}

impl Constants {
    /// The constants, for maps of as many channels.
    fn of(&self, maps: Maps) -> Result<calls::Constants> {
        match self.channels == maps.c {
            true => Ok(self.calls()),
            false => Err(Error::Length {
                op: OP,
                argument: "the constants",
                expected: maps.c,
                found: self.channels,
            }),
        }
    }
}

/// Sizes of the output.
fn outputs(maps: Maps, tail: Tail) -> Maps {
    match tail {
        Tail::ReluPool => maps.pooled(),
        _ => maps,
    }
}

/// Matrix of `channels` columns as maps of one pixel.
fn rows(elements: usize, channels: usize) -> Result<Maps> {
    if channels == 0 || !elements.is_multiple_of(channels) {
        return Err(Error::Length {
            op: "bias",
            argument: "the input",
            expected: elements.next_multiple_of(channels.max(1)),
            found: elements,
        });
    }
    Ok(Maps {
        n: elements / channels,
        h: 1,
        w: 1,
        c: channels,
    })
}

fn too_large(maps: Maps) -> Error {
    Error::Size {
        op: OP,
        elements: maps.elements(),
    }
}

fn missing(what: &str) -> Error {
    Error::Argument {
        op: OP,
        message: format!("a sum before the ReLU needs the {what}"),
    }
}
