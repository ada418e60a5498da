//! Step of an optimizer over all parameters.

use crate::call::{Address, Arg, Call, elements};

/// Values that a block updates.
const PIECE: u32 = 4096;

/// 64-bit words of an entry of the table.
const WORDS: usize = 12;

/// Rule and numbers of one parameter's step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Rule {
    /// Stochastic gradient descent. Without a momentum there is no state.
    Sgd {
        /// Learning rate.
        lr: f32,
        /// Sign of the gradient: -1 to maximize.
        sign: f32,
        /// Added to the gradient per parameter value.
        weight_decay: f32,
        /// Momentum.
        momentum: Option<f32>,
        /// Share of the gradient that enters the momentum.
        share: f32,
        /// Nesterov's momentum.
        nesterov: bool,
    },
    /// Adam and AdamW.
    Adam {
        /// Factor of the parameter before the step.
        keep: f32,
        /// Added to the gradient per parameter value.
        weight_decay: f32,
        /// Added to the root of the second moment.
        eps: f32,
        /// Sign of the gradient: -1 to maximize.
        sign: f32,
        /// `1 - beta1`.
        new1: f32,
        /// `beta2`.
        beta2: f32,
        /// `1 - beta2`.
        new2: f32,
        /// Learning rate with the correction of the first moment.
        step_size: f32,
        /// Root of the correction of the second moment.
        root2: f32,
        /// Whether the largest second moment is kept.
        amsgrad: bool,
    },
}

impl Rule {
    /// Name of the kernel.
    pub fn kernel(&self) -> &'static str {
        match self {
            Self::Sgd { .. } => "sgd",
            Self::Adam { .. } => "adam",
        }
    }

    /// Tensors of state.
    pub fn states(&self) -> usize {
        match self {
            Self::Sgd { momentum, .. } => usize::from(momentum.is_some()),
            Self::Adam { amsgrad, .. } => 2 + usize::from(*amsgrad),
        }
    }

    fn numbers(&self) -> [f32; 10] {
        match *self {
            Self::Sgd {
                lr,
                sign,
                weight_decay,
                momentum,
                share,
                ..
            } => {
                let momentum = momentum.unwrap_or(0.);
                [lr, sign, weight_decay, momentum, share, 0., 0., 0., 0., 0.]
            }
            Self::Adam {
                keep,
                weight_decay,
                eps,
                sign,
                new1,
                beta2,
                new2,
                step_size,
                root2,
                ..
            } => [
                keep,
                weight_decay,
                eps,
                sign,
                new1,
                beta2,
                new2,
                step_size,
                root2,
                0.,
            ],
        }
    }

    fn flags(&self) -> u32 {
        match *self {
            Self::Sgd {
                momentum, nesterov, ..
            } => u32::from(momentum.is_some()) | u32::from(nesterov) << 1,
            Self::Adam { amsgrad, .. } => u32::from(amsgrad),
        }
    }
}

/// One parameter: addresses of its values, gradient and state, which have `length` floats.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Entry {
    /// Parameter.
    pub param: Address,
    /// Gradient.
    pub grad: Address,
    /// State; 0 for tensors that the rule does not have.
    pub state: [Address; 3],
    /// Values.
    pub length: u32,
    /// Rule and numbers.
    pub rule: Rule,
}

/// Table of the entries as the kernels read it, and the number of blocks.
pub fn table(entries: &[Entry]) -> (Vec<u64>, u32) {
    let pair = |low: u32, high: u32| u64::from(low) | u64::from(high) << 32;
    let (mut words, mut first) = (Vec::with_capacity(WORDS * entries.len()), 0);
    for entry in entries {
        words.extend([entry.param, entry.grad]);
        words.extend(entry.state);
        words.push(pair(first, entry.length));
        let numbers = entry.rule.numbers().map(f32::to_bits);
        words.extend(numbers.chunks(2).map(|two| pair(two[0], two[1])));
        words.push(pair(entry.rule.flags(), 0));
        first += entry.length.div_ceil(PIECE);
    }
    (words, first)
}

/// Step of `count` entries of the rule's kind, with their table in device memory.
pub fn step(kernel: &'static str, table: Address, count: u32, blocks: u32) -> Call {
    Call {
        kernel,
        grid: (blocks, 1),
        block: 256,
        args: vec![Arg::Address(table), Arg::U32(count)],
    }
}

/// Adds 1 to each of `count` signed integers of 64 bits.
pub fn increment(counters: Address, count: u32) -> Call {
    let args = vec![Arg::Address(counters), Arg::U32(count)];
    elements("increment", count, args)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_follow_each_other() {
        let rule = Rule::Sgd {
            lr: 0.5,
            sign: 1.,
            weight_decay: 0.,
            momentum: Some(0.9),
            share: 1.,
            nesterov: true,
        };
        let entry = |length| Entry {
            param: 16,
            grad: 32,
            state: [48, 0, 0],
            length,
            rule,
        };
        let (words, blocks) = table(&[entry(1), entry(PIECE), entry(PIECE + 1), entry(3)]);
        assert_eq!((words.len(), blocks), (4 * WORDS, 5));
        let firsts: Vec<u64> = words.chunks(WORDS).map(|e| e[5] & 0xffff_ffff).collect();
        assert_eq!(firsts, [0, 1, 2, 4]);
        assert_eq!(words[5] >> 32, 1);
        assert_eq!(words[6] as u32, 0.5f32.to_bits());
        assert_eq!(words[11], 3);
    }
}
