//! Baseline JPEG, decoded to the bit as libjpeg-turbo does.
//!
//! The standard lets decoders differ in rounding, and they do: by five grey levels here and there, and on a test set of small
//! recompressed photographs by seven right answers in ten thousand. PyTorch's world decodes with libjpeg-turbo, so figures are
//! comparable only for its pixels: the accurate integer inverse transform (`jidctint.c`), triangular upsampling of the colour
//! planes (`jdsample.c`), conversion by tables of 16 bits (`jdcolor.c`).
//!
//! What is not baseline (progressive, arithmetic, CMYK), unusual sampling, and every damaged file is left to the `image` crate:
//! [`decode`] gives `None`.

mod huffman;

use huffman::{Bits, Huffman};

/// Row, column of each coefficient in the order of the file, as `8 * row + column`.
const ZIGZAG: [usize; 64] = [
    0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4, 5, 12, 19, 26, 33, 40, 48, 41, 34, 27, 20,
    13, 6, 7, 14, 21, 28, 35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51, 58, 59,
    52, 45, 38, 31, 39, 46, 53, 60, 61, 54, 47, 55, 62, 63,
];

/// The RGB planes of a JPEG of this height and width, in `out` (3 x H x W); `None`, and anything in `out`, when it is not of a kind
/// that is decoded here.
pub(crate) fn decode(bytes: &[u8], (height, width): (usize, usize), out: &mut [u8]) -> Option<()> {
    let mut frame = Frame::read(bytes)?;
    if (frame.height, frame.width) != (height, width) || out.len() != 3 * height * width {
        return None;
    }
    frame.scan()?;
    let size = height * width;
    if let [grey] = &frame.components[..] {
        for y in 0..height {
            let row = &grey.samples[y * grey.stride..][..width];
            for plane in 0..3 {
                out[plane * size + y * width..][..width].copy_from_slice(row);
            }
        }
        return Some(());
    }
    let [luma, blue, red] = &frame.components[..] else {
        return None;
    };
    let (halved_x, halved_y) = match (luma.h, luma.v) {
        (1, 1) => (false, false),
        (2, 1) => (true, false),
        (2, 2) => (true, true),
        _ => return None,
    };
    let chroma = (height.div_ceil(luma.v), width.div_ceil(luma.h));
    // Narrower planes are not interpolated.
    if halved_x && chroma.1 <= 2 {
        return None;
    }
    let mut rows = [vec![0; 2 * chroma.1], vec![0; 2 * chroma.1]];
    for y in 0..height {
        for (component, row) in [blue, red].into_iter().zip(&mut rows) {
            let line = |y: usize| &component.samples[y * component.stride..][..chroma.1];
            match (halved_x, halved_y) {
                (true, true) => {
                    let near = y / 2;
                    let far = if y % 2 == 0 {
                        near.saturating_sub(1)
                    } else {
                        (near + 1).min(chroma.0 - 1)
                    };
                    upsample_both(line(near), line(far), row);
                }
                (true, false) => upsample_across(line(y), row),
                _ => row[..width].copy_from_slice(line(y)),
            }
        }
        for x in 0..width {
            let pixel = rgb(luma.samples[y * luma.stride + x], rows[0][x], rows[1][x]);
            for (plane, value) in pixel.into_iter().enumerate() {
                out[plane * size + y * width + x] = value;
            }
        }
    }
    Some(())
}

/// Height and width of a JPEG that may be decoded here.
pub(crate) fn size(bytes: &[u8]) -> Option<(usize, usize)> {
    let frame = Frame::read(bytes)?;
    Some((frame.height, frame.width))
}

/// What a file says before its image data, and where that is.
struct Frame<'a> {
    height: usize,
    width: usize,
    components: Vec<Component>,
    /// Dc and ac tables, by number.
    huffman: [[Option<Huffman>; 4]; 2],
    /// Units between restart markers; 0 when there are none.
    restart: usize,
    data: &'a [u8],
}

struct Component {
    id: u8,
    /// Blocks of it a unit, across and down.
    h: usize,
    v: usize,
    quantisation: [u16; 64],
    dc: usize,
    ac: usize,
    /// Rows of whole blocks, `stride` apart.
    samples: Vec<u8>,
    stride: usize,
    /// The last dc coefficient.
    last: i32,
}

