//! Confusion matrix.

use std::borrow::Cow;

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::canvas::{Area, MARGIN, Side, WIDTH, font, panel, shortened, widest, width, write};
use super::frame::fill;
use super::theme::{BLUE_, FAINT, FAINTER, INK, PAPER};
use crate::error::{Error, Result};
use tallow_record::thousands;

/// Most cells in a row; beyond, a cell is a block of neighbouring classes.
const CELLS: usize = 100;
/// Largest side of a cell, in pixels.
const CELL: i32 = 54;
/// Letters of the names, in pixels, and the pixels that a name may take.
const NAME: (u32, i32) = (12, 100);
/// Pairs of classes listed below a matrix of many classes.
const LISTED: usize = 5;

/// Classes that were confused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pair {
    /// True class.
    pub label: usize,
    /// Predicted class, another one.
    pub predicted: usize,
    /// Number of images.
    pub count: u64,
}

/// The pairs of classes that were confused most often, at most `most` of them, the most frequent first. Of pairs with the same count
/// that of the lesser classes comes first.
pub fn worst_pairs(counts: &[Vec<u64>], most: usize) -> Vec<Pair> {
    let mut pairs: Vec<Pair> = (counts.iter().enumerate())
        .flat_map(|(label, row)| {
            row.iter().enumerate().map(move |(predicted, &count)| Pair {
                label,
                predicted,
                count,
            })
        })
        .filter(|pair| pair.label != pair.predicted && pair.count > 0)
        .collect();
    // The sort is stable.
    pairs.sort_by_key(|pair| std::cmp::Reverse(pair.count));
    pairs.truncate(most);
    pairs
}

/// Confusion matrix: a cell for each pair of true class (row) and predicted class (column), darker for a larger share of
/// its row. Counts are shown where all have room in their cells; otherwise the worst pairs are listed below. Of many classes some are
/// named.
pub fn confusion(title: &str, classes: &[String], counts: &[Vec<u64>]) -> Result<String> {
    let size = counts.len();
    if size == 0 || counts.iter().any(|row| row.len() != size) {
        return Err(Error::NothingToDraw {
            chart: title.to_string(),
        });
    }
    let name = |class: usize| classes.get(class).cloned().unwrap_or(class.to_string());
    let block = size.div_ceil(CELLS);
    let cells = blocks(counts, block);
    let names: Vec<String> = (0..cells.len())
        .map(|cell| shortened(&name(cell * block), NAME.0, NAME.1))
        .collect();

    let longest = widest(names.iter().map(String::as_str), NAME.0);
    let left = MARGIN + 16 + longest + 8;
    let side = (WIDTH - MARGIN - left).min(CELL * cells.len() as i32);
    // Cells of a fraction of a pixel more or less, so that they fill the side.
    let edge = |cell: usize| side * cell as i32 / cells.len() as i32;
    let step = (NAME.0 as usize + 2).div_ceil((edge(1) as usize).max(1));
    // Names that do not fit over their column are turned.
    let turned = longest > side / cells.len() as i32 * step as i32 - 4;
    let top = 26 + if turned { longest + 12 } else { 24 };
    let most = cells.iter().flatten().max().copied().unwrap_or(0);
    let fits = |pixels: &u32| width(&most.to_string(), *pixels) <= edge(1) - 2;
    let counted = (9..=13).rev().find(fits);
    let lines = match counted {
        Some(_) => Vec::new(),
        None => listed(counts, name, block),
    };
    let below = top + side + 46;
    panel(title, below + 18 * lines.len() as i32, |area| {
        for (row, counts) in cells.iter().enumerate() {
            let total: u64 = counts.iter().sum();
            for (column, &count) in counts.iter().enumerate() {
                let share = count as f64 / total.max(1) as f64;
                let (x, y) = (left + edge(column), top + edge(row));
                let (end_x, end_y) = (left + edge(column + 1), top + edge(row + 1));
                if count > 0 {
                    fill(area, (x, y), (end_x, end_y), shade(share))?;
                }
                if let Some(pixels) = counted {
                    let ink = match (opacity(share) > DARK, count) {
                        (true, _) => PAPER,
                        (false, 0) => FAINTER,
                        (false, _) => INK,
                    };
                    let middle = ((x + end_x) / 2, (y + end_y) / 2);
                    write(
                        area,
                        &count.to_string(),
                        font(pixels).color(&ink),
                        Side::Over,
                        middle,
                    )?;
                }
            }
        }
        area.draw(&Rectangle::new(
            [(left, top), (left + side, top + side)],
            FAINT,
        ))?;
        for (cell, name) in names.iter().enumerate().step_by(step) {
            let middle = (edge(cell) + edge(cell + 1)) / 2;
            let at = (left - 8, top + middle);
            write(area, name, font(NAME.0), Side::Left, at)?;
            let style = font(NAME.0);
            if turned {
                let style = style
                    .transform(FontTransform::Rotate270)
                    .pos(Pos::new(HPos::Left, VPos::Center));
                area.draw(&Text::new(name.as_str(), (left + middle, top - 8), style))?;
            } else {
                write(area, name, style, Side::Over, (left + middle, top - 12))?;
            }
        }
        let middle = (left + side / 2).max(MARGIN + width("predicted class", 14) / 2);
        write(area, "predicted class", font(14), Side::Over, (middle, 10))?;
        let style = font(14).transform(FontTransform::Rotate270).color(&INK);
        let at = (MARGIN + 4, top + side / 2);
        write(area, "true class", style, Side::Over, at)?;
        key(area, (MARGIN + 16, top + side + 18))?;
        for (number, text) in lines.iter().enumerate() {
            let at = (MARGIN + 16, below + 18 * number as i32);
            write(area, text, font(13), Side::Right, at)?;
        }
        Ok(())
    })
}

