use candle_core::{DType, Device, Tensor};
use tallow_cuda::Numbers::F32;
use tallow_cuda::calls::dropout::{Mask, dropout};
use tallow_ops::Generator;

use crate::emulator::{Buffer, emulator};
use crate::support::{bits, flat, in_both_orders, values};

/// Key of the generator of tallow-ops with this seed.
fn key(seed: u64) -> [u32; 8] {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    bytes[8..24].copy_from_slice(b"tallow/generator");
    let word = |i: usize| u32::from_le_bytes([0, 1, 2, 3].map(|k| bytes[4 * i + k]));
    std::array::from_fn(word)
}

/// The mask is that of the CPU to the bit, from wherever the generator stands.
#[test]
fn masks_of_the_generator() {
    let Some(e) = emulator() else { return };
    for (drawn, len, p) in [
        (0usize, 1, 0.5),
        (5, 40, 0.25),
        (16, 16, 0.1),
        (31, 5000, 0.9),
    ] {
        let generator = Generator::new(1 << 40 | 77);
        generator
            .uniform(0., 1., drawn, DType::F32, &Device::Cpu)
            .unwrap();
        let x = values(len, 3);
        let tensor = Tensor::from_slice(&x, len, &Device::Cpu).unwrap();
        let expected = tallow_ops::dropout(&tensor, p, &generator).unwrap();
        let expected: Vec<f32> = flat(&expected).into_iter().map(|v| v as f32).collect();

        let mask = Mask {
            key: key(1 << 40 | 77),
            start: drawn as u64,
            threshold: ((1. - p) * 2f64.powi(32)) as u64,
            scale: (1. / (1. - p)) as f32,
        };
        let found = in_both_orders(|backwards| {
            let (mut x, mut y) = (Buffer::floats(&x), Buffer::unset(len));
            let call = dropout(F32, x.address(), y.address(), len as u32, &mask, 0);
            e.run(&[call], backwards);
            bits(y.read())
        });
        assert_eq!(found, bits(&expected), "{drawn} words before, {len} values");
    }
}

/// Beyond 2^32 blocks the second word of the counter counts.
#[test]
fn positions_far_away() {
    let Some(e) = emulator() else { return };
    let start = (1u64 << 36) + 3;
    let generator = Generator::new(5);
    generator.set_state(&tallow_ops::GeneratorState {
        seed: 5,
        word_position: start,
    });
    let x = vec![1.; 100];
    let tensor = Tensor::from_slice(&x, 100, &Device::Cpu).unwrap();
    let expected = tallow_ops::dropout(&tensor, 0.5, &generator).unwrap();
    let mask = Mask {
        key: key(5),
        start,
        threshold: 1 << 31,
        scale: 2.,
    };
    let (mut from, mut to) = (Buffer::floats(&x), Buffer::unset(100));
    let call = dropout(F32, from.address(), to.address(), 100, &mask, 0);
    e.run(&[call], false);
    let found: Vec<f64> = to.read().iter().map(|&v| f64::from(v)).collect();
    assert_eq!(found, flat(&expected));
}

/// A launch that is repeated with another number at `moved` has the mask of a start as many words behind, wherever in a block that lies.
#[test]
fn masks_that_are_moved() {
    let Some(e) = emulator() else { return };
    // 4,096 values from the start of a block are as many as the threads take at once; moved, they are in one block more.
    for len in [48, 4096] {
        let x = vec![1.; len];
        let mask = |start| Mask {
            key: key(9),
            start,
            threshold: 1 << 31,
            scale: 2.,
        };
        for moved in [0u64, 1, 9, 16, 12_345, (1 << 36) + 3] {
            let run = |start: u64, moved: Option<u64>| {
                in_both_orders(|backwards| {
                    let mut number = Buffer::table(&[moved.unwrap_or(0)]);
                    let (mut from, mut to) = (Buffer::floats(&x), Buffer::unset(len));
                    let at = moved.map_or(0, |_| number.address());
                    let (x, y) = (from.address(), to.address());
                    let call = dropout(F32, x, y, len as u32, &mask(start), at);
                    e.run(&[call], backwards);
                    bits(to.read())
                })
            };
            assert_eq!(
                run(16, Some(moved)),
                run(16 + moved, None),
                "{len}, {moved}"
            );
        }
    }
}