impl<'a> Frame<'a> {
    fn read(bytes: &'a [u8]) -> Option<Self> {
        let mut rest = bytes.strip_prefix(&[0xff, 0xd8])?;
        let mut quantisation: [Option<[u16; 64]>; 4] = [None; 4];
        let mut frame = Frame {
            height: 0,
            width: 0,
            components: Vec::new(),
            huffman: Default::default(),
            restart: 0,
            data: &[],
        };
        let mut numbers = Vec::new();
        loop {
            let [0xff, marker, high, low, after @ ..] = rest else {
                return None;
            };
            let length = usize::from(u16::from_be_bytes([*high, *low])).checked_sub(2)?;
            let (body, after) = after.split_at_checked(length)?;
            rest = after;
            match marker {
                0xdb => quantisation_tables(body, &mut quantisation)?,
                0xc4 => frame.huffman_tables(body)?,
                0xdd => frame.restart = usize::from(u16::from_be_bytes(*body.first_chunk()?)),
                // Baseline and extended sequential, of 8 bits.
                0xc0 | 0xc1 => numbers = frame.start(body)?,
                0xc2..=0xcf => return None,
                // Adobe's marker: a last byte other than 1 says that the three components are no YCbCr.
                0xee if body.starts_with(b"Adobe") && body.get(11) != Some(&1) => return None,
                0xda => {
                    for (component, number) in frame.components.iter_mut().zip(numbers) {
                        component.quantisation = (*quantisation.get(usize::from(number))?)?;
                    }
                    frame.data = rest;
                    return frame.scan_header(body);
                }
                _ => {}
            }
        }
    }

    /// The frame header; gives the components' quantisation tables by number.
    fn start(&mut self, body: &[u8]) -> Option<Vec<u8>> {
        let [8, h1, h0, w1, w0, count, parts @ ..] = body else {
            return None;
        };
        self.height = usize::from(u16::from_be_bytes([*h1, *h0]));
        self.width = usize::from(u16::from_be_bytes([*w1, *w0]));
        let parts: Vec<&[u8]> = parts.chunks_exact(3).collect();
        if self.height * self.width == 0
            || parts.len() != usize::from(*count)
            || !self.components.is_empty()
        {
            return None;
        }
        let sampling = |part: &[u8]| (usize::from(part[1] >> 4), usize::from(part[1] & 15));
        let (unit_h, unit_v) = match parts[..] {
            // A single component has one block a unit, whatever it says.
            [_] => (1, 1),
            [luma, blue, red] if sampling(blue) == (1, 1) && sampling(red) == (1, 1) => {
                sampling(luma)
            }
            _ => return None,
        };
        if !matches!((unit_h, unit_v), (1 | 2, 1 | 2)) {
            return None;
        }
        let across = self.width.div_ceil(8 * unit_h);
        for (i, part) in parts.iter().enumerate() {
            let (h, v) = if i == 0 { (unit_h, unit_v) } else { (1, 1) };
            self.components.push(Component {
                id: part[0],
                h,
                v,
                quantisation: [0; 64],
                dc: 0,
                ac: 0,
                samples: Vec::new(),
                stride: 8 * across * h,
                last: 0,
            });
        }
        Some(parts.iter().map(|part| part[2]).collect())
    }

    fn scan_header(mut self, body: &[u8]) -> Option<Self> {
        let (count, parts) = body.split_first()?;
        let count = usize::from(*count);
        // All components in one scan, all coefficients at once.
        if count == 0
            || count != self.components.len()
            || parts.get(2 * count..) != Some(&[0, 63, 0])
        {
            return None;
        }
        for (component, part) in self.components.iter_mut().zip(parts.chunks_exact(2)) {
            (component.dc, component.ac) = (usize::from(part[1] >> 4), usize::from(part[1] & 15));
            if component.id != part[0] || component.dc > 3 || component.ac > 3 {
                return None;
            }
        }
        Some(self)
    }

