//! Charts, as the text of SVG files.
//!
//! The same figures give the same bytes on every machine: no font is measured, and nothing says when a chart was made.
//! Charts stand on a white panel, so that they read on a dark page too, and their colours are those of Okabe and Ito
//! (*Color Universal Design*, 2008), which people who see few colours can tell apart. Values that are missing or not
//! finite are left out; where no value is left, a chart is an [`Error::NothingToDraw`].

mod bars;
mod canvas;
mod confusion;
mod curves;
mod frame;
mod gradients;
mod histograms;
mod labels;
mod reliability;
#[cfg(test)]
mod tests;
mod waterfall;

pub use bars::{Bar, bars};
pub use confusion::confusion;
pub use curves::{Curve, curves};
pub use gradients::{GradientPanel, gradients, layers};
pub use histograms::histograms;
pub use reliability::reliability;
pub use waterfall::{Step, waterfall};

#[cfg(doc)]
use crate::Error;

/// What an axis measures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Axis {
    /// Its name, such as `test accuracy`.
    pub title: String,
    /// The values are fractions, to be shown in percent.
    pub percent: bool,
}

impl Axis {
    /// The name with its unit.
    fn describe(&self) -> String {
        match self.percent {
            true => format!("{} (%)", self.title),
            false => self.title.clone(),
        }
    }

    /// A value as it is drawn.
    fn scale(&self, value: f64) -> f64 {
        if self.percent { 100.0 * value } else { value }
    }

    /// A drawn value as text beside a mark.
    fn show(&self, value: f64) -> String {
        let text = match (self.percent, value.abs()) {
            (true, _) => format!("{value:.2} %"),
            (false, size) if size >= 1000.0 => format!("{value:.0}"),
            (false, size) if size >= 100.0 => format!("{value:.1}"),
            (false, _) => format!("{value:.3}"),
        };
        text.replace('-', "−")
    }
}

/// A drawn value as text beside a tick, `step` being the distance to the next one.
fn tick(value: f64, step: f64) -> String {
    let digits = if step > 0.0 {
        (-step.log10() - 1e-9).ceil().clamp(0.0, 9.0) as usize
    } else {
        0
    };
    // No minus before a zero.
    let value = if value.abs() < step / 1e6 { 0.0 } else { value };
    format!("{value:.digits$}").replace('-', "−")
}
