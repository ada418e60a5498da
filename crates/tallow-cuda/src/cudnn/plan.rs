//! Choice of a plan for a convolution.

use super::constants::{
    CROSS_CORRELATION, DATA_BFLOAT16, DATA_FLOAT, attribute, descriptor, heuristic, kind, note,
};
use super::descriptor::Descriptor;
use super::library::{Handle, Library};
use crate::call::{Numbers, Precision};
use crate::error::Result;

/// Sizes of a convolution of (N, H, W, C) with filters (O, C / groups, KH, KW), which lie as (O, KH, KW, C / groups) in `bf16`. Pairs are
/// (vertical, horizontal).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Convolution {
    /// Images.
    pub batch: usize,
    /// Channels of the input.
    pub channels: usize,
    /// Height and width of the input.
    pub input: (usize, usize),
    /// Channels of the output.
    pub out_channels: usize,
    /// Height and width of the output.
    pub output: (usize, usize),
    /// Height and width of a filter.
    pub kernel: (usize, usize),
    /// Stride.
    pub stride: (usize, usize),
    /// Padding on each side.
    pub padding: (usize, usize),
    /// Dilation.
    pub dilation: (usize, usize),
    /// Groups of channels.
    pub groups: usize,
}

impl Convolution {
    /// Elements of the input, the weight and the output.
    pub fn elements(&self) -> [usize; 3] {
        let filter = self.channels / self.groups * self.kernel.0 * self.kernel.1;
        [
            self.batch * self.channels * self.input.0 * self.input.1,
            self.out_channels * filter,
            self.batch * self.out_channels * self.output.0 * self.output.1,
        ]
    }
}

/// Pass of a convolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Pass {
    /// Output from input and weight.
    Forward,
    /// Gradient of the input from weight and gradient of the output.
    InputGradient,
    /// Gradient of the weight from input and gradient of the output.
    WeightGradient,
}

impl Pass {
    /// All three.
    pub const ALL: [Self; 3] = [Self::Forward, Self::InputGradient, Self::WeightGradient];
}

/// Identities of the tensors: input, weight and output, or the gradients in their places.
pub(super) const X: i64 = 1;
pub(super) const W: i64 = 2;
pub(super) const Y: i64 = 3;

/// Device that a plan is made for.
#[derive(Clone, Copy)]
pub(super) enum Target {
    /// Device of a handle.
    Handle(Handle),
    /// Device that is only described: its plans cannot be executed.
    #[cfg(test)]
    Described(&'static Descriptor),
}

impl Target {
    fn set_on_graph(self, graph: &mut Descriptor) -> Result<()> {
        match self {
            Self::Handle(handle) => graph.set_handle(attribute::OPERATION_GRAPH_HANDLE, handle),
            #[cfg(test)]
            Self::Described(_) => Ok(()),
        }
    }

    #[cfg_attr(not(test), expect(unused_variables))]
    fn set_on_heuristic(self, heuristic: &mut Descriptor) -> Result<()> {
        match self {
            // It has that of the graph.
            Self::Handle(_) => Ok(()),
            #[cfg(test)]
            Self::Described(device) => {
                heuristic.set_descriptor(attribute::HEURISTIC_DEVICE_PROPERTIES, device)
            }
        }
    }

    fn set_on_plan(self, plan: &mut Descriptor) -> Result<()> {
        match self {
            Self::Handle(handle) => plan.set_handle(attribute::EXECUTION_PLAN_HANDLE, handle),
            #[cfg(test)]
            Self::Described(device) => {
                plan.set_descriptor(attribute::EXECUTION_PLAN_DEVICE_PROPERTIES, device)
            }
        }
    }
}

/// Plan that can be executed.
pub(super) struct Plan {
    pub(super) descriptor: Descriptor,
    /// Bytes of scratch memory.
    pub(super) workspace: usize,
    /// Number of the engine.
    engine: i64,
    notes: Vec<i32>,
}

impl Plan {
    /// The first plan of cuDNN's heuristics that is deterministic and computes in no less than the precision asked for. The choice depends on
    /// the version of cuDNN, the device, the sizes and the precision alone.
    pub(super) fn choose(
        library: &'static Library,
        target: Target,
        pass: Pass,
        convolution: &Convolution,
        precision: Precision,
    ) -> Result<Option<Self>> {
        let mut graph = Descriptor::new(library, descriptor::OPERATION_GRAPH)?;
        let operation = match operation(library, pass, convolution, precision.numbers())? {
            Some(operation) => operation,
            None => return Ok(None),
        };
        target.set_on_graph(&mut graph)?;
        graph.set_descriptor(attribute::OPERATION_GRAPH_OPS, &operation)?;
        if !graph.is_supported() {
            return Ok(None);
        }
        for mode in [heuristic::A, heuristic::FALLBACK] {
            for config in configs(library, target, &graph, mode)? {
                let engine =
                    config.descriptor(attribute::ENGINE_CONFIG_ENGINE, descriptor::ENGINE)?;
                let notes = engine.enums(
                    attribute::ENGINE_NUMERICAL_NOTE,
                    kind::NUMERICAL_NOTE,
                    note::MOST,
                )?;
                if !is_allowed(&notes, precision) {
                    continue;
                }
                let mut plan = Descriptor::new(library, descriptor::EXECUTION_PLAN)?;
                target.set_on_plan(&mut plan)?;
                plan.set_descriptor(attribute::EXECUTION_PLAN_ENGINE_CONFIG, &config)?;
                if !plan.is_supported() {
                    continue;
                }
                // A size below 0 would be an error of cuDNN: memory that the plan writes must not be guessed.
                let bytes = plan.int(attribute::EXECUTION_PLAN_WORKSPACE_SIZE)?;
                let Ok(workspace) = usize::try_from(bytes) else {
                    continue;
                };
                return Ok(Some(Self {
                    workspace,
                    engine: engine.int(attribute::ENGINE_GLOBAL_INDEX)?,
                    notes,
                    descriptor: plan,
                }));
            }
        }
        Ok(None)
    }

