//! Headers of a file, and the decoding of its blocks.

use crate::error::{Error, Result};
use crate::huffman::{Bits, Huffman};
use crate::transform::inverse_transform;

/// Position `8 * row + column` of each coefficient in the order of the file.
const ZIGZAG: [usize; 64] = [
    0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4, 5, 12, 19, 26, 33, 40, 48, 41, 34, 27, 20,
    13, 6, 7, 14, 21, 28, 35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51, 58, 59,
    52, 45, 38, 31, 39, 46, 53, 60, 61, 54, 47, 55, 62, 63,
];

/// Component identifiers with which libjpeg takes a file without JFIF and Adobe markers for RGB.
const RGB: [u8; 3] = [b'R', b'G', b'B'];

const CUT: Error = Error::Damaged("the file ends inside a header segment");
const FRAME: Error = Error::Damaged("a wrong frame header (SOF)");
const SCAN: Error = Error::Damaged("a wrong scan header (SOS)");
const QUANTISATION: Error = Error::Damaged("a wrong or missing quantisation table (DQT)");
const HUFFMAN: Error = Error::Damaged("a wrong or missing Huffman table (DHT)");
const DATA: Error = Error::Damaged("the image data is truncated or corrupted");

/// Headers of a file, and the position of its image data.
pub(crate) struct Frame<'a> {
    pub height: usize,
    pub width: usize,
    pub components: Vec<Component>,
    /// DC and AC tables, by number.
    huffman: [[Option<Huffman>; 4]; 2],
    /// Units between restart markers; 0 when there are none.
    restart: usize,
    data: &'a [u8],
}

/// One colour component.
pub(crate) struct Component {
    id: u8,
    /// Blocks per unit across.
    pub h: usize,
    /// Blocks per unit down.
    pub v: usize,
    quantisation: [u16; 64],
    dc: usize,
    ac: usize,
    /// Rows of whole blocks, `stride` apart.
    pub samples: Vec<u8>,
    pub stride: usize,
    /// Last DC coefficient.
    last: i32,
}

impl<'a> Frame<'a> {
    /// Reads the headers up to the image data. Allocates nothing for pixels.
    pub fn read(bytes: &'a [u8]) -> Result<Self> {
        let mut rest = bytes.strip_prefix(&[0xff, 0xd8]).ok_or(Error::NotJpeg)?;
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
        let (mut jfif, mut adobe) = (false, false);
        loop {
            let [0xff, marker, high, low, after @ ..] = rest else {
                return Err(CUT);
            };
            let length = usize::from(u16::from_be_bytes([*high, *low]));
            let length = length.checked_sub(2).ok_or(CUT)?;
            let (body, after) = after.split_at_checked(length).ok_or(CUT)?;
            rest = after;
            match marker {
                0xdb => quantisation_tables(body, &mut quantisation).ok_or(QUANTISATION)?,
                0xc4 => frame.huffman_tables(body).ok_or(HUFFMAN)?,
                0xdd => {
                    let interval = body.first_chunk().ok_or(CUT)?;
                    frame.restart = usize::from(u16::from_be_bytes(*interval));
                }
                // Baseline and extended sequential, of 8 bits.
                0xc0 | 0xc1 => numbers = frame.start(body)?,
                0xc2 => return Err(Error::Unsupported("progressive")),
                0xc9 | 0xca | 0xcc => return Err(Error::Unsupported("arithmetic coding")),
                0xc3..=0xcf => return Err(Error::Unsupported("lossless or hierarchical")),
                0xe0 if body.starts_with(b"JFIF\0") => jfif = true,
                0xee if body.starts_with(b"Adobe") => {
                    if body.get(11) != Some(&1) {
                        return Err(Error::Unsupported("an Adobe colour space other than YCbCr"));
                    }
                    adobe = true;
                }
                0xda => {
                    if !jfif && !adobe && frame.components.iter().map(|c| c.id).eq(RGB) {
                        return Err(Error::Unsupported("RGB instead of YCbCr"));
                    }
                    for (component, number) in frame.components.iter_mut().zip(numbers) {
                        let table = quantisation.get(usize::from(number)).copied().flatten();
                        component.quantisation = table.ok_or(QUANTISATION)?;
                    }
                    frame.data = rest;
                    return frame.scan_header(body);
                }
                _ => {}
            }
        }
    }

    /// Reads the frame header. Returns the numbers of the components' quantisation tables.
    fn start(&mut self, body: &[u8]) -> Result<Vec<u8>> {
        let [precision, h1, h0, w1, w0, count, parts @ ..] = body else {
            return Err(FRAME);
        };
        if *precision != 8 {
            return Err(Error::Unsupported("samples of other than 8 bits"));
        }
        self.height = usize::from(u16::from_be_bytes([*h1, *h0]));
        self.width = usize::from(u16::from_be_bytes([*w1, *w0]));
        if self.height == 0 {
            return Err(Error::Unsupported("a height given after the image data"));
        }
        let parts: Vec<&[u8]> = parts.chunks_exact(3).collect();
        if self.width == 0 || parts.len() != usize::from(*count) || !self.components.is_empty() {
            return Err(FRAME);
        }
        const SAMPLING: Error =
            Error::Unsupported("chroma sampling other than 4:4:4, 4:2:2, 4:2:0");
        let sampling = |part: &[u8]| (usize::from(part[1] >> 4), usize::from(part[1] & 15));
        let (unit_h, unit_v) = match parts[..] {
            // A single component has one block per unit, whatever its factors.
            [_] => (1, 1),
            [luma, blue, red] if sampling(blue) == (1, 1) && sampling(red) == (1, 1) => {
                sampling(luma)
            }
            [_, _, _] => return Err(SAMPLING),
            _ => return Err(Error::Unsupported("other than one or three components")),
        };
        if !matches!((unit_h, unit_v), (1, 1) | (2, 1) | (2, 2)) {
            return Err(SAMPLING);
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
        Ok(parts.iter().map(|part| part[2]).collect())
    }

    fn scan_header(mut self, body: &[u8]) -> Result<Self> {
        let (count, parts) = body.split_first().ok_or(SCAN)?;
        let count = usize::from(*count);
        if self.components.is_empty() || count == 0 {
            return Err(SCAN);
        }
        // All components in one scan, all coefficients at once.
        if count != self.components.len() {
            return Err(Error::Unsupported("components in scans of their own"));
        }
        if parts.get(2 * count..) != Some(&[0, 63, 0]) {
            return Err(SCAN);
        }
        for (component, part) in self.components.iter_mut().zip(parts.chunks_exact(2)) {
            (component.dc, component.ac) = (usize::from(part[1] >> 4), usize::from(part[1] & 15));
            if component.id != part[0] || component.dc > 3 || component.ac > 3 {
                return Err(SCAN);
            }
        }
        Ok(self)
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
    pub fn scan(&mut self) -> Result<()> {
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
                bits.restart().ok_or(DATA)?;
                self.components.iter_mut().for_each(|c| c.last = 0);
            }
            for component in &mut self.components {
                let dc = self.huffman[0][component.dc].as_ref().ok_or(HUFFMAN)?;
                let ac = self.huffman[1][component.ac].as_ref().ok_or(HUFFMAN)?;
                for block in 0..component.h * component.v {
                    let coefficients = component.block(&mut bits, dc, ac).ok_or(DATA)?;
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
        bits.whole().ok_or(DATA)
    }
}

impl Component {
    /// Dequantised coefficients of the next block, row by row.
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
