//! Averages of the weights: an exponential moving average, or stochastic weight averaging.

use candle_core::{Tensor, Var};
use serde::{Deserialize, Serialize};
use tallow_ops::ParamStore;

use crate::elements::lerp;
use crate::error::{Error, Result};
use crate::parts::PartState;
use crate::schedule::Anneal;

/// Exponential moving average of the weights: evaluation and the weights after training are those of the average, the gradients those
/// of the weights that are trained.
///
/// After each step `average = decay average + (1 - decay) weights`, as PyTorch's
/// [`AveragedModel`](https://docs.pytorch.org/docs/stable/generated/torch.optim.swa_utils.AveragedModel.html) with
/// `get_ema_multi_avg_fn` and timm's `ModelEmaV3`; the first update copies the weights.
///
/// In TOML: `ema = { decay = 0.999 }`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct EmaConfig {
    /// Share of the average that an update keeps, in `[0, 1]`; 0.999 by default, as PyTorch's.
    #[serde(default = "default_decay")]
    pub decay: f64,
    /// Rise of the decay to `decay`, as timm's `use_warmup`: `1 - (1 + t / gamma)^-power` after `t` updates.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warmup: Option<EmaWarmup>,
    /// Updates that copy the weights before the average begins, as timm's `update_after_step`; 0 by default.
    #[serde(default)]
    pub after: u64,
    /// Steps from one update to the next; 1 by default.
    #[serde(default = "default_every")]
    pub every: u64,
    /// Buffers, such as the running statistics of batch norm: averaged by default.
    #[serde(default)]
    pub buffers: AverageBuffers,
}

/// Rise of the decay of an [`EmaConfig`], with timm's names and defaults.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct EmaWarmup {
    /// Divisor of the number of updates, above 0; 1 by default.
    #[serde(default = "default_gamma")]
    pub gamma: f64,
    /// Exponent, above 0; 2/3 by default.
    #[serde(default = "default_power")]
    pub power: f64,
    /// Least decay, in `[0, 1]`; 0 by default.
    #[serde(default)]
    pub min_decay: f64,
}

/// Buffers of an exponential moving average.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum AverageBuffers {
    /// Averaged like the parameters, as timm and torchvision's reference scripts do (`use_buffers=True`).
    #[default]
    Average,
    /// Those of the weights that are trained, as `AveragedModel` by default.
    Copy,
}

/// Stochastic weight averaging (Izmailov et al. 2018, arXiv 1803.05407): the equal average of the weights at the end of each epoch from
/// `start` on, as [`torch.optim.swa_utils`](https://docs.pytorch.org/docs/stable/optim.html#weight-averaging-swa-and-ema).
///
/// Epochs are evaluated with the weights that are trained. After the last one the average takes their place, the running statistics of
/// batch norm are computed anew over the training data (`update_bn`), and the last evaluation and the weights after training are those of
/// the average. A run that stops before its last epoch keeps its weights.
///
/// In TOML: `swa = { start = 75, lr = 0.05 }`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct SwaConfig {
    /// First epoch, from 0, whose weights are averaged: the number of epochs before it.
    pub start: usize,
    /// Learning rate that the schedule is left for from epoch `start` on, as PyTorch's `SWALR`; by default the schedule goes on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lr: Option<f64>,
    /// Epochs from the last learning rate of the schedule to `lr`; 10 by default.
    #[serde(default = "default_anneal_epochs")]
    pub anneal_epochs: usize,
    /// Course in between; cosine by default.
    #[serde(default)]
    pub anneal: Anneal,
}

fn default_decay() -> f64 {
    0.999
}

fn default_every() -> u64 {
    1
}

fn default_gamma() -> f64 {
    1.0
}

fn default_power() -> f64 {
    2.0 / 3.0
}

fn default_anneal_epochs() -> usize {
    10
}

impl Default for EmaConfig {
    fn default() -> Self {
        Self {
            decay: default_decay(),
            warmup: None,
            after: 0,
            every: default_every(),
            buffers: AverageBuffers::default(),
        }
    }
}

impl Default for EmaWarmup {
    fn default() -> Self {
        Self {
            gamma: default_gamma(),
            power: default_power(),
            min_decay: 0.0,
        }
    }
}

impl EmaConfig {
    /// Decay of update `update`, from 1: 0 for those that copy the weights.
    fn decay_of(&self, update: u64) -> f64 {
        let t = update.saturating_sub(self.after + 1);
        match &self.warmup {
            _ if t == 0 => 0.0,
            None => self.decay,
            Some(EmaWarmup {
                gamma,
                power,
                min_decay,
            }) => {
                let risen = 1.0 - (1.0 + t as f64 / gamma).powf(-power);
                risen.min(self.decay).max(*min_decay)
            }
        }
    }

