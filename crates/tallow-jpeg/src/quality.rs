//! Quality setting of a file, from its quantisation tables.

/// Luminance quantisation of ITU-T T.81 table K.1, in the zigzag order in which a file stores it.
const LUMINANCE: [u16; 64] = [
    16, 11, 12, 14, 12, 10, 16, 14, 13, 14, 18, 17, 16, 19, 24, 40, 26, 24, 22, 22, 24, 49, 35, 37,
    29, 40, 58, 51, 61, 60, 57, 51, 56, 55, 64, 72, 92, 78, 64, 68, 87, 69, 55, 56, 80, 109, 81,
    87, 95, 98, 103, 104, 103, 62, 77, 113, 121, 112, 100, 120, 92, 101, 103, 99,
];

/// Quality from 1 to 100 that the file was written with: the one whose libjpeg scaling of the standard luminance table gives the
/// table in the file. `None` when there is no such quality or no such table. Reads any JPEG, decoded here or not.
pub fn quality(jpeg: &[u8]) -> Option<u8> {
    let table = luminance_table(jpeg)?;
    (1..=100).rev().find(|&q| scaled(q) == table)
}

/// libjpeg's `jpeg_quality_scaling` applied to the standard table, baseline.
fn scaled(quality: u8) -> [u16; 64] {
    let q = quality as u32;
    let scale = if q < 50 { 5000 / q } else { 200 - 2 * q };
    LUMINANCE.map(|v| ((v as u32 * scale + 50) / 100).clamp(1, 255) as u16)
}

/// Quantisation table 0, which luminance uses in practice.
fn luminance_table(jpeg: &[u8]) -> Option<[u16; 64]> {
    let mut rest = jpeg.strip_prefix(&[0xff, 0xd8])?;
    loop {
        let [0xff, marker, high, low, after @ ..] = rest else {
            return None;
        };
        let length = u16::from_be_bytes([*high, *low]) as usize;
        let body = after.get(..length.checked_sub(2)?)?;
        match marker {
            0xdb => {
                if let Some(table) = table_zero(body) {
                    return Some(table);
                }
            }
            0xda => return None, // image data begins
            _ => {}
        }
        rest = &after[body.len()..];
    }
}

/// Table 0 among the tables of a DQT segment: each a byte of precision and number, then 64 values.
fn table_zero(mut body: &[u8]) -> Option<[u16; 64]> {
    while let [head, rest @ ..] = body {
        let wide = head >> 4 == 1;
        let size = if wide { 128 } else { 64 };
        let values = rest.get(..size)?;
        if head & 15 == 0 {
            let mut table = [0; 64];
            for (k, v) in table.iter_mut().enumerate() {
                *v = match wide {
                    true => u16::from_be_bytes([values[2 * k], values[2 * k + 1]]),
                    false => values[k] as u16,
                };
            }
            return Some(table);
        }
        body = &rest[size..];
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_table(table: &[u16; 64]) -> Vec<u8> {
        let mut jpeg = vec![0xff, 0xd8, 0xff, 0xe0, 0, 4, 1, 2, 0xff, 0xdb, 0, 67, 0];
        jpeg.extend(table.iter().map(|&v| v as u8));
        jpeg
    }

    #[test]
    fn scaled_tables_give_their_quality() {
        // First eight values Pillow 13 writes at quality 75.
        assert_eq!(scaled(75)[..8], [8, 6, 6, 7, 6, 5, 8, 7]);
        for q in [10, 50, 75, 90, 95, 100] {
            assert_eq!(quality(&with_table(&scaled(q))), Some(q));
        }
    }

    #[test]
    fn other_tables_have_none() {
        let mut table = scaled(75);
        table[5] += 1;
        assert_eq!(quality(&with_table(&table)), None);
        assert_eq!(quality(&with_table(&scaled(75))[..40]), None);
        assert_eq!(quality(b"\x89PNG"), None);
        assert_eq!(quality(&[0xff, 0xd8, 0xff, 0xdb, 0, 0]), None);
    }
}
