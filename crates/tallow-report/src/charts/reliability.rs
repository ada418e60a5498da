//! Reliability diagram.

use super::canvas::{Side, WIDTH, font, panel, write};
use super::frame::{Frame, Scale, fill, line};
use super::theme::{BLUE_, FAINT};
use crate::error::{Error, Result};
use tallow_record::Calibration;

/// Reliability diagram (Guo et al. 2017): a bar for the accuracy in each bin of confidence, and the diagonal of a perfectly
/// calibrated network. Below it, the number of predictions in each bin.
pub fn reliability(title: &str, calibration: &Calibration) -> Result<String> {
    let bins: Vec<_> = (calibration.bins.iter())
        .filter(|bin| bin.count > 0 && bin.upper > bin.lower)
        .collect();
    let most = bins.iter().map(|bin| bin.count).max().unwrap_or(0);
    if most == 0 {
        return Err(Error::NothingToDraw {
            chart: title.to_string(),
        });
    }
    let range = (0.0, 100.0);
    let y = Scale::new("accuracy (%)", range);
    let (left, right) = (y.beside(), WIDTH - 28);
    panel(title, 358, |area| {
        let x = Scale::across("confidence (%)", range, right - left);
        let frame = Frame::draw(area, (left, 8, right, 220), &x, &y)?;
        let counts = Frame::draw(
            area,
            (left, 278, right, 328),
            &Scale::bare(range),
            &Scale::bare((0.0, most as f64)),
        )?;
        let middle = ((left + right) / 2, 344);
        write(
            area,
            "predictions in each bin",
            font(14),
            Side::Over,
            middle,
        )?;
        for bin in bins {
            let (from, to) = (100.0 * bin.lower, 100.0 * bin.upper);
            let (x0, bottom) = frame.at(from, 0.0);
            let (x1, top) = frame.at(to, 100.0 * bin.accuracy);
            fill(area, (x0 + 1, top), (x1 - 1, bottom), BLUE_)?;
            let (x0, bottom) = counts.at(from, 0.0);
            let (x1, top) = counts.at(to, bin.count as f64);
            fill(area, (x0 + 1, top), (x1 - 1, bottom), FAINT)?;
        }
        line(
            area,
            &[frame.at(0.0, 0.0), frame.at(100.0, 100.0)],
            FAINT,
            2,
        )?;
        let error = calibration.error;
        if error.is_finite() {
            let text = format!("expected calibration error {:.2} %", 100.0 * error);
            write(area, &text, font(13), Side::Right, (left + 8, 20))?;
        }
        Ok(())
    })
}
