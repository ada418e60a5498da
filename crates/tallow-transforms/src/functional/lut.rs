//! Tables of 256 bytes: any map of single u8 values is one, and a chain of them is one pass over the image.

use crate::image::Image;

/// New value of each byte.
pub(crate) type Table = [u8; 256];

/// Table of a function of the byte.
pub(crate) fn table(of: impl Fn(u8) -> u8) -> Table {
    std::array::from_fn(|byte| of(byte as u8))
}

/// Maps every value of the image by one table.
pub(crate) fn map(image: &mut Image<u8>, table: &Table) {
    map_plane(image.data_mut(), table);
}

/// Maps every value of the slice.
pub(crate) fn map_plane(plane: &mut [u8], table: &Table) {
    for value in plane {
        *value = table[usize::from(*value)];
    }
}

/// Number of pixels of each value.
///
/// Four partial histograms: pictures have runs of one value, and an addition to the counter just written waits for it.
pub(crate) fn histogram(plane: &[u8]) -> [u32; 256] {
    let mut parts = [[0_u32; 256]; 4];
    let (fours, rest) = plane.as_chunks::<4>();
    for four in fours {
        for (part, &value) in parts.iter_mut().zip(four) {
            part[usize::from(value)] += 1;
        }
    }
    for &value in rest {
        parts[0][usize::from(value)] += 1;
    }
    std::array::from_fn(|value| parts.iter().map(|part| part[value]).sum())
}
