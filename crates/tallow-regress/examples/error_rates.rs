//! Simulates comparisons and prints how often each rule raises a false alarm and how often it finds a fault.
//!
//! ```text
//! cargo run --release -p tallow-regress --example error_rates [REPEATS]
//! ```

#[path = "../tests/it/simulation.rs"]
mod simulation;

use rand_chacha::ChaCha8Rng;
use rand_core::SeedableRng;
use simulation::{Distribution, Setup, one_round, rate, three_rounds};

fn main() {
    let repeats = std::env::args().nth(1).map(|text| text.parse());
    let repeats: usize = match repeats {
        None => 100_000,
        Some(Ok(repeats)) => repeats,
        Some(Err(error)) => {
            eprintln!("expected a number of repeats: {error}");
            std::process::exit(2);
        }
    };
    let mut rng = ChaCha8Rng::seed_from_u64(0);
    let distributions = [Distribution::Normal, Distribution::LogNormal];

    println!("Three rounds, first round of one seed, one metric ({repeats} repeats):\n");
    println!(
        "| distribution | seeds of the baseline | false alarms | found: 3 deviations | 4 | 5 |"
    );
    println!("| --- | --- | --- | --- | --- | --- |");
    for distribution in distributions {
        for baseline in [30, 10, 3] {
            let mut of = |shift: f64, repeats: usize| {
                let shift = shift * deviation(distribution);
                let setup = Setup {
                    distribution,
                    baseline,
                    seeds: 1,
                    shift,
                };
                rate(repeats, || three_rounds(&mut rng, setup))
            };
            let alarms = of(0.0, 10 * repeats);
            let found = [3.0, 4.0, 5.0].map(|shift| percent(of(shift, repeats / 10)));
            println!(
                "| {distribution:?} | {baseline} | {alarms:.1e} | {} |",
                found.join(" | ")
            );
        }
    }

    println!(
        "\nOne round, false alarms in any metric, and one shifted metric found ({repeats} repeats):\n"
    );
    println!(
        "| distribution | metrics | seeds of the baseline | seeds compared | false alarms | found: 3 deviations | 4 | 5 |"
    );
    println!("| --- | --- | --- | --- | --- | --- | --- | --- |");
    for distribution in distributions {
        for (metrics, baseline, seeds) in [
            (1, 10, 1),
            (1, 10, 3),
            (5, 5, 3),
            (5, 10, 1),
            (5, 10, 3),
            (5, 10, 5),
            (5, 30, 1),
            (5, 30, 3),
            (20, 10, 3),
            (20, 30, 3),
        ] {
            let mut of = |shift: f64, shifted: usize, repeats: usize| {
                let shift = shift * deviation(distribution);
                let setup = Setup {
                    distribution,
                    baseline,
                    seeds,
                    shift,
                };
                rate(repeats, || one_round(&mut rng, setup, metrics, shifted))
            };
            let alarms = of(0.0, 0, repeats);
            let found = [3.0, 4.0, 5.0].map(|shift| percent(of(shift, 1, repeats / 10)));
            println!(
                "| {distribution:?} | {metrics} | {baseline} | {seeds} | {} | {} |",
                percent(alarms),
                found.join(" | ")
            );
        }
    }
}

/// Standard deviation of a distribution.
fn deviation(distribution: Distribution) -> f64 {
    match distribution {
        Distribution::Normal => 1.0,
        Distribution::LogNormal => {
            let e = std::f64::consts::E;
            ((e - 1.0) * e).sqrt()
        }
    }
}

fn percent(rate: f64) -> String {
    format!("{:.2} %", 100.0 * rate)
}
