//! Margins and numbers of seeds, set before the runs.

use tallow_regress::{equivalence_power, widest_spread};

use crate::pages::format::Format;
use crate::pages::language::Language;
use crate::pages::tables::Table;

/// Comparison of a recipe.
pub struct Plan {
    /// Name of the recipe.
    pub recipe: &'static str,
    /// Seeds of either side.
    pub seeds: usize,
    /// Largest difference of the mean test accuracies, either way, that does not matter; a fraction.
    pub margin: f64,
    /// Largest standard deviation of a variant over the seeds of a pilot, a fraction; `None` without a pilot of several seeds.
    pilot: Option<f64>,
    /// Origin of the spread, and the reason for the margin.
    reason: &'static str,
}

/// The plan. It was set before the runs that it judges, and a change of it afterwards would make the verdicts worthless.
pub const PLANS: [Plan; 4] = [
    Plan {
        recipe: "mnist-pixel-order",
        seeds: 128,
        margin: 0.01,
        pilot: Some(0.022),
        reason: "`fc` in PyTorch, 60 seeds by hand, whose results are not kept; in Tallow 1.93 points over the 30 seeds of the smoke tier's \
                 baseline, the other variants up to 1.64. A point is less than two runs of `fc` differ by on average.",
    },
    Plan {
        recipe: "quickstart",
        seeds: 128,
        margin: 0.01,
        pilot: Some(0.016),
        reason: "`cnn` in PyTorch, 4 seeds by hand, whose results are not kept; in Tallow 0.53 points over the 30 seeds of the smoke tier's \
                 baseline. A point is half of the lead of `cnn` over `fc`.",
    },
    Plan {
        recipe: "cifar10-cnn",
        seeds: 16,
        margin: 0.01,
        pilot: Some(0.005),
        reason: "`cnn` in Tallow, the 3 seeds of its page. A point is half of the range that the statement there gives.",
    },
    Plan {
        recipe: "cifar10-vgg16",
        seeds: 3,
        margin: 0.025,
        pilot: None,
        reason: "A run takes more than a quarter of an hour (its page), so that 3 seeds and a wide margin have to do. There was no pilot of several seeds.",
    },
];

/// Table of the plan, with the power that it gives.
pub fn table() -> String {
    let headings = [
        "recipe",
        "spread and reason",
        "seeds of each",
        "margin",
        "spread of the pilot",
        "power at it",
        "spread at a power of 90 %",
    ];
    let mut table = Table::new(&headings.map(String::from), 2);
    for plan in &PLANS {
        let power = |spread| equivalence_power(spread, plan.seeds, plan.margin);
        let widest = widest_spread(plan.seeds, plan.margin);
        table.row(&[
            format!("`{}`", plan.recipe),
            plan.reason.to_string(),
            plan.seeds.to_string(),
            points(plan.margin),
            plan.pilot.map_or("—".to_string(), points),
            match plan.pilot.map(power) {
                None => "—".to_string(),
                Some(power) if power > 0.999 => "> 99.9 %".to_string(),
                Some(power) => format!("{:.1} %", 100.0 * power),
            },
            points(widest),
        ]);
    }
    table.finish()
}

/// A fraction in percentage points, with two digits.
pub fn points(fraction: f64) -> String {
    Format::Number(2).show(100.0 * fraction, Language::English)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_plan_has_a_power_of_90_percent_at_the_spread_of_its_pilot() {
        for plan in &PLANS {
            if let Some(spread) = plan.pilot {
                let power = equivalence_power(spread, plan.seeds, plan.margin);
                assert!(power >= 0.9, "{}: {power}", plan.recipe);
            }
        }
    }

    #[test]
    fn the_table_has_a_row_a_recipe() {
        let table = table();
        for part in [
            "| 128 | 1.00 | 2.20 | 95.2 % | 2.42 |",
            "| 16 | 1.00 | 0.50 | > 99.9 % | 0.83 |",
            "| 3 | 2.50 | — | — | 0.72 |",
        ] {
            assert!(table.contains(part), "no {part} in\n{table}");
        }
    }
}
