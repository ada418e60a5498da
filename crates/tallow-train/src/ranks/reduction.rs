//! Sum of losses and gradients over the ranks.

use std::collections::HashMap;
use std::sync::Arc;

use candle_core::backprop::GradStore;
use candle_core::{DType, Device, Tensor, TensorId, Var};
use tallow_ops::ParamStore;

use super::buckets::{Added, Buckets};
use super::communicator::{Communicator, confused};
use super::link::Link;
use super::waiting::Waiting;
use crate::error::{Error, Result};
use crate::norm_statistics::OwnBuffer;
use crate::step::StepOutput;
use crate::sums::OpenSum;

/// Negative zero, which changes no value that it is added to, zeros of both signs included: the contribution of a rank that has none.
const NOTHING: f64 = -0.0;

/// Order in which the ranks send gradients: that in which the first rank had them in the first step. The ranks may become ready in other
/// orders, by a layer that is left out at random, and still send in this one.
#[derive(Debug, Default)]
pub(crate) struct Order(Option<Vec<usize>>);

impl Order {
    /// Numbers of all parameters in this order. Before the first step it is from the last one on, since a backward pass goes about so.
    fn sequence(&self, parameters: usize) -> Vec<usize> {
        match &self.0 {
            Some(order) => order.clone(),
            None => (0..parameters).rev().collect(),
        }
    }

    /// Takes over the order in which gradients were `handed` over on the first rank, if none is known.
    fn learn(
        &mut self,
        ranks: &dyn Communicator,
        handed: &[usize],
        parameters: usize,
    ) -> Result<()> {
        if self.0.is_some() {
            return Ok(());
        }
        let own = handed.iter().flat_map(|&at| (at as u64).to_le_bytes());
        let bytes = ranks.broadcast(0, &own.collect::<Vec<u8>>())?;
        let (words, rest) = bytes.as_chunks::<8>();
        let mut order: Vec<usize> = Vec::new();
        let mut missing = vec![true; parameters];
        for word in words {
            let at = usize::try_from(u64::from_le_bytes(*word)).unwrap_or(usize::MAX);
            if missing.get(at) != Some(&true) {
                return Err(confused(0, "an order of parameters"));
            }
            missing[at] = false;
            order.push(at);
        }
        if !rest.is_empty() {
            return Err(confused(0, "an order of parameters"));
        }
        // Those that were not handed over are known at the end of the step, and nothing should wait for them.
        order.extend((0..parameters).rev().filter(|&at| missing[at]));
        self.0 = Some(order);
        Ok(())
    }
}

/// Sum of the losses and gradients of a step over all ranks. Gradients that are final are on their way while the others are computed.
///
/// All is one stream of values: gradients, whether there is one, loss, buffers. A rank without a term adds nothing. A parameter without a
/// gradient in some chunks counts as zeros there, as in the sum of the chunks of one rank; without one in all chunks it has none here
/// either.
pub(crate) struct Reduction<'a> {
    communicator: Arc<dyn Communicator>,
    waiting: Waiting,
    order: &'a mut Order,
    /// Numbers of the parameters in the order in which they are sent.
    sequence: Vec<usize>,
    /// Number of them that were sent.
    sent: usize,
    parameters: Vec<(String, Var)>,
    numbers: HashMap<TensorId, usize>,
    /// Sum of the chunks of this rank; `None` without a chunk.
    own: Option<OpenSum>,
    /// Gradients of the last chunk that were handed over, by parameter.
    handed: Vec<Option<TensorId>>,
    /// Numbers of their parameters, as they came.
    handed_in: Vec<usize>,
    /// Gradients of this rank that those before them in the order keep waiting.
    ready: Vec<Option<Tensor>>,
    /// Whether a parameter has a gradient on this rank, of those that were sent.
    has_grad: Vec<bool>,
    buckets: Buckets,
    /// Error of a gradient that was handed over.
    failed: Option<Error>,
}

impl<'a> Reduction<'a> {
    pub(super) fn new(
        communicator: Arc<dyn Communicator>,
        waiting: Waiting,
        store: &ParamStore,
        order: &'a mut Order,
        own: Option<OpenSum>,
    ) -> Self {
        let parameters = store.parameters();
        let count = parameters.len();
        let ids = parameters.iter().map(|(_, var)| var.id());
        let device = communicator.device_sums(store.device());
        let link = Link::new(Arc::clone(&communicator), device.clone());
        Self {
            waiting,
            sequence: order.sequence(count),
            order,
            sent: 0,
            numbers: ids.zip(0..).collect(),
            parameters,
            own,
            handed: vec![None; count],
            handed_in: Vec::new(),
            ready: vec![None; count],
            has_grad: vec![false; count],
            buckets: Buckets::new(link, communicator.bucket_bytes(), device),
            communicator,
            failed: None,
        }
    }

    /// Takes the gradient of a variable in the last chunk, which is final. An error is that of [`finish`](Self::finish).
    pub fn hand_over(&mut self, variable: &Tensor, grad: &Tensor) {
        if self.failed.is_some() {
            return;
        }
        if let Some(&number) = self.numbers.get(&variable.id()) {
            self.failed = self.take(number, grad).err();
        }
    }

