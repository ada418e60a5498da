//! Numbers as text.

/// Fraction in percent: `0.8735` as `87.35 %`.
pub fn percent(fraction: f64) -> String {
    format!("{:.2} %", 100.0 * fraction)
}

/// Number with its digits in groups of three: `9231114` as `9,231,114`.
pub fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// Formats with four decimal places, or in scientific notation if the value is not 0 and its magnitude is below 0.001.
pub fn number(value: f64) -> String {
    if value != 0.0 && value.abs() < 1e-3 {
        format!("{value:.2e}")
    } else {
        format!("{value:.4}")
    }
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

    #[test]
    fn digits_are_in_groups() {
        for (number, text) in [
            (0, "0"),
            (999, "999"),
            (1000, "1,000"),
            (1234567, "1,234,567"),
        ] {
            assert_eq!(thousands(number), text);
        }
    }

    #[test]
    fn fractions_are_in_percent() {
        assert_eq!(percent(0.8735), "87.35 %");
        assert_eq!(percent(1.0), "100.00 %");
    }
}
