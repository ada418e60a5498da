//! Weights of the best epoch, to be restored at the end of a run.

use candle_core::Tensor;
use serde_json::json;
use tallow_ops::ParamStore;
use tallow_record::EpochRow;

use crate::callback::Monitor;
use crate::error::{Error, Result};
use crate::parts::PartState;

/// Name of their state in checkpoints.
pub(crate) const BEST: &str = "best";

/// Parameters and buffers of the best epoch so far.
pub(crate) struct BestWeights {
    monitor: Monitor,
    epoch: Option<usize>,
    value: Option<f64>,
    tensors: Vec<(String, Tensor)>,
}

impl BestWeights {
    /// None yet.
    pub fn by(monitor: Monitor) -> Self {
        Self {
            monitor,
            epoch: None,
            value: None,
            tensors: Vec::new(),
        }
    }

    /// Keeps a copy of the weights if the epoch is better than all before it.
    pub fn see(&mut self, row: &EpochRow, store: &ParamStore) -> Result<()> {
        let gain = self.monitor.gain(row, self.value);
        if gain.is_some_and(|gain| gain > 0.0) {
            self.epoch = Some(row.epoch);
            self.value = self.monitor.value(row);
            self.tensors.clear();
            for (name, var) in store.parameters().into_iter().chain(store.buffers()) {
                self.tensors.push((name, var.as_detached_tensor().copy()?));
            }
        }
        Ok(())
    }

    /// Sets the weights to those of the best epoch, which is returned; `None` if no epoch has the metric.
    pub fn restore(&self, store: &ParamStore) -> Result<Option<usize>> {
        if self.epoch.is_some() {
            store.load_state_dict(&self.tensors, true)?;
        }
        Ok(self.epoch)
    }

    pub fn state(&self) -> PartState {
        PartState {
            tensors: self.tensors.clone(),
            values: json!({ "monitor": self.monitor, "epoch": self.epoch }),
        }
    }

    /// Restores a [`state`](Self::state) of a run with these rows.
    pub fn load(&mut self, state: PartState, rows: &[EpochRow]) -> Result<()> {
        let monitor: Monitor = of(&state, "monitor")?;
        if monitor != self.monitor {
            let message = format!(
                "the run was started with `{}` to find the best epoch, now it is `{}`",
                monitor.name(),
                self.monitor.name()
            );
            return Err(Error::config("restore_best", message));
        }
        self.epoch = of(&state, "epoch")?;
        self.value = match self.epoch {
            None => None,
            Some(epoch) => {
                let row = rows.get(epoch).and_then(|row| monitor.value(row));
                let missing = || {
                    let message = format!("epoch {epoch} has no {}", monitor.name());
                    Error::config("restore_best", message)
                };
                Some(row.ok_or_else(missing)?)
            }
        };
        self.tensors = state.tensors;
        Ok(())
    }
}

fn of<T: serde::de::DeserializeOwned>(state: &PartState, key: &str) -> Result<T> {
    let value = state.values.get(key).cloned().unwrap_or_default();
    serde_json::from_value(value)
        .map_err(|error| Error::config("restore_best", format!("{key}: {error}")))
}
