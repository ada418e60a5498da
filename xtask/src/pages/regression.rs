//! Error rates of `regress`: deliberate faults that it finds, and false alarms in repeats without a fault.

use std::path::Path;

use anyhow::{Context, Result};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tallow_record::{Tier, thousands};
use tallow_regress::proportion_interval;

use super::files::read;
use super::page::Page;
use super::tables::Table;
use crate::faults::{CONTROL, Row};

/// A repeat, as `tests/repeats.rs` notes what became of it.
#[derive(Deserialize)]
struct Repeat {
    figures: usize,
    trained_again: usize,
    alarms: Vec<String>,
    seconds: f64,
}

/// Two tables with a row a fault: of the faults that shaped `regress`, and of the others; and the rates.
pub fn faults(page: &Page<'_>) -> Result<String> {
    let rows: Vec<Row> = json(page, "faults.json")?;
    let (controls, faults): (Vec<Row>, Vec<Row>) =
        rows.into_iter().partition(|row| row.fault == CONTROL);
    let (shaped, others): (Vec<Row>, Vec<Row>) = faults.into_iter().partition(|row| row.shaped);
    let mut text = String::new();
    for (rows, title) in [
        (&others, "Faults that were written before they were judged"),
        (&shaped, "Faults for which the comparison was made"),
    ] {
        text += &format!("### {title}\n\n{}\n", judged(rows));
    }
    for control in &controls {
        text += &match control.is_found() {
            false => format!("The source without a fault: {}.\n", control.outcome()),
            true => format!("**False alarm** without a fault: {}.\n", control.outcome()),
        };
    }
    Ok(text)
}

/// Table of faults, and the rates below it.
fn judged(rows: &[Row]) -> String {
    if rows.is_empty() {
        return "None is judged yet.\n".to_string();
    }
    type Cell<'a> = &'a dyn Fn(&Row) -> Option<Vec<String>>;
    let columns: [(&str, Cell<'_>); 3] = [
        ("traces", &|row| row.traces.clone()),
        ("smoke tier", &|row| row.metrics.get(&Tier::Smoke).cloned()),
        ("standard tier", &|row| {
            row.metrics.get(&Tier::Standard).cloned()
        }),
    ];
    let headings = columns.iter().map(|(name, _)| *name);
    let headings: Vec<String> = (["fault"].into_iter().chain(headings))
        .map(String::from)
        .collect();
    let mut table = Table::new(&headings, headings.len());
    for row in rows {
        let mut cells = vec![format!("`{}`: {}", row.fault, row.what)];
        cells.extend(columns.iter().map(|(_, of)| match of(row) {
            None => "not tried".to_string(),
            Some(found) if found.is_empty() => "**missed**".to_string(),
            Some(found) => caught_by(&found),
        }));
        table.row(&cells);
    }
    let mut text = table.finish();
    let mut rate = |by: &str, found: &[bool]| {
        let (caught, tried) = (found.iter().filter(|&&f| f).count(), found.len());
        if tried > 0 {
            let (lower, upper) = proportion_interval(caught as u64, tried as u64);
            text += &format!(
                "\n{by}: {caught} of {tried} found ({:.0} to {:.0} %).\n",
                100.0 * lower,
                100.0 * upper
            );
        }
    };
    for (name, of) in columns {
        let found = rows.iter().filter_map(of);
        let found: Vec<bool> = found.map(|found| !found.is_empty()).collect();
        rate(&format!("By the {name}"), &found);
    }
    let smoke = |row: &&Row| row.traces.is_some() && row.metrics.contains_key(&Tier::Smoke);
    let either = |row: &Row| {
        let metrics = row.metrics.get(&Tier::Smoke);
        row.traces.iter().chain(metrics).any(|f| !f.is_empty())
    };
    let found: Vec<bool> = rows.iter().filter(smoke).map(either).collect();
    rate("By either, in one run of the smoke tier", &found);
    text
}

/// The first things that tell, and how many there are in all.
fn caught_by(found: &[String]) -> String {
    const SHOWN: usize = 3;
    // A refusal gives its reasons at length.
    let short = |text: &String| {
        let first = text.split(';').next().unwrap_or(text);
        match first.char_indices().nth(80) {
            Some((at, _)) => format!("{} …", &first[..at]),
            None => first.to_string(),
        }
    };
    let shown: Vec<String> = found.iter().take(SHOWN).map(short).collect();
    match found.len().saturating_sub(SHOWN) {
        0 => shown.join("; "),
        more => format!("{}; and {more} more", shown.join("; ")),
    }
}

/// False alarms in repeats of the smoke tier without a fault.
pub fn repeats(page: &Page<'_>) -> Result<String> {
    let rows: Vec<Repeat> = json(page, "repeats.json")?;
    let alarms: Vec<&Repeat> = rows.iter().filter(|row| !row.alarms.is_empty()).collect();
    let sum = |of: fn(&Repeat) -> usize| rows.iter().map(of).sum::<usize>();
    let seconds = rows.iter().map(|row| row.seconds).sum::<f64>() / rows.len().max(1) as f64;
    let headings = [
        "repeats",
        "figures compared",
        "variants trained again",
        "repeats with a false alarm",
        "seconds a repeat",
    ];
    let mut table = Table::new(&headings.map(String::from), 0);
    table.row(&[
        rows.len().to_string(),
        thousands(sum(|row| row.figures) as u64),
        sum(|row| row.trained_again).to_string(),
        alarms.len().to_string(),
        format!("{seconds:.0}"),
    ]);
    let mut text = table.finish();
    for alarm in alarms.iter().flat_map(|row| &row.alarms) {
        text += &format!("\nFalse alarm: {alarm}\n");
    }
    Ok(text)
}

fn json<T: DeserializeOwned>(page: &Page<'_>, name: &str) -> Result<T> {
    let path = page.store.dir().join(Path::new("regression").join(name));
    serde_json::from_str(&read(&path)?).with_context(|| path.display().to_string())
}
