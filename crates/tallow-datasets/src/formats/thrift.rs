//! Bounded reading of Thrift's compact protocol, as far as page headers of Parquet need it.

/// Deepest nesting of structs and lists.
const DEEPEST: usize = 16;

/// Error of a structure that is cut off or damaged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The bytes end before the structure does.
    Short,
    /// The bytes are no such structure.
    Damaged,
}

/// Type of a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Kind(u8);

impl Kind {
    const STOP: Kind = Kind(0);

    pub fn is_integer(self) -> bool {
        matches!(self.0, 4..=6)
    }

    pub fn is_struct(self) -> bool {
        self.0 == 12
    }
}

/// Reader at a place in the bytes.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// Number of bytes read.
    pub fn position(&self) -> usize {
        self.at
    }

    fn byte(&mut self) -> Result<u8, Fault> {
        let byte = *self.bytes.get(self.at).ok_or(Fault::Short)?;
        self.at += 1;
        Ok(byte)
    }

    fn varint(&mut self) -> Result<u64, Fault> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(Fault::Damaged)
    }

    /// An integer in zigzag code.
    pub fn integer(&mut self) -> Result<i64, Fault> {
        let value = self.varint()?;
        Ok((value >> 1) as i64 ^ -((value & 1) as i64))
    }

    /// Type and number of the next field after field `last`; `None` at the end of the struct.
    pub fn field(&mut self, last: i64) -> Result<Option<(Kind, i64)>, Fault> {
        let byte = self.byte()?;
        let kind = Kind(byte & 0x0f);
        if kind == Kind::STOP {
            return Ok(None);
        }
        let id = match i64::from(byte >> 4) {
            0 => self.integer()?,
            delta => last.checked_add(delta).ok_or(Fault::Damaged)?,
        };
        Ok(Some((kind, id)))
    }

    fn skip_bytes(&mut self, count: u64) -> Result<(), Fault> {
        let left = self.bytes.len() - self.at;
        match usize::try_from(count) {
            Ok(count) if count <= left => {
                self.at += count;
                Ok(())
            }
            _ => Err(Fault::Short),
        }
    }

    /// Skips the value of a field.
    pub fn skip(&mut self, kind: Kind) -> Result<(), Fault> {
        self.skip_within(kind, DEEPEST, false)
    }

    /// Number of elements of a list of structs, which follow.
    pub fn list(&mut self, kind: Kind) -> Result<u64, Fault> {
        let byte = self.byte()?;
        if kind.0 != 9 || byte & 0x0f != 12 {
            return Err(Fault::Damaged);
        }
        match byte >> 4 {
            15 => self.varint(),
            count => Ok(count.into()),
        }
    }

    fn skip_within(&mut self, kind: Kind, depth: usize, element: bool) -> Result<(), Fault> {
        let depth = depth.checked_sub(1).ok_or(Fault::Damaged)?;
        match kind.0 {
            // The value of a boolean field is its type; in a list it has a byte.
            1 | 2 if element => self.skip_bytes(1),
            1 | 2 => Ok(()),
            3 => self.skip_bytes(1),
            4..=6 => self.varint().map(drop),
            7 => self.skip_bytes(8),
            8 => {
                let count = self.varint()?;
                self.skip_bytes(count)
            }
            9 | 10 => {
                let byte = self.byte()?;
                let count = match byte >> 4 {
                    15 => self.varint()?,
                    count => count.into(),
                };
                // Every element takes a byte at least, so that the bytes bound the loop.
                for _ in 0..count {
                    self.skip_within(Kind(byte & 0x0f), depth, true)?;
                }
                Ok(())
            }
            12 => {
                let mut last = 0;
                while let Some((kind, id)) = self.field(last)? {
                    self.skip_within(kind, depth, false)?;
                    last = id;
                }
                Ok(())
            }
            _ => Err(Fault::Damaged),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_and_fields() {
        // Field 1: integer 300; field 2: true; field 5: struct with a binary; the end.
        let bytes = [
            0x15, 0xd8, 0x04, 0x11, 0x3c, 0x18, 2, b'a', b'b', 0, 0, 0xff,
        ];
        let mut reader = Reader::new(&bytes);
        let (kind, id) = reader.field(0).unwrap().unwrap();
        assert!(kind.is_integer() && id == 1);
        assert_eq!(reader.integer(), Ok(300));
        let (kind, id) = reader.field(1).unwrap().unwrap();
        assert!(kind == Kind(1) && id == 2);
        let (kind, id) = reader.field(2).unwrap().unwrap();
        assert!(kind.is_struct() && id == 5);
        reader.skip(kind).unwrap();
        assert_eq!(reader.field(5), Ok(None));
        assert_eq!(reader.position(), 11);
    }

    #[test]
    fn damage_is_a_fault_at_once() {
        // A list of 2^60 booleans, and lists in lists without end.
        let long = [0xf1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x0f];
        assert_eq!(Reader::new(&long).skip(Kind(9)), Err(Fault::Short));
        assert_eq!(Reader::new(&[0x19; 100]).skip(Kind(9)), Err(Fault::Damaged));
        assert_eq!(Reader::new(&[0xff; 12]).integer(), Err(Fault::Damaged));
        assert_eq!(Reader::new(&[0x80]).integer(), Err(Fault::Short));
        assert_eq!(
            Reader::new(&[8, 0xff, 0x7f]).skip(Kind(8)),
            Err(Fault::Short)
        );
    }
}
