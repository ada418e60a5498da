//! Common parts of all charts: panel, title, fonts and places of texts.

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::theme::{CLASS, INK, PAPER, style};
use crate::error::Result;

/// The panel, or a part of it.
pub type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// Width of a chart, in pixels: that of a phone, so that letters are not made smaller there.
pub const WIDTH: i32 = 420;
/// Least distance of anything from the left and right edge, in pixels.
pub const MARGIN: i32 = 14;
/// Width of the whole picture where nothing else says how large it is shown, in pixels.
const SHOWN: u32 = 525;
/// Letters of the title, in pixels, and from one of its lines to the next.
const TITLE: (u32, i32) = (15, 19);
/// Of an average character at a font size of one; no font is asked, so that this is the same everywhere. That of a wide font.
const CHARACTER: f64 = 0.6;
/// Of a bold one.
const BOLD: f64 = 0.63;

/// Draws on a panel of this height with a title; `paint` gets what is below the title.
pub fn panel(
    title: &str,
    height: i32,
    paint: impl FnOnce(&Area<'_>) -> Result<()>,
) -> Result<String> {
    let room = f64::from(WIDTH - 2 * MARGIN) * CHARACTER / BOLD;
    let lines = wrapped(title, TITLE.0, room as i32);
    let head = 14 + TITLE.1 * lines.len() as i32;
    let (width, height) = (WIDTH as u32, (head + height).max(1) as u32);
    let mut svg = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, (width, height)).into_drawing_area();
        root.fill(&PAPER)?;
        let bold = ("sans-serif", f64::from(TITLE.0) * 1.24, FontStyle::Bold);
        for (number, text) in lines.iter().enumerate() {
            let style = bold.into_text_style(&root).color(&INK);
            let at = (MARGIN, 10 + TITLE.1 * number as i32);
            root.draw_text(text, &style, at)?;
        }
        let (_, below) = root.split_vertically(head);
        paint(&below)?;
        root.present()?;
    }
    let body = svg.split_once('>').map_or("", |(_, body)| body);
    let shown = SHOWN * height / width;
    // The first title is what a screen reader says of the picture.
    Ok(format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"{CLASS}\" width=\"{SHOWN}\" height=\"{shown}\" \
         viewBox=\"0 0 {width} {height}\" role=\"img\">\n<title>{}</title>\n<style>{}</style>{body}",
        escape(title),
        style()
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

/// Writes to the right of a point in letters of 13 pixels, cut off where the chart ends; lines behind are covered.
pub fn write_name(area: &Area<'_>, text: &str, colour: &RGBColor, at: (i32, i32)) -> Result<()> {
    let text = shortened(text, 13, WIDTH - MARGIN - at.0);
    let end = at.0 + width(&text, 13) + 3;
    area.draw(&Rectangle::new(
        [(at.0 - 3, at.1 - 8), (end, at.1 + 8)],
        PAPER.filled(),
    ))?;
    write(area, &text, font(13).color(colour), Side::Right, at)
}

/// About how many pixels a text takes in letters of this size.
pub fn width(text: &str, pixels: u32) -> i32 {
    let letters: f64 = text.chars().map(letter).sum();
    (letters * f64::from(pixels)).ceil() as i32
}

fn letter(letter: char) -> f64 {
    // From here on are the squares of Chinese, Japanese and Korean.
    if letter >= '\u{2e80}' { 1.0 } else { CHARACTER }
}

/// The width that the longest of these takes.
pub fn widest<'a>(texts: impl IntoIterator<Item = &'a str>, pixels: u32) -> i32 {
    texts
        .into_iter()
        .map(|text| width(text, pixels))
        .max()
        .unwrap_or(0)
}

/// Text, or its beginning with an ellipsis where the text does not fit into `room` pixels.
pub fn shortened(text: &str, pixels: u32, room: i32) -> String {
    if width(text, pixels) <= room {
        return text.to_string();
    }
    let mut kept = String::new();
    for letter in text.chars() {
        kept.push(letter);
        if width(&kept, pixels) + width("…", pixels) > room {
            kept.pop();
            break;
        }
    }
    format!("{}…", kept.trim_end())
}

/// Text in lines of at most `room` pixels, broken between words; a longer word is shortened.
pub fn wrapped(text: &str, pixels: u32, room: i32) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        let longer = lines.last().map(|line| format!("{line} {word}"));
        match (lines.last_mut(), longer) {
            (Some(line), Some(longer)) if width(&longer, pixels) <= room => *line = longer,
            _ => lines.push(shortened(word, pixels, room)),
        }
    }
    lines
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_broken_between_words_and_cut_off() {
        let room = width("a title of", 13);
        assert_eq!(
            wrapped("a title of many words", 13, room),
            ["a title of", "many words"]
        );
        assert_eq!(
            wrapped("unbreakable-words", 13, width("unbreak", 13)),
            ["unbrea…"]
        );
        assert!(wrapped("", 13, 100).is_empty());
        assert_eq!(shortened("short", 13, 100), "short");
        assert_eq!(shortened("训练图像", 10, 30), "训练…");
    }
}
