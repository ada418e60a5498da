//! Charts, as the text of SVG files.
//!
//! The same values give the same bytes on every machine: no font is measured, and no date is written. Charts have a white
//! background, so that they are legible on a dark page too. Their colors are those of Okabe and Ito (*Color Universal
//! Design*, 2008), which color-blind readers can tell apart. Values that are missing or not finite are left out; a chart
//! without any finite value is an [`Error::NothingToDraw`].

mod axis;
mod bars;
mod canvas;
mod confusion;
mod curves;
mod frame;
mod gradients;
mod histograms;
mod labels;
mod lr_range;
mod panels;
mod reliability;
#[cfg(test)]
mod tests;
mod waterfall;

pub use axis::Axis;
pub use bars::{Bar, bars};
pub use confusion::confusion;
pub use curves::{Curve, curves};
pub use gradients::{GradientPanel, gradients, layers};
pub use histograms::histograms;
pub use lr_range::lr_range;
pub use panels::panels;
pub use reliability::reliability;
pub use waterfall::{Step, waterfall};

#[cfg(doc)]
use crate::error::Error;
