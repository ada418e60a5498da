//! Stratified splits and cross-validation.

use std::sync::Arc;

use super::Subset;
use crate::dataset::Dataset;
use crate::error::{Error, Result};
use crate::sampler::permutation;

/// Sizes of the parts of a split, made from an array, slice or vector of `f64` or of `usize`. Samples that they leave over are in
/// no part.
#[derive(Debug, Clone, PartialEq)]
pub enum Sizes {
    /// As shares of the whole, each above 0 and together no more than 1.
    Fractions(Vec<f64>),
    /// As numbers of samples, each above 0.
    Counts(Vec<usize>),
}

impl<const N: usize> From<[f64; N]> for Sizes {
    fn from(fractions: [f64; N]) -> Self {
        Self::Fractions(fractions.into())
    }
}

impl<const N: usize> From<[usize; N]> for Sizes {
    fn from(counts: [usize; N]) -> Self {
        Self::Counts(counts.into())
    }
}

impl From<Vec<f64>> for Sizes {
    fn from(fractions: Vec<f64>) -> Self {
        Self::Fractions(fractions)
    }
}

impl From<Vec<usize>> for Sizes {
    fn from(counts: Vec<usize>) -> Self {
        Self::Counts(counts)
    }
}

impl<const N: usize> From<&[f64; N]> for Sizes {
    fn from(fractions: &[f64; N]) -> Self {
        Self::Fractions(fractions.to_vec())
    }
}

impl<const N: usize> From<&[usize; N]> for Sizes {
    fn from(counts: &[usize; N]) -> Self {
        Self::Counts(counts.to_vec())
    }
}

impl From<&[f64]> for Sizes {
    fn from(fractions: &[f64]) -> Self {
        Self::Fractions(fractions.to_vec())
    }
}

impl From<&[usize]> for Sizes {
    fn from(counts: &[usize]) -> Self {
        Self::Counts(counts.to_vec())
    }
}

impl Sizes {
    /// Number of samples of each part of a set of `len`.
    fn resolve(&self, len: usize) -> Result<Vec<usize>> {
        let counts = match self {
            Self::Counts(counts) => counts.clone(),
            Self::Fractions(fractions) => whole_shares(fractions, len)?,
        };
        if counts.is_empty() {
            return Err(Error::Argument("a split needs at least one part".into()));
        }
        if let Some(part) = counts.iter().position(|&n| n == 0) {
            return Err(Error::Argument(format!(
                "part {} of the split of {len} samples is empty",
                part + 1
            )));
        }
        match counts.iter().try_fold(0usize, |sum, &n| sum.checked_add(n)) {
            Some(sum) if sum <= len => Ok(counts),
            _ => Err(Error::Argument(format!(
                "the parts {counts:?} are more than the {len} samples there are"
            ))),
        }
    }
}

/// Whole numbers nearest to `fractions * len` that add up to their rounded sum: the largest remainders are rounded up.
fn whole_shares(fractions: &[f64], len: usize) -> Result<Vec<usize>> {
    let sum: f64 = fractions.iter().sum();
    // The allowance is for sums such as 0.7 + 0.2 + 0.1, which is not 1 in floating point.
    if fractions.iter().any(|f| !(f.is_finite() && *f > 0.0)) || sum > 1.0 + 1e-9 {
        return Err(Error::Argument(format!(
            "the fractions {fractions:?} must each be above 0 and together no more than 1"
        )));
    }
    let shares: Vec<f64> = fractions.iter().map(|f| f * len as f64).collect();
    let mut counts: Vec<usize> = shares.iter().map(|share| share.floor() as usize).collect();
    let total = (sum.min(1.0) * len as f64).round() as usize;
    let missing = total.saturating_sub(counts.iter().sum());
    let mut parts: Vec<usize> = (0..shares.len()).collect();
    parts.sort_by(|&a, &b| shares[b].fract().total_cmp(&shares[a].fract()));
    for &part in parts.iter().cycle().take(missing) {
        counts[part] += 1;
    }
    Ok(counts)
}

