//! Charts, as the text of SVG files.
//!
//! The same values give the same bytes: no font is measured, and no date is written. Charts follow the light
//! or dark theme of their reader, and are as wide as a phone, so that letters are as large there as in other text. Their colors are those
//! of Okabe and Ito (*Color Universal Design*, 2008), which color-blind readers can tell apart. Values that are missing or not finite are
//! left out; a chart without any finite value is an [`Error::NothingToDraw`].

mod axis;
mod bars;
mod canvas;
mod confusion;
mod curves;
mod distributions;
mod frame;
mod gradients;
mod histograms;
mod labels;
mod lr_range;
mod panels;
mod parallel;
mod reliability;
#[cfg(test)]
mod tests;
mod theme;
mod waterfall;

pub use axis::Axis;
pub use bars::{Bar, bars};
pub use confusion::{Pair, confusion, worst_pairs};
pub use curves::{Curve, curves};
pub use distributions::{SamplePair, distributions};
pub use gradients::{GradientPanel, gradients, layers};
pub use histograms::histograms;
pub use lr_range::lr_range;
pub use panels::panels;
pub use parallel::{Coordinate, CoordinateKind, parallel};
pub use reliability::reliability;
pub use theme::{style, without_style};
pub use waterfall::{Step, waterfall};

#[cfg(doc)]
use crate::error::Error;
