//! Bar chart with standard deviations.

use plotters::prelude::*;

use super::axis::Axis;
use super::canvas::{Area, MARGIN, Side, WIDTH, font, panel, widest, write, write_name};
use super::frame::{Frame, Scale, fill, line};
use super::theme::{FAINT, INK, colour};
use crate::error::{Error, Result};
use tallow_record::Statistic;

/// Pixels from one bar to the next.
const ROW: i32 = 44;

/// Bar.
#[derive(Clone, Debug, PartialEq)]
pub struct Bar {
    /// Label over it.
    pub label: String,
    /// Mean and standard deviation; `None` leaves the row empty.
    pub value: Option<Statistic>,
    /// Published values.
    pub published: Vec<f64>,
}

/// Bar chart: a bar from zero to each mean, with one standard deviation to either side. A diamond marks a published
/// value.
pub fn bars(title: &str, axis: &Axis, bars: &[Bar]) -> Result<String> {
    let shown: Vec<Option<&Statistic>> = bars
        .iter()
        .map(|bar| bar.value.as_ref().filter(|s| s.mean.is_finite()))
        .collect();
    let ends = shown
        .iter()
        .flatten()
        .flat_map(|s| [s.mean + s.std.unwrap_or(0.0), s.mean - s.std.unwrap_or(0.0)]);
    let ends = ends.chain(bars.iter().flat_map(|bar| bar.published.clone()));
    let ends: Vec<f64> = ends
        .filter(|end| end.is_finite())
        .map(|end| axis.scale(end))
        .collect();
    if shown.iter().all(Option::is_none) {
        return Err(Error::NothingToDraw {
            chart: title.to_string(),
        });
    }
    let low = ends.iter().copied().fold(0.0, f64::min);
    let high = ends.iter().copied().fold(0.0, f64::max);
    let high = if low == high { low + 1.0 } else { high };

    let text = |statistic: &Statistic| match statistic.std {
        Some(std) if axis.percent => {
            format!("{:.2} ± {:.2} %", 100.0 * statistic.mean, 100.0 * std)
        }
        Some(std) => format!("{} ± {}", axis.show(statistic.mean), axis.show(std)),
        None => axis.show(axis.scale(statistic.mean)),
    };
    let texts: Vec<String> = shown
        .iter()
        .map(|s| s.map_or("—".to_string(), text))
        .collect();
    let published = bars.iter().any(|bar| !bar.published.is_empty());
    let left = MARGIN + 8;
    let right = WIDTH - 26 - widest(texts.iter().map(String::as_str), 13);
    let (top, bottom) = (4, 10 + ROW * bars.len() as i32);
    panel(title, bottom + if published { 76 } else { 54 }, |area| {
        let x = Scale::across(axis.describe(), (low, high), right - left);
        let y = Scale::bare((0.0, 1.0));
        let frame = Frame::draw(area, (left, top, right, bottom), &x, &y)?;
        let at = |value: f64| frame.at(axis.scale(value), 0.0).0;
        for (number, bar) in bars.iter().enumerate() {
            let row = top + ROW * number as i32;
            let middle = row + 31;
            write_name(area, &bar.label, &INK, (left + 2, row + 12))?;
            let mut end = at(0.0);
            if let Some(statistic) = shown[number] {
                let tip = at(statistic.mean);
                let zero = at(0.0);
                fill(
                    area,
                    (zero.min(tip), middle - 9),
                    (zero.max(tip), middle + 9),
                    colour(0),
                )?;
                if let Some(std) = statistic.std {
                    let (from, to) = (at(statistic.mean - std), at(statistic.mean + std));
                    line(area, &[(from, middle), (to, middle)], INK, 2)?;
                    for edge in [from, to] {
                        line(area, &[(edge, middle - 6), (edge, middle + 6)], INK, 2)?;
                    }
                    end = end.max(to);
                }
                end = end.max(tip);
            }
            for value in bar.published.iter().filter(|value| value.is_finite()) {
                diamond(area, (at(*value), middle))?;
                end = end.max(at(*value) + 6);
            }
            write(
                area,
                &texts[number],
                font(13),
                Side::Right,
                (end + 8, middle),
            )?;
        }
        if published {
            diamond(area, (left + 6, bottom + 58))?;
            let style = font(13).color(&FAINT);
            let at = (left + 17, bottom + 58);
            write(area, "published", style, Side::Right, at)?;
        }
        Ok(())
    })
}

fn diamond(area: &Area<'_>, (x, y): (i32, i32)) -> Result<()> {
    let outline = vec![(x, y - 7), (x + 6, y), (x, y + 7), (x - 6, y)];
    area.draw(&Polygon::new(outline.clone(), colour(4)))?;
    let closed = outline
        .iter()
        .chain(&outline[..1])
        .copied()
        .collect::<Vec<_>>();
    line(area, &closed, INK, 1)
}
