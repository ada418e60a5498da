//! Batches in chunks: gradient accumulation, and the parts of a batch on several ranks.

use std::mem;

use candle_core::{DType, Device, Tensor};
use candle_nn::ModuleT;
use tallow_datasets::{DataLoader, chunk_range};
use tallow_ops::GeneratorState;

use crate::error::{Error, Result};
use crate::lockstep::{Done, Part, lockstep, needs_shared};
use crate::loss::Target;
use crate::norm_statistics::{ChunkBuffers, NormStatistics, OwnBuffer};
use crate::ranks::{Order, Ranks};
use crate::step::{StepInput, StepOutput, TrainStep};
use crate::stream::Stream;
use crate::sums::{Sums, Term};

/// Tag of the streams of dropout, see [`Stream`].
const TAG: [u8; 8] = *b"tallow.c";

/// Training step of a batch in chunks: gradient accumulation. Only one chunk's activations are in memory at a time.
///
/// Chunk `k` of `C` has the samples `k N / C .. (k + 1) N / C` of the batch. Each has its own forward and backward pass by the inner
/// step. The gradients are added in a binary tree over the places of the chunks, weighted by [`Loss::weight`](crate::Loss::weight), so
/// that they are those of the mean over the whole batch, up to rounding.
///
/// Dropout draws from a stream of (seed, epoch, step, chunk). Batch norm normalizes each chunk by its own statistics; the running
/// statistics start from the same values in each chunk, and those of the first one are kept, as `DistributedDataParallel` does with the
/// parts of a batch, or [their mean](NormStatistics::Mean). The result therefore does not depend on where a chunk is computed: a trainer
/// with a [`Communicator`](crate::Communicator) computes each on one of its ranks. The gradients of the last chunk of a rank are sent to the
/// others while its backward pass goes on, if the inner step hands them over: [`TrainStep::step_with`].
///
/// # Batch norm over all chunks
///
/// With [`NormStatistics::Sync`] and a [shared model](Self::with_shared_model) each batch norm of `tallow-ops` takes mean and variance of the
/// whole batch, in both passes ([`with_norm_exchange`](tallow_ops::with_norm_exchange)), and so do the running statistics. The gradients are those
/// of the whole batch in one chunk, up to rounding, and do not depend on the ranks. The chunks of a rank go from batch norm to
/// batch norm together: each has a thread, of which one computes at a time, and the activations of all are in memory. The inner step is not
/// asked; the chunks have the forward and backward pass of [`ForwardBackward`](crate::ForwardBackward). Gradients are sent after the backward pass.
/// The layers must be the same for all chunks: a batch norm that one of them leaves out is an error.
pub struct Chunks<'a> {
    chunks: usize,
    norm_statistics: NormStatistics,
    /// Model for threads.
    model: Option<&'a (dyn ModuleT + Sync)>,
    inner: Box<dyn TrainStep + 'a>,
    /// Other ranks, if they compute some of the chunks.
    shared: Option<Shared>,
}

/// Ranks that compute the chunks of a batch together. The images and targets of the step are those of the chunks of this rank.
struct Shared {
    ranks: Ranks,
    sizes: BatchSizes,
    /// Order in which gradients are sent.
    order: Order,
}

/// Numbers of samples of the batches of an epoch.
#[derive(Clone, Copy)]
pub(crate) struct BatchSizes {
    samples: usize,
    batch_size: usize,
}

impl BatchSizes {
    /// Those of a loader of whole batches.
    pub fn of(loader: &DataLoader) -> Self {
        Self {
            samples: loader.num_samples(),
            batch_size: loader.config().batch_size,
        }
    }

    /// Number of samples of the batch `step` of an epoch.
    pub fn at(&self, step: usize) -> usize {
        let before = step.saturating_mul(self.batch_size);
        self.batch_size.min(self.samples.saturating_sub(before))
    }
}

/// Chunk of a batch that this rank computes.
struct Chunk {
    /// Number in the batch.
    number: usize,
    /// First sample, among those of this rank.
    from: usize,
    len: usize,
    /// `None` without samples.
    target: Option<Target>,
}

impl<'a> Chunks<'a> {
    /// Step that cuts each batch into at most `chunks` chunks for `inner`.
    pub fn new(chunks: usize, inner: impl TrainStep + 'a) -> Self {
        Self {
            chunks: chunks.max(1),
            norm_statistics: NormStatistics::default(),
            model: None,
            inner: Box::new(inner),
            shared: None,
        }
    }

    /// Sets the running statistics of batch norm that a step keeps.
    pub fn with_norm_statistics(self, norm_statistics: NormStatistics) -> Self {
        Self {
            norm_statistics,
            ..self
        }
    }

    /// Sets the model of the steps as one that threads may share, which [`NormStatistics::Sync`] needs.
    pub fn with_shared_model(self, model: &'a (dyn ModuleT + Sync)) -> Self {
        Self {
            model: Some(model),
            ..self
        }
    }

