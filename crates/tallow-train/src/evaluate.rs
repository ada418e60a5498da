//! Evaluation of a model on all batches of a loader.

use candle_nn::ModuleT;
use tallow_datasets::{DataLoader, Dataset};
use tallow_metrics::Metric;
use tallow_ops::{ParamStore, no_grad};

use crate::batch::to_store;
use crate::config::TrainConfig;
use crate::error::{Error, Result};
use crate::history::Evaluation;
use crate::loss::{Loss, Target};
use crate::tally::TestTally;

/// Evaluation of `model` on `loader`; `progress` is called with the number of batches done.
pub(crate) fn evaluate(
    model: &dyn ModuleT,
    store: &ParamStore,
    loader: &DataLoader,
    loss: &dyn Loss,
    metrics: &mut [Box<dyn Metric + '_>],
    mut progress: impl FnMut(usize) -> Result<()>,
) -> Result<Evaluation> {
    let mut tally = TestTally::new(metrics);
    for (step, batch) in loader.epoch(0).enumerate() {
        let (images, labels) = to_store(&batch?, store)?;
        let logits = no_grad(|| model.forward_t(&images, false))?.detach();
        let target = Target::Classes(labels.clone());
        tally.add(loss.sum(&logits, &target)?, &logits, &labels)?;
        progress(step + 1)?;
    }
    tally.finish().ok_or_else(|| Error::EmptyLoader {
        which: "test",
        samples: loader.dataset().len(),
    })
}

/// The caller's own loss, or that of the settings for the classes of `dataset`.
pub(crate) fn choose_loss<'l>(
    own: &'l Option<Box<dyn Loss + '_>>,
    config: &TrainConfig,
    dataset: &dyn Dataset,
) -> Result<Box<dyn Loss + 'l>> {
    Ok(match own {
        Some(loss) => Box::new(loss),
        None => config.loss.build_for(dataset)?,
    })
}
