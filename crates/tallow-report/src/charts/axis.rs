//! Quantity on an axis, and its values as text.

use tallow_record::{Format, Metric, thousands};

/// Quantity on an axis.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Axis {
    /// Title, such as `test accuracy`.
    pub title: String,
    /// Whether the values are fractions to be shown in percent.
    pub percent: bool,
}

impl From<&Metric> for Axis {
    fn from(metric: &Metric) -> Self {
        Self {
            title: metric.title.to_string(),
            percent: metric.format == Format::Percent,
        }
    }
}

impl Axis {
    /// Title with its unit.
    pub(super) fn describe(&self) -> String {
        match self.percent {
            true => format!("{} (%)", self.title),
            false => self.title.clone(),
        }
    }

    /// Value as it is drawn.
    pub(super) fn scale(&self, value: f64) -> f64 {
        if self.percent { 100.0 * value } else { value }
    }

    /// Text of a drawn value beside a mark.
    pub(super) fn show(&self, value: f64) -> String {
        let text = match (self.percent, value.abs()) {
            (true, _) => format!("{value:.2} %"),
            (false, size) if size >= 1000.0 => grouped(format!("{value:.0}")),
            (false, size) if size >= 100.0 => format!("{value:.1}"),
            (false, _) => format!("{value:.3}"),
        };
        text.replace('-', "−")
    }
}

/// Text of a drawn value beside a tick; `step` is the distance to the next tick.
pub fn tick(value: f64, step: f64) -> String {
    let digits = if step > 0.0 {
        (-step.log10() - 1e-9).ceil().clamp(0.0, 9.0) as usize
    } else {
        0
    };
    // No minus before a zero.
    let value = if value.abs() < step / 1e6 { 0.0 } else { value };
    grouped(format!("{value:.digits$}")).replace('-', "−")
}

/// Digits in groups of three, from five digits on; other numbers as they are.
fn grouped(number: String) -> String {
    let (sign, digits) = match number.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", number.as_str()),
    };
    match digits.parse::<u64>() {
        Ok(whole) if whole >= 10_000 => format!("{sign}{}", thousands(whole)),
        _ => number,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_numbers_are_grouped() {
        let axis = Axis {
            title: String::new(),
            percent: false,
        };
        assert_eq!(tick(60_000.0, 20_000.0), "60,000");
        assert_eq!(tick(-12_000.0, 1_000.0), "−12,000");
        assert_eq!(tick(1_000.0, 200.0), "1000");
        assert_eq!(tick(0.25, 0.05), "0.25");
        assert_eq!(axis.show(-10_673.4), "−10,673");
        assert_eq!(axis.show(1_234.4), "1234");
    }
}
