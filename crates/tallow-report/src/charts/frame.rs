//! The frame of a chart with two axes: a grid, ticks, and the names of the axes.

use plotters::prelude::*;

use super::axis::tick;
use super::canvas::{Area, MARGIN, Side, WIDTH, font, ticks, widest, write};
use super::theme::{FAINT, GRID, INK};
use crate::error::Result;

/// Letters of the ticks, in pixels.
const TICK: u32 = 13;
/// Most ticks of an axis.
const MOST: usize = 6;

/// One axis.
pub struct Scale {
    /// Values at its ends.
    pub range: (f64, f64),
    /// Values that get a tick, each with its text.
    pub ticks: Vec<(f64, String)>,
    /// Title beside the axis.
    pub title: String,
    /// Whether there are grid lines at the ticks.
    pub grid: bool,
}

impl Scale {
    /// Vertical axis with round ticks.
    pub fn new(title: impl Into<String>, range: (f64, f64)) -> Self {
        Self {
            range,
            ticks: round(range, MOST),
            title: title.into(),
            grid: true,
        }
    }

    /// Horizontal axis of this many pixels with round ticks, as many as have room.
    pub fn across(title: impl Into<String>, range: (f64, f64), room: i32) -> Self {
        Self {
            ticks: fitting(room, |count| round(range, count)),
            ..Self::new(title, range)
        }
    }

    /// Axis without ticks.
    pub fn bare(range: (f64, f64)) -> Self {
        Self {
            range,
            ticks: Vec::new(),
            title: String::new(),
            grid: false,
        }
    }

    /// Horizontal axis of whole numbers, of this many pixels.
    pub fn whole(title: impl Into<String>, range: (f64, f64), room: i32) -> Self {
        let whole = |count| {
            let (mut values, step) = ticks(range.0, range.1, count);
            if step < 1.0 {
                values = (range.0.ceil() as i64..=range.1.floor() as i64)
                    .map(|n| n as f64)
                    .collect();
            }
            values.into_iter().map(|v| (v, format!("{v:.0}"))).collect()
        };
        Self {
            range,
            ticks: fitting(room, whole),
            title: title.into(),
            grid: false,
        }
    }

    /// Pixels that this axis takes to the left of its line: title, and texts of the ticks.
    pub fn beside(&self) -> i32 {
        let title = if self.title.is_empty() { 0 } else { 20 };
        let texts = widest(self.ticks.iter().map(|(_, text)| text.as_str()), TICK);
        MARGIN + title + if texts > 0 { texts + 8 } else { 0 }
    }
}

fn round(range: (f64, f64), count: usize) -> Vec<(f64, String)> {
    let (values, step) = ticks(range.0, range.1, count);
    values.into_iter().map(|v| (v, tick(v, step))).collect()
}

/// The most ticks of which no two touch.
fn fitting(room: i32, make: impl Fn(usize) -> Vec<(f64, String)>) -> Vec<(f64, String)> {
    let fits = |ticks: &Vec<(f64, String)>| {
        let each = widest(ticks.iter().map(|(_, text)| text.as_str()), TICK) + 10;
        each * ticks.len() as i32 <= room + each
    };
    (2..=MOST)
        .rev()
        .map(&make)
        .find(fits)
        .unwrap_or_else(|| make(1))
}

/// Area of a chart and the mapping from values to pixels.
pub struct Frame {
    x: (f64, f64),
    y: (f64, f64),
    /// Left, top, right, bottom.
    pub edges: (i32, i32, i32, i32),
}

impl Frame {
    /// Draws grid, axes and names between these edges of `area`: left, top, right, bottom.
    pub fn draw(
        area: &Area<'_>,
        edges: (i32, i32, i32, i32),
        x: &Scale,
        y: &Scale,
    ) -> Result<Self> {
        let frame = Self {
            x: x.range,
            y: y.range,
            edges,
        };
        let (left, top, right, bottom) = edges;
        for (value, text) in &y.ticks {
            let (_, at) = frame.at(x.range.0, *value);
            if y.grid {
                line(area, &[(left, at), (right, at)], GRID, 1)?;
            }
            write(area, text, font(TICK), Side::Left, (left - 8, at))?;
        }
        for (value, text) in &x.ticks {
            let (at, _) = frame.at(*value, y.range.0);
            if x.grid {
                line(area, &[(at, top), (at, bottom)], GRID, 1)?;
            } else {
                line(area, &[(at, bottom), (at, bottom + 4)], FAINT, 1)?;
            }
            write(area, text, font(TICK), Side::Over, (at, bottom + 15))?;
        }
        line(area, &[(left, bottom), (right, bottom)], FAINT, 1)?;
        if !y.ticks.is_empty() {
            line(area, &[(left, top), (left, bottom)], FAINT, 1)?;
        }
        if !x.title.is_empty() {
            // A long title is not pushed out of the picture.
            let half = widest([x.title.as_str()], 14) / 2 + MARGIN;
            let middle = ((left + right) / 2).min(WIDTH - half).max(half);
            write(area, &x.title, font(14), Side::Over, (middle, bottom + 36))?;
        }
        if !y.title.is_empty() {
            let turned = font(14).transform(FontTransform::Rotate270).color(&INK);
            let at = (MARGIN + 4, (top + bottom) / 2);
            write(area, &y.title, turned, Side::Over, at)?;
        }
        Ok(frame)
    }

    /// The pixel of a value; one beyond the axes is put at their ends.
    pub fn at(&self, x: f64, y: f64) -> (i32, i32) {
        let (left, top, right, bottom) = self.edges;
        let place = |value: f64, (from, to): (f64, f64), (first, last): (i32, i32)| {
            let share = ((value - from) / (to - from)).clamp(0.0, 1.0);
            (f64::from(first) + share * f64::from(last - first)).round() as i32
        };
        (
            place(x, self.x, (left, right)),
            place(y, self.y, (bottom, top)),
        )
    }
}

/// A line through these pixels.
pub fn line(area: &Area<'_>, points: &[(i32, i32)], colour: RGBColor, width: u32) -> Result<()> {
    Ok(area.draw(&PathElement::new(
        points.to_vec(),
        colour.stroke_width(width),
    ))?)
}

/// A filled rectangle.
pub fn fill(
    area: &Area<'_>,
    from: (i32, i32),
    to: (i32, i32),
    colour: impl Into<ShapeStyle>,
) -> Result<()> {
    let mut style: ShapeStyle = colour.into();
    style.filled = true;
    Ok(area.draw(&Rectangle::new([from, to], style))?)
}