    /// Checks the ranges of the settings.
    pub fn validate(&self) -> Result<()> {
        in_unit("ema.decay", self.decay)?;
        if self.every == 0 {
            return Err(Error::config("ema.every", "must be at least 1"));
        }
        if let Some(warmup) = &self.warmup {
            in_unit("ema.warmup.min_decay", warmup.min_decay)?;
            for (setting, value) in [
                ("ema.warmup.gamma", warmup.gamma),
                ("ema.warmup.power", warmup.power),
            ] {
                if !(value.is_finite() && value > 0.0) {
                    let message = format!("{value} is not a finite number above 0");
                    return Err(Error::config(setting, message));
                }
            }
        }
        Ok(())
    }
}

fn in_unit(setting: &'static str, value: f64) -> Result<()> {
    match (0.0..=1.0).contains(&value) {
        true => Ok(()),
        false => Err(Error::config(setting, format!("{value} is not in [0, 1]"))),
    }
}

impl SwaConfig {
    /// Learning rate of `epoch` in place of the schedule's, which is `at_start` in the first epoch of the average; `None` before that and
    /// without a rate.
    pub(crate) fn lr(&self, epoch: usize, at_start: f64) -> Option<f64> {
        let lr = self.lr.filter(|_| epoch >= self.start)?;
        let passed = (epoch - self.start) as f64;
        let t = match self.anneal_epochs {
            0 => 1.0,
            epochs => (passed / epochs as f64).min(1.0),
        };
        let share = match self.anneal {
            Anneal::Cos => (1.0 - (std::f64::consts::PI * t).cos()) / 2.0,
            Anneal::Linear => t,
        };
        Some(lr * share + at_start * (1.0 - share))
    }

    /// Checks the settings for a run of so many epochs.
    pub(crate) fn validate(&self, epochs: usize) -> Result<()> {
        if self.start >= epochs {
            let message = format!(
                "{} epochs before the average begins, but the run has {epochs}: choose a smaller number, or leave `swa` out",
                self.start
            );
            return Err(Error::config("swa.start", message));
        }
        match self.lr {
            Some(lr) => crate::error::not_negative("swa.lr", lr),
            None => Ok(()),
        }
    }
}

/// Average of the weights of a store, and when it is updated.
pub(crate) struct Averages {
    rule: Rule,
    /// Parameters, and buffers if they are averaged.
    entries: Vec<Entry>,
    /// Steps since the last update.
    steps: u64,
    /// Updates so far.
    updates: u64,
}

enum Rule {
    Ema(EmaConfig),
    Swa(SwaConfig),
}

struct Entry {
    name: String,
    var: Var,
    average: Tensor,
}

impl Averages {
    /// Checks the settings for a run of so many epochs.
    ///
    /// # Errors
    /// [`Error::Config`] when there are both rules, or a setting is out of range.
    pub fn validate(ema: &Option<EmaConfig>, swa: &Option<SwaConfig>, epochs: usize) -> Result<()> {
        match (ema, swa) {
            (None, None) => Ok(()),
            (Some(ema), None) => ema.validate(),
            (None, Some(swa)) => swa.validate(epochs),
            (Some(_), Some(_)) => {
                let message = "`ema` and `swa` are both set, but the weights after training are one average: choose one";
                Err(Error::config("ema", message))
            }
        }
    }

    /// Average by one of the two rules; `None` if there is neither.
    pub fn new(
        ema: &Option<EmaConfig>,
        swa: &Option<SwaConfig>,
        store: &ParamStore,
    ) -> Result<Option<Self>> {
        let rule = match (ema, swa) {
            (None, None) => return Ok(None),
            (Some(ema), _) => Rule::Ema(ema.clone()),
            (None, Some(swa)) => Rule::Swa(swa.clone()),
        };
        let buffers = match &rule {
            Rule::Ema(ema) if ema.buffers == AverageBuffers::Average => store.buffers(),
            _ => Vec::new(),
        };
        let entries = store.parameters().into_iter().chain(buffers);
        let entries = entries.map(|(name, var)| {
            let average = var.as_detached_tensor().copy()?;
            Ok(Entry { name, var, average })
        });
        Ok(Some(Self {
            rule,
            entries: entries.collect::<Result<_>>()?,
            steps: 0,
            updates: 0,
        }))
    }

    /// After an optimizer step.
    pub fn after_step(&mut self) -> Result<()> {
        let Rule::Ema(ema) = &self.rule else {
            return Ok(());
        };
        self.steps += 1;
        if self.steps < ema.every {
            return Ok(());
        }
        self.steps = 0;
        let decay = ema.decay_of(self.updates + 1);
        self.update(1.0 - decay)
    }

