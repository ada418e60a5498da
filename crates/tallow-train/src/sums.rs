//! Losses and gradients of chunks, added in a binary tree.

use candle_core::backprop::GradStore;
use candle_core::{Device, Tensor, Var};

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

    /// Term of values that are no gradients, without a loss.
    pub fn of_values(values: GradStore, share: f64) -> Result<Self> {
        Ok(Self {
            loss: Tensor::new(0f32, &Device::Cpu)?,
            grads: values,
            factor: share,
        })
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
    /// Variables whose gradients are added.
    parameters: Vec<(String, Var)>,
    /// Sums of so many neighbouring chunks each, a decreasing power of two.
    partial: Vec<(usize, Option<Term>)>,
}

impl Sums {
    pub fn new(parameters: Vec<(String, Var)>) -> Self {
        Self {
            parameters,
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
        for (_, var) in &self.parameters {
            let terms = [(a.grads.get(var), a.factor), (b.grads.get(var), b.factor)];
            if let Some(sum) = add(var, terms)? {
                a.grads.insert(var, sum);
            }
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

    /// Sum whose next term is the last one, with this share of the batch.
    pub fn until_last(self, share: f64) -> OpenSum {
        let before = self.partial.into_iter().filter_map(|(_, term)| term);
        OpenSum {
            before: before.collect(),
            share,
        }
    }
}

/// Sum of chunks to which the last term comes gradient by gradient. The bits are those of [`Sums`].
pub(crate) struct OpenSum {
    /// Sums of the chunks before. The last term is added to the last of them first.
    before: Vec<Term>,
    /// Share of the last term.
    share: f64,
}

impl OpenSum {
    /// Gradient of a parameter in the sum, by that of the last term. Asked for once: the gradients of the terms before it are given up.
    pub fn grad(&mut self, var: &Var, last: Option<&Tensor>) -> Result<Option<Tensor>> {
        let (mut sum, mut factor) = (last.cloned(), self.share);
        for term in self.before.iter_mut().rev() {
            let before = term.grads.remove(var);
            sum = add(
                var,
                [(before.as_ref(), term.factor), (sum.as_ref(), factor)],
            )?;
            factor = 1.0;
        }
        Ok(match sum {
            Some(sum) if factor != 1.0 => Some(scale(&sum, factor)?),
            sum => sum,
        })
    }

    /// Loss in the sum, by that of the last term.
    pub fn loss(&self, last: &Tensor) -> Result<Tensor> {
        let (mut sum, mut factor) = (last.detach(), self.share);
        for term in self.before.iter().rev() {
            sum = weighted_sum((&term.loss, term.factor), (&sum, factor))?;
            factor = 1.0;
        }
        match factor == 1.0 {
            true => Ok(sum),
            false => Ok(scale(&sum, factor)?),
        }
    }
}

/// Sum of the gradients of a parameter in two terms, each with its factor. One that is missing counts as zeros.
fn add(var: &Var, [(a, wa), (b, wb)]: [(Option<&Tensor>, f64); 2]) -> Result<Option<Tensor>> {
    let sum = match (a, b) {
        (None, None) => return Ok(None),
        (Some(a), Some(b)) => weighted_sum((a, wa), (b, wb))?,
        (Some(a), None) => weighted_sum((a, wa), (&var.zeros_like()?, 0.0))?,
        (None, Some(b)) => weighted_sum((&var.zeros_like()?, 0.0), (b, wb))?,
    };
    Ok(Some(sum))
}

#[cfg(test)]
mod tests {
    use candle_core::DType;
    use tallow_ops::{Init, ParamStore};

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
        let mut sums = Sums::new(store.parameters());
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

    /// Sum to which the last term comes gradient by gradient. Chunks without one may follow it.
    fn open_sum(values: &[Option<f32>]) -> Option<f32> {
        let store = store();
        let last = values.iter().rposition(Option::is_some)?;
        let mut sums = Sums::new(store.parameters());
        for value in &values[..last] {
            let term = value.map(|value| term(&store, value, 0.3));
            sums.push(term).unwrap();
        }
        let mut sum = sums.until_last(0.3);
        let value = Tensor::new(values[last]?, &Device::Cpu).unwrap();
        let loss = sum.loss(&value).unwrap().to_scalar::<f32>().unwrap();
        let (_, var) = &store.parameters()[0];
        let grad = sum.grad(var, Some(&value)).unwrap().unwrap();
        let grad = grad.to_scalar::<f32>().unwrap();
        assert_eq!(grad, loss);
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
                assert_eq!(bits(open_sum(&values)), bits(sum(&values)), "{values:?}");
            }
        }
    }

    /// A parameter that some chunks have no gradient of, as the parameters of a layer that is left out at random.
    #[test]
    fn an_open_sum_has_the_bits_of_the_sum_where_gradients_are_missing() {
        let store = store();
        let (_, var) = &store.parameters()[0];
        for chunks in 1..=4usize {
            for missing in 0..1usize << chunks {
                let terms = || {
                    (0..chunks).map(|i| {
                        // The sum of -0 and nothing is 0.
                        let value = if i == 0 { -0.0 } else { 0.1 * i as f32 };
                        let mut term = term(&store, value, 0.3);
                        if missing >> i & 1 == 1 {
                            term.grads.remove(var);
                        }
                        term
                    })
                };
                let bits = |grad: Option<&Tensor>| {
                    grad.map(|grad| grad.to_scalar::<f32>().unwrap().to_bits())
                };
                let mut sums = Sums::new(store.parameters());
                terms().for_each(|term| sums.push(Some(term)).unwrap());
                let sum = sums.finish().unwrap().unwrap();
                let mut before = Sums::new(store.parameters());
                for term in terms().take(chunks - 1) {
                    before.push(Some(term)).unwrap();
                }
                let last = terms().next_back().unwrap();
                let mut open = before.until_last(0.3);
                let found = open.grad(var, last.grads.get(var)).unwrap();
                assert_eq!(bits(found.as_ref()), bits(sum.grads.get(var)), "{missing}");
            }
        }
    }
}
