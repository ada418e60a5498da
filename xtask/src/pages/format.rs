//! Numbers as the pages show them.

use anyhow::{Context, Result, bail, ensure};
use tallow_experiment::suggest;
use tallow_record::{Statistic, thousands};

use super::language::Language;

/// Format of a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// A fraction in percent, with two digits.
    Percent,
    /// A difference of fractions in percentage points, with its sign and one digit; the word is left to the page.
    Points,
    /// With this many digits after the point.
    Number(usize),
    /// With three digits that count.
    Significant,
    /// Whole, in groups of three digits.
    Count,
    /// Seconds.
    Seconds,
    /// Seconds as minutes.
    Minutes,
    /// Seconds in the unit that suits them.
    Time,
    /// Yes for one, no for zero.
    YesNo,
}

impl From<tallow_record::Format> for Format {
    fn from(format: tallow_record::Format) -> Self {
        use tallow_record::Format as Of;
        match format {
            Of::Percent => Self::Percent,
            Of::Number(digits) => Self::Number(digits),
            Of::Significant => Self::Significant,
            Of::Count => Self::Count,
            Of::Seconds => Self::Time,
            Of::YesNo => Self::YesNo,
        }
    }
}

impl Format {
    /// The formats that a page may name.
    pub fn parse(text: &str) -> Result<Self> {
        Ok(match text.split_once(':').unwrap_or((text, "")) {
            ("percent", "") => Self::Percent,
            ("points", "") => Self::Points,
            ("count", "") => Self::Count,
            ("seconds", "") => Self::Seconds,
            ("minutes", "") => Self::Minutes,
            ("number", digits) => {
                let digits: usize = digits.parse().with_context(|| {
                    format!("format `{text}`: expected number:N, such as number:2")
                })?;
                ensure!(digits <= 12, "format `{text}`: 12 digits at most");
                Self::Number(digits)
            }
            _ => {
                let known = [
                    "percent", "points", "number:N", "count", "seconds", "minutes",
                ];
                bail!(suggest::unknown("format", text, &known))
            }
        })
    }

    /// A number alone.
    pub fn show(self, value: f64, language: Language) -> String {
        let (number, unit) = (self.number(value), self.unit(value, language));
        match self {
            Self::YesNo if value > 0.5 => language.pick("yes", "是").to_string(),
            Self::YesNo => language.pick("no", "否").to_string(),
            _ => format!("{number}{unit}"),
        }
    }

    /// `mean ± std`, the value alone where there is but one or where all are the same count.
    pub fn statistic(self, statistic: &Statistic, language: Language) -> String {
        match statistic.std {
            Some(std) if !(self.is_exact() && std == 0.0) => {
                let scale = self.unit(statistic.mean, language);
                let spread = self.spread(std, statistic.mean);
                format!("{} ± {spread}{scale}", self.number(statistic.mean))
            }
            _ => self.show(statistic.mean, language),
        }
    }

    /// A deviation in the unit of its mean, with as many digits.
    fn spread(self, std: f64, mean: f64) -> String {
        match self {
            Self::Percent | Self::Points => format!("{:.2}", 100.0 * std),
            Self::Number(digits) => format!("{std:.digits$}"),
            Self::Time if mean >= 120.0 => Self::Minutes.spread(std, mean),
            Self::Seconds | Self::Time => format!("{std:.*}", digits_of_seconds(mean)),
            Self::Minutes => format!("{:.1}", std / 60.0),
            Self::Significant | Self::Count | Self::YesNo => self.number(std),
        }
    }

    fn is_exact(self) -> bool {
        matches!(self, Self::Count | Self::YesNo)
    }

    fn number(self, value: f64) -> String {
        if !value.is_finite() {
            return "—".to_string();
        }
        match self {
            Self::Percent => fixed(100.0 * value, 2),
            Self::Points => signed(100.0 * value, 1),
            Self::Number(digits) => fixed(value, digits),
            Self::Significant => significant(value),
            Self::Count | Self::YesNo => match value.round() {
                value if value < 0.0 => format!("−{}", thousands(-value as u64)),
                value => thousands(value as u64),
            },
            Self::Time if value >= 120.0 => Self::Minutes.number(value),
            Self::Seconds | Self::Time => fixed(value, digits_of_seconds(value)),
            Self::Minutes => fixed(value / 60.0, 1),
        }
    }

    fn unit(self, value: f64, language: Language) -> &'static str {
        match self {
            Self::Percent => " %",
            Self::Time if value >= 120.0 => Self::Minutes.unit(value, language),
            Self::Seconds | Self::Time => language.pick(" s", " 秒"),
            Self::Minutes => language.pick(" min", " 分钟"),
            Self::Points | Self::Number(_) | Self::Significant | Self::Count | Self::YesNo => "",
        }
    }
}

