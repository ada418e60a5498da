//! Parallel coordinates.

use plotters::style::RGBColor;

use super::canvas::{
    Area, MARGIN, Side, WIDTH, font, panel, range, shortened, widest, width, write, write_name,
};
use super::frame::{Scale, fill, line};
use super::theme::{BLUE_, FAINT, FAINTER, INK, PAPER, VERMILION};
use crate::error::{Error, Result};

/// Pixels from one axis to the next.
const ROW: i32 = 62;
/// Letters of the ticks, in pixels.
const TICK: u32 = 12;
/// Most lines: more would hide each other, and make a large file.
const MOST: usize = 500;

/// Axis of parallel coordinates.
#[derive(Clone, Debug, PartialEq)]
pub struct Coordinate {
    /// Name above the axis.
    pub title: String,
    /// Kind of its values.
    pub kind: CoordinateKind,
}

/// Kind of the values on an axis of parallel coordinates.
#[derive(Clone, Debug, PartialEq)]
pub enum CoordinateKind {
    /// Numbers.
    Linear,
    /// Fractions, shown in percent.
    Percent,
    /// Numbers above 0, on a logarithmic scale.
    Logarithmic,
    /// Words at equal distances; a value is the index of one.
    Words(Vec<String>),
}

impl CoordinateKind {
    /// Value as it is drawn; `None` where it has no place.
    fn drawn(&self, value: f64) -> Option<f64> {
        let drawn = match self {
            Self::Linear | Self::Words(_) => value,
            Self::Percent => 100.0 * value,
            Self::Logarithmic => value.log10(),
        };
        drawn.is_finite().then_some(drawn)
    }

    /// Ends of the axis for these values; `None` without any.
    fn ends(&self, values: impl Iterator<Item = f64>) -> Option<(f64, f64)> {
        let ends = range(values)?;
        Some(match self {
            Self::Words(words) => (-0.5, words.len().max(1) as f64 - 0.5),
            _ => ends,
        })
    }

    /// Ticks of an axis of `room` pixels, with their texts.
    fn ticks(&self, ends: (f64, f64), room: i32) -> Vec<(f64, String)> {
        match self {
            Self::Linear | Self::Percent => Scale::across("", ends, room).ticks,
            Self::Logarithmic => powers(ends),
            Self::Words(words) => {
                let count = words.len().max(1) as i32;
                // Of many words some are named.
                let step = (36 * count).div_euclid(room.max(1)) + 1;
                let each = room * step / count - 8;
                let named = words.iter().enumerate().step_by(step as usize);
                named
                    .map(|(index, word)| (index as f64, shortened(word, TICK, each)))
                    .collect()
            }
        }
    }
}

/// Powers of ten between two logarithms, at most five; the ends if there are fewer than two.
fn powers((low, high): (f64, f64)) -> Vec<(f64, String)> {
    let (first, last) = (low.ceil() as i64, high.floor() as i64);
    if first >= last {
        return [low, high]
            .map(|end| (end, format!("{:.1e}", 10f64.powf(end))))
            .into();
    }
    let step = (last - first) / 5 + 1;
    let exponents = (first..=last).filter(|n| (n - first) % step == 0);
    exponents.map(|n| (n as f64, format!("1e{n}"))).collect()
}

/// Axis with its place.
struct Row<'a> {
    axis: &'a Coordinate,
    /// Index of its values in the lines.
    number: usize,
    ends: (f64, f64),
}

impl<'a> Row<'a> {
    /// Row of an axis; `None` if no line has a value on it.
    fn new(number: usize, axis: &'a Coordinate, lines: &[Vec<Option<f64>>]) -> Option<Self> {
        let values = lines.iter().filter_map(|line| line.get(number).copied()?);
        let drawn = values.filter_map(|value| axis.kind.drawn(value));
        let ends = axis.kind.ends(drawn)?;
        Some(Self { axis, number, ends })
    }

    /// Pixel of a drawn value.
    fn at(&self, value: f64, (left, right): (i32, i32)) -> i32 {
        let share = (value - self.ends.0) / (self.ends.1 - self.ends.0);
        left + (share.clamp(0.0, 1.0) * f64::from(right - left)).round() as i32
    }

