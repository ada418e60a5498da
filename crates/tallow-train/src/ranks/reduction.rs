//! Sum of losses and gradients over the ranks.

use candle_core::backprop::GradStore;
use candle_core::{DType, Device, Tensor, Var};
use tallow_ops::ParamStore;

use super::communicator::Communicator;
use crate::error::{Error, Result};
use crate::sums::Term;

/// Values that are added at a time, 4 MB of `f32`.
const BUCKET: usize = 1 << 20;

/// What changes no value that it is added to, whatever its sign: the contribution of a rank that has none.
const NOTHING: f64 = -0.0;

/// Loss and gradients of all ranks, and the buffers of the one that `has_buffers` in those of all.
///
/// All is one vector, so that a step has one sum: gradients, whether there is one, loss, buffers. A rank without a term adds nothing. A
/// parameter without a gradient in some chunks counts as zeros there, as in the sum of the chunks of one rank; without one in all chunks
/// it has none here either.
pub(super) fn add_up(
    ranks: &dyn Communicator,
    store: &ParamStore,
    own: Option<Term>,
    has_buffers: bool,
) -> Result<(Tensor, GradStore)> {
    let (parameters, buffers) = (store.parameters(), store.buffers());
    let mut values = Values::default();
    let missing = if own.is_some() { 0.0 } else { NOTHING };
    for (name, var) in &parameters {
        let grad = own.as_ref().and_then(|term| term.grads.get(var));
        match grad {
            Some(grad) => values.put_tensor(name, var, grad)?,
            None => values.put_constant(var, missing),
        }
        values.f64.push(match (&own, grad) {
            (None, _) => NOTHING,
            (Some(_), grad) => f64::from(u8::from(grad.is_some())),
        });
    }
    values.put_loss(own.as_ref().map(|term| &term.loss))?;
    drop(own);
    for (name, var) in &buffers {
        match has_buffers {
            true => values.put_tensor(name, var, &var.as_detached_tensor())?,
            false => values.put_constant(var, NOTHING),
        }
    }
    for bucket in values.f32.chunks_mut(BUCKET) {
        ranks.all_reduce_f32(bucket)?;
    }
    for bucket in values.f64.chunks_mut(BUCKET / 2) {
        ranks.all_reduce_f64(bucket)?;
    }

    let mut sums = Sums {
        f32: &values.f32,
        f64: &values.f64,
    };
    let mut grads = GradStore::default();
    for (_, var) in &parameters {
        let grad = sums.tensor(var)?;
        if sums.number() > 0.0 {
            grads.insert(var, grad);
        }
    }
    let loss = sums.loss()?;
    for (_, var) in &buffers {
        let value = sums.tensor(var)?;
        var.set(&value)?;
    }
    Ok((loss, grads))
}

/// Values of a rank, for the sum.
#[derive(Default)]
struct Values {
    f32: Vec<f32>,
    /// Those of every other type: exact for integers too, which only buffers have.
    f64: Vec<f64>,
}

impl Values {
    fn put_tensor(&mut self, name: &str, var: &Var, tensor: &Tensor) -> Result<()> {
        if tensor.shape() != var.shape() {
            return Err(Error::GradientShape {
                name: name.to_string(),
                expected: var.shape().clone(),
                found: tensor.shape().clone(),
            });
        }
        if tensor.dtype() != var.dtype() {
            return Err(Error::GradientType {
                name: name.to_string(),
                expected: var.dtype(),
                found: tensor.dtype(),
            });
        }
        let flat = tensor.detach().flatten_all()?;
        match var.dtype() {
            DType::F32 => self.f32.extend(flat.to_vec1::<f32>()?),
            _ => self
                .f64
                .extend(flat.to_dtype(DType::F64)?.to_vec1::<f64>()?),
        }
        Ok(())
    }

    /// As many values as `var` has.
    fn put_constant(&mut self, var: &Var, value: f64) {
        let count = var.elem_count();
        match var.dtype() {
            DType::F32 => self.f32.resize(self.f32.len() + count, value as f32),
            _ => self.f64.resize(self.f64.len() + count, value),
        }
    }

    /// The loss, whose type a rank without a term does not know: as `f32`, as `f64`, and whether it is the second.
    fn put_loss(&mut self, loss: Option<&Tensor>) -> Result<()> {
        let (mut narrow, mut wide, mut is_wide) = (NOTHING as f32, NOTHING, NOTHING);
        match loss {
            None => {}
            Some(loss) if loss.dtype() == DType::F64 => {
                (wide, is_wide) = (loss.to_scalar::<f64>()?, 1.0);
            }
            Some(loss) => narrow = loss.to_dtype(DType::F32)?.to_scalar::<f32>()?,
        }
        self.f32.push(narrow);
        self.f64.extend([wide, is_wide]);
        Ok(())
    }
}

