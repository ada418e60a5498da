//! Curves of a metric over the epochs.

use plotters::prelude::*;

use super::axis::Axis;
use super::canvas::{Area, panel, range};
use super::frame::{Frame, Scale, line};
use super::labels::Names;
use super::theme::{INK, colour};
use crate::error::{Error, Result};
use tallow_record::Statistic;

/// Curve of one variant.
#[derive(Clone, Debug, PartialEq)]
pub struct Curve {
    /// Label at its end.
    pub label: String,
    /// For each seed, one value per epoch.
    pub runs: Vec<Vec<Option<f64>>>,
}

impl Curve {
    /// Statistics after each epoch over the seeds that have a value, as drawn.
    fn statistics(&self, axis: &Axis) -> Vec<Option<Statistic>> {
        let epochs = self.runs.iter().map(Vec::len).max().unwrap_or(0);
        let after = |epoch: usize| {
            let values = self.runs.iter().filter_map(|run| *run.get(epoch)?);
            let finite: Vec<f64> = values
                .filter(|value| value.is_finite())
                .map(|value| axis.scale(value))
                .collect();
            Statistic::of(&finite)
        };
        (0..epochs).map(after).collect()
    }
}

/// Curves over the epochs: the mean over the seeds as a line, in a band of one standard deviation to either side.
pub fn curves(title: &str, axis: &Axis, curves: &[Curve]) -> Result<String> {
    let drawn: Vec<(&str, Vec<Option<Statistic>>)> = curves
        .iter()
        .map(|curve| (curve.label.as_str(), curve.statistics(axis)))
        .collect();
    let all = drawn
        .iter()
        .flat_map(|(_, statistics)| statistics.iter().flatten());
    let y = range(all.flat_map(|s| [s.mean - s.std.unwrap_or(0.0), s.mean + s.std.unwrap_or(0.0)]))
        .ok_or_else(|| Error::NothingToDraw {
            chart: title.to_string(),
        })?;
    let y = match axis.percent {
        true => (y.0.max(0.0), y.1.min(100.0)),
        false => y,
    };
    let epochs = drawn
        .iter()
        .map(|(_, statistics)| statistics.len())
        .max()
        .unwrap_or(0);
    // A single epoch has its mark in the middle.
    let x = match epochs {
        1 => (0.5, 1.5),
        _ => (1.0, epochs as f64),
    };

    let names = Names::new(drawn.iter().map(|(label, _)| *label));
    let y = Scale::new(axis.describe(), y);
    let (left, right) = (y.beside(), names.right());
    let (top, bottom) = (8, 250.max(16 + names.least()));
    panel(title, bottom + 54 + names.height(), |area| {
        let x = Scale::whole("epoch", x, right - left);
        let frame = Frame::draw(area, (left, top, right, bottom), &x, &y)?;
        let mut ends = Vec::new();
        for (number, (_, statistics)) in drawn.iter().enumerate() {
            let colour = colour(number);
            for part in parts(statistics) {
                draw(area, &frame, &part, colour)?;
            }
            let last = statistics
                .iter()
                .enumerate()
                .rev()
                .find_map(|(epoch, s)| Some((epoch, s.as_ref()?.mean)));
            if let Some((epoch, mean)) = last {
                ends.push((number, frame.at(epoch as f64 + 1.0, mean)));
            }
        }
        names.write_beside(area, &ends, (top + 8, bottom - 8))?;
        names.write_below(area, bottom + 54)
    })
}

/// Stretches of epochs without a gap, numbered from 1.
fn parts(statistics: &[Option<Statistic>]) -> Vec<Vec<(f64, &Statistic)>> {
    let mut parts = vec![Vec::new()];
    for (epoch, statistic) in statistics.iter().enumerate() {
        match (statistic, parts.last_mut()) {
            (Some(statistic), Some(part)) => part.push((epoch as f64 + 1.0, statistic)),
            _ => parts.push(Vec::new()),
        }
    }
    parts.retain(|part| !part.is_empty());
    parts
}

/// One stretch: band, line, and a mark an epoch where these are few.
fn draw(
    area: &Area<'_>,
    frame: &Frame,
    part: &[(f64, &Statistic)],
    colour: RGBColor,
) -> Result<()> {
    let edge = |sign: f64| {
        part.iter()
            .map(move |(x, s)| frame.at(*x, s.mean + sign * s.std.unwrap_or(0.0)))
    };
    if part.len() > 1 && part.iter().any(|(_, s)| s.std.is_some()) {
        let outline: Vec<(i32, i32)> = edge(1.0).chain(edge(-1.0).rev()).collect();
        area.draw(&Polygon::new(outline, colour.mix(0.18)))?;
    }
    let middle: Vec<(i32, i32)> = edge(0.0).collect();
    if part.len() > 1 {
        line(area, &middle, colour, 2)?;
    } else {
        line(
            area,
            &[edge(1.0), edge(-1.0)]
                .into_iter()
                .flatten()
                .collect::<Vec<_>>(),
            INK,
            1,
        )?;
    }
    if part.len() <= 20 {
        for at in middle {
            area.draw(&Circle::new(at, 3, colour.filled()))?;
        }
    }
    Ok(())
}
