//! Weights and gradients that are the same in every trace.

use candle_core::backprop::GradStore;
use candle_core::{DType, Device, Tensor, Var};
use tallow_ops::ParamStore;

use crate::error::Result;

/// Numbers in the table from which the tensors are filled; a prime, so that it does not divide the size of a layer.
const TABLE: usize = 997;

/// Parameters of which values are kept.
const SHOWN: usize = 12;

/// Gradients of all parameters of a model, of one size of a weight and of many sizes of a gradient, from 1e-4 to 0.2.
#[derive(Clone)]
pub(super) struct FixedGradients {
    parameters: Vec<(String, Var)>,
    /// Index of the smallest parameter.
    least: usize,
    /// Zeros in place of the gradients.
    zeros: bool,
}

impl FixedGradients {
    /// Gradients for the parameters of a store.
    pub fn of(store: &ParamStore) -> Self {
        let parameters = store.parameters();
        let sizes = parameters.iter().map(|(_, p)| p.elem_count()).enumerate();
        Self {
            least: sizes.min_by_key(|&(_, size)| size).map_or(0, |(i, _)| i),
            parameters,
            zeros: false,
        }
    }

    /// Gradients of 0.
    pub fn zeros(store: &ParamStore) -> Self {
        Self {
            zeros: true,
            ..Self::of(store)
        }
    }

    /// Gradients of the `number`-th step: of all parameters, or of the smallest one alone.
    pub fn step(&self, number: usize, all: bool) -> candle_core::Result<GradStore> {
        let mut gradients = GradStore::default();
        for (i, (_, parameter)) in self.parameters.iter().enumerate() {
            if !all && i != self.least {
                continue;
            }
            let gradient = match self.zeros {
                true => parameter.zeros_like()?.detach(),
                false => filled(parameter, 31 * i + 17 * number, gradient)?,
            };
            gradients.insert(parameter, gradient);
        }
        Ok(gradients)
    }

    /// Gives every parameter its fixed weights.
    pub fn set_weights(&self) -> Result<()> {
        for (i, (_, parameter)) in self.parameters.iter().enumerate() {
            parameter.set(&filled(parameter, i, weight)?)?;
        }
        Ok(())
    }

    /// First and last weight of some parameters.
    pub fn values(&self) -> candle_core::Result<Vec<f64>> {
        let (count, mut values) = (self.parameters.len(), Vec::new());
        for i in 0..SHOWN.min(count) {
            let (_, parameter) = &self.parameters[i * count / SHOWN.min(count)];
            let last = parameter.elem_count().saturating_sub(1);
            values.push(element(parameter, 0)?);
            values.push(element(parameter, last)?);
        }
        Ok(values)
    }

    /// First weight of the smallest parameter.
    pub fn value_of_least(&self) -> candle_core::Result<Option<f64>> {
        let least = self.parameters.get(self.least);
        least.map(|(_, least)| element(least, 0)).transpose()
    }

    /// Number of the weights of the parameters that do not have their fixed weights any more.
    pub fn changed(&self) -> candle_core::Result<usize> {
        let mut changed = 0;
        for (i, (_, parameter)) in self.parameters.iter().enumerate() {
            let fixed = filled(parameter, i, weight)?;
            // Some weights, since the smallest gradients may be lost in the rounding of others.
            let count = parameter.elem_count().min(8);
            if elements(&fixed, 0, count)? != elements(parameter, 0, count)? {
                changed += parameter.elem_count();
            }
        }
        Ok(changed)
    }
}

/// Tensor of the shape, type and device of another, filled with the numbers of a table from place `from` on.
fn filled(like: &Tensor, from: usize, number: fn(u32) -> f32) -> candle_core::Result<Tensor> {
    let table: Vec<f32> = (0..TABLE as u32).map(number).collect();
    let numbers = table.iter().copied().cycle().skip(from % TABLE);
    let numbers = numbers.take(like.elem_count()).collect();
    Tensor::from_vec(numbers, like.shape(), &Device::Cpu)?
        .to_dtype(like.dtype())?
        .to_device(like.device())
}

fn element(tensor: &Tensor, place: usize) -> candle_core::Result<f64> {
    Ok(elements(tensor, place, 1)?[0])
}

fn elements(tensor: &Tensor, from: usize, count: usize) -> candle_core::Result<Vec<f64>> {
    let values = tensor.detach().flatten_all()?.narrow(0, from, count)?;
    values.to_dtype(DType::F64)?.to_vec1()
}

/// Number of a table with 32 scattered bits.
fn scattered(place: u32) -> u32 {
    (place + 1).wrapping_mul(2_654_435_761)
}

fn sign(bits: u32) -> f32 {
    if bits & 1 << 20 == 0 { 1.0 } else { -1.0 }
}

/// Weight of either sign between 0.05 and 0.15.
fn weight(place: u32) -> f32 {
    let bits = scattered(place);
    sign(bits) * (0.05 + 0.1 * (bits >> 22) as f32 / 1024.0)
}

/// Gradient of either sign between 1e-4 and 0.2.
fn gradient(place: u32) -> f32 {
    let bits = scattered(place);
    let size = [0.1, 0.01, 1e-3, 1e-4][(bits >> 30) as usize];
    sign(bits) * size * (1.0 + (bits >> 24 & 63) as f32 / 64.0)
}