    /// The step on several ranks, of which each computes some of the chunks of a batch.
    pub(crate) fn on(self, ranks: &Ranks, sizes: BatchSizes) -> Self {
        let shared = (!ranks.is_alone()).then(|| Shared {
            ranks: ranks.clone(),
            sizes,
            order: Order::default(),
        });
        Self { shared, ..self }
    }

    /// Number of samples of the whole batch, and the chunks of this rank.
    fn own_chunks(&self, input: &StepInput) -> Result<(usize, Vec<Chunk>)> {
        let own = input.images.dim(0)?;
        let (samples, numbers) = match &self.shared {
            None => (own, 0..self.chunks),
            Some(shared) => (
                shared.sizes.at(input.step),
                shared.ranks.own_chunks(self.chunks),
            ),
        };
        let start = chunk_range(samples, self.chunks, numbers.start).start;
        let mut chunks = Vec::new();
        let mut found = 0;
        for number in numbers {
            let range = chunk_range(samples, self.chunks, number);
            let (from, len) = (range.start - start, range.len());
            found += len;
            if found > own {
                break;
            }
            let target = (len > 0).then(|| input.target.narrow(from, len));
            chunks.push(Chunk {
                number,
                from,
                len,
                target: target.transpose()?,
            });
        }
        if found != own {
            return Err(Error::Ranks(format!(
                "the batch of step {} has {own} samples of this rank, expected {found} of {samples}: the sampler gave another number of \
                 samples than it announced",
                input.step + 1
            )));
        }
        Ok((samples, chunks))
    }

    /// The chunks of this rank, computed together with those of the other ranks, of which each has this share of the loss.
    fn in_lockstep(
        &self,
        input: &StepInput,
        own: &[Chunk],
        share: impl Fn(usize) -> Option<f64>,
    ) -> Result<Vec<Option<Done>>> {
        let Some(model) = self.model else {
            return Err(needs_shared("Chunks::with_shared_model"));
        };
        let seed = input.store.generator().state().seed;
        let part = |chunk: &Chunk| -> Result<Option<Part>> {
            let Some(target) = &chunk.target else {
                return Ok(None);
            };
            let images = input.images.narrow(0, chunk.from, chunk.len)?;
            Ok(Some(Part {
                images: images.contiguous()?,
                target: target.clone(),
                share: share(chunk.number),
                generator: dropout_stream(seed, input, chunk.number),
            }))
        };
        let parts = own.iter().map(part).collect::<Result<Vec<_>>>()?;
        let alone = Ranks::default();
        let ranks = self.shared.as_ref().map_or(&alone, |shared| &shared.ranks);
        lockstep(model, input.loss, input.store, parts, ranks)
    }
}

