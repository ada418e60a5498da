//! Chunks of a batch that are computed layer by layer, for batch norm over all of them.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, Scope};

use candle_core::{DType, Tensor};
use candle_nn::ModuleT;
use tallow_ops::{GeneratorState, ParamStore, Tape, with_norm_exchange};

use crate::config::TrainConfig;
use crate::copies::Copies;
use crate::elements::scale;
use crate::error::{Error, Result};
use crate::loss::{Loss, Target};
use crate::norm_statistics::NormStatistics;
use crate::ranks::Ranks;
use crate::step::StepOutput;

/// Numbers of a chunk that has been computed. Those of a batch norm begin with a number from 0 on.
const ENDED: f64 = -1.0;

/// Stack of a thread, as the main thread has it.
const STACK: usize = 8 << 20;

/// Setting that this file is about.
const SETTING: &str = "norm_statistics";

/// Numbers of all chunks, in their order; none of a chunk without samples.
type Numbers = Arc<Vec<Vec<f64>>>;

/// Chunk of a batch, with samples.
pub(crate) struct Part {
    pub images: Tensor,
    pub target: Target,
    /// Share of the loss of the batch; `None` where the loss has no weight.
    pub share: Option<f64>,
    /// Generator at the start.
    pub generator: GeneratorState,
}

/// Chunk that has been computed.
pub(crate) struct Done {
    /// Loss and gradients, to be added to those of the other chunks.
    pub output: StepOutput,
    /// Buffers after the chunk.
    pub buffers: Copies,
}

/// Checks that a run whose batch norms are those of all chunks can be computed layer by layer. `shared` is the model for threads.
pub(crate) fn check(
    config: &TrainConfig,
    store: &ParamStore,
    model: &dyn ModuleT,
    shared: Option<&(dyn ModuleT + Sync)>,
    own_step: bool,
) -> Result<()> {
    if config.norm_statistics != NormStatistics::Sync || config.chunks <= 1 {
        return Ok(());
    }
    let wrong = |message: String| Err(Error::config(SETTING, message));
    if own_step {
        return wrong(
            "`sync` needs the trainer's own training step, but this run has another one, as a learning-rate range test has: choose `first` or \
             `mean`, or `chunks = 1`, where the whole batch is normalized at once"
                .into(),
        );
    }
    let (device, dtype) = (store.device(), store.dtype());
    if !device.is_cpu() || !matches!(dtype, DType::F32 | DType::F64) {
        return wrong(format!(
            "`sync` needs parameters of f32 or f64 on the CPU, found {dtype:?} on {:?}: choose `first` or `mean`, or `chunks = 1`, where \
             the whole batch is normalized at once",
            device.location()
        ));
    }
    match shared {
        None => Err(needs_shared("Trainer::with_shared_model")),
        Some(shared) if std::ptr::addr_eq(std::ptr::from_ref(shared), std::ptr::from_ref(model)) => {
            Ok(())
        }
        Some(_) => wrong("the model of `Trainer::with_shared_model` is not the one that is trained: pass the same one".into()),
    }
}

/// Error without a model that threads may share.
pub(crate) fn needs_shared(method: &str) -> Error {
    let message = format!(
        "`sync` computes the chunks in threads, which share the model: pass it to `{method}` too"
    );
    Error::config(SETTING, message)
}