fn digits_of_seconds(seconds: f64) -> usize {
    match seconds {
        seconds if seconds < 1.0 => 2,
        seconds if seconds < 100.0 => 1,
        _ => 0,
    }
}

/// With a true minus sign. What these digits would show as zero and is not, is shown as a power of ten.
fn fixed(value: f64, digits: usize) -> String {
    let text = format!("{:.digits$}", value.abs());
    if value != 0.0 && text.chars().all(|c| matches!(c, '0' | '.')) {
        return scientific(value);
    }
    match value < 0.0 {
        true => format!("−{text}"),
        false => text,
    }
}

fn signed(value: f64, digits: usize) -> String {
    let text = format!("{:.digits$}", value.abs());
    match text.chars().all(|c| matches!(c, '0' | '.')) {
        true => text,
        false if value < 0.0 => format!("−{text}"),
        false => format!("+{text}"),
    }
}

fn significant(value: f64) -> String {
    let size = value.abs();
    match size {
        _ if size == 0.0 => "0".to_string(),
        _ if size >= 100.0 => Format::Count.number(value),
        _ if size >= 10.0 => fixed(value, 1),
        _ if size >= 1.0 => fixed(value, 2),
        _ if size >= 0.1 => fixed(value, 3),
        _ if size >= 0.01 => fixed(value, 4),
        _ => scientific(value),
    }
}

/// `1.2 × 10⁻⁷`.
fn scientific(value: f64) -> String {
    let text = format!("{:.1e}", value.abs());
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let raised: String = exponent
        .chars()
        .map(|c| match c {
            '-' => '⁻',
            '1' => '¹',
            '2' => '²',
            '3' => '³',
            digit => digit
                .to_digit(10)
                .and_then(|d| char::from_u32('⁰' as u32 + d))
                .unwrap_or(digit),
        })
        .collect();
    let sign = if value < 0.0 { "−" } else { "" };
    format!("{sign}{mantissa} × 10{raised}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn show(format: &str, value: f64) -> String {
        Format::parse(format)
            .unwrap()
            .show(value, Language::English)
    }

    #[test]
    fn as_the_pages_ask() {
        assert_eq!(show("percent", 0.612), "61.20 %");
        assert_eq!(show("points", 0.0344), "+3.4");
        assert_eq!(show("points", -0.0344), "−3.4");
        assert_eq!(show("points", -0.0001), "0.0");
        assert_eq!(show("number:3", 2.0), "2.000");
        assert_eq!(show("number:2", -1.5), "−1.50");
        assert_eq!(show("number:2", 1.2e-7), "1.2 × 10⁻⁷");
        assert_eq!(show("count", 9231114.0), "9,231,114");
        assert_eq!(show("seconds", 3.21), "3.2 s");
        assert_eq!(show("seconds", 321.0), "321 s");
        assert_eq!(show("minutes", 90.0), "1.5 min");
        assert_eq!(Format::Minutes.show(90.0, Language::Chinese), "1.5 分钟");
        assert_eq!(show("number:2", f64::NAN), "—");
    }

    #[test]
    fn unknown_formats() {
        let error = |text| Format::parse(text).unwrap_err().to_string();
        assert!(error("percents").contains("did you mean `percent`?"));
        assert!(error("number").contains("number:N"));
        assert!(error("number:x").contains("number:N"));
        assert!(error("percent:2").contains("unknown format `percent:2`"));
    }

    #[test]
    fn with_spread() {
        let of = |values: &[f64]| Statistic::of(values).unwrap();
        let show =
            |format: Format, values: &[f64]| format.statistic(&of(values), Language::English);
        assert_eq!(show(Format::Percent, &[0.5, 0.52]), "51.00 ± 1.41 %");
        assert_eq!(show(Format::Percent, &[0.5]), "50.00 %");
        assert_eq!(show(Format::Count, &[10.0, 10.0]), "10");
        assert_eq!(show(Format::Time, &[119.0, 125.0]), "2.0 ± 0.1 min");
        assert_eq!(show(Format::Time, &[19.0, 25.0]), "22.0 ± 4.2 s");
        assert_eq!(show(Format::Time, &[0.2, 0.201]), "0.20 ± 0.00 s");
        assert_eq!(show(Format::Number(4), &[0.2, 0.2]), "0.2000 ± 0.0000");
        assert_eq!(show(Format::YesNo, &[1.0, 1.0]), "yes");
    }
}
