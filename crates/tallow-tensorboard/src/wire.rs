//! Formats of an event file: TFRecord framing around each event, Protocol Buffers inside.

/// Appends an integer field. As in proto3, 0 is left out.
pub fn int(out: &mut Vec<u8>, field: u32, value: i64) {
    if value != 0 {
        key(out, field, 0);
        // Negative numbers take ten bytes, as `int32` and `int64` do.
        varint(out, value as u64);
    }
}

/// Appends a field of type `double`. As in proto3, 0 is left out; -0 is not.
pub fn double(out: &mut Vec<u8>, field: u32, value: f64) {
    if value.to_bits() != 0 {
        key(out, field, 1);
        out.extend(value.to_le_bytes());
    }
}

/// Appends a field of type `float` that belongs to a `oneof`: 0 is written too.
pub fn float(out: &mut Vec<u8>, field: u32, value: f32) {
    key(out, field, 5);
    out.extend(value.to_le_bytes());
}

/// Appends a field of type `string`, `bytes` or a message.
pub fn bytes(out: &mut Vec<u8>, field: u32, value: &[u8]) {
    key(out, field, 2);
    varint(out, value.len() as u64);
    out.extend(value);
}

/// Appends a packed field of `double`s.
pub fn doubles(out: &mut Vec<u8>, field: u32, values: &[f64]) {
    if !values.is_empty() {
        let packed: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        bytes(out, field, &packed);
    }
}

fn key(out: &mut Vec<u8>, field: u32, wire_type: u32) {
    varint(out, u64::from(field << 3 | wire_type));
}

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// TFRecord: length of `data`, checksum of the length, `data`, checksum of `data`.
pub fn record(data: &[u8]) -> Vec<u8> {
    let length = (data.len() as u64).to_le_bytes();
    let mut out = Vec::with_capacity(data.len() + 16);
    out.extend(length);
    out.extend(masked_crc(&length).to_le_bytes());
    out.extend(data);
    out.extend(masked_crc(data).to_le_bytes());
    out
}

/// Masked CRC-32C of TFRecord: rotated by 15 bits plus a constant.
fn masked_crc(data: &[u8]) -> u32 {
    crc32c(data).rotate_right(15).wrapping_add(0xa282_ead8)
}

/// CRC-32C (Castagnoli), reflected, as in RFC 3720.
fn crc32c(data: &[u8]) -> u32 {
    let step = |crc: u32, &byte: &u8| TABLE[usize::from(crc as u8 ^ byte)] ^ (crc >> 8);
    !data.iter().fold(!0, step)
}

const TABLE: [u32; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = (crc >> 1) ^ (0x82f6_3b78 * (crc & 1));
            bit += 1;
        }
        table[byte] = crc;
        byte += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;

    /// Values of RFC 3720, appendix B.4, and the check value of CRC-32C.
    #[test]
    fn checksums() {
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
        assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
        assert_eq!(crc32c(&[0xff; 32]), 0x62a8_ab43);
        let rising: Vec<u8> = (0..32).collect();
        assert_eq!(crc32c(&rising), 0x46dd_794e);
        assert_eq!(crc32c(b""), 0);
    }

    /// Examples of the Protocol Buffers documentation on encoding.
    #[test]
    fn fields() {
        let mut out = Vec::new();
        int(&mut out, 1, 150);
        bytes(&mut out, 2, b"testing");
        int(&mut out, 3, 0);
        double(&mut out, 4, 0.0);
        float(&mut out, 5, 0.0);
        assert_eq!(
            out, b"\x08\x96\x01\x12\x07testing\x2d\0\0\0\0",
            "{out:02x?}"
        );
        out.clear();
        int(&mut out, 1, -2);
        assert_eq!(out, b"\x08\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01");
    }
}
