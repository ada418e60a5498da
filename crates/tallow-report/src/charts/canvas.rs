//! Common parts of all charts: panel, title, fonts and colors.

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::error::Result;

/// The panel, or a part of it.
pub type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// Width of a chart, in pixels.
pub const WIDTH: u32 = 760;
/// Height of the title, in pixels.
const TITLE: u32 = 36;
/// Of an average character at a font size of one; no font is asked, so that this is the same everywhere.
const CHARACTER: f64 = 0.56;

/// Letters and axes.
pub const INK: RGBColor = RGBColor(0x22, 0x22, 0x22);
/// Less important text.
pub const FAINT: RGBColor = RGBColor(0x66, 0x66, 0x66);
/// Lines of the grid.
pub const GRID: RGBColor = RGBColor(0xe4, 0xe4, 0xe4);
/// Blue, the first colour.
pub const BLUE_: RGBColor = RGBColor(0x00, 0x72, 0xb2);
/// Vermilion, the second.
pub const VERMILION: RGBColor = RGBColor(0xd5, 0x5e, 0x00);
/// Okabe and Ito's colours, but for the yellow, which is lost on white.
const PALETTE: [RGBColor; 7] = [
    BLUE_,
    VERMILION,
    RGBColor(0x00, 0x9e, 0x73),
    RGBColor(0xcc, 0x79, 0xa7),
    RGBColor(0xe6, 0x9f, 0x00),
    RGBColor(0x56, 0xb4, 0xe9),
    RGBColor(0x00, 0x00, 0x00),
];

/// The colour of the line, bar or row of this number.
pub fn colour(number: usize) -> RGBColor {
    PALETTE[number % PALETTE.len()]
}

/// Draws on a panel of this height with a title; `paint` gets what is below the title.
pub fn panel(
    title: &str,
    height: u32,
    paint: impl FnOnce(&Area<'_>) -> Result<()>,
) -> Result<String> {
    let mut svg = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, (WIDTH, height + TITLE)).into_drawing_area();
        root.fill(&WHITE)?;
        let bold = ("sans-serif", 16.0 * 1.24, FontStyle::Bold);
        let style = bold.into_text_style(&root).color(&INK);
        root.draw_text(title, &style, (14, 11))?;
        let (_, below) = root.split_vertically(TITLE);
        paint(&below)?;
        root.present()?;
    }
    // What a screen reader says of the picture.
    Ok(svg.replacen(
        '>',
        &format!(" role=\"img\">\n<title>{}</title>", escape(title)),
        1,
    ))
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

/// Letters of this many pixels. The backend divides by 1.24.
pub fn font(pixels: u32) -> TextStyle<'static> {
    ("sans-serif", f64::from(pixels) * 1.24)
        .into_font()
        .color(&INK)
}

/// Position of a text relative to its point.
#[derive(Clone, Copy)]
pub enum Side {
    Left,
    Right,
    Over,
}

/// Writes beside a point.
pub fn write(
    area: &Area<'_>,
    text: &str,
    style: TextStyle<'_>,
    side: Side,
    at: (i32, i32),
) -> Result<()> {
    let h_pos = match side {
        Side::Left => HPos::Right,
        Side::Right => HPos::Left,
        Side::Over => HPos::Center,
    };
    let style = style.pos(Pos::new(h_pos, VPos::Center));
    Ok(area.draw(&Text::new(text, at, style))?)
}

/// About how many pixels a text takes in letters of this size.
pub fn width(text: &str, pixels: u32) -> u32 {
    (text.chars().count() as f64 * f64::from(pixels) * CHARACTER).ceil() as u32
}

/// The width that the longest of these takes.
pub fn widest<'a>(texts: impl IntoIterator<Item = &'a str>, pixels: u32) -> u32 {
    texts
        .into_iter()
        .map(|text| width(text, pixels))
        .max()
        .unwrap_or(0)
}

/// The range of some values with a little room on both sides; `None` without a finite one.
pub fn range(values: impl IntoIterator<Item = f64>) -> Option<(f64, f64)> {
    let finite = values.into_iter().filter(|value| value.is_finite());
    let (low, high) = finite.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| {
        (low.min(value), high.max(value))
    });
    if low > high {
        return None;
    }
    // One value alone has no range of its own.
    let room = match high - low {
        spread if spread > 0.0 => 0.06 * spread,
        _ if high != 0.0 => 0.1 * high.abs(),
        _ => 1.0,
    };
    Some((low - room, high + room))
}

/// Round values between these two, about `count` of them, with the distance between them.
pub fn ticks(low: f64, high: f64, count: usize) -> (Vec<f64>, f64) {
    let rough = (high - low) / count.max(1) as f64;
    if !(rough > 0.0 && rough.is_finite()) {
        return (vec![low], 0.0);
    }
    let unit = 10f64.powi(rough.log10().floor() as i32);
    let step = [1.0, 2.0, 5.0, 10.0]
        .into_iter()
        .map(|factor| factor * unit)
        .find(|step| *step >= rough)
        .unwrap_or(10.0 * unit);
    let first = (low / step - 1e-9).ceil() as i64;
    let last = (high / step + 1e-9).floor() as i64;
    ((first..=last).map(|n| n as f64 * step).collect(), step)
}
