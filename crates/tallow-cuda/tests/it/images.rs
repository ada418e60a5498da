use tallow_cuda::calls::images::{Set, Sizes, images};

use crate::emulator::{Buffer, emulator};
use crate::support::{bits, in_both_orders, values};

/// Rows and columns of images, and fills that cover each other, in images of another size.
#[test]
fn images_are_made_of_the_bytes_of_the_set() {
    let Some(e) = emulator() else { return };
    let (len, c, h, w) = (5usize, 3usize, 4usize, 6usize);
    let (high, wide) = (5usize, 3usize);
    let pixels: Vec<u8> = (0..len * c * h * w).map(|i| (i * 37 % 256) as u8).collect();
    let all_labels: Vec<u32> = (0..len as u32).map(|i| 10 + i).collect();
    let indices = [4i32, 0, 4, 2];
    let n = indices.len();
    // Two fills: codes -1 and -2.
    let code = |i: usize, side: usize| (i * 7 % (side + 2)) as i32 - 2;
    let rows: Vec<i32> = (0..n * high).map(|i| code(i, h)).collect();
    let columns: Vec<i32> = (0..n * wide).map(|i| code(i + 3, w)).collect();
    let codes: Vec<u32> = indices
        .iter()
        .chain(&rows)
        .chain(&columns)
        .map(|&code| code as u32)
        .collect();
    let fills = values(2 * c, 8);
    for different in [1, c] {
        let tables = values(256 * different, 9);
        let sizes = Sizes {
            batch: n as u32,
            channels: c as u32,
            from: (h as u32, w as u32),
            to: (high as u32, wide as u32),
            tables: different as u32,
        };
        assert_eq!(
            (sizes.codes(), sizes.outputs()),
            (codes.len(), n * c * high * wide)
        );
        let (found, labels) = in_both_orders(|backwards| {
            let mut bytes = Buffer::bytes(&pixels);
            let (mut known, mut codes) = (Buffer::words(&all_labels), Buffer::words(&codes));
            let (mut tables, mut fills) = (Buffer::floats(&tables), Buffer::floats(&fills));
            let (mut out, mut labels) = (Buffer::unset(sizes.outputs()), Buffer::words(&[0; 4]));
            let set = Set {
                pixels: bytes.address(),
                labels: known.address(),
                tables: tables.address(),
                fills: fills.address(),
            };
            let call = images(
                &set,
                codes.address(),
                out.address(),
                labels.address(),
                &sizes,
            );
            e.run(&[call], backwards);
            (bits(out.read()), labels.read().to_vec())
        });
        let mut expected = Vec::new();
        for (slot, &index) in indices.iter().enumerate() {
            for channel in 0..c {
                for y in 0..high {
                    for x in 0..wide {
                        let (row, column) = (rows[slot * high + y], columns[slot * wide + x]);
                        expected.push(match row.min(column) {
                            code if code < 0 => fills[(-1 - code) as usize * c + channel],
                            _ => {
                                let place = (index as usize * c + channel) * h + row as usize;
                                let byte = pixels[place * w + column as usize];
                                tables[channel % different * 256 + usize::from(byte)]
                            }
                        });
                    }
                }
            }
        }
        assert_eq!(found, bits(&expected));
        assert_eq!(labels, [14, 10, 14, 12]);
    }
}
