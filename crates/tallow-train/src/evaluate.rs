//! Evaluation of a model on all batches of a loader.

mod judged;

use candle_nn::ModuleT;
use tallow_datasets::Dataset;
use tallow_metrics::Metric;
use tallow_ops::{Precision, no_grad, with_precision};

use self::judged::Judged;
use crate::config::TrainConfig;
use crate::error::{Error, Result};
use crate::history::Evaluation;
use crate::input::Input;
use crate::loss::{Loss, Target};
use crate::ranks::Ranks;
use crate::tally::TestTally;

/// Evaluation of `model` on the batches of `input` in a precision; `progress` is called with the number of batches done.
///
/// Several ranks share the batches out, each as it is: `input` has [those of this rank](Ranks::deal). All of them count the outputs of all
/// batches in the order of the loader, so that every rank has the figures of a single process, to the bit, those of metrics of the caller's own too.
pub(crate) fn evaluate(
    precision: Precision,
    model: &dyn ModuleT,
    input: &Input,
    loss: &dyn Loss,
    metrics: &mut [Box<dyn Metric + '_>],
    ranks: &Ranks,
    mut progress: impl FnMut(usize) -> Result<()>,
) -> Result<Evaluation> {
    let mut tally = TestTally::new(metrics);
    let mut batches = input.epoch_from(0, 0);
    let mut done = 0;
    loop {
        let own = match batches.next() {
            None => None,
            Some(batch) => {
                let (images, labels) = batch?;
                let logits =
                    with_precision(precision, || no_grad(|| model.forward_t(&images, false)))?;
                let logits = logits.detach();
                let target = Target::Classes(labels.clone());
                Some(Judged {
                    loss: loss.sum(&logits, &target)?,
                    logits,
                    labels,
                })
            }
        };
        let round = judged::of_all(ranks, own)?;
        if round.is_empty() {
            break;
        }
        for batch in round {
            tally.add(batch.loss, &batch.logits, &batch.labels)?;
            done += 1;
            progress(done)?;
        }
    }
    tally.finish().ok_or_else(|| Error::EmptyLoader {
        which: "test",
        samples: input.loader().dataset().len(),
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