/// Computes the chunks of this rank, together with those of the others, and adds nothing: each has its own output.
///
/// Each chunk has a thread, but one of them runs at a time, in the order of the chunks, until its next batch norm. When all are there the
/// numbers are exchanged, also between the ranks. So the chunks wait for the coordinator alone, the thread that calls, and it for the one
/// chunk that runs: none waits forever. An error or a panic of a chunk is that of the call, and ends the threads of the others.
///
/// Generator and buffers are each chunk's own, as if it ran alone. Backward passes change no buffers: where those of all chunks are the same after the
/// forward passes, as running statistics of the whole batch are, they stay as they are from then on.
pub(crate) fn lockstep(
    model: &(dyn ModuleT + Sync),
    loss: &dyn Loss,
    store: &ParamStore,
    parts: Vec<Option<Part>>,
    ranks: &Ranks,
) -> Result<Vec<Option<Done>>> {
    thread::scope(|scope| -> Result<Vec<Option<Done>>> {
        let mut chunks: Vec<Option<Chunk>> = Vec::new();
        for part in parts {
            let chunk = part.map(|part| Chunk::start(scope, model, loss, store, part));
            chunks.push(chunk.transpose()?);
        }
        let mut all = Numbers::default();
        // A single chunk has the store for itself.
        let mut same_buffers = chunks.iter().flatten().count() <= 1;
        let mut in_backward = false;
        loop {
            let mut own = Vec::new();
            for chunk in &mut chunks {
                let chunk = chunk.as_mut();
                let numbers = chunk.map(|chunk| chunk.turn(store, &all, same_buffers));
                own.push(numbers.transpose()?.unwrap_or_default());
            }
            if !in_backward && chunks.iter().flatten().all(|chunk| chunk.in_backward) {
                in_backward = true;
                same_buffers = have_same_buffers(&chunks)?;
            }
            all = Arc::new(ranks.gather_lists(&own)?);
            let with_samples = all.iter().filter(|numbers| !numbers.is_empty());
            let (ended, others): (Vec<_>, Vec<_>) =
                with_samples.partition(|numbers| numbers.as_slice() == [ENDED]);
            match (ended.is_empty(), others.is_empty()) {
                (_, true) => break,
                (true, false) => {}
                (false, false) => {
                    let message = "a chunk of the batch has fewer batch norms than another one: `sync` needs a model whose layers are the \
                                   same for all chunks";
                    return Err(Error::config(SETTING, message));
                }
            }
        }
        let done = |chunk: Chunk| {
            let Chunk {
                output, buffers, ..
            } = chunk;
            output.map(|output| Done { output, buffers })
        };
        Ok(chunks
            .into_iter()
            .map(|chunk| chunk.and_then(done))
            .collect())
    })
}