/// Sums over squares of `block` times `block` classes.
fn blocks(counts: &[Vec<u64>], block: usize) -> Cow<'_, [Vec<u64>]> {
    if block == 1 {
        return Cow::Borrowed(counts);
    }
    let sum = |rows: &[Vec<u64>], columns: std::ops::Range<usize>| {
        let sums = rows
            .iter()
            .map(|row| row[columns.clone()].iter().sum::<u64>());
        sums.sum::<u64>()
    };
    let size = counts.len();
    let row = |rows: &[Vec<u64>]| {
        (0..size)
            .step_by(block)
            .map(|first| sum(rows, first..(first + block).min(size)))
            .collect()
    };
    counts.chunks(block).map(row).collect()
}

/// Lines below a matrix of many classes.
fn listed(counts: &[Vec<u64>], name: impl Fn(usize) -> String, block: usize) -> Vec<String> {
    let mut lines = Vec::new();
    if block > 1 {
        lines.push(format!("Each cell is {block} × {block} classes."));
    }
    let worst = worst_pairs(counts, LISTED);
    if worst.is_empty() {
        return lines;
    }
    lines.push("Most frequent mistakes:".to_string());
    let room = WIDTH - 2 * MARGIN - 16;
    for pair in worst {
        let total: u64 = counts[pair.label].iter().sum();
        let end = format!(", {} of {}", thousands(pair.count), thousands(total));
        let each = (room - width(" taken for ", 13) - width(&end, 13)) / 2;
        let name = |class| shortened(&name(class), 13, each);
        let (label, predicted) = (name(pair.label), name(pair.predicted));
        lines.push(format!("{label} taken for {predicted}{end}"));
    }
    lines
}

/// Legend of the shades.
fn key(area: &Area<'_>, (x, y): (i32, i32)) -> Result<()> {
    const STEPS: i32 = 24;
    for step in 0..STEPS {
        let at = x + 4 * step;
        let share = f64::from(step) / f64::from(STEPS - 1);
        fill(area, (at, y), (at + 4, y + 12), shade(share))?;
    }
    let end = x + 4 * STEPS;
    area.draw(&Rectangle::new([(x, y), (end, y + 12)], FAINT))?;
    let text = "0 to 100 % of a true class";
    let style = font(12).color(&FAINT);
    write(area, text, style, Side::Right, (end + 6, y + 6))
}

/// Opacity beyond which the background's colour is more legible than that of letters, in both themes.
const DARK: f64 = 0.87;

/// Blue, the denser the larger the share, over the background, whatever that is.
fn shade(share: f64) -> RGBAColor {
    BLUE_.mix((opacity(share) * 1000.0).round() / 1000.0)
}

/// The square root, and the opacity from which it begins, keep small shares visible.
fn opacity(share: f64) -> f64 {
    0.12 + 0.88 * share.clamp(0.0, 1.0).sqrt()
}
