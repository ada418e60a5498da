//! Waterfall chart.

use super::axis::Axis;
use super::canvas::{BLUE_, FAINT, INK, Side, VERMILION, WIDTH, font, panel, range, widest, write};
use super::frame::{Frame, Scale, fill, line};
use crate::error::{Error, Result};

/// Pixels from one row to the next.
const ROW: i32 = 36;

/// Step of a waterfall chart.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// Label beside it.
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

    let left = 24 + widest(steps.iter().map(|step| step.label.as_str()), 14) as i32;
    let right = WIDTH as i32 - 26 - widest(texts.iter().map(String::as_str), 13) as i32;
    let (top, bottom) = (4, 10 + ROW * steps.len() as i32);
    panel(title, bottom as u32 + 54, |area| {
        let x = Scale::new(axis.describe(), x, 6);
        let frame = Frame::draw(
            area,
            (left, top, right, bottom),
            &x,
            &Scale::bare((0.0, 1.0)),
        )?;
        let at = |value: f64| frame.at(value, 0.0).0;
        let mut before: Option<(f64, i32)> = None;
        for (number, step) in steps.iter().enumerate() {
            let middle = top + 3 + ROW * number as i32 + ROW / 2;
            write(area, &step.label, font(14), Side::Left, (left - 10, middle))?;
            let Some(value) = values[number] else {
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
            if let Some((from, row)) = before {
                let start = at(from);
                line(area, &[(start, row), (start, middle - 10)], FAINT, 1)?;
                let colour = if value >= from { BLUE_ } else { VERMILION };
                fill(
                    area,
                    (start.min(tip), middle - 10),
                    (start.max(tip), middle + 10),
                    colour,
                )?;
                end = end.max(start);
            }
            line(area, &[(tip, middle - 10), (tip, middle + 10)], INK, 3)?;
            write(
                area,
                &texts[number],
                font(13),
                Side::Right,
                (end + 10, middle),
            )?;
            before = Some((value, middle + 10));
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