    fn huffman_tables(&mut self, mut body: &[u8]) -> Option<()> {
        while let [head, rest @ ..] = body {
            let (counts, rest) = rest.split_first_chunk::<16>()?;
            let total = counts.iter().map(|n| usize::from(*n)).sum();
            let (symbols, rest) = rest.split_at_checked(total)?;
            let table = self.huffman.get_mut(usize::from(head >> 4))?;
            *table.get_mut(usize::from(head & 15))? = Some(Huffman::new(counts, symbols)?);
            body = rest;
        }
        Some(())
    }

    /// Decodes all blocks into the components' samples.
    fn scan(&mut self) -> Option<()> {
        let mut bits = Bits::new(self.data);
        let (unit_h, unit_v) = (self.components[0].h, self.components[0].v);
        let across = self.width.div_ceil(8 * unit_h);
        let down = self.height.div_ceil(8 * unit_v);
        let units = across * down;
        for component in &mut self.components {
            let rows = 8 * down * component.v;
            component.samples = vec![0; component.stride * rows];
        }
        for unit in 0..units {
            if self.restart > 0 && unit > 0 && unit % self.restart == 0 {
                bits.restart()?;
                self.components.iter_mut().for_each(|c| c.last = 0);
            }
            for component in &mut self.components {
                let dc = self.huffman[0][component.dc].as_ref()?;
                let ac = self.huffman[1][component.ac].as_ref()?;
                for block in 0..component.h * component.v {
                    let coefficients = component.block(&mut bits, dc, ac)?;
                    let x = 8 * (unit % across * component.h + block % component.h);
                    let y = 8 * (unit / across * component.v + block / component.h);
                    let at = y * component.stride + x;
                    inverse_transform(
                        &coefficients,
                        &mut component.samples[at..],
                        component.stride,
                    );
                }
            }
        }
        bits.whole()
    }
}

impl Component {
    /// The dequantised coefficients of the next block, row by row.
    fn block(&mut self, bits: &mut Bits, dc: &Huffman, ac: &Huffman) -> Option<[i32; 64]> {
        let mut coefficients = [0; 64];
        let size = dc.symbol(bits)?;
        self.last = self.last.wrapping_add(bits.signed(size)?);
        let dequantised = |value: i32, k: usize| {
            // A sound file stays far within; a made-up one must not overflow the transform.
            value
                .saturating_mul(self.quantisation[k].into())
                .clamp(-32768, 32767)
        };
        coefficients[0] = dequantised(self.last, 0);
        let mut k = 1;
        while k < 64 {
            let symbol = ac.symbol(bits)?;
            match (usize::from(symbol >> 4), symbol & 15) {
                (15, 0) => k += 16,
                (_, 0) => break,
                (zeros, size) => {
                    k += zeros;
                    let at = *ZIGZAG.get(k)?;
                    let value = bits.signed(size)?;
                    coefficients[at] = dequantised(value, k);
                    k += 1;
                }
            }
        }
        Some(coefficients)
    }
}

fn quantisation_tables(mut body: &[u8], tables: &mut [Option<[u16; 64]>; 4]) -> Option<()> {
    while let [head, rest @ ..] = body {
        let wide = usize::from(head >> 4 != 0);
        let (values, rest) = rest.split_at_checked(64 << wide)?;
        let mut table = [0; 64];
        for (value, bytes) in table.iter_mut().zip(values.chunks_exact(1 << wide)) {
            *value = bytes
                .iter()
                .fold(0, |sum, byte| sum << 8 | u16::from(*byte));
        }
        *tables.get_mut(usize::from(head & 15))? = Some(table);
        body = rest;
    }
    Some(())
}

/// `jpeg_idct_islow`: Loeffler, Ligtenberg and Moschytz 1989 in integers, columns first. Writes 8 rows of 8 samples.
fn inverse_transform(coefficients: &[i32; 64], samples: &mut [u8], stride: usize) {
    let mut work = [0i64; 64];
    for x in 0..8 {
        let column = butterfly(|y| coefficients[8 * y + x].into());
        for (y, value) in column.into_iter().enumerate() {
            work[8 * y + x] = descale(value, 11);
        }
    }
    for y in 0..8 {
        let row = butterfly(|x| work[8 * y + x]);
        for (x, value) in row.into_iter().enumerate() {
            samples[y * stride + x] = (descale(value, 18) + 128).clamp(0, 255) as u8;
        }
    }
}