    /// Engine, its notes and the scratch memory.
    pub(super) fn describe(&self) -> String {
        let names = [
            (note::TENSOR_CORE, "tensor cores"),
            (note::DOWN_CONVERT_INPUTS, "inputs converted down"),
            (note::REDUCED_PRECISION_REDUCTION, "reduced precision"),
            (note::FFT, "FFT"),
            (note::NONDETERMINISTIC, "nondeterministic"),
            (note::WINOGRAD, "Winograd"),
        ];
        let has = |(note, _): &&(i32, &str)| self.notes.contains(note);
        let notes: Vec<&str> = names.iter().filter(has).map(|(_, name)| *name).collect();
        let notes = match notes.is_empty() {
            true => String::new(),
            false => format!(" ({})", notes.join(", ")),
        };
        format!("engine {}{notes}, {} bytes", self.engine, self.workspace)
    }
}

/// True for engines that give equal bits and compute in the precision. Of `f32`, tensor cores make TF32; sums are in `f32` in all.
fn is_allowed(notes: &[i32], precision: Precision) -> bool {
    let always = [
        note::DOWN_CONVERT_INPUTS,
        note::REDUCED_PRECISION_REDUCTION,
        note::NONDETERMINISTIC,
    ];
    let rounds = precision == Precision::F32 && notes.contains(&note::TENSOR_CORE);
    !rounds && !notes.iter().any(|note| always.contains(note))
}

/// Engines that a heuristic proposes, the best first; none where it has nothing to say.
fn configs(
    library: &'static Library,
    target: Target,
    graph: &Descriptor,
    mode: i32,
) -> Result<Vec<Descriptor>> {
    let mut heuristic = Descriptor::new(library, descriptor::ENGINE_HEURISTIC)?;
    target.set_on_heuristic(&mut heuristic)?;
    heuristic.set_descriptor(attribute::HEURISTIC_OPERATION_GRAPH, graph)?;
    heuristic.set_enum(attribute::HEURISTIC_MODE, kind::HEURISTIC_MODE, mode)?;
    if !heuristic.is_supported() {
        return Ok(Vec::new());
    }
    heuristic.descriptors(attribute::HEURISTIC_RESULTS, descriptor::ENGINE_CONFIG)
}

/// Operation of a pass; `None` if cuDNN does not have it.
fn operation(
    library: &'static Library,
    pass: Pass,
    c: &Convolution,
    numbers: Numbers,
) -> Result<Option<Descriptor>> {
    let pair = |(vertical, horizontal): (usize, usize)| [vertical as i64, horizontal as i64];
    let mut convolution = Descriptor::new(library, descriptor::CONVOLUTION)?;
    convolution.set_enum(
        attribute::CONVOLUTION_COMP_TYPE,
        kind::DATA_TYPE,
        DATA_FLOAT,
    )?;
    convolution.set_enum(
        attribute::CONVOLUTION_CONV_MODE,
        kind::CONVOLUTION_MODE,
        CROSS_CORRELATION,
    )?;
    convolution.set_i64s(attribute::CONVOLUTION_SPATIAL_DIMS, &[2])?;
    convolution.set_i64s(attribute::CONVOLUTION_PRE_PADDINGS, &pair(c.padding))?;
    convolution.set_i64s(attribute::CONVOLUTION_POST_PADDINGS, &pair(c.padding))?;
    convolution.set_i64s(attribute::CONVOLUTION_DILATIONS, &pair(c.dilation))?;
    convolution.set_i64s(attribute::CONVOLUTION_FILTER_STRIDES, &pair(c.stride))?;
    if !convolution.is_supported() {
        return Ok(None);
    }

    let map = |id, channels, size| map(library, id, numbers, c.batch, channels, size);
    let (Some(x), Some(w), Some(y)) = (
        map(X, c.channels, c.input)?,
        filter(library, numbers, c)?,
        map(Y, c.out_channels, c.output)?,
    ) else {
        return Ok(None);
    };
    // Kind, then the attributes of alpha, beta, convolution, x, w and y.
    use attribute as a;
    let (kind, [alpha, beta, conv, x_name, w_name, y_name]) = match pass {
        Pass::Forward => (
            descriptor::CONVOLUTION_FORWARD,
            [
                a::FORWARD_ALPHA,
                a::FORWARD_BETA,
                a::FORWARD_CONV_DESC,
                a::FORWARD_X,
                a::FORWARD_W,
                a::FORWARD_Y,
            ],
        ),
        Pass::InputGradient => (
            descriptor::CONVOLUTION_BACKWARD_DATA,
            [
                a::BACKWARD_DATA_ALPHA,
                a::BACKWARD_DATA_BETA,
                a::BACKWARD_DATA_CONV_DESC,
                a::BACKWARD_DATA_DX,
                a::BACKWARD_DATA_W,
                a::BACKWARD_DATA_DY,
            ],
        ),
        Pass::WeightGradient => (
            descriptor::CONVOLUTION_BACKWARD_FILTER,
            [
                a::BACKWARD_FILTER_ALPHA,
                a::BACKWARD_FILTER_BETA,
                a::BACKWARD_FILTER_CONV_DESC,
                a::BACKWARD_FILTER_X,
                a::BACKWARD_FILTER_DW,
                a::BACKWARD_FILTER_DY,
            ],
        ),
    };
    let mut operation = Descriptor::new(library, kind)?;
    operation.set_float(alpha, 1.)?;
    operation.set_float(beta, 0.)?;
    operation.set_descriptor(conv, &convolution)?;
    operation.set_descriptor(x_name, &x)?;
    operation.set_descriptor(w_name, &w)?;
    operation.set_descriptor(y_name, &y)?;
    Ok(operation.is_supported().then_some(operation))
}

/// Maps in (N, H, W, C), in cuDNN's order of dimensions.
fn map(
    library: &'static Library,
    id: i64,
    numbers: Numbers,
    batch: usize,
    channels: usize,
    (height, width): (usize, usize),
) -> Result<Option<Descriptor>> {
    let [n, c, h, w] = [batch, channels, height, width].map(|size| size as i64);
    let strides = [h * w * c, 1, w * c, c];
    tensor(library, id, numbers, [n, c, h, w], strides)
}

/// Filters: as the parameters lie, (O, C / groups, KH, KW), in `f32`; in `bf16`, of which they are copied, with the channels last.
fn filter(
    library: &'static Library,
    numbers: Numbers,
    c: &Convolution,
) -> Result<Option<Descriptor>> {
    let sizes = [
        c.out_channels,
        c.channels / c.groups,
        c.kernel.0,
        c.kernel.1,
    ];
    let [o, i, h, w] = sizes.map(|size| size as i64);
    let strides = match numbers {
        Numbers::F32 => [i * h * w, h * w, w, 1],
        Numbers::Bf16 => [i * h * w, 1, w * i, i],
    };
    tensor(library, W, numbers, [o, i, h, w], strides)
}

fn tensor(
    library: &'static Library,
    id: i64,
    numbers: Numbers,
    sizes: [i64; 4],
    strides: [i64; 4],
) -> Result<Option<Descriptor>> {
    let mut tensor = Descriptor::new(library, descriptor::TENSOR)?;
    let data_type = match numbers {
        Numbers::F32 => DATA_FLOAT,
        Numbers::Bf16 => DATA_BFLOAT16,
    };
    tensor.set_enum(attribute::TENSOR_DATA_TYPE, kind::DATA_TYPE, data_type)?;
    tensor.set_i64s(attribute::TENSOR_DIMENSIONS, &sizes)?;
    tensor.set_i64s(attribute::TENSOR_STRIDES, &strides)?;
    tensor.set_i64s(attribute::TENSOR_UNIQUE_ID, &[id])?;
    tensor.set_i64s(attribute::TENSOR_BYTE_ALIGNMENT, &[16])?;
    tensor.set_bool(attribute::TENSOR_IS_VIRTUAL, false)?;
    Ok(tensor.is_supported().then_some(tensor))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn engines_of_less_precision_and_of_any_order_are_left_out() {
        use Precision::{Bf16, F32, Tf32};
        for precision in [F32, Tf32, Bf16] {
            assert!(is_allowed(&[], precision));
            assert!(is_allowed(&[note::FFT, note::WINOGRAD], precision));
            for bad in [
                note::DOWN_CONVERT_INPUTS,
                note::REDUCED_PRECISION_REDUCTION,
                note::NONDETERMINISTIC,
            ] {
                assert!(!is_allowed(&[note::WINOGRAD, bad], precision));
            }
        }
        assert!(!is_allowed(&[note::TENSOR_CORE], F32));
        assert!(is_allowed(&[note::TENSOR_CORE], Tf32));
        assert!(is_allowed(&[note::TENSOR_CORE], Bf16));
    }

    #[test]
    fn elements_of_a_grouped_convolution() {
        let c = Convolution {
            batch: 2,
            channels: 8,
            input: (5, 6),
            out_channels: 12,
            output: (3, 4),
            kernel: (3, 3),
            stride: (1, 1),
            padding: (0, 0),
            dilation: (1, 1),
            groups: 4,
        };
        assert_eq!(c.elements(), [480, 216, 288]);
    }
}
