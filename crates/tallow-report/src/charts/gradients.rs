//! Gradient norms from the first layer to the last.

use plotters::prelude::*;

use super::canvas::{Side, font, panel, write};
use super::frame::{Frame, Scale, line};
use super::labels::Names;
use super::theme::{FAINT, colour};
use crate::error::{Error, Result};
use tallow_record::GradientRow;

/// Pixels of a panel, from the top of its axis to the bottom.
const HEIGHT: i32 = 200;

/// Panel with one or more lines over the layers.
#[derive(Clone, Debug, PartialEq)]
pub struct GradientPanel {
    /// Title of the panel.
    pub title: String,
    /// Label and norms of each line, from the first layer to the last.
    pub lines: Vec<(String, Vec<Option<f64>>)>,
}

/// Gradient norm of each layer, from the input to the output. The parameters of a layer are those whose names differ only
/// after the last dot. Batch-norm layers (`bn1`, `downsample.1`) are left out: their norms have another scale, and a line
/// through both would zigzag. `None` is a norm that is not finite.
pub fn layers(gradients: &GradientRow) -> Vec<(String, Option<f64>)> {
    let mut squares: Vec<(String, Option<f64>)> = Vec::new();
    for (parameter, norm) in &gradients.norms {
        let layer = parameter
            .rsplit_once('.')
            .map_or(parameter.as_str(), |(layer, _)| layer);
        let square = norm.is_finite().then_some(norm * norm);
        match squares.last_mut() {
            Some((name, sum)) if name == layer => *sum = sum.zip(square).map(|(a, b)| a + b),
            _ => squares.push((layer.to_string(), square)),
        }
    }
    let normalises = |layer: &str| {
        let last = layer.rsplit('.').next().unwrap_or(layer);
        last.starts_with("bn") || last.contains("norm") || layer.ends_with("downsample.1")
    };
    if squares.iter().any(|(layer, _)| !normalises(layer)) {
        squares.retain(|(layer, _)| !normalises(layer));
    }
    squares
        .into_iter()
        .map(|(layer, square)| (layer, square.map(f64::sqrt)))
        .collect()
}

/// Panels of gradient norms below each other, on the same axes. Norms are on a logarithmic axis: zeros are left out.
pub fn gradients(title: &str, panels: &[GradientPanel]) -> Result<String> {
    let lines = || panels.iter().flat_map(|panel| &panel.lines);
    let drawn = |norm: &Option<f64>| {
        norm.filter(|norm| *norm > 0.0 && norm.is_finite())
            .map(f64::log10)
    };
    let logs: Vec<f64> = lines()
        .flat_map(|(_, norms)| norms.iter().filter_map(drawn))
        .collect();
    if logs.is_empty() {
        return Err(Error::NothingToDraw {
            chart: title.to_string(),
        });
    }
    let low = logs.iter().copied().fold(f64::INFINITY, f64::min).floor();
    let high = logs
        .iter()
        .copied()
        .fold(f64::NEG_INFINITY, f64::max)
        .ceil();
    let high = if high > low { high } else { low + 1.0 };
    let count = lines().map(|(_, norms)| norms.len()).max().unwrap_or(1);
    let x = if count == 1 {
        (0.5, 1.5)
    } else {
        (1.0, count as f64)
    };

    let step = ((high - low) / 6.0).ceil().max(1.0) as i64;
    let exponents = (low as i64..=high as i64).filter(|n| (n - low as i64) % step == 0);
    let y = Scale {
        ticks: exponents.map(|n| (n as f64, power(n))).collect(),
        ..Scale::new("norm of the gradient", (low, high))
    };
    let left = y.beside();
    let names: Vec<Names> = (panels.iter())
        .map(|panel| Names::new(panel.lines.iter().map(|(label, _)| label.as_str())))
        .collect();
    let heights = names.iter().map(|names| HEIGHT + 82 + names.height());
    panel(title, heights.sum(), |area| {
        let mut top = 26;
        for (panel, names) in panels.iter().zip(&names) {
            let (right, bottom) = (names.right(), top + HEIGHT);
            write(
                area,
                &panel.title,
                font(14).color(&FAINT),
                Side::Right,
                (left, top - 13),
            )?;
            let x = Scale::whole("layer, counted from the input", x, right - left);
            let frame = Frame::draw(area, (left, top, right, bottom), &x, &y)?;
            let mut ends = Vec::new();
            for (number, (_, norms)) in panel.lines.iter().enumerate() {
                let colour = colour(number);
                let points = norms.iter().map(drawn).enumerate();
                let points: Vec<Option<(i32, i32)>> = points
                    .map(|(layer, log)| Some(frame.at(layer as f64 + 1.0, log?)))
                    .collect();
                for part in points
                    .split(Option::is_none)
                    .filter(|part| !part.is_empty())
                {
                    let part: Vec<(i32, i32)> = part.iter().flatten().copied().collect();
                    if part.len() > 1 {
                        line(area, &part, colour, 2)?;
                    }
                    for at in part.iter().filter(|_| count <= 64) {
                        area.draw(&Circle::new(*at, 3, colour.filled()))?;
                    }
                }
                if let Some(at) = points.iter().rev().flatten().next() {
                    ends.push((number, *at));
                }
            }
            names.write_beside(area, &ends, (top + 8, bottom - 8))?;
            names.write_below(area, bottom + 54)?;
            top = bottom + 82 + names.height();
        }
        Ok(())
    })
}

/// `10⁻³`.
fn power(exponent: i64) -> String {
    let digits = exponent.to_string();
    let raised = digits.chars().map(|c| match c {
        '-' => '⁻',
        '1' => '¹',
        '2' => '²',
        '3' => '³',
        digit => char::from_u32('⁰' as u32 + digit.to_digit(10).unwrap_or(0)).unwrap_or(digit),
    });
    format!("10{}", raised.collect::<String>())
}
