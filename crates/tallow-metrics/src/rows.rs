//! Checks of arguments, and functions of one row of scores.

use crate::error::{Error, Result};

/// Largest number of classes: beyond it a matrix of classes x classes counts would need more than 8 GiB.
pub(crate) const MAX_CLASSES: usize = 1 << 15;

/// Index of the largest score of a row; of equal ones the first.
///
/// NaN counts as larger than every number, so the first NaN is the maximum. This is `torch.argmax` on the CPU, and it
/// gives a network that has diverged the accuracy of a constant prediction. An empty row gives 0.
pub fn argmax(row: &[f32]) -> usize {
    let mut best = 0;
    for (i, &score) in row.iter().enumerate() {
        if above(score, row[best]) {
            best = i;
        }
    }
    best
}

/// Rank of `class` when a row is sorted by descending score, equal scores by ascending index.
/// Rank 0 is the [`argmax`].
pub(crate) fn rank(row: &[f32], class: usize) -> usize {
    let own = row[class];
    let before = row[..class]
        .iter()
        .filter(|&&score| !above(own, score))
        .count();
    let after = row[class..]
        .iter()
        .filter(|&&score| above(score, own))
        .count();
    before + after
}

fn above(a: f32, b: f32) -> bool {
    a > b || (a.is_nan() && !b.is_nan())
}

/// Checks that `scores` has one row of `classes` values per label, and that every label is a class.
pub(crate) fn check(
    what: &'static str,
    scores: &[f32],
    classes: usize,
    labels: &[u32],
) -> Result<()> {
    check_classes(classes)?;
    let expected = labels.len().saturating_mul(classes);
    if scores.len() != expected {
        return Err(Error::Length {
            what,
            labels: labels.len(),
            expected,
            found: scores.len(),
        });
    }
    check_indices("label", labels, classes)
}

pub(crate) fn check_classes(classes: usize) -> Result<()> {
    if classes == 0 || classes > MAX_CLASSES {
        return Err(Error::Classes {
            max: MAX_CLASSES,
            found: classes,
        });
    }
    Ok(())
}

pub(crate) fn check_indices(what: &'static str, indices: &[u32], classes: usize) -> Result<()> {
    match indices.iter().position(|&index| index as usize >= classes) {
        Some(position) => Err(Error::OutOfRange {
            what,
            position,
            value: indices[position],
            classes,
        }),
        None => Ok(()),
    }
}

/// Maximum, and sum of `exp(x - max)`, of a row.
pub(crate) fn log_sum_exp_parts(row: &[f32]) -> (f64, f64) {
    let max = f64::from(row.iter().copied().fold(f32::NEG_INFINITY, f32::max));
    (max, row.iter().map(|&x| (f64::from(x) - max).exp()).sum())
}

#[cfg(test)]
mod tests {
    use super::{argmax, rank};
    use proptest::prelude::*;

    #[test]
    fn first_maximum_and_nan() {
        assert_eq!(argmax(&[1.0, 3.0, 3.0]), 1);
        assert_eq!(argmax(&[f32::NAN, f32::INFINITY, f32::NAN]), 0);
        assert_eq!(argmax(&[1.0, f32::NAN, f32::INFINITY]), 1);
        assert_eq!(argmax(&[f32::NEG_INFINITY; 3]), 0);
        assert_eq!(argmax(&[0.0, -0.0]), 0);
        assert_eq!(argmax(&[-0.0, 0.0]), 0);
        assert_eq!(argmax(&[]), 0);
    }

    proptest! {
        #[test]
        fn ranks_are_the_stable_sorted_order(raw in prop::collection::vec(0u8..6, 1..12)) {
            // Few distinct scores, so that ties and several NaN are common.
            let row: Vec<f32> = raw.iter().map(|&v| if v == 5 { f32::NAN } else { f32::from(v) }).collect();
            let mut order: Vec<usize> = (0..row.len()).collect();
            let key = |i: usize| if row[i].is_nan() { f32::INFINITY } else { row[i] };
            order.sort_by(|&a, &b| key(b).total_cmp(&key(a)));
            for (place, &class) in order.iter().enumerate() {
                prop_assert_eq!(rank(&row, class), place);
            }
            prop_assert_eq!(argmax(&row), order[0]);
        }
    }
}