/// Splits a dataset into disjoint random parts in which every class has its share: the sizes are exact, and of a class with `m` of the `N`
/// samples a part of `n` gets `n m / N`, rounded up or down. Within a part the order of the dataset is kept.
///
/// # Errors
/// [`Error::Argument`] when a part is empty or the parts are more than the dataset.
///
/// ```
/// # use std::sync::Arc;
/// # use tallow_datasets::{Dataset, ImageSet, Split, stratified_split};
/// # let classes = vec!["a".to_owned(), "b".to_owned()];
/// # let labels = (0..100).map(|i| u32::from(i % 4 == 0)).collect();
/// # let set = ImageSet::from_parts("toy", Split::Train, "made up", classes, (1, 1, 1), vec![0; 100], labels)?;
/// let set: Arc<dyn Dataset> = Arc::new(set); // 75 of class 0, 25 of class 1
/// let parts = stratified_split(&set, [0.8, 0.2], 0)?;
/// assert_eq!((parts[0].len(), parts[1].len()), (80, 20));
/// let ones = (0..20).filter(|&i| parts[1].label(i).unwrap() == 1).count();
/// assert_eq!(ones, 5);
/// # Ok::<(), tallow_datasets::Error>(())
/// ```
pub fn stratified_split(
    dataset: &Arc<dyn Dataset>,
    sizes: impl Into<Sizes>,
    seed: u64,
) -> Result<Vec<Subset>> {
    let counts = sizes.into().resolve(dataset.len())?;
    let parts = deal(&classes(&**dataset)?, &counts, seed);
    let (len, total) = (dataset.len(), counts.len());
    let subset = |(i, indices): (usize, Vec<usize>)| {
        let tag = format!(
            "part {} of {total}: {} of {len}, stratified, seed {seed}",
            i + 1,
            indices.len()
        );
        Subset::tagged(dataset.clone(), indices, &tag, None)
    };
    parts.into_iter().enumerate().map(subset).collect()
}

/// Subset of `n` random samples in which every class has its share: one part of a [`stratified_split`].
///
/// # Errors
/// [`Error::Argument`] when `n` is 0 or larger than the dataset.
pub fn take_stratified(dataset: &Arc<dyn Dataset>, n: usize, seed: u64) -> Result<Subset> {
    let counts = Sizes::Counts(vec![n]).resolve(dataset.len())?;
    let indices = deal(&classes(&**dataset)?, &counts, seed).swap_remove(0);
    let tag = format!("{n} of {}, stratified, seed {seed}", dataset.len());
    Subset::tagged(dataset.clone(), indices, &tag, None)
}

/// One round of a cross-validation.
#[derive(Clone)]
pub struct Fold {
    /// Training samples: all but those of the fold.
    pub train: Subset,
    /// Validation samples: those of the fold.
    pub validation: Subset,
}

/// Rounds of a `k`-fold cross-validation over random folds that are disjoint and cover the dataset. Sizes differ by one at
/// most; stratified folds share out every class as [`stratified_split`] does.
///
/// # Errors
/// [`Error::Argument`] unless `k` is from 2 to the number of samples.
pub fn k_fold(
    dataset: &Arc<dyn Dataset>,
    k: usize,
    stratified: bool,
    seed: u64,
) -> Result<Vec<Fold>> {
    let len = dataset.len();
    if k < 2 || k > len {
        return Err(Error::Argument(format!(
            "cannot make {k} folds of {len} samples"
        )));
    }
    let counts: Vec<usize> = (0..k)
        .map(|fold| len / k + usize::from(fold < len % k))
        .collect();
    let groups = if stratified {
        classes(&**dataset)?
    } else {
        vec![(0..len).collect()]
    };
    let folds = deal(&groups, &counts, seed);
    let mut rounds = Vec::with_capacity(k);
    for (i, validation) in folds.into_iter().enumerate() {
        let subset = |role: &str, indices: Vec<usize>| {
            let kind = if stratified { "stratified, " } else { "" };
            let tag = format!(
                "fold {} of {k}, {role}: {} of {len}, {kind}seed {seed}",
                i + 1,
                indices.len()
            );
            Subset::tagged(dataset.clone(), indices, &tag, None)
        };
        let mut kept = vec![true; len];
        validation.iter().for_each(|&index| kept[index] = false);
        let train = (0..len).filter(|&index| kept[index]).collect();
        rounds.push(Fold {
            train: subset("train", train)?,
            validation: subset("validation", validation)?,
        });
    }
    Ok(rounds)
}

/// The indices of each class, in order.
fn classes(dataset: &dyn Dataset) -> Result<Vec<Vec<usize>>> {
    let mut classes = vec![Vec::new(); dataset.info().classes.len()];
    let count = classes.len();
    for index in 0..dataset.len() {
        let label = dataset.label(index)?;
        let class = classes.get_mut(label as usize).ok_or_else(|| {
            Error::Argument(format!(
                "sample {index} has label {label}, there are {count} classes"
            ))
        })?;
        class.push(index);
    }
    Ok(classes)
}

