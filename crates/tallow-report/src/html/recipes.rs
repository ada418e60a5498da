//! Differences between the recipes of runs.

use std::collections::BTreeMap;

use maud::{Markup, html};
use tallow_record::Run;
use toml::Value;

use super::parts;

/// Keys that name a run and do not change what it does.
const NAMES: [&str; 4] = ["experiment", "variant", "seed", "tier"];

/// Settings of a run by dotted key.
fn settings(run: &Run) -> BTreeMap<String, String> {
    let mut settings = BTreeMap::new();
    for (key, value) in &run.config {
        if !NAMES.contains(&key.as_str()) {
            flatten(key.clone(), value, &mut settings);
        }
    }
    settings
}

fn flatten(key: String, value: &Value, settings: &mut BTreeMap<String, String>) {
    match value {
        Value::Table(table) => {
            for (name, value) in table {
                flatten(format!("{key}.{name}"), value, settings);
            }
        }
        value => {
            settings.insert(key, value.to_string());
        }
    }
}

/// A value of a setting, and the runs that have it.
type Differing<'a> = (Option<String>, Vec<&'a Run>);

/// Settings in which some of these runs differ: the key, and each value with the runs that have it. A run without the key has `None`.
fn differences<'a>(runs: &[&'a Run]) -> BTreeMap<String, Vec<Differing<'a>>> {
    let all: Vec<(&Run, BTreeMap<String, String>)> =
        runs.iter().map(|run| (*run, settings(run))).collect();
    let keys = all
        .iter()
        .flat_map(|(_, settings)| settings.keys().cloned());
    let mut differences = BTreeMap::new();
    for key in keys.collect::<std::collections::BTreeSet<_>>() {
        let mut values: Vec<(Option<String>, Vec<&Run>)> = Vec::new();
        for (run, settings) in &all {
            let value = settings.get(&key).cloned();
            match values.iter_mut().find(|(known, _)| *known == value) {
                Some((_, with)) => with.push(run),
                None => values.push((value, vec![run])),
            }
        }
        if values.len() > 1 {
            differences.insert(key, values);
        }
    }
    differences
}

/// Whether finished runs of this variant differ in their recipes.
pub fn mixed(runs: &[Run], variant: &str) -> bool {
    !differences(&of(runs, variant)).is_empty()
}

fn of<'a>(runs: &'a [Run], variant: &str) -> Vec<&'a Run> {
    let finished = |run: &&Run| run.info.variant == variant && run.summary.is_some();
    runs.iter().filter(finished).collect()
}

fn shown(value: &Option<String>) -> Markup {
    html! { @match value { Some(value) => { code { (value) } } None => { "not set" } } }
}

/// Table of the settings in which runs of one variant differ, nothing if there are none.
pub fn mixed_table(runs: &[Run], variants: &[&str]) -> Markup {
    let mut rows = Vec::new();
    for variant in variants {
        for (key, values) in differences(&of(runs, variant)) {
            rows.push([
                html! { (variant) },
                html! { code { (key) } },
                html! {
                    @for (value, with) in &values {
                        div { (shown(value)) ": " (seeds(with)) }
                    }
                },
            ]);
        }
    }
    html! {
        @if !rows.is_empty() {
            p class="warning" {
                "Runs of one variant have different recipes. Its means are over different things and are no result of any of them."
            }
            (parts::table("Mixed recipes", &["variant", "setting", "value: seeds"], rows.into_iter()))
        }
    }
}

fn seeds(runs: &[&Run]) -> String {
    let seeds: Vec<String> = runs.iter().map(|run| run.info.seed.to_string()).collect();
    let noun = if seeds.len() == 1 { "seed" } else { "seeds" };
    format!("{noun} {}", seeds.join(", "))
}

/// Table of the settings in which the first runs of the variants differ, nothing if there are none.
pub fn variants_table(runs: &[Run], variants: &[&str]) -> Markup {
    let first: Vec<&Run> = (variants.iter())
        .filter_map(|variant| of(runs, variant).into_iter().next())
        .collect();
    let rows = differences(&first);
    html! {
        @if !rows.is_empty() {
            details {
                summary { "Settings in which the variants differ (" (rows.len()) ")" }
                (parts::table("Of the first run of each variant", &["setting", "value: variants"], rows.into_iter().map(|(key, values)| [
                    html! { code { (key) } },
                    html! {
                        @for (value, with) in &values {
                            @let names: Vec<&str> = with.iter().map(|run| run.info.variant.as_str()).collect();
                            div { (shown(value)) ": " (names.join(", ")) }
                        }
                    },
                ])))
            }
        }
    }
}
