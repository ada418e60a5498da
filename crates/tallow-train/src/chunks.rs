//! Batches in chunks: gradient accumulation.

use candle_core::backprop::GradStore;
use candle_core::{Tensor, Var};
use tallow_ops::{GeneratorState, ParamStore};

use crate::copies::Copies;
use crate::elements::weighted_sum;
use crate::error::{Error, Result};
use crate::loss::Target;
use crate::step::{StepInput, StepOutput, TrainStep};
use crate::stream::Stream;

/// Tag of the streams of dropout, see [`Stream`].
const TAG: [u8; 8] = *b"tallow.c";

/// Training step of a batch in chunks: gradient accumulation. Only one chunk's activations are in memory at a time.
///
/// Chunk `k` of `C` has the samples `k N / C .. (k + 1) N / C` of the batch. Each has its own forward and backward pass by the inner
/// step. The gradients are added in a binary tree, weighted by [`Loss::weight`](crate::Loss::weight), so that they are those of the
/// mean over the whole batch, up to rounding.
///
/// Dropout draws from a stream of (seed, epoch, step, chunk). Batch norm normalizes each chunk by its own statistics; the running
/// statistics start from the same values in each chunk, and those of the first one are kept, as `DistributedDataParallel` does with the
/// parts of a batch. The result therefore does not depend on where a chunk is computed.
pub struct Chunks<'a> {
    chunks: usize,
    inner: Box<dyn TrainStep + 'a>,
}

impl<'a> Chunks<'a> {
    /// Step that cuts each batch into at most `chunks` chunks for `inner`.
    pub fn new(chunks: usize, inner: impl TrainStep + 'a) -> Self {
        Self {
            chunks: chunks.max(1),
            inner: Box::new(inner),
        }
    }
}

impl TrainStep for Chunks<'_> {
    fn step(&mut self, input: &StepInput) -> Result<StepOutput> {
        let samples = input.images.dim(0)?;
        let chunks = ranges(samples, self.chunks);
        let targets = chunks
            .iter()
            .map(|&(_, from, len)| input.target.narrow(from, len));
        let targets = targets.collect::<Result<Vec<Target>>>()?;
        let weights = targets.iter().map(|target| input.loss.weight(target));
        let weights = weights.collect::<Result<Vec<f64>>>()?;
        let total: f64 = weights.iter().sum();

        let generator = input.store.generator();
        let state = generator.state();
        let before = Copies::of(input.store.buffers())?;
        let mut after_first = None;
        let (mut logits, mut sums) = (Vec::new(), Sums::new(input.store));
        for ((&(chunk, from, len), target), weight) in chunks.iter().zip(&targets).zip(&weights) {
            if after_first.is_some() {
                before.restore()?;
            }
            generator.set_state(&dropout_stream(state.seed, input, chunk));
            let output = self.inner.step(&StepInput {
                images: &input.images.narrow(0, from, len)?.contiguous()?,
                target,
                ..*input
            })?;
            logits.push(output.logits.detach());
            // The loss of a chunk of weight 0 is 0 / 0; such a batch as a whole is NaN too.
            if *weight != 0.0 || total == 0.0 {
                sums.push(output, weight / total)?;
            }
            if after_first.is_none() {
                after_first = Some(Copies::of(input.store.buffers())?);
            }
        }
        if let Some(first) = after_first {
            first.restore()?;
        }
        generator.set_state(&state);
        let (loss, grads) = sums.finish()?;
        Ok(StepOutput {
            loss,
            logits: Tensor::cat(&logits, 0)?,
            grads,
        })
    }
}

/// Chunks that are not empty: index, first sample and number of samples.
pub(crate) fn ranges(samples: usize, chunks: usize) -> Vec<(usize, usize, usize)> {
    let at = |chunk: usize| chunk * samples / chunks;
    (0..chunks)
        .map(|chunk| (chunk, at(chunk), at(chunk + 1) - at(chunk)))
        .filter(|&(_, _, len)| len > 0)
        .collect()
}

fn dropout_stream(seed: u64, input: &StepInput, chunk: usize) -> GeneratorState {
    let mut stream = Stream::new(seed, input.epoch as u64, input.step as u64, TAG);
    GeneratorState {
        seed: stream.word().wrapping_add(chunk as u64),
        word_position: 0,
    }
}

/// Sums of chunks in a binary tree, which splits at the largest power of two below the number of leaves.
struct Sums {
    parameters: Vec<(String, Var)>,
    /// Sums of so many neighbouring chunks each, a decreasing power of two.
    partial: Vec<Partial>,
}

struct Partial {
    chunks: usize,
    /// Factor that is not yet applied to the tensors.
    factor: f64,
    loss: Tensor,
    grads: GradStore,
}

impl Sums {
    fn new(store: &ParamStore) -> Self {
        Self {
            parameters: store.parameters(),
            partial: Vec::new(),
        }
    }

    fn push(&mut self, output: StepOutput, factor: f64) -> Result<()> {
        self.partial.push(Partial {
            chunks: 1,
            factor,
            loss: output.loss.detach(),
            grads: output.grads,
        });
        while let [.., a, b] = &self.partial[..]
            && a.chunks == b.chunks
        {
            self.merge()?;
        }
        Ok(())
    }

    /// Adds the last two sums.
    fn merge(&mut self) -> Result<()> {
        let (Some(b), Some(mut a)) = (self.partial.pop(), self.partial.pop()) else {
            return Ok(());
        };
        let zeros = |var: &Var| var.zeros_like();
        for (_, var) in &self.parameters {
            let sum = match (a.grads.get(var), b.grads.get(var)) {
                (None, None) => continue,
                (Some(x), Some(y)) => weighted_sum((x, a.factor), (y, b.factor))?,
                (Some(x), None) => weighted_sum((x, a.factor), (&zeros(var)?, 0.0))?,
                (None, Some(y)) => weighted_sum((&zeros(var)?, 0.0), (y, b.factor))?,
            };
            a.grads.insert(var, sum);
        }
        self.partial.push(Partial {
            chunks: a.chunks + b.chunks,
            factor: 1.0,
            loss: weighted_sum((&a.loss, a.factor), (&b.loss, b.factor))?,
            grads: a.grads,
        });
        Ok(())
    }

    fn finish(mut self) -> Result<(Tensor, GradStore)> {
        while self.partial.len() > 1 {
            self.merge()?;
        }
        match self.partial.pop() {
            // A single chunk has all of the weight.
            Some(sum) => Ok((sum.loss, sum.grads)),
            None => Err(Error::config("chunks", "the batch is empty")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_are_nearly_equal_and_not_empty() {
        assert_eq!(ranges(10, 4), [(0, 0, 2), (1, 2, 3), (2, 5, 2), (3, 7, 3)]);
        assert_eq!(ranges(2, 4), [(1, 0, 1), (3, 1, 1)]);
        assert_eq!(ranges(8, 1), [(0, 0, 8)]);
        for samples in 1..40 {
            for chunks in 1..10 {
                let ranges = ranges(samples, chunks);
                let lens: Vec<usize> = ranges.iter().map(|&(_, _, len)| len).collect();
                assert_eq!(lens.iter().sum::<usize>(), samples);
                assert!(lens.iter().max().unwrap() - lens.iter().min().unwrap() <= 1);
            }
        }
    }
}
