//! Batch norm in (N, H, W, C), with ReLU, addition and pooling; biases.

use candle_core::backend::BackendStorage;
use candle_core::{CudaStorage, DType, Var};
use half::bf16;

use super::counted;
use crate::call::{Address, Numbers};
use crate::calls::norm as calls;
use crate::calls::norm::{Affine, Finished, Forward, Parameters};
pub use crate::calls::norm::{Maps, Tail};
use crate::engine::{Engine, Memory, Values};
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
        let mean = mean.beside(OP, "running_mean", &self.weight)?;
        let var = var.beside(OP, "running_var", &self.weight)?;
        let conv_bias = match self.conv_bias {
            Some(bias) => floats(bias, "the convolution's bias", channels)?,
            None => 0,
        };
        Ok(Parameters {
            weight: floats(self.weight, "weight", channels)?,
            bias: floats(self.bias, "bias", channels)?,
            conv_bias,
            running_mean: floats(mean, "running_mean", channels)?,
            running_var: floats(var, "running_var", channels)?,
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
    let from = input(y, "the input", maps)?;
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

/// Constants of a norm of maps from the running statistics.
pub fn of_running(
    weights: &Weights,
    mean: View,
    var: View,
    maps: Maps,
    eps: f64,
) -> Result<Constants> {
    let channels = maps.c;
    let engine = Engine::of(weights.weight.device())?;
    let parameters = weights.parameters(channels, mean, var)?;
    let values = engine.uninit(calls::Constants::len(channels))?;
    let count = counted(OP, channels)?;
    let call = calls::constants(maps.numbers, &parameters, count, eps, values.address());
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
    let from = input(y, "the input", maps)?;
    let shortcut = match (tail, shortcut) {
        (Tail::AddRelu, Some(shortcut)) => input(shortcut, "the shortcut", maps)?,
        (Tail::AddRelu, None) => return Err(missing("shortcut")),
        _ => 0,
    };
    let outputs = outputs(maps, tail);
    let out = engine.values(maps.numbers, outputs.elements())?;
    let affine = constants.of(maps)?.affine();
    let call = calls::apply(from, maps, &affine, tail, shortcut, out.address())
        .ok_or_else(|| too_large(maps))?;
    // SAFETY: input, shortcut and output have the numbers of the maps, and the constants theirs.
    unsafe { engine.launch(&call)? };
    Ok(engine.storage_of(out))
}

/// ReLU of `y` plus a bias of each channel, and with [`Tail::ReluPool`] the maximum of each 2x2 square.
pub fn bias_relu(y: View, maps: Maps, bias: Option<View>, tail: Tail) -> Result<CudaStorage> {
    let engine = Engine::of(y.device())?;
    let from = input(y, "the input", maps)?;
    let affine = shifted(maps, bias, tail)?;
    let out = engine.values(maps.numbers, outputs(maps, tail).elements())?;
    let call =
        calls::apply(from, maps, &affine, tail, 0, out.address()).ok_or_else(|| too_large(maps))?;
    // SAFETY: input and output have the numbers of the maps, and the bias a float a channel.
    unsafe { engine.launch(&call)? };
    Ok(engine.storage_of(out))
}

/// Gradients of the input and of the bias of [`bias_relu`].
pub fn bias_relu_gradient(
    y: View,
    grad: View,
    maps: Maps,
    bias: Option<View>,
    tail: Tail,
) -> Result<(CudaStorage, Option<CudaStorage>)> {
    let engine = Engine::of(y.device())?;
    let forward = Forward {
        y: input(y, "the input", maps)?,
        maps,
        affine: shifted(maps, bias, tail)?,
        tail,
    };
    let grad = input(grad, "the gradient", outputs(maps, tail))?;
    let dy = engine.values(maps.numbers, maps.elements())?;
    let db = match bias {
        Some(_) => Some(sums_of_channels(&engine, &forward, grad)?),
        None => None,
    };
    let call = calls::gradient(&forward, grad, 0, dy.address()).ok_or_else(|| too_large(maps))?;
    // SAFETY: input and gradients have the numbers of the maps, and the bias a float a channel.
    unsafe { engine.launch(&call)? };
    let db = db.map(|db| engine.storage(db));
    Ok((engine.storage_of(dy), db))
}

/// Norm that only adds a bias, before a ReLU.
fn shifted(maps: Maps, bias: Option<View>, tail: Tail) -> Result<Affine> {
    if !matches!(tail, Tail::Relu | Tail::ReluPool) {
        let message = format!("expected a ReLU after a bias, found {tail:?}");
        return Err(Error::Argument { op: OP, message });
    }
    let shift = match bias {
        Some(bias) => floats(bias, "the bias", maps.c)?,
        None => 0,
    };
    Ok(Affine {
        shift,
        ..Default::default()
    })
}

/// Sums over each channel of the gradient before the tail: the gradient of a bias.
fn sums_of_channels(engine: &Engine, forward: &Forward, grad: Address) -> Result<Memory<f32>> {
    let maps = forward.maps;
    let partition =
        calls::gradient_partition(forward, &[forward.y, grad]).ok_or_else(|| too_large(maps))?;
    let partial = engine.uninit::<f64>(partition.partial_sums())?;
    let sums = engine.uninit::<f32>(maps.c)?;
    let into = Finished {
        bias: sums.address(),
        ..Default::default()
    };
    let calls = [
        calls::gradient_sums(forward, grad, (0, 0), &partition, partial.address()),
        calls::gradient_finish(partial.address(), &partition, 0, maps.pixels(), &into),
    ];
    for call in &calls {
        // SAFETY: input and gradient have the numbers of the maps, the partial sums those of the partition, and the result one a channel.
        unsafe { engine.launch(call)? };
    }
    Ok(sums)
}

/// Adds a bias to each row of `y`, which is changed in place.
pub fn add_bias(y: &mut CudaStorage, bias: View) -> Result<()> {
    let engine = Engine::of(bias.device())?;
    let channels = bias.len();
    let (numbers, at, elements) = match y.dtype() {
        DType::BF16 => {
            let slice = y.as_cuda_slice_mut::<bf16>()?;
            (Numbers::Bf16, crate::view::address(slice), slice.len())
        }
        _ => {
            let slice = y.as_cuda_slice_mut::<f32>()?;
            (Numbers::F32, crate::view::address(slice), slice.len())
        }
    };
    let maps = rows(numbers, elements, channels)?;
    let affine = Affine {
        shift: floats(bias, "the bias", channels)?,
        ..Default::default()
    };
    let call =
        calls::apply(at, maps, &affine, Tail::Linear, 0, at).ok_or_else(|| too_large(maps))?;
    // SAFETY: `y` is changed value by value, and the bias has a float for each column.
    unsafe { engine.launch(&call) }
}

/// Sums over the rows of `grad`, which has `channels` columns: the gradient of a bias.
pub fn bias_gradient(grad: View, channels: usize) -> Result<CudaStorage> {
    sums_of_rows(None, grad, channels)
}

/// The same of what passes through a ReLU whose output is `out`.
pub fn relu_bias_gradient(out: View, grad: View, channels: usize) -> Result<CudaStorage> {
    sums_of_rows(Some(out), grad, channels)
}

fn sums_of_rows(out: Option<View>, grad: View, channels: usize) -> Result<CudaStorage> {
    let engine = Engine::of(grad.device())?;
    let maps = rows(grad.kind(), grad.len(), channels)?;
    let (y, tail) = match out {
        // The ReLU of its own output lets the same through.
        Some(out) => (input(out, "the output", maps)?, Tail::Relu),
        None => (grad.address(), Tail::Linear),
    };
    let forward = Forward {
        y,
        maps,
        affine: Affine::default(),
        tail,
    };
    let db = sums_of_channels(&engine, &forward, grad.address())?;
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
    let from = input(y, "the input", maps)?;
    let grad = input(grad, "the gradient", outputs(maps, tail))?;
    let out = match (tail, out) {
        (Tail::AddRelu, Some(out)) => input(out, "the output", maps)?,
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
        Tail::AddRelu => Some(engine.values(maps.numbers, maps.elements())?),
        _ => None,
    };
    let masked_at = masked.as_ref().map_or(0, Values::address);
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
    let dy = engine.values(maps.numbers, maps.elements())?;
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
        // SAFETY: input, gradients and output have the numbers of the maps, the partial sums those of the partition, and all others one, two
        // or four a channel.
        unsafe { engine.launch(call)? };
    }
    Ok(Gradients {
        input: engine.storage_of(dy),
        parameters: engine.storage(parameters),
        shortcut: masked.map(|masked| engine.storage_of(masked)),
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

/// Address of maps that are as expected.
fn input(view: View, argument: &'static str, maps: Maps) -> Result<Address> {
    view.expect_kind(OP, argument, maps.numbers)?;
    view.expect(OP, argument, maps.elements())
}

/// Address of parameters, one float a channel.
fn floats(view: View, argument: &'static str, channels: usize) -> Result<Address> {
    view.expect_kind(OP, argument, Numbers::F32)?;
    view.expect(OP, argument, channels)
}

/// Sizes of the output.
fn outputs(maps: Maps, tail: Tail) -> Maps {
    match tail {
        Tail::ReluPool => maps.pooled(),
        _ => maps,
    }
}

/// Matrix of `channels` columns as maps of one pixel.
fn rows(numbers: Numbers, elements: usize, channels: usize) -> Result<Maps> {
    if channels == 0 || !elements.is_multiple_of(channels) {
        return Err(Error::Length {
            op: "bias",
            argument: "the input",
            expected: elements.next_multiple_of(channels.max(1)),
            found: elements,
        });
    }
    Ok(Maps {
        numbers,
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
