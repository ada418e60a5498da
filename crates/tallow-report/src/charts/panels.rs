//! Small charts side by side, on the same axes.

use super::canvas::{MARGIN, Side, WIDTH, font, panel, range, shortened, write};
use super::frame::{Frame, Scale, line};
use super::theme::{BLUE_, FAINT};
use crate::error::{Error, Result};

/// Charts in a row.
const COLUMNS: usize = 2;
/// Height of the axes of a chart, in pixels.
const HEIGHT: i32 = 64;

/// Series of values, each in a small chart below its name. All have the same axes: from 0 to the longest series, and from 0, or the least
/// value below it, to the greatest value.
pub fn panels(title: &str, series: &[(&str, Vec<f64>)]) -> Result<String> {
    let values = series.iter().flat_map(|(_, values)| values);
    let (low, high) = range(values.copied()).ok_or_else(|| Error::NothingToDraw {
        chart: title.to_string(),
    })?;
    let longest = series.iter().map(|(_, values)| values.len()).max();
    let x = Scale::bare((0.0, longest.unwrap_or(1).saturating_sub(1).max(1) as f64));
    let y = Scale::bare((low.min(0.0), high));
    let (each, rows) = (HEIGHT + 40, series.len().div_ceil(COLUMNS) as i32);
    let width = (WIDTH - 2 * MARGIN) / COLUMNS as i32;
    panel(title, each * rows + 10, |area| {
        for (number, (label, values)) in series.iter().enumerate() {
            let left = MARGIN + width * (number % COLUMNS) as i32;
            let top = each * (number / COLUMNS) as i32 + 28;
            write(
                area,
                &shortened(label, 12, width - 8),
                font(12).color(&FAINT),
                Side::Right,
                (left, top - 14),
            )?;
            let edges = (left, top, left + width - 18, top + HEIGHT);
            let frame = Frame::draw(area, edges, &x, &y)?;
            let points = values
                .iter()
                .enumerate()
                .filter(|(_, value)| value.is_finite());
            let points: Vec<(i32, i32)> = points
                .map(|(time, &value)| frame.at(time as f64, value))
                .collect();
            line(area, &points, BLUE_, 2)?;
        }
        Ok(())
    })
}
