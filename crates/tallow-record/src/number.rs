//! Numbers as text.

use crate::metric::{Format, Metric};

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

/// Value of a metric by its name: a fraction in [`percent`], any other as [`number`], and a dash where there is none.
pub fn metric_text(metric: &str, value: Option<f64>) -> String {
    let format = Metric::find(metric).map(|metric| metric.format);
    match (value, format) {
        (None, _) => "—".to_string(),
        (Some(value), Some(Format::Percent)) => percent(value),
        (Some(value), _) => number(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_metric_has_the_format_of_its_kind() {
        assert_eq!(metric_text("test_accuracy", Some(0.8735)), "87.35 %");
        assert_eq!(metric_text("test_loss", Some(0.8735)), "0.8735");
        assert_eq!(metric_text("test_loss", None), "—");
    }

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
