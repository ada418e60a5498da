//! Distributions of a metric in pairs: two samples of each row, back to back.

use super::axis::Axis;
use super::canvas::{Area, MARGIN, Side, WIDTH, font, panel, range, width, write, write_name};
use super::frame::{Frame, Scale, fill, line};
use super::theme::{FAINT, INK, colour};
use crate::error::{Error, Result};

/// Height of the bars of one sample, in pixels.
const HEIGHT: i32 = 30;
/// Pixels of the line with the name of a row.
const LINE: i32 = 22;
/// Bins over the whole axis.
const BINS: usize = 64;

/// Two samples of a metric under one name.
#[derive(Clone, Debug, PartialEq)]
pub struct SamplePair {
    /// Name.
    pub label: String,
    /// Values above the line and below it.
    pub samples: [Vec<f64>; 2],
}

/// Histograms of two samples a row, one above a line and the other below it, on one axis; a bar is as long as the share of its sample, and
/// a line crosses each histogram at the mean. `names` are those of the samples, the same in all rows.
pub fn distributions(
    title: &str,
    axis: &Axis,
    names: [&str; 2],
    pairs: &[SamplePair],
) -> Result<String> {
    let values = pairs.iter().flat_map(|pair| pair.samples.iter().flatten());
    let limits =
        range(values.map(|&value| axis.scale(value))).ok_or_else(|| Error::NothingToDraw {
            chart: title.to_string(),
        })?;
    let (left, right) = (MARGIN + 8, WIDTH - 22);
    let row = LINE + 2 * HEIGHT + 10;
    let (top, bottom) = (4, 4 + row * pairs.len() as i32);
    panel(title, bottom + 78, |area| {
        let x = Scale::across(axis.describe(), limits, right - left);
        let edges = (left, top, right, bottom);
        let frame = Frame::draw(area, edges, &x, &Scale::bare((0.0, 1.0)))?;
        for (number, pair) in pairs.iter().enumerate() {
            let start = top + row * number as i32;
            let base = start + LINE + HEIGHT;
            let samples: Vec<Vec<f64>> = (pair.samples.iter())
                .map(|sample| finite(sample, axis))
                .collect();
            let shares = samples.iter().map(|sample| binned(sample, limits));
            let shares: Vec<Vec<f64>> = shares.collect();
            // Both samples of a row have one scale.
            let most = shares.iter().flatten().copied().fold(0.0, f64::max);
            for (side, (shares, sample)) in shares.iter().zip(&samples).enumerate() {
                let up = if side == 0 { -1 } else { 1 };
                bars(area, &frame, limits, (base, up), shares, most)?;
                if !sample.is_empty() {
                    let mean = sample.iter().sum::<f64>() / sample.len() as f64;
                    let at = frame.at(mean, 0.0).0;
                    line(area, &[(at, base), (at, base + up * HEIGHT)], INK, 2)?;
                }
            }
            line(area, &[(left, base), (right, base)], FAINT, 1)?;
            write_name(area, &pair.label, &INK, (left + 2, start + 11))?;
        }
        legend(area, bottom + 62, names)
    })
}

/// The finite values, as they are drawn.
fn finite(sample: &[f64], axis: &Axis) -> Vec<f64> {
    let scaled = sample.iter().map(|&value| axis.scale(value));
    scaled.filter(|value| value.is_finite()).collect()
}

/// Share of the sample in each bin between these limits.
fn binned(sample: &[f64], (low, high): (f64, f64)) -> Vec<f64> {
    let mut shares = vec![0.0; BINS];
    for value in sample {
        let bin = ((value - low) / (high - low) * BINS as f64) as usize;
        shares[bin.min(BINS - 1)] += 1.0 / sample.len() as f64;
    }
    shares
}

/// Bars from the line at `base` upwards (-1) or downwards (1).
fn bars(
    area: &Area<'_>,
    frame: &Frame,
    (low, high): (f64, f64),
    (base, up): (i32, i32),
    shares: &[f64],
    most: f64,
) -> Result<()> {
    let edge = |bin: usize| low + (high - low) * bin as f64 / BINS as f64;
    for (bin, share) in shares.iter().enumerate().filter(|(_, share)| **share > 0.0) {
        let (from, to) = (frame.at(edge(bin), 0.0).0, frame.at(edge(bin + 1), 0.0).0);
        let height = (f64::from(HEIGHT) * share / most).round() as i32;
        let tip = base + up * height.max(1);
        fill(
            area,
            (from, base.min(tip)),
            (to, base.max(tip)),
            colour(usize::from(up > 0)),
        )?;
    }
    Ok(())
}

/// Names of the samples above and below the lines, and the mark of the mean.
fn legend(area: &Area<'_>, y: i32, names: [&str; 2]) -> Result<()> {
    let mut x = MARGIN + 8;
    for (number, name) in names.into_iter().enumerate() {
        fill(area, (x, y - 5), (x + 10, y + 5), colour(number))?;
        write(area, name, font(13).color(&FAINT), Side::Right, (x + 16, y))?;
        x += 34 + width(name, 13);
    }
    line(area, &[(x, y - 7), (x, y + 7)], INK, 2)?;
    write(
        area,
        "mean",
        font(13).color(&FAINT),
        Side::Right,
        (x + 8, y),
    )
}
