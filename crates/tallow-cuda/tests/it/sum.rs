use tallow_cuda::calls::sum::{sum, table};

use crate::emulator::{Buffer, emulator};
use crate::support::{bits, in_both_orders, values};

/// Pairs of a binary tree that splits at a power of two.
fn pairs(terms: usize) -> Vec<(usize, usize)> {
    let mut pairs = Vec::new();
    let mut step = 1;
    while step < terms {
        let lefts = (0..terms - step).step_by(2 * step);
        pairs.extend(lefts.map(|left| (left, left + step)));
        step *= 2;
    }
    pairs
}

/// Sum of the terms as the tree says, from its root.
fn expected(terms: &[f32]) -> f32 {
    match terms {
        [x] => *x,
        terms => {
            let (left, right) = terms.split_at(terms.len().next_power_of_two() / 2);
            expected(left) + expected(right)
        }
    }
}

#[test]
fn terms_are_added_in_the_order_of_the_pairs() {
    let Some(e) = emulator() else { return };
    for terms in 1..=9 {
        // Around the threads of a block, and none.
        for len in [0, 1, 255, 256, 257, 3000] {
            // Over many magnitudes, so that the bits show the order.
            let term = |t: usize| -> Vec<f32> {
                let scale = 2f32.powi(t as i32 * 5 % 24);
                values(len, t as u64).iter().map(|x| scale * x).collect()
            };
            let all: Vec<Vec<f32>> = (0..terms).map(term).collect();
            let found = in_both_orders(|backwards| {
                let mut memory = Buffer::floats(&all.concat());
                let words = table(&pairs(terms));
                let mut words = Buffer::table(&words);
                let count = terms as u32 - 1;
                let call = sum(memory.address(), words.address(), count, len as u32);
                e.run(&[call], backwards);
                words.read();
                bits(&memory.read()[..len])
            });
            let sums = (0..len).map(|i| {
                let terms: Vec<f32> = all.iter().map(|term| term[i]).collect();
                expected(&terms)
            });
            assert_eq!(found, bits(&sums.collect::<Vec<f32>>()), "{terms}, {len}");
        }
    }
}

/// The contribution of a process that has none.
#[test]
fn negative_zero_changes_nothing() {
    let Some(e) = emulator() else { return };
    for x in [0.0f32, -0.0, 1.5, f32::MIN_POSITIVE / 2.0] {
        for place in 0..3 {
            let mut terms = [-0.0; 3];
            terms[place] = x;
            let mut memory = Buffer::floats(&terms);
            let mut words = Buffer::table(&table(&pairs(3)));
            let call = sum(memory.address(), words.address(), 2, 1);
            e.run(&[call], false);
            assert_eq!(memory.read()[0].to_bits(), x.to_bits(), "{x} at {place}");
        }
    }
}
