//! Damage to the bytes of a file.

use rand_chacha::ChaCha8Rng;
use rand_core::RngCore;

/// Number below `n`, which is at least 1.
pub(super) fn below(rng: &mut ChaCha8Rng, n: usize) -> usize {
    rng.next_u32() as usize % n
}

/// Changes, inserts, removes or moves a few bytes, more often near the beginning and the end, where the headers and tables of most formats are.
/// Or cuts the file, or copies a part of `other` into it.
pub(super) fn change(bytes: &mut Vec<u8>, other: &[u8], rng: &mut ChaCha8Rng) {
    for _ in 0..1 + below(rng, 6) {
        if bytes.is_empty() {
            return;
        }
        let length = bytes.len();
        let at = match below(rng, 3) {
            0 => below(rng, length),
            1 => length - 1 - below(rng, length.min(1500)),
            _ => below(rng, length.min(64)),
        };
        match below(rng, 12) {
            0 | 1 => bytes[at] ^= 1 << below(rng, 8),
            2 | 3 => bytes[at] = rng.next_u32() as u8,
            4 => bytes[at] = 0xff,
            5 => bytes[at] = 0,
            6 => bytes[at] = bytes[at].wrapping_add(2),
            7 => bytes.insert(at, rng.next_u32() as u8),
            8 => drop(bytes.remove(at)),
            9 => {
                let from = below(rng, length);
                let count = below(rng, 16).min(length - from.max(at));
                bytes.copy_within(from..from + count, at);
            }
            10 if below(rng, 4) == 0 => bytes.truncate(at),
            10 => {
                let number = interesting(rng).to_le_bytes();
                let number = if below(rng, 2) == 0 {
                    number
                } else {
                    interesting(rng).to_be_bytes()
                };
                let count = [1, 2, 4, 8][below(rng, 4)].min(length - at);
                bytes[at..at + count].copy_from_slice(&number[..count]);
            }
            _ if other.is_empty() => {}
            _ => {
                let from = below(rng, other.len());
                let count = below(rng, 64).min(other.len() - from);
                let until = (at + count).min(length);
                bytes.splice(at..until, other[from..from + count].iter().copied());
            }
        }
    }
}

/// Number at the edge of a type's range.
fn interesting(rng: &mut ChaCha8Rng) -> u64 {
    let edge = 1u64 << [7, 8, 15, 16, 31, 32, 62, 63][below(rng, 8)];
    edge.wrapping_add(below(rng, 3) as u64).wrapping_sub(1)
}