/// Deals each group out at random to parts of the given sizes, and sorts each part.
fn deal(groups: &[Vec<usize>], counts: &[usize], seed: u64) -> Vec<Vec<usize>> {
    let sizes: Vec<usize> = groups.iter().map(Vec::len).collect();
    let shares = apportion(counts, &sizes);
    let mut parts: Vec<Vec<usize>> = counts.iter().map(|&n| Vec::with_capacity(n)).collect();
    for (g, group) in groups.iter().enumerate() {
        let order = permutation(
            group.len(),
            [seed, g as u64, 0, u64::from_le_bytes(*b"tallow.d")],
        );
        let mut order = order.into_iter().map(|i| group[i]);
        for (part, shares) in parts.iter_mut().zip(&shares) {
            part.extend(order.by_ref().take(shares[g]));
        }
    }
    parts.iter_mut().for_each(|part| part.sort_unstable());
    parts
}

/// Number of samples of each group for each part: `rows[part][group]` is `counts[part] * groups[group] / total` rounded up
/// or down (a whole quotient may also go up by one), each row adds up to its count, and no group gives more than it
/// has. The counts must not add up to more than the groups.
///
/// Everything is rounded down at first. What a row and a column then lack are the margins of a table of zeros and
/// ones, which exists since the fractions cut off are a table of numbers in `[0, 1)` with these margins (they make a
/// transport polytope, whose corners are whole). Giving each row's ones to the columns that lack most finds it: the
/// bipartite form of the Havel-Hakimi theorem.
fn apportion(counts: &[usize], groups: &[usize]) -> Vec<Vec<usize>> {
    let total: usize = groups.iter().sum();
    // A last row for what is left over makes the columns whole.
    let rest = total - counts.iter().sum::<usize>();
    let rows: Vec<usize> = counts.iter().copied().chain([rest]).collect();
    let exact = |row: usize, group: usize| {
        let product = row as u128 * group as u128;
        let total = total.max(1) as u128;
        ((product / total) as usize, product % total)
    };
    let mut table: Vec<Vec<usize>> = rows
        .iter()
        .map(|&row| groups.iter().map(|&group| exact(row, group).0).collect())
        .collect();
    let mut lacking: Vec<usize> = groups
        .iter()
        .enumerate()
        .map(|(g, &size)| size - table.iter().map(|row| row[g]).sum::<usize>())
        .collect();
    for (shares, &row) in table.iter_mut().zip(&rows) {
        let missing = row - shares.iter().sum::<usize>();
        let mut columns: Vec<usize> = (0..groups.len()).collect();
        columns.sort_by_key(|&g| std::cmp::Reverse((lacking[g], exact(row, groups[g]).1)));
        for &g in &columns[..missing] {
            shares[g] += 1;
            lacking[g] -= 1;
        }
    }
    table.truncate(counts.len());
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn apportioned_within_one(
            groups in prop::collection::vec(0usize..40, 1..12),
            cuts in prop::collection::vec(0.0f64..1.0, 1..8),
        ) {
            let total: usize = groups.iter().sum();
            let mut left = total;
            let counts: Vec<usize> = cuts.iter().map(|cut| {
                let n = (cut * left as f64) as usize;
                left -= n;
                n
            }).collect();
            let table = apportion(&counts, &groups);
            for (row, &count) in table.iter().zip(&counts) {
                prop_assert_eq!(row.iter().sum::<usize>(), count);
                for (&share, &group) in row.iter().zip(&groups) {
                    let exact = count as f64 * group as f64 / total.max(1) as f64;
                    prop_assert!((share as f64 - exact).abs() <= 1.0, "{} for {}", share, exact);
                }
            }
            for (g, &group) in groups.iter().enumerate() {
                prop_assert!(table.iter().map(|row| row[g]).sum::<usize>() <= group);
            }
        }

        #[test]
        fn fractions_become_counts(raw in prop::collection::vec(1u32..100, 1..6), len in 0usize..5000) {
            let sum: u32 = raw.iter().sum();
            let fractions: Vec<f64> = raw.iter().map(|&r| f64::from(r) / f64::from(sum)).collect();
            let counts = whole_shares(&fractions, len).unwrap();
            prop_assert_eq!(counts.iter().sum::<usize>(), len);
            for (count, fraction) in counts.iter().zip(&fractions) {
                prop_assert!((*count as f64 - fraction * len as f64).abs() < 1.0 + 1e-9);
            }
        }
    }
}
