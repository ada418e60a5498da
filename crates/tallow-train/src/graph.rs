//! Steps that a device records once and repeats: CUDA graphs.
//!
//! Forward and backward pass are recorded, from images and targets to loss, logits and gradients. All that differs from step to step is outside:
//! the batch is copied to the memory from which the recorded step reads, and clipping, callbacks, the optimizer with its learning rate and the
//! metrics read its results as they read those of a plain step. Masks of dropout are moved by a number that the device is given.

#[cfg(feature = "cuda")]
mod device;
mod recorder;
#[cfg(test)]
mod tests;

use std::cell::Cell;
use std::mem::{Discriminant, discriminant};
use std::rc::Rc;

use candle_core::{DType, Device, Shape, Tensor, Var};
use tallow_ops::{GeneratorState, ParamStore};

pub(crate) use self::recorder::Recorder;
use self::recorder::{Kept, Launch};
use crate::config::TrainConfig;
use crate::copies::same_bits;
use crate::error::Result;
use crate::loss::Target;
use crate::ranks::Ranks;
use crate::snapshot::Snapshot;
use crate::step::{StepInput, StepOutput, TrainStep};

/// Plain steps before one is recorded: they choose plans, compile kernels and make scratch memory.
const WARM_UP: usize = 3;

/// Launches that are compared with the plain step: the first, of the batch that was recorded, and one of another batch.
const COMPARED: usize = 2;

/// Recorder for the steps of a run; `None`, with the reason in the log, if they are not to be recorded or cannot be.
pub(crate) fn recorder(
    config: &TrainConfig,
    own_step: bool,
    ranks: &Ranks,
    device: &Device,
) -> Option<Box<dyn Recorder>> {
    if !config.cuda_graph {
        return None;
    }
    let found = match obstacle(config, own_step, ranks.is_alone()) {
        None => on(device).ok_or("the parameters are not on a CUDA device"),
        Some(why) => Err(why),
    };
    found
        .inspect_err(|why| tracing::debug!("steps run without a CUDA graph: {why}"))
        .ok()
}

/// Reason for which the steps of a run cannot be recorded. Their results are used before the next pass, which would write to the same memory.
fn obstacle(config: &TrainConfig, own_step: bool, alone: bool) -> Option<&'static str> {
    if own_step {
        return Some("the training step is the caller's own");
    }
    if !alone {
        return Some("gradients are sent to other ranks while they are computed");
    }
    if config.chunks > 1 {
        return Some("a batch is cut into chunks");
    }
    config.sam.as_ref().map(|_| "a step has two passes")
}

/// Recorder of a device; `None` where there is none.
fn on(device: &Device) -> Option<Box<dyn Recorder>> {
    #[cfg(feature = "cuda")]
    if let Device::Cuda(device) = device {
        return Some(Box::new(device::OnCuda(device.clone())));
    }
    let _ = device;
    None
}

/// Number of steps that were launched. A clone is another handle to it.
#[derive(Clone, Default)]
pub(crate) struct Launches(Rc<Cell<u64>>);

impl Launches {
    /// The number so far.
    pub fn get(&self) -> u64 {
        self.0.get()
    }
}

/// Training step that a device records and repeats, with the bits of `inner`.
pub(crate) struct Repeated<'s> {
    inner: &'s mut dyn TrainStep,
    recorder: Box<dyn Recorder>,
    launches: Launches,
    state: State,
}

enum State {
    /// Steps run as they are: so many in a row with inputs of this kind.
    WarmUp(Option<Kind>, usize),
    Recorded(Box<Recorded>),
    /// Steps run as they are, to the end.
    Plain,
}

struct Recorded {
    kind: Kind,
    inputs: Inputs,
    kept: Kept,
    launch: Launch,
    /// State of the generator before the recording, and words that a step draws.
    generator: GeneratorState,
    drawn: u64,
    /// Launches that had the bits of the plain step.
    compared: usize,
    /// Whether the log has it that inputs of another kind run without the recorded step.
    said: bool,
}

impl<'s> Repeated<'s> {
    pub fn new(
        inner: &'s mut dyn TrainStep,
        recorder: Box<dyn Recorder>,
        launches: Launches,
    ) -> Self {
        Self {
            inner,
            recorder,
            launches,
            state: State::WarmUp(None, 0),
        }
    }

    fn record(&mut self, input: &StepInput) -> Result<StepOutput> {
        let before = Snapshot::of(input.store)?;
        let generator = input.store.generator().state();
        let inputs = Inputs::of(input)?;
        let own = StepInput {
            images: &inputs.images,
            target: &inputs.target,
            ..*input
        };
        let inner = &mut *self.inner;
        // The output is dropped here, and with it the graph of operators: what it holds is freed inside the recording.
        let recorded = self
            .recorder
            .record(&mut || Ok(Kept::of(&inner.step(&own)?, input.store)));
        let (kept, launch) = match recorded {
            Ok(recorded) => recorded,
            Err(error) => {
                before.restore(input.store)?;
                self.give_up(&error.to_string());
                return self.inner.step(input);
            }
        };
        let now = input.store.generator().state();
        self.state = State::Recorded(Box::new(Recorded {
            kind: Kind::of(input),
            inputs,
            kept,
            launch,
            generator,
            drawn: now.word_position.wrapping_sub(generator.word_position),
            compared: 0,
            said: false,
        }));
        self.compare(input, &before)
    }

