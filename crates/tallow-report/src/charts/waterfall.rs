//! Waterfall chart.

use super::axis::Axis;
use super::canvas::{MARGIN, Side, WIDTH, font, panel, range, widest, write, write_name};
use super::frame::{Frame, Scale, fill, line};
use super::theme::{BLUE_, FAINT, INK, VERMILION};
use crate::error::{Error, Result};

/// Pixels from one row to the next.
const ROW: i32 = 44;

/// Step of a waterfall chart.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// Label over it.
    pub label: String,
    /// Value after this step; `None` leaves the row empty.
    pub value: Option<f64>,
}

/// Waterfall chart of consecutive steps: each row has a block from the value before the step to the value after it, blue
/// for a gain and vermilion for a loss.
pub fn waterfall(title: &str, axis: &Axis, steps: &[Step]) -> Result<String> {
    let values: Vec<Option<f64>> = steps
        .iter()
        .map(|step| {
            step.value
                .filter(|value| value.is_finite())
                .map(|value| axis.scale(value))
        })
        .collect();
    let x = range(values.iter().flatten().copied()).ok_or_else(|| Error::NothingToDraw {
        chart: title.to_string(),
    })?;
    let mut before = None;
    let mut texts = Vec::new();
    for value in &values {
        texts.push(match (value, before) {
            (None, _) => "—".to_string(),
            (Some(value), None) => axis.show(*value),
            (Some(value), Some(before)) => format!(
                "{}  {}",
                axis.show(*value),
                difference(axis, value - before)
            ),
        });
        before = value.or(before);
    }

    let left = MARGIN + 8;
    let right = WIDTH - 26 - widest(texts.iter().map(String::as_str), 13);
    let (top, bottom) = (4, 10 + ROW * steps.len() as i32);
    panel(title, bottom + 54, |area| {
        let x = Scale::across(axis.describe(), x, right - left);
        let y = Scale::bare((0.0, 1.0));
        let frame = Frame::draw(area, (left, top, right, bottom), &x, &y)?;
        let at = |value: f64| frame.at(value, 0.0).0;
        let mut before: Option<(f64, i32)> = None;
        for (number, step) in steps.iter().enumerate() {
            let row = top + ROW * number as i32;
            let (middle, name) = (row + 31, (left + 2, row + 12));
            let Some(value) = values[number] else {
                write_name(area, &step.label, &INK, name)?;
                write(
                    area,
                    &texts[number],
                    font(13),
                    Side::Right,
                    (left + 8, middle),
                )?;
                continue;
            };
            let tip = at(value);
            let mut end = tip;
            if let Some((from, bottom)) = before {
                let start = at(from);
                line(area, &[(start, bottom), (start, middle - 9)], FAINT, 1)?;
                let colour = if value >= from { BLUE_ } else { VERMILION };
                fill(
                    area,
                    (start.min(tip), middle - 9),
                    (start.max(tip), middle + 9),
                    colour,
                )?;
                end = end.max(start);
            }
            write_name(area, &step.label, &INK, name)?;
            line(area, &[(tip, middle - 9), (tip, middle + 9)], INK, 3)?;
            write(
                area,
                &texts[number],
                font(13),
                Side::Right,
                (end + 10, middle),
            )?;
            before = Some((value, middle + 9));
        }
        Ok(())
    })
}

/// With its sign, and a zero without one.
fn difference(axis: &Axis, difference: f64) -> String {
    let text = match axis.percent {
        true => format!("{:.2}", difference.abs()),
        false => format!("{:.3}", difference.abs()),
    };
    let zero = text.chars().all(|c| matches!(c, '0' | '.'));
    match (zero, difference > 0.0) {
        (true, _) => format!("(±{text})"),
        (false, true) => format!("(+{text})"),
        (false, false) => format!("(−{text})"),
    }
}