    fn take(&mut self, number: usize, grad: &Tensor) -> Result<()> {
        let (name, var) = &self.parameters[number];
        if self.handed[number].replace(grad.id()).is_some() {
            let message =
                format!("the training step has handed the gradient of `{name}` over twice");
            return Err(Error::custom(message));
        }
        self.handed_in.push(number);
        if let Some(own) = &mut self.own {
            self.ready[number] = own.grad(var, Some(grad))?;
        }
        while let Some(&next) = self.sequence.get(self.sent)
            && let Some(grad) = self.ready[next].take()
        {
            self.send(next, Some(grad))?;
        }
        Ok(())
    }

    /// Sends the gradient of a parameter, the next one in the order.
    fn send(&mut self, number: usize, grad: Option<Tensor>) -> Result<()> {
        let (name, var) = &self.parameters[number];
        match (grad, &self.own) {
            (Some(grad), _) => {
                self.has_grad[number] = true;
                self.buckets.put_tensor(name, var, &grad)?;
            }
            (None, Some(_)) => self.buckets.put_constant(var, 0.0)?,
            (None, None) => self.buckets.put_constant(var, NOTHING)?,
        }
        self.sent += 1;
        Ok(())
    }

    /// Loss and gradients of all ranks, by the output of the last chunk of this rank, if it has one; the buffers become those that the ranks
    /// have, or their sum. Waits for what is left.
    pub fn finish(
        mut self,
        last: Option<StepOutput>,
        buffers: Vec<OwnBuffer>,
    ) -> Result<(Tensor, GradStore)> {
        if let Some(error) = self.failed.take() {
            return Err(error);
        }
        let loss = match (&self.own, &last) {
            (Some(own), Some(last)) => Some(own.loss(&last.loss)?),
            _ => None,
        };
        self.send_rest(last)?;
        let Self {
            communicator,
            waiting,
            order,
            sequence,
            parameters,
            own,
            handed_in,
            has_grad,
            buckets: mut values,
            ..
        } = self;
        let flags = has_grad.iter().map(|&has_grad| match &own {
            Some(_) => f64::from(u8::from(has_grad)),
            None => NOTHING,
        });
        values.put_f64(&flags.collect::<Vec<f64>>())?;
        put_loss(&mut values, loss.as_ref())?;
        for OwnBuffer { name, var, value } in &buffers {
            match value {
                Some(value) => values.put_tensor(name, var, value)?,
                None => values.put_constant(var, NOTHING)?,
            }
        }

        let mut sums = waiting.during(|| values.finish())?;
        let mut summed = Vec::new();
        for &number in &sequence {
            let (_, var) = &parameters[number];
            summed.push((number, sums.take_tensor(var)?));
        }
        let flags = sums.take_f64(parameters.len());
        let mut grads = GradStore::default();
        for (number, grad) in summed {
            if flags.get(number).is_some_and(|&ranks| ranks > 0.0) {
                grads.insert(&parameters[number].1, grad);
            }
        }
        let loss = take_loss(&mut sums)?;
        for OwnBuffer { var, .. } in &buffers {
            var.set(&sums.take_tensor(var)?)?;
        }
        order.learn(&*communicator, &handed_in, parameters.len())?;
        Ok((loss, grads))
    }

    /// Sends the gradients that were not handed over.
    fn send_rest(&mut self, last: Option<StepOutput>) -> Result<()> {
        for number in 0..self.parameters.len() {
            let (name, var) = &self.parameters[number];
            let grad = last.as_ref().and_then(|last| last.grads.get(var));
            match (self.handed[number], &mut self.own) {
                (Some(handed), _) if grad.map(Tensor::id) != Some(handed) => {
                    let message = format!(
                        "the training step has handed over another gradient of `{name}` than that of its output"
                    );
                    return Err(Error::custom(message));
                }
                (None, Some(own)) => self.ready[number] = own.grad(var, grad)?,
                _ => {}
            }
        }
        drop(last);
        while let Some(&next) = self.sequence.get(self.sent) {
            let grad = self.ready[next].take();
            self.send(next, grad)?;
        }
        Ok(())
    }
}

/// The loss, whose type a rank without a term does not know: as `f32`, as `f64`, and whether it is the second.
fn put_loss(values: &mut Buckets, loss: Option<&Tensor>) -> Result<()> {
    let (mut narrow, mut wide, mut is_wide) = (NOTHING as f32, NOTHING, NOTHING);
    match loss {
        None => {}
        Some(loss) if loss.dtype() == DType::F64 => {
            (wide, is_wide) = (loss.to_scalar::<f64>()?, 1.0);
        }
        Some(loss) => narrow = loss.to_dtype(DType::F32)?.to_scalar::<f32>()?,
    }
    values.put_f32(&[narrow])?;
    values.put_f64(&[wide, is_wide])
}

fn take_loss(sums: &mut Added) -> Result<Tensor> {
    let (narrow, wide) = (sums.take_f32(1), sums.take_f64(2));
    Ok(match wide.as_slice() {
        [wide, is_wide] if *is_wide > 0.0 => Tensor::new(*wide, &Device::Cpu)?,
        _ => Tensor::from_vec(narrow, (), &Device::Cpu)?,
    })
}

#[cfg(test)]
mod tests;