impl TrainStep for Chunks<'_> {
    fn step(&mut self, input: &StepInput) -> Result<StepOutput> {
        let (samples, own) = self.own_chunks(input)?;
        let weights = own.iter().map(|chunk| match &chunk.target {
            Some(target) => input.loss.weight(target),
            None => Ok(0.0),
        });
        let weights = weights.collect::<Result<Vec<f64>>>()?;
        let weights = match &self.shared {
            None => weights,
            Some(shared) => shared.ranks.gather(&weights)?,
        };
        let total: f64 = weights.iter().sum();
        let is_empty = |chunk: usize| chunk_range(samples, self.chunks, chunk).is_empty();
        // The loss of a chunk of weight 0 is 0 / 0; such a batch as a whole is NaN too.
        let counts = |chunk: usize| !is_empty(chunk) && (weights[chunk] != 0.0 || total == 0.0);
        // A single chunk has all of the weight.
        let single = (0..self.chunks).filter(|&chunk| counts(chunk)).count() == 1;
        let share = |chunk: usize| if single { 1.0 } else { weights[chunk] / total };

        let generator = input.store.generator();
        let state = generator.state();
        let mut buffers = ChunkBuffers::of(input.store, self.norm_statistics)?;
        let (mut logits, mut sums) = (Vec::new(), Sums::new(input.store.parameters()));
        let is_sync = self.norm_statistics == NormStatistics::Sync;
        let mut computed = match is_sync {
            true => self.in_lockstep(input, &own, |chunk| counts(chunk).then(|| share(chunk)))?,
            false => Vec::new(),
        };
        // Chunks in lockstep have gradients through the statistics of others, even without a loss, and their share in them.
        let has_term = |chunk: usize| counts(chunk) || (is_sync && !is_empty(chunk));
        let factor = |chunk: usize| if is_sync { 1.0 } else { share(chunk) };
        // On several ranks the last term of this one is sent gradient by gradient.
        let mut shared = (self.shared.as_mut()).map(|shared| (&shared.ranks, &mut shared.order));
        let last = own.iter().rposition(|chunk| has_term(chunk.number));
        let mut sent = None;
        for (place, chunk) in own.iter().enumerate() {
            let Some(target) = &chunk.target else {
                sums.push(None)?;
                buffers.after_chunk(0.0)?;
                continue;
            };
            let factor = factor(chunk.number);
            let mut reduction = shared
                .take_if(|_| Some(place) == last)
                .map(|(ranks, order)| {
                    let before = mem::replace(&mut sums, Sums::new(Vec::new()));
                    ranks.reduce(input.store, order, Some(before.until_last(factor)))
                });
            let output = match computed.get_mut(place).and_then(Option::take) {
                Some(done) => {
                    done.buffers.restore()?;
                    done.output
                }
                None => {
                    buffers.before_chunk()?;
                    generator.set_state(&dropout_stream(state.seed, input, chunk.number));
                    let images = input.images.narrow(0, chunk.from, chunk.len)?;
                    let part = StepInput {
                        images: &images.contiguous()?,
                        target,
                        ..*input
                    };
                    match &mut reduction {
                        Some(reduction) => (self.inner)
                            .step_with(&part, &mut |var, grad| reduction.hand_over(var, grad))?,
                        None => self.inner.step(&part)?,
                    }
                }
            };
            // Without the graph, which holds the activations.
            let output = StepOutput {
                loss: output.loss.detach(),
                logits: output.logits.detach(),
                ..output
            };
            logits.push(output.logits.clone());
            match reduction {
                Some(reduction) => sent = Some((reduction, output)),
                None => {
                    sums.push(has_term(chunk.number).then(|| Term::new(output, factor)))?;
                }
            }
            buffers.after_chunk(chunk.len as f64 / samples as f64)?;
        }
        generator.set_state(&state);
        let first = (0..self.chunks).find(|&chunk| !is_empty(chunk));
        let has_first = own.iter().any(|chunk| Some(chunk.number) == first);
        let buffers = buffers.finish(has_first)?;
        let (loss, grads) = match (sent, shared) {
            (Some((reduction, output)), _) => reduction.finish(Some(output), buffers)?,
            // This rank has no term.
            (None, Some((ranks, order))) => ranks
                .reduce(input.store, order, None)
                .finish(None, buffers)?,
            (None, None) => {
                for OwnBuffer { var, value, .. } in buffers {
                    value.map_or(Ok(()), |value| var.set(&value))?;
                }
                let empty = || Error::config("chunks", "the batch is empty");
                let sum = sums.finish()?.ok_or_else(empty)?;
                (sum.loss, sum.grads)
            }
        };
        let logits = match logits.is_empty() {
            true => Tensor::zeros((0, 1), DType::F32, &Device::Cpu)?,
            false => Tensor::cat(&logits, 0)?,
        };
        Ok(StepOutput {
            loss,
            logits,
            grads,
        })
    }
}

/// Numbers of samples of the chunks of a batch that this rank computes, without the empty ones.
pub(crate) fn own_lens(ranks: &Ranks, samples: usize, chunks: usize) -> Vec<usize> {
    let own = ranks.own_chunks(chunks);
    let lens = own.map(|chunk| chunk_range(samples, chunks, chunk).len());
    lens.filter(|&len| len > 0).collect()
}

/// Numbers of samples of the chunks of a batch that are not empty.
pub(crate) fn lens(samples: usize, chunks: usize) -> impl Iterator<Item = usize> {
    (0..chunks)
        .map(move |chunk| chunk_range(samples, chunks, chunk).len())
        .filter(|&len| len > 0)
}

fn dropout_stream(seed: u64, input: &StepInput, chunk: usize) -> GeneratorState {
    let mut stream = Stream::new(seed, input.epoch as u64, input.step as u64, TAG);
    GeneratorState {
        seed: stream.word().wrapping_add(chunk as u64),
        word_position: 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_are_nearly_equal_and_not_empty() {
        let lens = |samples, chunks| lens(samples, chunks).collect::<Vec<_>>();
        assert_eq!(lens(10, 4), [2, 3, 2, 3]);
        assert_eq!(lens(2, 4), [1, 1]);
        assert_eq!(lens(8, 1), [8]);
        for samples in 1..40 {
            for chunks in 1..10 {
                let lens = lens(samples, chunks);
                assert_eq!(lens.iter().sum::<usize>(), samples);
                assert!(lens.iter().max().unwrap() - lens.iter().min().unwrap() <= 1);
            }
        }
    }

    #[test]
    fn the_last_batch_has_the_samples_that_are_left() {
        let sizes = BatchSizes {
            samples: 25,
            batch_size: 8,
        };
        let found: Vec<usize> = (0..5).map(|step| sizes.at(step)).collect();
        assert_eq!(found, [8, 8, 8, 1, 0]);
    }
}
