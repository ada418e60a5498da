//! Formatting of numbers.

/// Formats with four decimal places, or in scientific notation if the value is not 0 and its magnitude is below 0.001.
pub fn number(value: f64) -> String {
    if value != 0.0 && value.abs() < 1e-3 {
        format!("{value:.2e}")
    } else {
        format!("{value:.4}")
    }
}

/// Formats a p-value.
pub fn probability(p: f64) -> String {
    if p < 1e-3 {
        format!("{p:.0e}")
    } else {
        format!("{p:.3}")
    }
}

/// Lists seeds, separated by commas.
pub fn list(seeds: &[u64]) -> String {
    let seeds: Vec<String> = seeds.iter().map(u64::to_string).collect();
    seeds.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_numbers_keep_their_digits() {
        assert_eq!(number(0.85), "0.8500");
        assert_eq!(number(0.0), "0.0000");
        assert_eq!(number(-0.00001), "-1.00e-5");
    }
}