    /// Drawn value of a line.
    fn value(&self, values: &[Option<f64>]) -> Option<f64> {
        let value = values.get(self.number).copied().flatten()?;
        self.axis.kind.drawn(value)
    }
}

/// Parallel coordinates: one axis below another, and a line through the values of each trial. `lines` are the values on the axes, the best
/// trial first: the best one and the best quarter have a colour. A line has a gap where a value is missing; at most 500 lines are drawn.
pub fn parallel(title: &str, axes: &[Coordinate], lines: &[Vec<Option<f64>>]) -> Result<String> {
    let lines = &lines[..lines.len().min(MOST)];
    let rows: Vec<Row> = (axes.iter().enumerate())
        .filter_map(|(number, axis)| Row::new(number, axis, lines))
        .collect();
    if rows.len() < 2 {
        return Err(Error::NothingToDraw {
            chart: title.to_string(),
        });
    }
    let edges = (MARGIN + 14, WIDTH - MARGIN - 20);
    let height = |number: usize| 30 + ROW * number as i32;
    let bottom = height(rows.len() - 1) + 42;
    panel(title, bottom + 20, |area| {
        for number in 0..rows.len() {
            let y = height(number);
            line(area, &[(edges.0, y), (edges.1, y)], FAINT, 1)?;
        }
        // The best line lies above the others.
        let quarter = lines.len() / 4;
        for (rank, values) in lines.iter().enumerate().rev() {
            let (colour, width) = style(rank, quarter);
            for part in parts(&rows, values) {
                let at = |(number, value): &(usize, f64)| {
                    (rows[*number].at(*value, edges), height(*number))
                };
                let pixels: Vec<(i32, i32)> = part.iter().map(at).collect();
                line(area, &pixels, colour, width)?;
            }
        }
        for (number, row) in rows.iter().enumerate() {
            let y = height(number);
            write_name(area, &row.axis.title, &INK, (MARGIN + 3, y - 15))?;
            for (value, text) in row.axis.kind.ticks(row.ends, edges.1 - edges.0) {
                let x = row.at(value, edges);
                line(area, &[(x, y), (x, y + 4)], FAINT, 1)?;
                label(area, &text, (x, y + 13))?;
            }
        }
        legend(area, quarter, lines.len(), bottom)
    })
}

/// Colour and width of the line of a rank, from 0.
fn style(rank: usize, quarter: usize) -> (RGBColor, u32) {
    match rank {
        0 => (VERMILION, 3),
        rank if rank < quarter => (BLUE_, 2),
        _ => (FAINTER, 1),
    }
}

/// Stretches of at least two axes on which a line has values: the number of the row and the drawn value.
fn parts(rows: &[Row], values: &[Option<f64>]) -> Vec<Vec<(usize, f64)>> {
    let mut parts = vec![Vec::new()];
    for (number, row) in rows.iter().enumerate() {
        match (row.value(values), parts.last_mut()) {
            (Some(value), Some(part)) => part.push((number, value)),
            _ => parts.push(Vec::new()),
        }
    }
    parts.retain(|part| part.len() > 1);
    parts
}

/// Text of a tick, within the chart; lines behind are covered.
fn label(area: &Area<'_>, text: &str, (x, y): (i32, i32)) -> Result<()> {
    let half = width(text, TICK) / 2 + 2;
    let x = x.max(half + 2).min(WIDTH - half - 2);
    fill(area, (x - half, y - 7), (x + half, y + 7), PAPER)?;
    write(area, text, font(TICK), Side::Over, (x, y))
}

/// Samples of the lines with their meanings.
fn legend(area: &Area<'_>, quarter: usize, count: usize, y: i32) -> Result<()> {
    let others = if quarter > 1 { quarter } else { 1 };
    let samples = [
        ("best trial", 0, count > 0),
        ("best quarter", 1, quarter > 1),
        ("others", usize::MAX, count > others),
    ];
    let mut x = MARGIN + 3;
    for (text, rank, _) in samples.into_iter().filter(|(.., shown)| *shown) {
        let (colour, wide) = style(rank, quarter);
        line(area, &[(x, y), (x + 18, y)], colour, wide)?;
        write(area, text, font(13), Side::Right, (x + 24, y))?;
        x += 44 + widest([text], 13);
    }
    Ok(())
}
