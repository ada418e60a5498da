//! Loss over the learning rate, of a range test.

use super::canvas::{Side, WIDTH, font, panel, range, width, write};
use super::frame::{Frame, Scale, line};
use super::theme::{BLUE_, FAINT, GRID, VERMILION};
use crate::error::{Error, Result};

/// Losses of a learning-rate range test: learning rate, loss and smoothed loss of each step, and a mark at the suggested rate. The
/// learning rate is on a logarithmic axis. The axis of the loss is that of the smoothed losses.
pub fn lr_range(
    title: &str,
    points: &[(f64, f64, f64)],
    suggestion: Option<f64>,
) -> Result<String> {
    let finite = |point: &&(f64, f64, f64)| point.0 > 0.0 && point.0.is_finite();
    let points: Vec<(f64, f64, f64)> = (points.iter().filter(finite))
        .map(|&(lr, loss, smoothed)| (lr.log10(), loss, smoothed))
        .collect();
    let nothing = || Error::NothingToDraw {
        chart: title.to_string(),
    };
    let x = range(points.iter().map(|point| point.0)).ok_or_else(nothing)?;
    let y = range(points.iter().map(|point| point.2)).ok_or_else(nothing)?;
    let y = Scale::new("loss", y);
    let (left, top, bottom, right) = (y.beside(), 24, 250, WIDTH - 24);
    panel(title, bottom + 54, |area| {
        let (first, last) = (x.0.ceil() as i64, x.1.floor() as i64);
        // At most nine.
        let step = (last - first) / 9 + 1;
        let exponents = (first..=last).filter(|n| (n - first) % step == 0);
        let x = Scale {
            ticks: exponents.map(|n| (n as f64, format!("1e{n}"))).collect(),
            ..Scale::across("learning rate", x, right - left)
        };
        let frame = Frame::draw(area, (left, top, right, bottom), &x, &y)?;
        if let Some(lr) = suggestion.filter(|lr| *lr > 0.0) {
            let (at, _) = frame.at(lr.log10(), y.range.0);
            line(area, &[(at, top), (at, bottom)], VERMILION, 2)?;
            let text = format!("steepest descent: {lr:.2e}");
            let half = (width(&text, 13) / 2).min((right - left) / 2);
            write(
                area,
                &text,
                font(13).color(&FAINT),
                Side::Over,
                (at.clamp(left + half, right - half), top - 12),
            )?;
        }
        for (colour, width, value) in [(GRID, 1, 1), (BLUE_, 2, 2)] {
            let at = |point: &(f64, f64, f64)| {
                let loss = if value == 1 { point.1 } else { point.2 };
                loss.is_finite().then(|| frame.at(point.0, loss))
            };
            let pixels: Vec<(i32, i32)> = points.iter().filter_map(at).collect();
            line(area, &pixels, colour, width)?;
        }
        Ok(())
    })
}
