//! Labels at the ends of lines.

use plotters::prelude::*;

use super::canvas::{Area, Side, font, write};
use super::frame::line;
use crate::error::Result;

/// Pixels from one name to the next.
const GAP: i32 = 18;

/// The end of a line.
pub struct End {
    /// Label of the line.
    pub label: String,
    /// Its colour.
    pub colour: RGBColor,
    /// Pixel at which it ends.
    pub at: (i32, i32),
}

/// Writes each name to the right of `x`, as near as may be to where its line ends, between `top` and `bottom`.
pub fn names(area: &Area<'_>, ends: &[End], x: i32, top: i32, bottom: i32) -> Result<()> {
    let mut order: Vec<&End> = ends.iter().collect();
    order.sort_by_key(|end| end.at.1);
    let places = spread(
        &order.iter().map(|end| end.at.1).collect::<Vec<_>>(),
        top,
        bottom,
    );
    for (end, y) in order.into_iter().zip(places) {
        leader(area, end.at, (x + 8, y), end.colour)?;
        line(area, &[(x + 8, y), (x + 22, y)], end.colour, 3)?;
        write(area, &end.label, font(13), Side::Right, (x + 27, y))?;
    }
    Ok(())
}

/// From the end of a line to its name; dotted where that is far, so that it does not look like more of the line.
fn leader(area: &Area<'_>, from: (i32, i32), to: (i32, i32), colour: RGBColor) -> Result<()> {
    if to.0 - from.0 <= 24 {
        return line(area, &[from, to], colour, 1);
    }
    let length = f64::from(to.0 - from.0).hypot(f64::from(to.1 - from.1));
    let at = |distance: f64| {
        let share = (distance / length).min(1.0);
        let between = |a: i32, b: i32| (f64::from(a) + share * f64::from(b - a)).round() as i32;
        (between(from.0, to.0), between(from.1, to.1))
    };
    let mut start = 6.0;
    while start < length {
        line(area, &[at(start), at(start + 2.0)], colour, 1)?;
        start += 7.0;
    }
    Ok(())
}

/// Sorted places moved apart by [`GAP`] at least, and kept between `top` and `bottom` where there is room.
fn spread(places: &[i32], top: i32, bottom: i32) -> Vec<i32> {
    let mut out: Vec<i32> = places.to_vec();
    let mut least = top;
    for place in &mut out {
        *place = (*place).max(least);
        least = *place + GAP;
    }
    let mut most = bottom;
    for place in out.iter_mut().rev() {
        *place = (*place).min(most);
        most = *place - GAP;
    }
    // Too many for the room: they keep their distance and run over the bottom.
    let over = out.first().map_or(0, |first| (top - first).max(0));
    out.iter().map(|place| place + over).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_keep_their_distance() {
        assert_eq!(spread(&[50, 100], 0, 200), [50, 100]);
        assert_eq!(spread(&[50, 51, 52], 0, 200), [50, 68, 86]);
        assert_eq!(spread(&[195, 196], 0, 200), [182, 200]);
        assert_eq!(spread(&[5, 5, 5], 0, 20), [0, 18, 36]);
        assert!(spread(&[], 0, 20).is_empty());
    }
}
