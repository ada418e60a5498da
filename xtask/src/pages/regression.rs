//! Error rates of `regress`: deliberate faults that it finds, and false alarms in repeats without a fault.

use std::path::Path;

use anyhow::{Context, Result};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tallow_record::thousands;

use super::files::read;
use super::page::Page;
use super::tables::Table;

/// A fault, as `tests/mutations.rs` notes what became of it.
#[derive(Deserialize)]
struct Mutation {
    mutation: String,
    what: String,
    tier: String,
    caught: bool,
    found_by: Vec<String>,
}

/// A repeat, as `tests/repeats.rs` notes what became of it.
#[derive(Deserialize)]
struct Repeat {
    figures: usize,
    trained_again: usize,
    alarms: Vec<String>,
    seconds: f64,
}

/// A row a fault, a column a tier.
pub fn mutations(page: &Page<'_>) -> Result<String> {
    let found: Vec<Mutation> = json(page, "mutations.json")?;
    let mut names: Vec<&str> = found.iter().map(|m| m.mutation.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    let of_tier = |name: &str, tier: &str| {
        let row = found.iter().find(|m| m.mutation == name && m.tier == tier);
        match row {
            None => "not tried".to_string(),
            Some(row) if row.caught => caught_by(&row.found_by),
            Some(_) => "**missed**".to_string(),
        }
    };
    let mut table = Table::new(
        &["fault", "smoke tier", "standard tier"].map(String::from),
        3,
    );
    for name in &names {
        let what = (found.iter().find(|m| m.mutation == *name)).map_or("", |m| m.what.as_str());
        table.row(&[
            format!("`{name}`: {what}"),
            of_tier(name, "smoke"),
            of_tier(name, "standard"),
        ]);
    }
    let mut text = table.finish();
    for tier in ["smoke", "standard"] {
        let rows = || found.iter().filter(|m| m.tier == tier);
        let caught = rows().filter(|m| m.caught).count();
        text += &format!(
            "\nThe {tier} tier catches {caught} of {}.\n",
            rows().count()
        );
    }
    Ok(text)
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
