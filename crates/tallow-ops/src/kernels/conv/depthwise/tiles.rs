//! Tiles of neighbouring destinations along a row, whose sums are in registers together, and the sources that they see.

use std::ops::Range;

use super::axis::Axis;

/// Destinations of a tile.
const SIZES: [usize; 4] = [1, 2, 4, 8];

/// Destinations that see sources through the same kernel positions, and all such positions.
///
/// The order of the destinations in a tile is the one in which the sources run from one kernel position to the next: backwards in the
/// gradient of the input, where later kernel positions see earlier sources.
#[derive(Debug)]
pub(super) struct Band {
    /// First kernel position, and distance from one to the next.
    pub(super) kernel: usize,
    pub(super) kernel_step: usize,
    /// From the source seen through a kernel position to the one seen through the next.
    pub(super) tap_step: isize,
    /// From the source of a destination to that of the next one in the tile; its sign is that of `tap_step`.
    pub(super) source_step: isize,
    /// `source_step / tap_step`, if it is 1 or 2: destinations see the same sources then. Otherwise a group is one kernel position.
    pub(super) ratio: Option<usize>,
    /// From a destination to the next one in the tile.
    pub(super) step: isize,
    /// Tiles that have all destinations of the band, some of them twice.
    pub(super) tiles: Vec<Tile>,
}

/// Neighbouring destinations of a band.
#[derive(Debug)]
pub(super) struct Tile {
    /// Number of destinations, one of 1, 2, 4 and 8.
    pub(super) size: usize,
    /// First destination.
    pub(super) first: usize,
    /// Source that it sees through the first kernel position; it may lie outside.
    pub(super) source: isize,
    /// All kernel positions through which a destination sees a source that is inside, in their order.
    pub(super) groups: Vec<Group>,
}

/// Neighbouring kernel positions of a tile, whose sources are read one after the other: each once, for all destinations that see it.
#[derive(Debug, PartialEq)]
pub(super) struct Group {
    /// First kernel position, counted in the band.
    pub(super) tap: usize,
    /// Number of kernel positions, one of 1, 2 and 3.
    pub(super) taps: usize,
    /// Sources that are inside, of those that the group sees in their order.
    pub(super) inside: Range<usize>,
}

impl Band {
    /// Bands with all destinations of an axis.
    pub(super) fn all(axis: &Axis) -> Vec<Self> {
        let bands = 0..axis.step.min(axis.len);
        bands.map(|first| Self::new(axis, first)).collect()
    }

    /// Band of the destination `first` and every `step`th one behind it.
    fn new(axis: &Axis, first: usize) -> Self {
        let seen: Vec<(usize, isize)> = (0..axis.kernel)
            .filter_map(|k| Some((k, axis.source(first, k)?)))
            .collect();
        // The kernel positions are evenly spaced, and so are their sources.
        let (kernel_step, tap_step) = match seen[..] {
            [(k, source), (next, after), ..] => (next - k, after - source),
            _ => (1, 1),
        };
        let (kernel, nearest) = seen.first().copied().unwrap_or_default();
        let sign = if tap_step < 0 { -1 } else { 1 };
        let source_step = sign * axis.source_step as isize;
        let ratio = [1, 2].into_iter().find(|&r| source_step == r * tap_step);
        let tile = |(at, size): (usize, usize)| {
            let start = if sign < 0 { at + size - 1 } else { at };
            let source = nearest + (start * axis.source_step) as isize;
            let group = |tap: usize, taps: usize| {
                let (step, count) = match ratio {
                    Some(ratio) if taps > 1 => (tap_step, (size - 1) * ratio as usize + taps),
                    _ => (source_step, size),
                };
                let is_inside = |s: usize| {
                    let source = source + tap as isize * tap_step + s as isize * step;
                    (0..axis.sources as isize).contains(&source)
                };
                let first = (0..count).find(|&s| is_inside(s))?;
                let end = (first..count).find(|&s| !is_inside(s)).unwrap_or(count);
                let inside = first..end;
                Some(Group { tap, taps, inside })
            };
            let mut groups = Vec::new();
            let mut tap = 0;
            while tap < seen.len() {
                let taps = match (ratio, seen.len() - tap) {
                    (Some(_), 3..) => 3,
                    (Some(1), 2) => 2,
                    _ => 1,
                };
                groups.extend(group(tap, taps));
                tap += taps;
            }
            Tile {
                size,
                first: first + start * axis.step,
                source,
                groups,
            }
        };
        let tiles = cut((axis.len - first).div_ceil(axis.step));
        Self {
            kernel,
            kernel_step,
            tap_step,
            source_step,
            ratio: ratio.map(|ratio| ratio as usize),
            step: sign * axis.step as isize,
            tiles: tiles.into_iter().map(tile).collect(),
        }
    }
}

