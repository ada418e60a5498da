//! Huffman codes and the bit reader.

/// Huffman code: a table for the codes of up to nine bits, which nearly all are, and the ranges of the longer ones.
pub(crate) struct Huffman {
    /// For the next nine bits, the symbol and the length of its code; length 0 when it is longer, or none.
    short: [(u8, u8); 512],
    /// For each length, the first 16 bits that begin no code of up to that length.
    limits: [u32; 17],
    /// For each length, what is added to a code to find its symbol.
    offsets: [i32; 17],
    symbols: Vec<u8>,
}

impl Huffman {
    /// From the number of codes of each length and their symbols; `None` when there are more codes than bits allow.
    pub fn new(counts: &[u8; 16], symbols: &[u8]) -> Option<Self> {
        let mut huffman = Huffman {
            short: [(0, 0); 512],
            limits: [0; 17],
            offsets: [0; 17],
            symbols: symbols.to_vec(),
        };
        let (mut code, mut index) = (0u32, 0usize);
        for (length, count) in (1usize..).zip(counts) {
            huffman.offsets[length] = index as i32 - code as i32;
            for _ in 0..*count {
                if length <= 9 {
                    let first = (code as usize) << (9 - length);
                    let entries = huffman.short.get_mut(first..first + (1 << (9 - length)))?;
                    entries.fill((*symbols.get(index)?, length as u8));
                }
                code += 1;
                index += 1;
            }
            if code > 1 << length {
                return None;
            }
            huffman.limits[length] = code << (16 - length);
            code <<= 1;
        }
        Some(huffman)
    }

    pub fn symbol(&self, bits: &mut Bits) -> Option<u8> {
        bits.fill(16);
        let next = (bits.held >> (bits.count - 16)) as u32 & 0xffff;
        let (symbol, length) = self.short[next as usize >> 7];
        if length > 0 {
            bits.count -= u32::from(length);
            return Some(symbol);
        }
        let length = (10..=16).find(|length| next < self.limits[*length])?;
        bits.count -= length as u32;
        let index = (next >> (16 - length)) as i32 + self.offsets[length];
        self.symbols.get(usize::try_from(index).ok()?).copied()
    }
}

/// Bit reader of image data. Skips the 0 after each byte 255; at a marker, or the end, zeros follow.
pub(crate) struct Bits<'a> {
    data: &'a [u8],
    held: u64,
    count: u32,
    /// Bits that were not in the data.
    made_up: u32,
}

impl<'a> Bits<'a> {
    pub fn new(data: &'a [u8]) -> Self {
        Bits {
            data,
            held: 0,
            count: 0,
            made_up: 0,
        }
    }

    fn fill(&mut self, least: u32) {
        while self.count < least {
            let byte = match self.data {
                [0xff, 0, rest @ ..] => {
                    self.data = rest;
                    0xff
                }
                [0xff, ..] | [] => {
                    self.made_up = self.made_up.saturating_add(8);
                    0
                }
                [byte, rest @ ..] => {
                    self.data = rest;
                    *byte
                }
            };
            self.held = self.held << 8 | u64::from(byte);
            self.count += 8;
        }
    }

    /// A number of that many bits, of which those that begin with 0 are negative.
    pub fn signed(&mut self, size: u8) -> Option<i32> {
        let size = u32::from(size);
        if size > 15 {
            return None;
        }
        self.fill(size);
        self.count -= size;
        let value = (self.held >> self.count & ((1 << size) - 1)) as i32;
        let negative = size > 0 && value < 1 << (size - 1);
        Some(if negative {
            value - (1 << size) + 1
        } else {
            value
        })
    }

    /// `None` when bits were read that are not in the data: it was cut short.
    pub fn whole(&self) -> Option<()> {
        (self.made_up <= self.count).then_some(())
    }

    /// Goes on behind the next restart marker.
    pub fn restart(&mut self) -> Option<()> {
        self.whole()?;
        let [0xff, 0xd0..=0xd7, rest @ ..] = self.data else {
            return None;
        };
        *self = Bits::new(rest);
        Some(())
    }
}
