//! Upsampling of chroma rows and conversion from YCbCr to RGB.

/// `h2v1_fancy_upsample`: each sample twice, a quarter of the way towards its neighbour. `out` has room for two values a sample.
pub(crate) fn upsample_across(samples: &[u8], out: &mut [u8]) {
    let last = samples.len() - 1;
    for (x, sample) in samples.iter().enumerate() {
        let at = |x: usize| u32::from(samples[x]);
        let three = 3 * u32::from(*sample);
        out[2 * x] = if x == 0 {
            *sample
        } else {
            ((three + at(x - 1) + 1) >> 2) as u8
        };
        out[2 * x + 1] = if x == last {
            *sample
        } else {
            ((three + at(x + 1) + 2) >> 2) as u8
        };
    }
}

/// `h2v2_fancy_upsample`: the same in both directions; `far` is the row on the other side.
pub(crate) fn upsample_both(near: &[u8], far: &[u8], out: &mut [u8]) {
    let last = near.len() - 1;
    let sum = |x: usize| 3 * u32::from(near[x]) + u32::from(far[x]);
    for x in 0..=last {
        let (before, after) = (sum(x.saturating_sub(1)), sum((x + 1).min(last)));
        // At the ends the neighbour is the sample itself, which is what libjpeg computes there.
        out[2 * x] = ((3 * sum(x) + before + 8) >> 4) as u8;
        out[2 * x + 1] = ((3 * sum(x) + after + 7) >> 4) as u8;
    }
}

/// `h2v1_upsample` and `h2v2_upsample`: each sample twice. libjpeg uses them for planes of one or two columns.
pub(crate) fn repeat(samples: &[u8], out: &mut [u8]) {
    for (pair, sample) in out.chunks_exact_mut(2).zip(samples) {
        pair.fill(*sample);
    }
}

/// `ycc_rgb_convert`: RGB from luma and the two chroma values.
pub(crate) fn rgb(luma: u8, blue: u8, red: u8) -> [u8; 3] {
    const HALF: i32 = 1 << 15;
    let (y, cb, cr) = (i32::from(luma), i32::from(blue) - 128, i32::from(red) - 128);
    [
        y + ((91881 * cr + HALF) >> 16),
        y + ((-22554 * cb - 46802 * cr + HALF) >> 16),
        y + ((116130 * cb + HALF) >> 16),
    ]
    .map(|value| value.clamp(0, 255) as u8)
}
