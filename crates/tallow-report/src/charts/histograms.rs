//! Histograms of a network's inputs.

use plotters::prelude::*;

use super::canvas::{MARGIN, WIDTH, panel, width, wrapped, write_name};
use super::frame::{Frame, Scale, line};
use super::theme::{FAINT, GRID, INK, colour};
use crate::error::{Error, Result};
use tallow_record::Inputs;

/// Height of a histogram, in pixels.
const HEIGHT: i32 = 60;
/// Pixels from one line of text to the next.
const LINE: i32 = 18;

/// Histograms, one per row, on a common axis, each scaled to the height of its row, under mean and standard deviation.
pub fn histograms(title: &str, rows: &[(String, &Inputs)]) -> Result<String> {
    let drawable = |inputs: &Inputs| {
        let histogram = &inputs.histogram;
        histogram.from.is_finite()
            && histogram.to.is_finite()
            && histogram.to > histogram.from
            && histogram.counts.iter().any(|&count| count > 0)
    };
    let rows: Vec<&(String, &Inputs)> =
        rows.iter().filter(|(_, inputs)| drawable(inputs)).collect();
    if rows.is_empty() {
        return Err(Error::NothingToDraw {
            chart: title.to_string(),
        });
    }
    // Bins at the ends that hold nothing in any row are not shown.
    let filled = rows
        .iter()
        .flat_map(|(_, inputs)| bins(inputs).filter(|bin| bin.2 > 0));
    let (low, high) = filled.fold(
        (f64::INFINITY, f64::NEG_INFINITY),
        |(low, high), (from, to, _)| (low.min(from), high.max(to)),
    );

    let (left, right) = (MARGIN + 8, WIDTH - 22);
    let room = right - left;
    let figures: Vec<Vec<String>> = rows
        .iter()
        .map(|(_, inputs)| {
            let (mean, std) = (figure("mean", &inputs.mean), figure("std", &inputs.std));
            let both = format!("{mean}, {std}");
            match width(&both, 13) <= room {
                true => vec![both],
                false => [wrapped(&mean, 13, room), wrapped(&std, 13, room)].concat(),
            }
        })
        .collect();
    let heights: Vec<i32> = figures
        .iter()
        .map(|lines| HEIGHT + 8 + LINE * (1 + lines.len() as i32))
        .collect();
    let (top, bottom) = (4, 4 + heights.iter().sum::<i32>());
    panel(title, bottom + 54, |area| {
        let x = Scale::across("value that the network sees", (low, high), room);
        let frame = Frame::draw(
            area,
            (left, top, right, bottom),
            &x,
            &Scale::bare((0.0, 1.0)),
        )?;
        let mut base = top;
        for (number, (label, inputs)) in rows.iter().enumerate() {
            let start = base;
            base += heights[number];
            let most = inputs
                .histogram
                .counts
                .iter()
                .copied()
                .max()
                .unwrap_or(1)
                .max(1) as f64;
            let mut steps = Vec::new();
            for (from, to, count) in bins(inputs).filter(|bin| bin.1 > low && bin.0 < high) {
                let height = (f64::from(HEIGHT) * count as f64 / most).round() as i32;
                steps.push((frame.at(from, 0.0).0, base - height));
                steps.push((frame.at(to, 0.0).0, base - height));
            }
            let first = steps.first().map_or(left, |step| step.0);
            let last = steps.last().map_or(right, |step| step.0);
            let mut shape = vec![(first, base)];
            shape.extend(&steps);
            shape.push((last, base));
            area.draw(&Polygon::new(shape, colour(0).mix(0.75)))?;
            line(
                area,
                &[(left, base), (right, base)],
                if number + 1 == rows.len() { INK } else { GRID },
                1,
            )?;
            write_name(area, label, &INK, (left, start + 10))?;
            for (row, text) in figures[number].iter().enumerate() {
                let at = (left, start + 10 + LINE * (row as i32 + 1));
                write_name(area, text, &FAINT, at)?;
            }
        }
        Ok(())
    })
}

/// Limits and count of each bin.
fn bins(inputs: &Inputs) -> impl Iterator<Item = (f64, f64, u64)> {
    let histogram = &inputs.histogram;
    let width = (histogram.to - histogram.from) / histogram.counts.len().max(1) as f64;
    let edge = move |bin: usize| histogram.from + width * bin as f64;
    histogram
        .counts
        .iter()
        .enumerate()
        .map(move |(bin, &count)| (edge(bin), edge(bin + 1), count))
}

/// `mean −0.01 0.02 0.00`, a value a channel.
fn figure(name: &str, values: &[f64]) -> String {
    let texts: Vec<String> = values
        .iter()
        .map(|value| {
            format!("{value:.2}")
                .replace("-0.00", "0.00")
                .replace('-', "−")
        })
        .collect();
    format!("{name} {}", texts.join(" "))
}
