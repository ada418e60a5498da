//! Rates of error of the rule for claims, simulated, against the table in docs/claims.md.

use std::f64::consts::TAU;
use std::fs;
use std::path::Path;

use rand_chacha::ChaCha8Rng;
use rand_core::{RngCore, SeedableRng};
use tallow_regress::{Claim, Figure, Rule};

/// Experiments for each cell of the table.
const TRIALS: usize = 10_000;

/// Distribution of the difference between two variants at one seed, with mean 0 and standard deviation 1.
#[derive(Clone, Copy)]
enum Spread {
    Normal,
    /// Exponential with its long tail downwards: seeds that go wrong.
    LongTail,
}

fn uniform(rng: &mut ChaCha8Rng) -> f64 {
    (rng.next_u32() as f64 + 0.5) / (u32::MAX as f64 + 1.0)
}

fn draw(rng: &mut ChaCha8Rng, spread: Spread) -> f64 {
    match spread {
        Spread::Normal => (-2.0 * uniform(rng).ln()).sqrt() * (TAU * uniform(rng)).cos(),
        Spread::LongTail => 1.0 + uniform(rng).ln(),
    }
}

/// Percentages of `a > b` that hold and that do not hold, for a true difference of `effect` standard deviations.
fn rates(seeds: u64, spread: Spread, effect: f64) -> [f64; 2] {
    let claim = Claim::parse("a > b").unwrap();
    let mut rng = ChaCha8Rng::seed_from_u64(seeds * 1000 + (effect * 100.0) as u64);
    let (mut holds, mut fails) = (0, 0);
    for _ in 0..TRIALS {
        // What the seed does to both variants cancels.
        let pairs: Vec<(u64, f64, f64)> = (0..seeds)
            .map(|seed| {
                let common = 10.0 * draw(&mut rng, Spread::Normal);
                (seed, common + effect + draw(&mut rng, spread), common)
            })
            .collect();
        let figure = |variant: &str, _: &str| {
            let value =
                |&(seed, a, b): &(u64, f64, f64)| (seed, if variant == "a" { a } else { b });
            Some(Figure::BySeed(pairs.iter().map(value).collect()))
        };
        match claim.judge(Rule::Confidence, figure).holds {
            Some(true) => holds += 1,
            Some(false) => fails += 1,
            None => {}
        }
    }
    [holds, fails].map(|count| 100.0 * f64::from(count) / TRIALS as f64)
}

/// Cells of a row of the table: seeds, distribution, then percentages.
fn row(line: &str) -> Option<(u64, Spread, Vec<f64>)> {
    let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
    let seeds = cells.first()?.parse().ok()?;
    let spread = match *cells.get(1)? {
        "normal" => Spread::Normal,
        "long tail" => Spread::LongTail,
        _ => return None,
    };
    let percent = |cell: &&str| cell.trim_end_matches(" %").parse().ok();
    Some((
        seeds,
        spread,
        cells[2..].iter().map(percent).collect::<Option<_>>()?,
    ))
}

#[test]
fn the_rule_errs_as_seldom_as_the_docs_say() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/claims.md");
    let text = fs::read_to_string(path).unwrap();
    let rows: Vec<_> = text.lines().filter_map(row).collect();
    assert_eq!(rows.len(), 8, "rows of the table in docs/claims.md");
    for (seeds, spread, said) in rows {
        let [no_effect, _] = rates(seeds, spread, 0.0);
        let [one, wrong] = rates(seeds, spread, 1.0);
        let [two, _] = rates(seeds, spread, 2.0);
        let found = [no_effect, one, two, wrong];
        for (found, said) in found.iter().zip(&said) {
            // Four standard errors of a percentage of 10,000 trials are at most 2 points, and 0.9 points at 5 %.
            let error = 400.0 * (said / 100.0 * (1.0 - said / 100.0) / TRIALS as f64).sqrt();
            assert!(
                (found - said).abs() <= error + 0.05,
                "{seeds} seeds: {found} % instead of {said} %"
            );
        }
    }
}
