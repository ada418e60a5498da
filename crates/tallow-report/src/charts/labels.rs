//! Names of lines: beside their ends, or below the chart.

use super::canvas::{Area, MARGIN, Side, WIDTH, font, shortened, widest, width, write};
use super::frame::line;
use super::theme::colour;
use crate::error::Result;

/// Pixels from one name to the next.
const GAP: i32 = 18;
/// Pixels that a name may take beside its line.
const BESIDE: i32 = 112;

/// Names of the lines of a chart. They stand beside the ends of the lines if all are short; otherwise numbers stand there, and the names
/// below the chart.
pub struct Names {
    /// Texts beside the ends.
    beside: Vec<String>,
    /// Rows below the chart, with the number of the line and the name.
    below: Vec<Vec<(usize, String)>>,
}

impl Names {
    /// Places for these names.
    pub fn new<'a>(names: impl IntoIterator<Item = &'a str>) -> Self {
        let names: Vec<&str> = names.into_iter().collect();
        if widest(names.iter().copied(), 13) <= BESIDE {
            return Self {
                beside: names.into_iter().map(str::to_string).collect(),
                below: Vec::new(),
            };
        }
        let mut below: Vec<Vec<(usize, String)>> = Vec::new();
        let mut beside = Vec::new();
        let mut taken = WIDTH;
        for (number, name) in names.into_iter().enumerate() {
            let name = format!("{} {name}", number + 1);
            let name = shortened(&name, 13, WIDTH - 2 * MARGIN - 24);
            let room = 40 + width(&name, 13);
            if taken + room > WIDTH {
                below.push(Vec::new());
                taken = MARGIN;
            }
            taken += room;
            if let Some(row) = below.last_mut() {
                row.push((number, name));
            }
            beside.push((number + 1).to_string());
        }
        Self { beside, below }
    }

    /// Right edge of the axes.
    pub fn right(&self) -> i32 {
        match widest(self.beside.iter().map(String::as_str), 13) {
            0 => WIDTH - 22,
            width => WIDTH - 40 - width,
        }
    }

    /// Pixels taken below the chart.
    pub fn height(&self) -> i32 {
        match self.below.len() as i32 {
            0 => 0,
            rows => GAP * rows + 6,
        }
    }

    /// Least height of the axes, in pixels.
    pub fn least(&self) -> i32 {
        GAP * self.beside.len() as i32
    }

    /// Writes each name to the right of the axes, as near as may be to where its line ends, between `top` and `bottom`. `ends` are the
    /// numbers of the lines and the pixels at which they end.
    pub fn write_beside(
        &self,
        area: &Area<'_>,
        ends: &[(usize, (i32, i32))],
        (top, bottom): (i32, i32),
    ) -> Result<()> {
        let x = self.right();
        let name = |number: usize| self.beside.get(number).map_or("", String::as_str);
        let mut order: Vec<_> = ends.iter().filter(|end| !name(end.0).is_empty()).collect();
        order.sort_by_key(|(_, at)| at.1);
        let heights: Vec<i32> = order.iter().map(|(_, at)| at.1).collect();
        for (&&(number, at), y) in order.iter().zip(spread(&heights, top, bottom)) {
            leader(area, at, (x + 6, y), number)?;
            line(area, &[(x + 6, y), (x + 18, y)], colour(number), 3)?;
            write(area, name(number), font(13), Side::Right, (x + 23, y))?;
        }
        Ok(())
    }

    /// Writes the names below the chart, from this height on.
    pub fn write_below(&self, area: &Area<'_>, top: i32) -> Result<()> {
        for (row, names) in self.below.iter().enumerate() {
            let y = top + 6 + GAP * row as i32;
            let mut x = MARGIN;
            for (number, name) in names {
                line(area, &[(x, y), (x + 14, y)], colour(*number), 3)?;
                write(area, name, font(13), Side::Right, (x + 20, y))?;
                x += 40 + width(name, 13);
            }
        }
        Ok(())
    }
}

/// From the end of a line to its name; dotted where that is far, so that it does not look like more of the line.
fn leader(area: &Area<'_>, from: (i32, i32), to: (i32, i32), number: usize) -> Result<()> {
    if to.0 - from.0 <= 24 {
        return line(area, &[from, to], colour(number), 1);
    }
    let length = f64::from(to.0 - from.0).hypot(f64::from(to.1 - from.1));
    let at = |distance: f64| {
        let share = (distance / length).min(1.0);
        let between = |a: i32, b: i32| (f64::from(a) + share * f64::from(b - a)).round() as i32;
        (between(from.0, to.0), between(from.1, to.1))
    };
    let mut start = 6.0;
    while start < length {
        line(area, &[at(start), at(start + 2.0)], colour(number), 1)?;
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

    #[test]
    fn long_names_stand_below() {
        let short = Names::new(["cnn", "fc"]);
        assert_eq!(
            (short.height(), short.right()),
            (0, WIDTH - 40 - width("cnn", 13))
        );
        let long = Names::new([
            "fc",
            "a network with a long name",
            "another with a long name",
        ]);
        assert_eq!(long.beside, ["1", "2", "3"]);
        let rows: Vec<Vec<usize>> = (long.below.iter())
            .map(|row| row.iter().map(|(number, _)| *number).collect())
            .collect();
        assert_eq!(rows, [vec![0, 1], vec![2]]);
        assert_eq!(long.below[1][0].1, "3 another with a long name");
        // Nothing to write beside a single line without a name.
        assert_eq!(Names::new([""]).right(), WIDTH - 22);
    }
}