/// First destination and size of the tiles of a row. The last one may begin before the end of the one before it: computing some
/// destinations twice takes less time than a few small tiles.
fn cut(count: usize) -> Vec<(usize, usize)> {
    let mut tiles = Vec::new();
    let mut at = 0;
    while at < count {
        let fitting = || SIZES.into_iter().filter(move |&size| size <= count);
        let whole = fitting().find(|&size| size >= count - at);
        let size = whole.or(fitting().next_back()).unwrap_or(1);
        let start = at.min(count - size);
        tiles.push((start, size));
        at = start + size;
    }
    tiles
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::kernels::conv::Geometry;
    use crate::kernels::conv::geometry::tests::row;

    #[test]
    fn tiles_have_the_destinations_and_sources_of_the_axis() {
        for (width, kernel, stride, padding, dilation) in [
            (16, 3, 1, 1, 1),
            (7, 7, 1, 3, 1),
            (32, 3, 2, 1, 1),
            (14, 5, 2, 2, 1),
            (13, 7, 2, 3, 1),
            (9, 2, 3, 0, 2),
            (11, 3, 1, 2, 2),
            (12, 3, 2, 2, 2),
            (1, 3, 1, 5, 2),
            (6, 1, 4, 3, 1),
        ] {
            let g = row(width, kernel, stride, padding, dilation);
            for [_, axis] in [Axis::forward(&g), Axis::gradient(&g)] {
                let mut expected = BTreeSet::new();
                for destination in 0..axis.len {
                    let taps = axis.taps(destination).into_iter();
                    expected.extend(taps.map(|(k, source)| (k, destination, source)));
                }
                let (mut found, mut destinations) = (BTreeSet::new(), BTreeSet::new());
                for band in Band::all(&axis) {
                    for tile in &band.tiles {
                        assert!(SIZES.contains(&tile.size));
                        for t in 0..tile.size {
                            let step = t as isize * band.step;
                            let destination = tile.first.checked_add_signed(step).unwrap();
                            destinations.insert(destination);
                        }
                        for group in &tile.groups {
                            for (t, i) in
                                (0..tile.size).flat_map(|t| (0..group.taps).map(move |i| (t, i)))
                            {
                                let seen = match (group.taps, band.ratio) {
                                    (1, _) => t,
                                    (_, ratio) => t * ratio.unwrap() + i,
                                };
                                let tap = group.tap + i;
                                let step = t as isize * band.step;
                                let destination = tile.first.checked_add_signed(step).unwrap();
                                let source = tile.source
                                    + t as isize * band.source_step
                                    + tap as isize * band.tap_step;
                                if group.inside.contains(&seen) {
                                    let k = band.kernel + tap * band.kernel_step;
                                    let source = usize::try_from(source).unwrap();
                                    found.insert((k, destination, source));
                                }
                            }
                        }
                    }
                }
                assert_eq!(found, expected, "{axis:?}");
                assert!(destinations.into_iter().eq(0..axis.len), "{axis:?}");
            }
        }
    }

    #[test]
    fn groups_have_the_sources_that_are_inside() {
        let group = |tap, taps, inside| Group { tap, taps, inside };
        let groups = |g: &Geometry, tile: usize| {
            let [_, axis] = Axis::forward(g);
            let mut bands = Band::all(&axis);
            bands.remove(0).tiles.remove(tile).groups
        };
        let three = row(16, 3, 1, 1, 1);
        assert_eq!(groups(&three, 0), [group(0, 3, 1..10)]);
        assert_eq!(groups(&three, 1), [group(0, 3, 0..9)]);
        let five = row(32, 5, 2, 2, 1);
        let expected = [group(0, 3, 2..17), group(3, 1, 0..8), group(4, 1, 0..8)];
        assert_eq!(groups(&five, 0), expected);
        let single = [group(1, 1, 0..1)];
        assert_eq!(groups(&row(1, 3, 1, 3, 3), 0), single);
    }

    #[test]
    fn tiles_are_few_and_cover_the_row() {
        assert_eq!(cut(16), [(0, 8), (8, 8)]);
        assert_eq!(cut(14), [(0, 8), (6, 8)]);
        assert_eq!(cut(7), [(0, 4), (3, 4)]);
        assert_eq!(cut(3), [(0, 2), (2, 1)]);
        assert_eq!(cut(1), [(0, 1)]);
        assert!(cut(0).is_empty());
        for count in 1..100 {
            let mut next = 0;
            for (start, size) in cut(count) {
                assert!(start <= next && start + size > next);
                next = start + size;
            }
            assert_eq!(next, count);
        }
    }
}
