//! Images in blocks of sixteen channels: `(block, pixel, channel)`. The pixels of a block are neighbours in memory, whatever the number
//! of channels. In `(H, W, C)` those of a power of two would share a few sets of the first-level cache, and displace each other.

use crate::kernels::panel::PANEL;

/// Number of blocks.
pub(super) fn count(channels: usize) -> usize {
    channels.div_ceil(PANEL)
}

/// Number of elements of so many pixels.
pub(super) fn len(pixels: usize, channels: usize) -> usize {
    count(channels) * pixels * PANEL
}

/// Copies pixels, `(pixel, channel)`, to blocks of so many, from the pixel `first` on. Channels that the last block lacks are zero.
#[inline(always)]
pub(super) fn pack(from: &[f32], channels: usize, to: &mut [f32], (pixels, first): (usize, usize)) {
    let (to, _) = to.as_chunks_mut::<PANEL>();
    for (pixel, from) in (first..).zip(from.chunks_exact(channels)) {
        let (whole, rest) = from.as_chunks::<PANEL>();
        for (block, from) in whole.iter().enumerate() {
            to[block * pixels + pixel] = *from;
        }
        if !rest.is_empty() {
            let to = &mut to[whole.len() * pixels + pixel];
            to[..rest.len()].copy_from_slice(rest);
            to[rest.len()..].fill(0.0);
        }
    }
}

/// A kernel `(channel, tap)` in blocks, the taps in place of the pixels.
pub(super) fn kernel(weight: &[f32], taps: usize) -> Vec<f32> {
    let channels = weight.len() / taps;
    let mut blocks = vec![0.0; len(taps, channels)];
    for (channel, weight) in weight.chunks_exact(taps).enumerate() {
        let first = channel / PANEL * taps * PANEL + channel % PANEL;
        let blocks = blocks[first..].iter_mut().step_by(PANEL);
        blocks.zip(weight).for_each(|(to, &from)| *to = from);
    }
    blocks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_channel_has_its_place() {
        let (pixels, channels) = (3, 37);
        let from: Vec<f32> = (0..pixels * channels).map(|i| 1.0 + i as f32).collect();
        let mut to = vec![f32::NAN; len(pixels, channels)];
        assert_eq!(to.len(), 3 * 3 * 16);
        let (head, tail) = from.split_at(2 * channels);
        pack(head, channels, &mut to, (pixels, 0));
        pack(tail, channels, &mut to, (pixels, 2));
        for (i, &value) in to.iter().enumerate() {
            let (block, pixel, channel) = (i / 48, i / 16 % 3, i % 16);
            let channel = block * 16 + channel;
            let expected = if channel < channels {
                from[pixel * channels + channel]
            } else {
                0.0
            };
            assert_eq!(value, expected, "{i}");
        }
    }

    #[test]
    fn taps_have_their_places() {
        let weight: Vec<f32> = (0..37 * 6).map(|i| 1.0 + i as f32).collect();
        let blocks = kernel(&weight, 6);
        assert_eq!(blocks[2 * 16 + 5], weight[5 * 6 + 2]);
        assert_eq!(blocks.iter().filter(|&&value| value == 0.0).count(), 11 * 6);
    }
}