    /// After the last step of `epoch`.
    pub fn after_epoch(&mut self, epoch: usize) -> Result<()> {
        match &self.rule {
            Rule::Swa(swa) if epoch >= swa.start => self.update(1.0 / (self.updates + 1) as f64),
            _ => Ok(()),
        }
    }

    fn update(&mut self, weight: f64) -> Result<()> {
        for Entry { var, average, .. } in &mut self.entries {
            lerp(average, &var.as_detached_tensor(), weight)?;
        }
        self.updates += 1;
        Ok(())
    }

    /// Whether a run that has done `done` of `epochs` epochs is judged by the average.
    pub fn evaluates(&self, done: usize, epochs: usize) -> bool {
        match &self.rule {
            Rule::Ema(_) => self.updates > 0,
            Rule::Swa(_) => done == epochs && self.updates > 0,
        }
    }

    /// Whether the running statistics of batch norm are computed anew for the average.
    pub fn needs_statistics(&self) -> bool {
        matches!(self.rule, Rule::Swa(_))
    }

    /// Exchanges weights and average.
    pub fn swap(&mut self) -> Result<()> {
        for Entry { var, average, .. } in &mut self.entries {
            let weights = var.as_detached_tensor().copy()?;
            var.set(average)?;
            *average = weights;
        }
        Ok(())
    }

    /// State for a checkpoint, which has the weights that are trained besides.
    pub fn state(&self) -> Result<PartState> {
        let mut state = PartState::of_values(&Counts {
            steps: self.steps,
            updates: self.updates,
        })?;
        let entries = self.entries.iter();
        state.tensors = entries
            .map(|entry| (entry.name.clone(), entry.average.clone()))
            .collect();
        Ok(state)
    }

    /// Restores a state from [`state`](Self::state).
    pub fn load(&mut self, state: &PartState) -> Result<()> {
        let counts: Counts = state.read_values()?;
        let wrong = |message: String| Error::config("averages", message);
        let mut averages = Vec::new();
        for Entry { name, average, .. } in &self.entries {
            let found = state.tensors.iter().find(|(found, _)| found == name);
            let (_, tensor) = found.ok_or_else(|| wrong(format!("`{name}` is missing")))?;
            if tensor.shape() != average.shape() {
                let (found, expected) = (tensor.shape(), average.shape());
                let message = format!("`{name}` has shape {found:?}, expected {expected:?}");
                return Err(wrong(message));
            }
            let moved = tensor.to_device(average.device())?;
            averages.push(moved.to_dtype(average.dtype())?.copy()?);
        }
        for (entry, average) in self.entries.iter_mut().zip(averages) {
            entry.average = average;
        }
        (self.steps, self.updates) = (counts.steps, counts.updates);
        Ok(())
    }
}

/// Values of an average in a checkpoint.
#[derive(Serialize, Deserialize)]
struct Counts {
    steps: u64,
    updates: u64,
}

#[cfg(test)]
mod tests {
    use candle_core::{DType, Device};
    use serde_json::Value;
    use tallow_ops::Init;

    use super::*;

    /// Made by `tests/fixtures/make_batch_fixtures.py`.
    fn fixture() -> Value {
        serde_json::from_str(include_str!("../tests/fixtures/batch.json")).unwrap()
    }

    fn numbers(values: &Value) -> Vec<f64> {
        serde_json::from_value(values.clone()).unwrap()
    }

    /// Tensor `tensor` of the script.
    fn tensor(shape: &[usize], start: usize) -> Tensor {
        let value = |i: usize| (((37 * i + 11) % 101) as f64 - 50.0) / 16.0;
        let values = (start..start + shape.iter().product::<usize>()).map(value);
        let values = Tensor::from_iter(values, &Device::Cpu).unwrap();
        values.reshape(shape).unwrap()
    }

    fn weights() -> ParamStore {
        let store = ParamStore::new(DType::F64, &Device::Cpu, 0);
        store.root().param("w", (2, 3), Init::Const(0.0)).unwrap();
        let root = store.root();
        root.buffer("running_mean", 3, Init::Const(0.0)).unwrap();
        set(&store, 0, 100);
        store
    }

    fn set(store: &ParamStore, w: usize, mean: usize) {
        store.parameters()[0].1.set(&tensor(&[2, 3], w)).unwrap();
        store.buffers()[0].1.set(&tensor(&[3], mean)).unwrap();
    }

    fn values(store: &ParamStore) -> Vec<f64> {
        let all = store.parameters().into_iter().chain(store.buffers());
        all.flat_map(|(_, var)| var.flatten_all().unwrap().to_vec1::<f64>().unwrap())
            .collect()
    }