fn descale(value: i64, bits: u32) -> i64 {
    (value + (1 << (bits - 1))) >> bits
}

/// Eight values from eight coefficients, times 2^13; the constants are cosines and their sums times 2^13.
fn butterfly(c: impl Fn(usize) -> i64) -> [i64; 8] {
    let z = (c(2) + c(6)) * 4433;
    let (even2, even3) = (z - c(6) * 15137, z + c(2) * 6270);
    let (even0, even1) = ((c(0) + c(4)) << 13, (c(0) - c(4)) << 13);
    let even = [even0 + even3, even1 + even2, even1 - even2, even0 - even3];

    let (t0, t1, t2, t3) = (c(7), c(5), c(3), c(1));
    let z5 = (t0 + t2 + t1 + t3) * 9633;
    let (z1, z2) = ((t0 + t3) * -7373, (t1 + t2) * -20995);
    let (z3, z4) = ((t0 + t2) * -16069 + z5, (t1 + t3) * -3196 + z5);
    let odd = [
        t3 * 12299 + z1 + z4,
        t2 * 25172 + z2 + z3,
        t1 * 16819 + z2 + z4,
        t0 * 2446 + z1 + z3,
    ];
    let mut out = [0; 8];
    for i in 0..4 {
        out[i] = even[i] + odd[i];
        out[7 - i] = even[i] - odd[i];
    }
    out
}

/// `h2v1_fancy_upsample`: each sample twice, a quarter of the way towards its neighbour.
fn upsample_across(samples: &[u8], out: &mut [u8]) {
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
fn upsample_both(near: &[u8], far: &[u8], out: &mut [u8]) {
    let last = near.len() - 1;
    let sum = |x: usize| 3 * u32::from(near[x]) + u32::from(far[x]);
    for x in 0..=last {
        let (before, after) = (sum(x.saturating_sub(1)), sum((x + 1).min(last)));
        // At the ends the neighbour is the sample itself, which is what libjpeg computes there.
        out[2 * x] = ((3 * sum(x) + before + 8) >> 4) as u8;
        out[2 * x + 1] = ((3 * sum(x) + after + 7) >> 4) as u8;
    }
}

/// `ycc_rgb_convert`.
fn rgb(luma: u8, blue: u8, red: u8) -> [u8; 3] {
    const HALF: i32 = 1 << 15;
    let (y, cb, cr) = (i32::from(luma), i32::from(blue) - 128, i32::from(red) - 128);
    [
        y + ((91881 * cr + HALF) >> 16),
        y + ((-22554 * cb - 46802 * cr + HALF) >> 16),
        y + ((116130 * cb + HALF) >> 16),
    ]
    .map(|value| value.clamp(0, 255) as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Files that Pillow wrote, each before the planes that Pillow decodes it to; see `make_jpeg.py`.
    #[test]
    fn pixels_are_those_of_libjpeg() {
        let mut rest = &include_bytes!("../../tests/fixtures/jpeg.bin")[..];
        let mut number = || {
            let (bytes, after) = rest.split_first_chunk::<4>().unwrap();
            rest = after;
            u32::from_le_bytes(*bytes) as usize
        };
        let mut files = Vec::new();
        for _ in 0..number() {
            files.push([number(), number(), number()]);
        }
        assert_eq!(files.len(), 8);
        for [height, width, length] in files {
            let (jpeg, after) = rest.split_at(length);
            let (planes, after) = after.split_at(3 * height * width);
            rest = after;
            let mut out = vec![0; planes.len()];
            assert_eq!(size(jpeg), Some((height, width)));
            decode(jpeg, (height, width), &mut out).unwrap();
            assert!(out == planes, "{height} x {width}");
            assert_eq!(decode(jpeg, (width + 1, height), &mut out), None);
            // Cut short, or changed: no panic, and without its end no image.
            for end in 0..jpeg.len() - 16 {
                assert_eq!(
                    decode(&jpeg[..end], (height, width), &mut out),
                    None,
                    "{end}"
                );
            }
            for at in 0..jpeg.len() {
                let mut changed = jpeg.to_vec();
                changed[at] ^= [0xff, 0x01, 0x80][at % 3];
                let _ = decode(&changed, (height, width), &mut out);
            }
        }
        assert!(rest.is_empty());
    }
}
