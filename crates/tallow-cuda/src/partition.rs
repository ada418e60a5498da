//! Partition of a matrix among the blocks of a kernel.

use crate::call::{Numbers, count};

/// Threads of a block.
pub const THREADS: u32 = 256;

/// Threads of a block along the channels at most: a warp, so that a row is read in one piece.
const COLUMNS: u32 = 32;

/// Blocks in all, roughly. It does not depend on the device, so that sums have the same bits on every card.
const BLOCKS: u32 = 512;

/// Rows that a thread takes at least, if there are as many.
const FEWEST: u32 = 4;

/// Partition of a matrix of rows and channels.
///
/// A block has `columns` threads along the channels, each for `width` of them, and `256 / columns` along the rows. It takes `depth` rows; the
/// blocks that lie above each other in the grid take all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Partition {
    /// Rows of the matrix.
    pub rows: u32,
    /// Columns of the matrix.
    pub channels: u32,
    /// Numbers in it.
    pub numbers: Numbers,
    /// Channels that a thread takes at a time: 1 or 4.
    pub width: u32,
    /// Threads of a block along the channels, a power of two.
    pub columns: u32,
    /// Rows of a block.
    pub depth: u32,
}

impl Partition {
    /// Partition of a matrix, with four channels at a time if `by_four`. `None` if it is empty, or has more elements than the kernels can
    /// address.
    pub fn new(rows: usize, channels: usize, numbers: Numbers, by_four: bool) -> Option<Self> {
        count(rows.checked_mul(channels)?).filter(|&count| count > 0)?;
        let (rows, channels) = (rows as u32, channels as u32);
        let width = if by_four { 4 } else { 1 };
        let vectors = channels / width;
        let columns = vectors.next_power_of_two().min(COLUMNS);
        let lanes = THREADS / columns;
        let across = vectors.div_ceil(columns);
        let down = (BLOCKS / across).max(1);
        let depth = rows
            .div_ceil(down)
            .next_multiple_of(lanes)
            .max(FEWEST * lanes);
        Some(Self {
            rows,
            channels,
            numbers,
            width,
            columns,
            depth,
        })
    }

    /// Blocks, along the channels and along the rows.
    pub fn grid(&self) -> (u32, u32) {
        let vectors = self.channels / self.width;
        (
            vectors.div_ceil(self.columns),
            self.rows.div_ceil(self.depth),
        )
    }

    /// Blocks along the rows: the rows of partial sums.
    pub fn blocks(&self) -> u32 {
        self.grid().1
    }

    /// Number of partial sums: two of each channel and block, in `f64`.
    pub fn partial_sums(&self) -> usize {
        2 * self.blocks() as usize * self.channels as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Elements that the threads of the grid reach, by the arithmetic of `part` in common.cu.
    fn reached(p: &Partition) -> Vec<u32> {
        let mut times = vec![0; (p.rows * p.channels) as usize];
        let (across, down) = p.grid();
        let (lanes, vectors) = (THREADS / p.columns, p.channels / p.width);
        for (x, y) in (0..across).flat_map(|x| (0..down).map(move |y| (x, y))) {
            for thread in 0..THREADS {
                let column = x * p.columns + thread % p.columns;
                let end = ((y + 1) * p.depth).min(p.rows);
                let mut row = y * p.depth + thread / p.columns;
                while column < vectors && row < end {
                    for k in 0..p.width {
                        times[(row * p.channels + column * p.width + k) as usize] += 1;
                    }
                    row += lanes;
                }
            }
        }
        times
    }

    #[test]
    fn every_element_is_reached_once() {
        for (rows, channels) in [
            (1, 1),
            (7, 3),
            (100, 64),
            (3, 512),
            (2048, 8),
            (9000, 5),
            (33, 132),
            (5, 260),
        ] {
            for by_four in [false, true] {
                if by_four && channels % 4 != 0 {
                    continue;
                }
                let p = Partition::new(rows, channels, Numbers::F32, by_four).unwrap();
                assert!(p.columns.is_power_of_two() && THREADS.is_multiple_of(p.columns));
                assert!(reached(&p).iter().all(|&times| times == 1), "{p:?}");
            }
        }
    }

    #[test]
    fn large_matrices_fill_the_device_and_small_ones_do_not_split_to_nothing() {
        let large = Partition::new(128 * 32 * 32, 64, Numbers::F32, true).unwrap();
        let (across, down) = large.grid();
        assert!((256..=512).contains(&(across * down)), "{large:?}");
        let small = Partition::new(16, 10, Numbers::F32, false).unwrap();
        assert_eq!(small.grid(), (1, 1));
    }

    #[test]
    fn what_cannot_be_addressed_is_refused() {
        let new = |rows, channels| Partition::new(rows, channels, Numbers::F32, channels > 2);
        assert_eq!(new(1 << 20, 1 << 11), None);
        assert_eq!(new(usize::MAX, 2), None);
        assert_eq!(new(0, 8), None);
        assert!(new((1 << 20) - 1, 1 << 11).is_some());
    }
}