    /// Launches the recorded step on another batch, if it is of the same kind.
    fn repeat(&mut self, input: &StepInput) -> Result<StepOutput> {
        let State::Recorded(recorded) = &mut self.state else {
            return self.inner.step(input);
        };
        let generator = input.store.generator();
        let now = generator.state();
        if recorded.kind != Kind::of(input) || recorded.generator.seed != now.seed {
            if !std::mem::replace(&mut recorded.said, true) {
                tracing::debug!("batches of another size run without the CUDA graph");
            }
            return self.inner.step(input);
        }
        let before = match recorded.compared < COMPARED {
            true => Some(Snapshot::of(input.store)?),
            false => None,
        };
        recorded.inputs.set(input)?;
        let moved = match recorded.drawn {
            0 => 0,
            _ => now
                .word_position
                .wrapping_sub(recorded.generator.word_position),
        };
        (recorded.launch)(moved)?;
        if recorded.drawn > 0 {
            generator.set_state(&GeneratorState {
                word_position: now.word_position.wrapping_add(recorded.drawn),
                ..now
            });
        }
        match before {
            Some(before) => self.compare(input, &before),
            None => {
                self.launches.0.set(self.launches.0.get() + 1);
                Ok(recorded.kept.output())
            }
        }
    }

    /// Runs the plain step from the state before a launch, and compares what both did. The result is that of the plain step.
    fn compare(&mut self, input: &StepInput, before: &Snapshot) -> Result<StepOutput> {
        let after = (input.store.state_dict()?, input.store.generator().state());
        before.restore(input.store)?;
        let output = self.inner.step(input)?;
        let State::Recorded(recorded) = &mut self.state else {
            return Ok(output);
        };
        match difference(&recorded.kept, &after, &output, input.store)? {
            Some(what) => self.give_up(&format!("{what} differs from that of the plain step")),
            None => {
                recorded.compared += 1;
                if recorded.compared == COMPARED {
                    tracing::debug!("steps are launched as a CUDA graph");
                }
            }
        }
        Ok(output)
    }

    fn give_up(&mut self, why: &str) {
        tracing::warn!("steps run without a CUDA graph, with the same result: {why}");
        self.state = State::Plain;
    }
}

impl TrainStep for Repeated<'_> {
    fn step(&mut self, input: &StepInput) -> Result<StepOutput> {
        match &mut self.state {
            State::Plain => self.inner.step(input),
            State::Recorded(_) => self.repeat(input),
            State::WarmUp(like, steps) => {
                let kind = Some(Kind::of(input));
                if *like != kind {
                    (*like, *steps) = (kind, 0);
                }
                if *steps >= WARM_UP {
                    return self.record(input);
                }
                *steps += 1;
                let inner = &mut *self.inner;
                self.recorder.warm_up(&mut || inner.step(input))
            }
        }
    }
}

/// Kinds, shapes and types of images and targets.
#[derive(PartialEq)]
struct Kind(Vec<(Option<Discriminant<Target>>, Shape, DType)>);

impl Kind {
    fn of(input: &StepInput) -> Self {
        let parts = parts(input).into_iter();
        let part = |(kind, t): (_, &Tensor)| (kind, t.shape().clone(), t.dtype());
        Self(parts.map(part).collect())
    }
}

/// Images, and the tensors of the targets in the order of [`Target::map`].
fn parts<'a>(input: &StepInput<'a>) -> Vec<(Option<Discriminant<Target>>, &'a Tensor)> {
    fn add<'a>(target: &'a Target, to: &mut Vec<(Option<Discriminant<Target>>, &'a Tensor)>) {
        let kind = Some(discriminant(target));
        match target {
            Target::Classes(rows) | Target::Soft(rows) | Target::MultiLabel(rows) => {
                to.push((kind, rows));
            }
            Target::Teacher { target, logits } => {
                add(target, to);
                to.push((kind, logits));
            }
        }
    }
    let mut all = vec![(None, input.images)];
    add(input.target, &mut all);
    all
}

/// Images and targets in memory of their own, from which the recorded step reads.
struct Inputs {
    vars: Vec<Var>,
    images: Tensor,
    target: Target,
}

impl Inputs {
    fn of(input: &StepInput) -> Result<Self> {
        let mut vars = Vec::new();
        let mut own = |tensor: &Tensor| -> candle_core::Result<Tensor> {
            let var = Var::from_tensor(&tensor.detach())?;
            let own = var.as_detached_tensor();
            vars.push(var);
            Ok(own)
        };
        let images = own(input.images)?;
        let target = input.target.map(&mut own)?;
        Ok(Self {
            vars,
            images,
            target,
        })
    }

    /// Copies those of another batch to the same memory.
    fn set(&self, input: &StepInput) -> Result<()> {
        for (var, (_, tensor)) in self.vars.iter().zip(parts(input)) {
            var.set(tensor)?;
        }
        Ok(())
    }
}

/// Parameters and buffers, and the state of the generator.
type After = (Vec<(String, Tensor)>, GeneratorState);

/// First thing that a launch made otherwise than the plain step that has just run.
fn difference(
    kept: &Kept,
    (state, generator): &After,
    plain: &StepOutput,
    store: &ParamStore,
) -> Result<Option<String>> {
    let found = |what: &str| Ok(Some(what.to_string()));
    if !same_bits(&kept.loss, &plain.loss)? {
        return found("the loss");
    }
    if !same_bits(&kept.logits, &plain.logits)? {
        return found("the output of the model");
    }
    for (name, var) in store.parameters() {
        let launched = kept.gradients.iter().find(|(id, _)| *id == var.id());
        let same = match (launched, plain.grads.get(&var)) {
            (Some((_, gradient)), Some(other)) => same_bits(gradient, other)?,
            (None, None) => true,
            _ => false,
        };
        if !same {
            return found(&format!("the gradient of {name}"));
        }
    }
    for ((name, launched), (_, plain)) in state.iter().zip(&store.state_dict()?) {
        if !same_bits(launched, plain)? {
            return found(name);
        }
    }
    match *generator == store.generator().state() {
        true => Ok(None),
        false => found("the number of random numbers"),
    }
}
