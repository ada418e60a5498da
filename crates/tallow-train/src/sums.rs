//! Losses and gradients of chunks, added in a binary tree.

use candle_core::backprop::GradStore;
use candle_core::{Tensor, Var};
use tallow_ops::ParamStore;

use crate::elements::{scale, weighted_sum};
use crate::error::Result;
use crate::step::StepOutput;

/// Loss and gradients of one chunk, or of several together.
pub(crate) struct Term {
    pub loss: Tensor,
    pub grads: GradStore,
    /// Factor that is not yet applied to the two.
    factor: f64,
}

impl Term {
    /// Term of a chunk with this share of the batch.
    pub fn new(output: StepOutput, share: f64) -> Self {
        Self {
            loss: output.loss.detach(),
            grads: output.grads,
            factor: share,
        }
    }

    /// The term with its factor applied. In a sum the bits are those that the factor would have given there.
    fn scaled(mut self, parameters: &[(String, Var)]) -> Result<Self> {
        if self.factor != 1.0 {
            self.loss = scale(&self.loss, self.factor)?;
            for (_, var) in parameters {
                if let Some(grad) = self.grads.get(var) {
                    let scaled = scale(grad, self.factor)?;
                    self.grads.insert(var, scaled);
                }
            }
            self.factor = 1.0;
        }
        Ok(self)
    }
}

/// Sum of the terms of neighbouring chunks in a binary tree, which splits at the largest power of two below their number.
///
/// A chunk without a term has its place in the tree, so that the tree does not depend on which chunks are empty: the sum with it is the
/// other one as it is. So the sum of as many chunks as a power of two, from a multiple of it on, is a part of the sum of all.
pub(crate) struct Sums {
    parameters: Vec<(String, Var)>,
    /// Sums of so many neighbouring chunks each, a decreasing power of two.
    partial: Vec<(usize, Option<Term>)>,
}

impl Sums {
    pub fn new(store: &ParamStore) -> Self {
        Self {
            parameters: store.parameters(),
            partial: Vec::new(),
        }
    }

    /// Adds the next chunk.
    pub fn push(&mut self, term: Option<Term>) -> Result<()> {
        self.partial.push((1, term));
        while let [.., (a, _), (b, _)] = &self.partial[..]
            && a == b
        {
            self.merge()?;
        }
        Ok(())
    }

    /// Adds the last two sums.
    fn merge(&mut self) -> Result<()> {
        let (Some((right, b)), Some((left, a))) = (self.partial.pop(), self.partial.pop()) else {
            return Ok(());
        };
        let sum = match (a, b) {
            (Some(a), Some(b)) => Some(self.add(a, b)?),
            (a, b) => a.or(b),
        };
        self.partial.push((left + right, sum));
        Ok(())
    }

    fn add(&self, mut a: Term, b: Term) -> Result<Term> {
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
        Ok(Term {
            loss: weighted_sum((&a.loss, a.factor), (&b.loss, b.factor))?,
            grads: a.grads,
            factor: 1.0,
        })
    }

    /// Sum of all chunks; `None` if none had a term.
    pub fn finish(mut self) -> Result<Option<Term>> {
        while self.partial.len() > 1 {
            self.merge()?;
        }
        let sum = self.partial.pop().and_then(|(_, sum)| sum);
        sum.map(|sum| sum.scaled(&self.parameters)).transpose()
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{DType, Device};
    use tallow_ops::Init;

    use super::*;

    /// Term whose loss and gradient are `value`.
    fn term(store: &ParamStore, value: f32, share: f64) -> Term {
        let tensor = Tensor::new(value, &Device::Cpu).unwrap();
        let mut grads = GradStore::default();
        let (_, var) = &store.parameters()[0];
        grads.insert(var, tensor.clone());
        let logits = tensor.clone();
        let output = StepOutput {
            loss: tensor,
            logits,
            grads,
        };
        Term::new(output, share)
    }

    fn store() -> ParamStore {
        let store = ParamStore::new(DType::F32, &Device::Cpu, 0);
        store.root().param("w", (), Init::Const(0.0)).unwrap();
        store
    }

    fn sum(values: &[Option<f32>]) -> Option<f32> {
        let store = store();
        let mut sums = Sums::new(&store);
        for value in values {
            let term = value.map(|value| term(&store, value, 0.3));
            sums.push(term).unwrap();
        }
        let sum = sums.finish().unwrap()?;
        let (_, var) = &store.parameters()[0];
        let grad = sum.grads.get(var).unwrap().to_scalar::<f32>().unwrap();
        assert_eq!(grad, sum.loss.to_scalar::<f32>().unwrap());
        Some(grad)
    }

    /// Sum over the places from `from` on, as the documentation has it.
    fn expected(values: &[Option<f32>]) -> Option<f32> {
        match values {
            [value] => value.map(|value| 0.3f32 * value),
            values => {
                let (left, right) = values.split_at(values.len().next_power_of_two() / 2);
                match (expected(left), expected(right)) {
                    (Some(a), Some(b)) => Some(a + b),
                    (a, b) => a.or(b),
                }
            }
        }
    }

    #[test]
    fn the_tree_does_not_depend_on_which_chunks_are_empty() {
        for chunks in 1..=7usize {
            for empty in 0..1usize << chunks {
                let value = |i: usize| ((i * 37 + 11) % 101) as f32 * 2f32.powi(5 * i as i32 % 13);
                let values: Vec<Option<f32>> = (0..chunks)
                    .map(|i| (empty >> i & 1 == 0).then(|| value(i)))
                    .collect();
                let bits = |sum: Option<f32>| sum.map(f32::to_bits);
                assert_eq!(bits(sum(&values)), bits(expected(&values)), "{values:?}");
            }
        }
    }
}