/// Whether all chunks of this rank have the same buffers.
fn have_same_buffers(chunks: &[Option<Chunk>]) -> Result<bool> {
    let mut chunks = chunks.iter().flatten();
    let Some(first) = chunks.next() else {
        return Ok(true);
    };
    for chunk in chunks {
        if !chunk.buffers.have_bits_of(&first.buffers)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// End of the turn of a chunk.
enum Says {
    /// A batch norm waits for the numbers of the others. Whether the chunk is in its backward pass.
    Numbers(Vec<f64>, bool),
    /// The thread ends, perhaps by a panic.
    Ended(Result<Result<StepOutput>, Box<dyn Any + Send>>),
}

/// Chunk in the hands of the coordinator. Its thread ends when this is dropped.
struct Chunk {
    turns: Sender<Numbers>,
    says: Receiver<Says>,
    generator: GeneratorState,
    buffers: Copies,
    /// Whether its last turn has ended in its backward pass.
    in_backward: bool,
    output: Option<StepOutput>,
}

impl Chunk {
    fn start<'scope, 'env>(
        scope: &'scope Scope<'scope, 'env>,
        model: &'env (dyn ModuleT + Sync),
        loss: &'env dyn Loss,
        store: &ParamStore,
        part: Part,
    ) -> Result<Self> {
        let (turns, own_turns) = channel();
        let (own_says, says) = channel();
        let chunk = Self {
            turns,
            says,
            generator: part.generator,
            buffers: Copies::of(store.buffers())?,
            in_backward: false,
            output: None,
        };
        let line = Arc::new(Line {
            turns: Mutex::new(own_turns),
            says: own_says,
            in_backward: AtomicBool::new(false),
        });
        let run = move || {
            let result = catch_unwind(AssertUnwindSafe(|| part.run(model, loss, &line)));
            // Nobody listens after an error of another chunk.
            let _ = line.says.send(Says::Ended(result));
        };
        let thread = thread::Builder::new()
            .name("chunk".into())
            .stack_size(STACK);
        thread.spawn_scoped(scope, run).map_err(|error| {
            Error::custom(format!("no thread could be started for a chunk: {error}"))
        })?;
        Ok(chunk)
    }

    /// Lets the chunk run with the numbers of all until it waits for the next ones, or ends; returns its own. `same_buffers` says that the buffers are
    /// as it has left them.
    fn turn(&mut self, store: &ParamStore, all: &Numbers, same_buffers: bool) -> Result<Vec<f64>> {
        let generator = store.generator();
        generator.set_state(&self.generator);
        if !same_buffers {
            self.buffers.restore()?;
        }
        let sent = self.turns.send(Arc::clone(all)).ok();
        let said = sent.and_then(|()| self.says.recv().ok());
        self.generator = generator.state();
        // Those of the forward pass, a part of which may have been in this turn.
        if !self.in_backward {
            self.buffers = Copies::of(store.buffers())?;
        }
        match said {
            Some(Says::Numbers(numbers, in_backward)) => {
                self.in_backward = in_backward;
                Ok(numbers)
            }
            Some(Says::Ended(Ok(output))) => {
                self.output = Some(output?);
                Ok(vec![ENDED])
            }
            Some(Says::Ended(Err(panic))) => resume_unwind(panic),
            None => Err(Error::custom("the thread of a chunk has ended too early")),
        }
    }
}

/// Connection of a chunk with the coordinator. The graph of the chunk keeps it for the backward pass.
struct Line {
    turns: Mutex<Receiver<Numbers>>,
    says: Sender<Says>,
    in_backward: AtomicBool,
}

impl Line {
    /// Waits for the next turn.
    fn wait(&self) -> candle_core::Result<Numbers> {
        let turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        turns.recv().map_err(|_| gone())
    }

    fn exchange(&self, own: &[f64]) -> candle_core::Result<Numbers> {
        // Set by the thread that calls.
        let in_backward = self.in_backward.load(Ordering::Relaxed);
        let said = self.says.send(Says::Numbers(own.to_vec(), in_backward));
        said.map_err(|_| gone())?;
        self.wait()
    }
}

/// Error of a chunk whose coordinator has gone, with an error that the user is told.
fn gone() -> candle_core::Error {
    candle_core::Error::Msg("another chunk of the batch has ended".into())
}

impl Part {
    /// Forward and backward pass, in a thread of its own.
    fn run(
        &self,
        model: &(dyn ModuleT + Sync),
        loss: &dyn Loss,
        line: &Arc<Line>,
    ) -> Result<StepOutput> {
        line.wait()?;
        let own = Arc::clone(line);
        let exchange = Arc::new(move |numbers: &[f64]| own.exchange(numbers));
        with_norm_exchange(exchange, || -> Result<StepOutput> {
            let tape = Tape::record();
            let logits = model.forward_t(&self.images, true)?;
            let value = loss.loss(&logits, &self.target)?;
            line.in_backward.store(true, Ordering::Relaxed);
            // The gradients of a norm are those of the loss of the batch, of which this chunk has its share.
            let (loss, grads) = match self.share {
                Some(share) => {
                    let gradient = scale(&value.ones_like()?, share)?;
                    let grads = tape.backward_from(&value, &gradient)?;
                    (scale(&value.detach(), share)?, grads)
                }
                // The loss is 0 / 0, but those of other chunks depend on these samples.
                None => {
                    let grads = tape.backward_from(&logits, &logits.zeros_like()?)?;
                    (value.zeros_like()?, grads)
                }
            };
            Ok(StepOutput {
                loss,
                logits: logits.detach(),
                grads,
            })
        })
    }
}
