//! Confusion matrix.

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::canvas::{BLUE_, FAINT, INK, Side, WIDTH, font, panel, widest, write};
use super::frame::fill;
use crate::error::{Error, Result};

/// Confusion matrix: a cell for each pair of true class (row) and predicted class (column), darker for a larger share of
/// its row. Counts are shown in cells that are large enough.
pub fn confusion(title: &str, classes: &[String], counts: &[Vec<u64>]) -> Result<String> {
    let size = counts.len();
    if size == 0 || counts.iter().any(|row| row.len() != size) {
        return Err(Error::NothingToDraw {
            chart: title.to_string(),
        });
    }
    let name = |class: usize| {
        classes
            .get(class)
            .cloned()
            .unwrap_or_else(|| class.to_string())
    };
    let names: Vec<String> = (0..size).map(name).collect();
    let longest = widest(names.iter().map(String::as_str), 13) as i32;
    let cell = ((WIDTH as i32 - 90 - longest) / size as i32).clamp(4, 54);
    let named = cell >= 14;
    let counted = cell >= 12 * 3;
    // Names that do not fit over their column are turned.
    let turned = longest > cell - 4;
    let beside = if named { longest + 12 } else { 12 };
    let over = match (named, turned) {
        (false, _) => 12,
        (true, false) => 24,
        (true, true) => longest + 12,
    };
    let (left, top) = (40 + beside, 26 + over);
    let side = cell * size as i32;
    panel(title, (top + side + 42) as u32, |area| {
        for (row, counts) in counts.iter().enumerate() {
            let total: u64 = counts.iter().sum();
            for (column, &count) in counts.iter().enumerate() {
                let share = if total == 0 {
                    0.0
                } else {
                    count as f64 / total as f64
                };
                let (x, y) = (left + cell * column as i32, top + cell * row as i32);
                fill(area, (x, y), (x + cell, y + cell), shade(share))?;
                if counted {
                    let ink = match (share > 0.45, count) {
                        (true, _) => WHITE,
                        (false, 0) => RGBColor(0xaa, 0xaa, 0xaa),
                        (false, _) => INK,
                    };
                    let pixels = if count > 9_999 { 11 } else { 13 };
                    let middle = (x + cell / 2, y + cell / 2);
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
        for (class, name) in names.iter().enumerate().filter(|_| named) {
            let middle = cell * class as i32 + cell / 2;
            write(area, name, font(13), Side::Left, (left - 8, top + middle))?;
            let style = font(13);
            if turned {
                let style = style
                    .transform(FontTransform::Rotate270)
                    .pos(Pos::new(HPos::Left, VPos::Center));
                area.draw(&Text::new(name.as_str(), (left + middle, top - 8), style))?;
            } else {
                write(area, name, style, Side::Over, (left + middle, top - 12))?;
            }
        }
        write(
            area,
            "predicted class",
            font(14),
            Side::Over,
            (left + side / 2, 10),
        )?;
        let style = font(14).transform(FontTransform::Rotate270).color(&INK);
        write(area, "true class", style, Side::Over, (18, top + side / 2))?;
        key(area, (left, top + side + 16))
    })
}

/// Legend of the shades.
fn key(area: &super::canvas::Area<'_>, (x, y): (i32, i32)) -> Result<()> {
    for step in 0..40 {
        let at = x + 4 * step;
        fill(
            area,
            (at, y),
            (at + 4, y + 12),
            shade(f64::from(step) / 39.0),
        )?;
    }
    area.draw(&Rectangle::new([(x, y), (x + 160, y + 12)], FAINT))?;
    let text = "0 to 100 % of the images of a true class";
    write(
        area,
        text,
        font(13).color(&FAINT),
        Side::Right,
        (x + 168, y + 6),
    )
}

/// From white to blue; the square root keeps small shares visible.
fn shade(share: f64) -> RGBColor {
    let share = share.clamp(0.0, 1.0).sqrt();
    let mix = |dark: u8| (255.0 + share * (f64::from(dark) - 255.0)).round() as u8;
    RGBColor(mix(BLUE_.0), mix(BLUE_.1), mix(BLUE_.2))
}