    #[test]
    fn averages_are_those_of_pytorch_and_timm() {
        let all = &fixture()["averages"];
        let steps = all["steps"].as_u64().unwrap() as usize;
        let cases = all["cases"].as_array().unwrap();
        assert_eq!(cases.len(), 8);
        for case in cases {
            let ema: Option<EmaConfig> = serde_json::from_value(case["ema"].clone()).unwrap();
            let swa: Option<SwaConfig> = serde_json::from_value(case["swa"].clone()).unwrap();
            Averages::validate(&ema, &swa, steps).unwrap();
            let store = weights();
            let mut averages = Averages::new(&ema, &swa, &store).unwrap().unwrap();
            for step in 1..=steps {
                set(&store, 10 * step, 100 + 7 * step);
                averages.after_step().unwrap();
                averages.after_epoch(step - 1).unwrap();
                // A checkpoint at any time changes nothing.
                let state = averages.state().unwrap();
                averages = Averages::new(&ema, &swa, &store).unwrap().unwrap();
                averages.load(&state).unwrap();
            }
            let trained = values(&store);
            assert!(averages.evaluates(steps, steps));
            averages.swap().unwrap();
            let expected = numbers(&case["values"]);
            for (found, expected) in values(&store).iter().zip(&expected) {
                assert!(
                    (found - expected).abs() < 1e-14,
                    "{case}: {found} {expected}"
                );
            }
            averages.swap().unwrap();
            assert_eq!(values(&store), trained);
        }
    }

    #[test]
    fn swa_rates_are_pytorchs() {
        // StepLR(2, 0.5) from 0.1.
        let schedule = |epoch: usize| 0.1 * 0.5f64.powi(epoch as i32 / 2);
        let all = fixture();
        for case in all["swa_rates"].as_array().unwrap() {
            let swa: SwaConfig = serde_json::from_value(case["swa"].clone()).unwrap();
            for (epoch, expected) in numbers(&case["rates"]).into_iter().enumerate() {
                let found = swa.lr(epoch, schedule(swa.start));
                let found = found.unwrap_or_else(|| schedule(epoch));
                assert!((found - expected).abs() < 1e-15, "{case} {epoch}: {found}");
            }
        }
    }

    #[test]
    fn the_swa_rate_is_reached_at_once_without_epochs_in_between() {
        let swa = SwaConfig {
            start: 2,
            lr: Some(0.5),
            anneal_epochs: 0,
            anneal: Anneal::Cos,
        };
        let rates = [1, 2, 9].map(|epoch| swa.lr(epoch, 0.1));
        assert_eq!(rates, [None, Some(0.5), Some(0.5)]);
    }

    #[test]
    fn settings_out_of_range_are_refused() {
        let message = |ema: Value, swa: Value| {
            let ema = serde_json::from_value(ema).unwrap();
            let swa = serde_json::from_value(swa).unwrap();
            let error = Averages::validate(&ema, &swa, 10).unwrap_err();
            error.to_string()
        };
        let null = Value::Null;
        let json = |text: &str| serde_json::from_str::<Value>(text).unwrap();
        for (ema, swa, expected) in [
            (json(r#"{"decay": 1.5}"#), null.clone(), "ema.decay: 1.5"),
            (json(r#"{"every": 0}"#), null.clone(), "ema.every: must"),
            (
                json(r#"{"warmup": {"gamma": 0}}"#),
                null.clone(),
                "ema.warmup.gamma: 0",
            ),
            (
                null.clone(),
                json(r#"{"start": 10}"#),
                "swa.start: 10 epochs",
            ),
            (
                null.clone(),
                json(r#"{"start": 1, "lr": -1}"#),
                "swa.lr: -1",
            ),
            (json("{}"), json(r#"{"start": 1}"#), "ema: `ema` and `swa`"),
        ] {
            let message = message(ema, swa);
            assert!(message.starts_with(expected), "{message}");
        }
        assert!(serde_json::from_str::<EmaConfig>(r#"{"decai": 0.9}"#).is_err());
    }

    #[test]
    fn a_state_of_another_model_is_refused() {
        let store = weights();
        let ema = Some(EmaConfig::default());
        let mut averages = Averages::new(&ema, &None, &store).unwrap().unwrap();
        let mut state = averages.state().unwrap();
        state.tensors[0].1 = tensor(&[2, 2], 0);
        let error = averages.load(&state).unwrap_err().to_string();
        assert!(
            error.contains("`w` has shape [2, 2], expected [2, 3]"),
            "{error}"
        );
        state.tensors.remove(0);
        let error = averages.load(&state).unwrap_err().to_string();
        assert!(error.contains("`w` is missing"), "{error}");
    }
}