/// Sums that are read in the order in which the values were put.
struct Sums<'a> {
    f32: &'a [f32],
    f64: &'a [f64],
}

impl Sums<'_> {
    fn tensor(&mut self, var: &Var) -> Result<Tensor> {
        let count = var.elem_count();
        Ok(match var.dtype() {
            DType::F32 => {
                let (values, rest) = self.f32.split_at(count);
                self.f32 = rest;
                Tensor::from_vec(values.to_vec(), var.shape(), &Device::Cpu)?
            }
            dtype => {
                let (values, rest) = self.f64.split_at(count);
                self.f64 = rest;
                Tensor::from_vec(values.to_vec(), var.shape(), &Device::Cpu)?.to_dtype(dtype)?
            }
        })
    }

    fn number(&mut self) -> f64 {
        let (value, rest) = self.f64.split_at(1);
        self.f64 = rest;
        value[0]
    }

    fn loss(&mut self) -> Result<Tensor> {
        let (narrow, rest) = self.f32.split_at(1);
        self.f32 = rest;
        let (wide, is_wide) = (self.number(), self.number());
        Ok(match is_wide > 0.0 {
            true => Tensor::new(wide, &Device::Cpu)?,
            false => Tensor::new(narrow[0], &Device::Cpu)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use tallow_ops::Init;

    use super::super::threads::Threads;
    use super::*;
    use crate::step::StepOutput;

    /// Loss and gradients of a rank whose gradients are `value`.
    fn term(store: &ParamStore, value: f64, loss: Tensor) -> Term {
        let mut grads = GradStore::default();
        for (name, var) in store.parameters() {
            if name != "unused" && (name != "once" || value == 3.0) {
                let grad = (var.ones_like().unwrap() * value).unwrap();
                grads.insert(&var, grad);
            }
        }
        let logits = loss.clone();
        let output = StepOutput {
            loss,
            logits,
            grads,
        };
        Term::new(output, 1.0)
    }

    /// The third of four ranks has no chunk. The second one has the first chunk.
    #[test]
    fn every_rank_gets_the_sums_and_the_buffers_of_one_of_them() {
        let work = |ranks: Threads| {
            let rank = ranks.rank();
            let store = ParamStore::new(DType::F32, &Device::Cpu, 0);
            let root = store.root();
            for name in ["narrow", "once", "unused"] {
                root.param(name, (2, 3), Init::Const(0.0)).unwrap();
            }
            root.buffer("mean", 2, Init::Const(rank as f64 - 1.5))
                .unwrap();
            let batches = Tensor::new(100 + rank as i64, &Device::Cpu).unwrap();
            root.buffer_from("batches", &batches).unwrap();
            let loss = Tensor::new(rank as f64, &Device::Cpu).unwrap();
            let own = (rank != 2).then(|| term(&store, rank as f64, loss));
            let (loss, grads) = add_up(&ranks, &store, own, rank == 1).unwrap();
            let sums = store.parameters().into_iter().map(|(name, var)| {
                let grad = grads.get(&var).map(|grad| grad.to_vec2::<f32>().unwrap());
                (name, grad)
            });
            let sums: Vec<_> = sums.collect();
            let buffers = store.buffers();
            (
                loss.to_scalar::<f64>().unwrap(),
                sums,
                buffers[0].1.to_vec1::<f32>().unwrap(),
                buffers[1].1.to_scalar::<i64>().unwrap(),
            )
        };
        let found: Vec<_> = thread::scope(|scope| {
            let threads: Vec<_> = (Threads::world(4).into_iter())
                .map(|ranks| scope.spawn(move || work(ranks)))
                .collect();
            let joined = threads.into_iter().map(|thread| thread.join().unwrap());
            joined.collect()
        });
        let rows = |value: f32| Some(vec![vec![value; 3]; 2]);
        for (loss, sums, mean, batches) in found {
            assert_eq!(loss, 4.0);
            let expected = [
                ("narrow".to_string(), rows(4.0)),
                ("once".to_string(), rows(3.0)),
                ("unused".to_string(), None),
            ];
            assert_eq!(sums, expected);
            assert_eq!((mean, batches), (vec![-0.5; 2], 101));
        }
    }
}
