//! What an optimizer remembers, as named tensors.

use std::collections::HashMap;
use std::path::Path;

use candle_core::{Device, Tensor};

use super::{Optimizer, OptimizerConfig, Slot, State};
use crate::files::write_atomic;
use crate::{Error, Result};

impl Optimizer {
    /// The state by name: `<parameter>.momentum_buffer`, or `<parameter>.exp_avg` and
    /// `<parameter>.exp_avg_sq`, in the parameter's shape, and `<parameter>.step`, an i64 scalar.
    ///
    /// Settings and learning rate are not in it.
    pub fn state_dict(&self) -> Result<Vec<(String, Tensor)>> {
        let mut tensors = Vec::new();
        for slot in &self.slots {
            for (index, kind) in kinds(&self.config).iter().enumerate() {
                tensors.push((format!("{}.{kind}", slot.name), slot.tensor(index)?));
            }
            let step = Tensor::new(slot.steps as i64, &Device::Cpu)?;
            tensors.push((format!("{}.step", slot.name), step));
        }
        Ok(tensors)
    }

    /// Takes back what [`state_dict`](Self::state_dict) gave, from an optimizer of the same kind
    /// and the same parameters. Fails, before anything is changed, when names or shapes differ.
    pub fn load_state_dict(&mut self, tensors: &[(String, Tensor)]) -> Result<()> {
        let by_name: HashMap<&str, &Tensor> =
            tensors.iter().map(|(name, t)| (name.as_str(), t)).collect();
        let find = |name: String| {
            by_name
                .get(name.as_str())
                .copied()
                .ok_or_else(|| Error::config("optimizer state", format!("{name} is missing")))
        };
        let mut loaded = Vec::with_capacity(self.slots.len());
        let mut expected = 0;
        for slot in &self.slots {
            let mut moments = [None, None];
            for (index, kind) in kinds(&self.config).iter().enumerate() {
                let tensor = find(format!("{}.{kind}", slot.name))?;
                if tensor.shape() != slot.var.shape() {
                    return Err(Error::config(
                        "optimizer state",
                        format!(
                            "{}.{kind} has shape {:?}, the parameter {:?}",
                            slot.name,
                            tensor.shape(),
                            slot.var.shape()
                        ),
                    ));
                }
                let moved = tensor.to_device(slot.var.device())?;
                moments[index] = Some(moved.to_dtype(slot.var.dtype())?);
                expected += 1;
            }
            let steps = find(format!("{}.step", slot.name))?.to_scalar::<i64>()?;
            let steps = u64::try_from(steps).map_err(|_| {
                Error::config("optimizer state", format!("{}.step is {steps}", slot.name))
            })?;
            expected += 1;
            loaded.push((steps, slot.restored(moments)?));
        }
        if by_name.len() != expected {
            return Err(Error::config(
                "optimizer state",
                format!(
                    "{} tensors, expected {expected}: it is of another optimizer or model",
                    by_name.len()
                ),
            ));
        }
        for (slot, (steps, state)) in self.slots.iter_mut().zip(loaded) {
            slot.steps = steps;
            slot.state = state;
        }
        Ok(())
    }

    /// Writes the state to a safetensors file: whole, or not at all.
    pub fn save(&self, path: &Path) -> Result<()> {
        let tensors = self.state_dict()?;
        let bytes = safetensors::serialize(tensors.iter().map(|(name, t)| (name, t)), None)
            .map_err(|error| Error::mismatch(path, error))?;
        write_atomic(path, &bytes)
    }

    /// Reads what [`save`](Self::save) wrote.
    pub fn load(&mut self, path: &Path) -> Result<()> {
        let bytes = std::fs::read(path).map_err(Error::io(path))?;
        let tensors = candle_core::safetensors::load_buffer(&bytes, &Device::Cpu)
            .map_err(|error| Error::mismatch(path, error))?;
        self.load_state_dict(&tensors.into_iter().collect::<Vec<_>>())
            .map_err(|error| Error::mismatch(path, error))
    }
}

fn kinds(config: &OptimizerConfig) -> &'static [&'static str] {
    match config {
        OptimizerConfig::Sgd { momentum: 0.0, .. } => &[],
        OptimizerConfig::Sgd { .. } => &["momentum_buffer"],
        OptimizerConfig::Adam { .. } | OptimizerConfig::AdamW { .. } => &["exp_avg", "exp_avg_sq"],
    }
}

impl Slot {
    fn tensor(&self, index: usize) -> candle_core::Result<Tensor> {
        let shape = self.var.shape();
        match &self.state {
            State::F32(state) => Tensor::from_slice(&state[index], shape, &Device::Cpu),
            State::F64(state) => Tensor::from_slice(&state[index], shape, &Device::Cpu),
            State::Tensors(state) => match &state[index] {
                Some(tensor) => tensor.to_device(&Device::Cpu),
                None => Tensor::zeros(shape, self.var.dtype(), &Device::Cpu),
            },
        }
    }

    /// `moments` in the form this parameter keeps them.
    fn restored(&self, moments: [Option<Tensor>; 2]) -> candle_core::Result<State> {
        fn flat<T: candle_core::WithDType>(t: &Option<Tensor>) -> candle_core::Result<Vec<T>> {
            match t {
                Some(tensor) => tensor.flatten_all()?.to_vec1(),
                None => Ok(Vec::new()),
            }
        }
        Ok(match &self.state {
            State::F32(_) => State::F32([flat(&moments[0])?, flat(&moments[1])?]),
            State::F64(_) => State::F64([flat(&moments[0])?, flat(&moments[1])?]),
            State::Tensors(_) => State::Tensors(moments),
        })
    }
}
