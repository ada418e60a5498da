//! `tallow run --overfit-batches`: whether the networks of an experiment can learn a few batches by heart.

use anyhow::Result;
use tallow_experiment::{Experiment, Overfit};
use tallow_record::percent;

use crate::ending::Ending;
use crate::output;
use crate::runner::Runner;
use crate::table::{align_right, new_table};

/// Trains every variant on its first batches alone and prints their losses.
pub fn overfit(
    runner: &mut Runner,
    experiment: &Experiment,
    batches: usize,
    json: bool,
) -> Result<Ending> {
    let progress = &mut runner.progress;
    let Some(found) = runner.engine.overfit(experiment, batches, progress)? else {
        return Ok(Ending::Interrupted);
    };
    output::result(&render(&found), json.then_some(&found), false)?;
    Ok(if found.iter().all(|trial| trial.learnt) {
        Ending::Done
    } else {
        Ending::CheckFailed
    })
}

fn render(found: &[Overfit]) -> String {
    let mut table = new_table(&[
        "variant",
        "images",
        "steps",
        "first loss",
        "last loss",
        "learnt",
    ]);
    let mut text = String::new();
    for trial in found {
        table.add_row([
            trial.variant.clone(),
            trial.images.to_string(),
            trial.steps.to_string(),
            format!("{:.4}", trial.first_loss),
            format!("{:.4}", trial.last_loss),
            if trial.learnt { "yes" } else { "NO" }.to_string(),
        ]);
        if !trial.learnt {
            text += &format!(
                "variant `{}`: after {} steps on the same {} images the loss is {} of its first value, expected 1 % at most. A network \
                 that cannot learn a few images by heart has a fault: check the learning rate (`lr-find`), the loss, the labels, the \
                 last layer, and train.freeze\n",
                trial.variant,
                trial.steps,
                trial.images,
                percent(trial.last_loss / trial.first_loss),
            );
        }
    }
    for column in 1..6 {
        align_right(&mut table, column);
    }
    format!("{table}\n{text}")
}
