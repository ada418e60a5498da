//! Parts that act on a batch, its gradients or the weights, by the settings of a run.

use candle_core::{Tensor, Var};
use candle_nn::ModuleT;
use tallow_datasets::DataLoader;
use tallow_ops::ParamStore;

use crate::averages::Averages;
use crate::chunks::{BatchSizes, Chunks};
use crate::config::TrainConfig;
use crate::error::Result;
use crate::finite::FiniteCheck;
use crate::graph::{Launches, Recorder, Repeated};
use crate::loss::Target;
use crate::mix::MixConfig;
use crate::parts::Parts;
use crate::ranks::Ranks;
use crate::sam::Sam;
use crate::step::TrainStep;

/// Names of the states in checkpoints.
const AVERAGES: &str = "averages";
const SKIPPED: &str = "skip_non_finite";

/// Mixing, the check of losses and gradients, and the average of the weights.
pub(crate) struct BatchParts {
    mix: Option<MixConfig>,
    seed: u64,
    classes: usize,
    /// Whether batches begin with the sample before their own ones.
    with_previous: bool,
    /// Check of losses and gradients.
    pub finite: FiniteCheck,
    averages: Option<Averages>,
}

/// Batch as the training step gets it.
pub(crate) struct Mixed {
    /// Images `(N, C, H, W)`.
    pub images: Tensor,
    /// Targets of the loss.
    pub target: Target,
    /// Labels `(N)` of the training accuracy: the class with the largest share of each image.
    pub labels: Tensor,
}

impl BatchParts {
    /// Parts of a run of so many epochs on the batches of `train`, or on this rank's parts of them.
    pub fn new(
        config: &TrainConfig,
        store: &ParamStore,
        train: &DataLoader,
        epochs: usize,
        ranks: &Ranks,
    ) -> Result<Self> {
        config.validate_batch_settings()?;
        Averages::validate(&config.ema, &config.swa, epochs)?;
        Ok(Self {
            mix: config.mix.clone(),
            seed: train.config().seed,
            classes: train.dataset().info().classes.len(),
            with_previous: config.mix.is_some() && !ranks.is_alone(),
            finite: FiniteCheck::new(config.skip_non_finite),
            averages: Averages::new(&config.ema, &config.swa, store)?,
        })
    }

    /// Whether batches must begin with the sample before their own ones, which the first of them is mixed with.
    pub fn with_previous(&self) -> bool {
        self.with_previous
    }

    /// The batch of `step` in `epoch`, mixed.
    pub fn mix(
        &self,
        (epoch, step): (usize, usize),
        images: Tensor,
        labels: Tensor,
    ) -> Result<Mixed> {
        let samples = images.dim(0)?;
        let mixing = match &self.mix {
            Some(mix) if samples > 0 => {
                let (_, _, height, width) = images.dims4()?;
                let mixing = mix.draw((self.seed, epoch, step), (height, width));
                mixing.map(|mixing| (mixing, (height, width)))
            }
            _ => None,
        };
        let own = |rows: Tensor| match self.with_previous && samples > 0 {
            true => rows.narrow(0, 1, samples - 1),
            false => Ok(rows),
        };
        let Some((mixing, size)) = mixing else {
            let labels = own(labels)?;
            return Ok(Mixed {
                images: own(images)?,
                target: Target::Classes(labels.clone()),
                labels,
            });
        };
        let soft = own(mixing.target(&labels, self.classes, size)?)?;
        Ok(Mixed {
            images: own(mixing.images(&images)?)?,
            labels: soft.argmax(1)?,
            target: Target::Soft(soft),
        })
    }

    /// After an optimizer step.
    pub fn after_step(&mut self) -> Result<()> {
        self.averages.as_mut().map_or(Ok(()), Averages::after_step)
    }

    /// After the last step of `epoch`.
    pub fn after_epoch(&mut self, epoch: usize) -> Result<()> {
        match &mut self.averages {
            Some(averages) => averages.after_epoch(epoch),
            None => Ok(()),
        }
    }

    /// Puts the average in the place of the weights, if a run that has done `done` of `epochs` epochs is judged by it. Whether
    /// [`swap_back`](Self::swap_back) has something to undo. `statistics` computes the running statistics for it, where they are not
    /// averaged.
    pub fn swap_in(
        &mut self,
        (done, epochs): (usize, usize),
        statistics: impl FnOnce() -> Result<()>,
    ) -> Result<bool> {
        let Some(averages) = &mut self.averages else {
            return Ok(false);
        };
        if !averages.evaluates(done, epochs) {
            return Ok(false);
        }
        averages.swap()?;
        if averages.needs_statistics() {
            statistics()?;
        }
        Ok(true)
    }

    /// Puts the weights back in the place of the average, if it is there.
    pub fn swap_back(&mut self, swapped: bool) -> Result<()> {
        match &mut self.averages {
            Some(averages) if swapped => averages.swap(),
            _ => Ok(()),
        }
    }

    /// Puts the states into `parts`.
    pub fn save(&self, parts: &mut Parts) -> Result<()> {
        if let Some(averages) = &self.averages {
            parts.put(AVERAGES, averages.state()?)?;
        }
        if let Some(state) = self.finite.state() {
            parts.put(SKIPPED, state?)?;
        }
        Ok(())
    }

    /// Takes the states out of `parts` and loads them.
    pub fn load(&mut self, parts: &mut Parts) -> Result<()> {
        if let Some(averages) = &mut self.averages {
            averages.load(&parts.take(AVERAGES)?)?;
        }
        if self.finite.state().is_some() {
            self.finite.load(&parts.take(SKIPPED)?)?;
        }
        Ok(())
    }
}

/// `inner` in chunks, those of this rank, and sharpness-aware, as the settings say; or repeated by a device that can record it.
/// `shared_model` is the model for threads.
pub(crate) fn train_step<'s>(
    config: &TrainConfig,
    parameters: &[(String, Var)],
    inner: &'s mut dyn TrainStep,
    shared_model: Option<&'s (dyn ModuleT + Sync)>,
    ranks: &Ranks,
    sizes: BatchSizes,
    recorder: Option<(Box<dyn Recorder>, Launches)>,
) -> Box<dyn TrainStep + 's> {
    if let Some((recorder, launches)) = recorder {
        return Box::new(Repeated::new(inner, recorder, launches));
    }
    let step: Box<dyn TrainStep + 's> = match config.chunks {
        0 | 1 => Box::new(inner),
        chunks => {
            let chunks = Chunks::new(chunks, inner).on(ranks, sizes);
            let chunks = chunks.with_norm_statistics(config.norm_statistics);
            Box::new(match shared_model {
                Some(model) => chunks.with_shared_model(model),
                None => chunks,
            })
        }
    };
    match &config.sam {
        None => step,
        Some(sam) => Box::new(Sam::new(sam.clone(), parameters.to_vec(), step)),
    }
}
