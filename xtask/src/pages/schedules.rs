//! Picture of the learning-rate schedules.

use anyhow::{Context, Result};
use serde_json::json;
use tallow_record::EpochRow;
use tallow_report::charts;
use tallow_train::ScheduleConfig;

use super::page::{Page, image};

/// Steps of the run in the picture.
const STEPS: u64 = 100;

/// Settings of each schedule in the picture, as in a recipe.
const SHOWN: [(&str, &str); 16] = [
    ("constant", "curve = { name = \"constant\" }"),
    ("linear", "curve = { name = \"linear\" }"),
    (
        "step, size 25",
        "curve = { name = \"step\", size = 25, gamma = 0.5 }",
    ),
    (
        "multi-step 30, 60, 80",
        "curve = { name = \"multi-step\", milestones = [30, 60, 80], gamma = 0.4 }",
    ),
    (
        "exponential, 0.97",
        "curve = { name = \"exponential\", gamma = 0.97 }",
    ),
    (
        "polynomial, power 2",
        "curve = { name = \"polynomial\", power = 2.0 }",
    ),
    ("cosine", "curve = { name = \"cosine\" }"),
    (
        "cosine-warm-restarts",
        "curve = { name = \"cosine-warm-restarts\", t_0 = 14, t_mult = 2 }",
    ),
    ("one-cycle", "curve = { name = \"one-cycle\" }"),
    (
        "one-cycle, three phases",
        "curve = { name = \"one-cycle\", three_phase = true }",
    ),
    (
        "one-cycle, linear",
        "curve = { name = \"one-cycle\", anneal = \"linear\" }",
    ),
    ("triangular", "curve = { name = \"triangular\" }"),
    (
        "reduce-on-plateau",
        "curve = { name = \"reduce-on-plateau\", patience = 4, factor = 0.5 }",
    ),
    (
        "sequence: constant, cosine",
        "curve = { name = \"sequence\", curves = [{ name = \"constant\" }, { name = \"cosine\" }], milestones = [50] }",
    ),
    (
        "warmup, linear",
        "curve = { name = \"cosine\" }\nwarmup = { length = 20, start = 0.05 }",
    ),
    (
        "warmup, cosine",
        "curve = { name = \"cosine\" }\nwarmup = { length = 20, start = 0.05, kind = \"cosine\" }",
    ),
];

/// Picture of every schedule. The plateaus are those of a loss that falls in the first 20 of every 40 epochs.
pub fn schedules(page: &mut Page<'_>) -> Result<String> {
    let series: Vec<(&str, Vec<f64>)> = (SHOWN.iter())
        .map(|(label, text)| Ok((*label, rates(text)?)))
        .collect::<Result<_>>()?;
    let title = format!("Learning rate over a run of {STEPS} steps, relative to the optimizer's");
    let svg = charts::panels(&title, &series)?;
    let path = page.pictures.keep("schedules", &[], &svg);
    let names: Vec<&str> = SHOWN.iter().map(|(label, _)| *label).collect();
    Ok(image(
        &format!("{title}: {}", names.join("; ")),
        &page.link(&path),
    ))
}

fn rates(text: &str) -> Result<Vec<f64>> {
    let config: ScheduleConfig = toml::from_str(text).with_context(|| text.to_string())?;
    let mut schedule = config.build(1);
    schedule.validate(STEPS)?;
    let mut rows: Vec<EpochRow> = Vec::new();
    let mut rates = Vec::new();
    let mut loss = 1.0;
    for time in 0..STEPS {
        schedule.observe(&rows)?;
        rates.push(schedule.lr(1.0, time, STEPS));
        if time % 40 < 20 {
            loss *= 0.95;
        }
        rows.push(row(time, loss)?);
    }
    Ok(rates)
}

fn row(epoch: u64, train_loss: f64) -> Result<EpochRow> {
    let row = json!({
        "epoch": epoch, "train_loss": train_loss, "train_accuracy": 0.0, "lr": 0.0, "seconds": 0.0, "images_per_second": 0.0,
    });
    Ok(serde_json::from_value(row)?)
}
