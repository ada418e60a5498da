//! Subsets, splits, folds and filters.

use std::sync::Arc;

use proptest::prelude::*;
use tallow_datasets::{
    Dataset, Error, ImageSet, Sizes, Split, Subset, class_filter, k_fold, sort_by_class,
    stratified_split, take, take_stratified,
};

/// One-pixel images, numbered, with the given labels of `classes` classes.
fn set(labels: Vec<u32>, classes: u32) -> Arc<dyn Dataset> {
    let pixels = (0..labels.len()).map(|i| i as u8).collect();
    let names = (0..classes).map(|c| format!("class {c}")).collect();
    Arc::new(
        ImageSet::from_parts(
            "toy",
            Split::Train,
            "toy (made up)",
            names,
            (1, 1, 1),
            pixels,
            labels,
        )
        .unwrap(),
    )
}

/// 200 samples of which class 0 has 100, class 1 has 60, class 2 has 37, class 3 has 3.
fn uneven() -> Arc<dyn Dataset> {
    let class = |i: usize| match i * 77 % 200 {
        0..100 => 0,
        100..160 => 1,
        160..197 => 2,
        _ => 3,
    };
    set((0..200).map(class).collect(), 4)
}

fn pixels(subset: &dyn Dataset) -> Vec<u8> {
    (0..subset.len())
        .map(|i| subset.image(i, &mut Vec::new()).unwrap().data[0])
        .collect()
}

#[test]
fn sorts_by_class_and_keeps_the_order_within() {
    let sorted = sort_by_class(&set(vec![2, 0, 1, 0, 2, 1, 0], 3)).unwrap();
    assert_eq!(sorted.indices(), [1, 3, 6, 2, 5, 0, 4]);
    let labels: Vec<u32> = (0..7).map(|i| sorted.label(i).unwrap()).collect();
    assert_eq!(labels, [0, 0, 0, 1, 1, 2, 2]);
    assert_eq!(pixels(&sorted), [1, 3, 6, 2, 5, 0, 4]);
    let again = sort_by_class(&uneven()).unwrap();
    assert_eq!(counts(&again), counts(&*uneven()));
    assert_ne!(again.info().digest, uneven().info().digest);
}

fn counts(dataset: &dyn Dataset) -> Vec<usize> {
    let mut counts = vec![0; dataset.info().classes.len()];
    (0..dataset.len()).for_each(|i| counts[dataset.label(i).unwrap() as usize] += 1);
    counts
}

/// Every class has its share, rounded up or down; in all, the sizes are exact.
fn assert_stratified(part: &Subset, whole: &Arc<dyn Dataset>) {
    for (found, all) in counts(part).into_iter().zip(counts(&**whole)) {
        let share = part.len() as f64 * all as f64 / whole.len() as f64;
        assert!(
            (found as f64 - share).abs() <= 1.0,
            "{found} for {share} in {}",
            part.info().provenance
        );
    }
}

#[test]
fn a_subset_is_a_view() {
    let toy = set(vec![0, 1, 2, 1, 0], 3);
    let subset = Subset::new(toy.clone(), vec![4, 1, 1]).unwrap();
    assert_eq!((subset.len(), subset.shape()), (3, Some((1, 1, 1))));
    assert_eq!(pixels(&subset), [4, 1, 1]);
    assert_eq!(
        (0..3).map(|i| subset.label(i).unwrap()).collect::<Vec<_>>(),
        [0, 1, 1]
    );
    assert_eq!(subset.indices(), [4, 1, 1]);
    assert!(matches!(
        subset.label(3),
        Err(Error::Index { index: 3, len: 3 })
    ));
    assert!(matches!(
        subset.image(3, &mut Vec::new()),
        Err(Error::Index { index: 3, len: 3 })
    ));
    assert!(matches!(
        Subset::new(toy.clone(), vec![0, 5]),
        Err(Error::Index { index: 5, len: 5 })
    ));

    let info = subset.info();
    assert_eq!(info.name, "toy");
    assert_eq!(info.provenance, "toy (made up), subset 3 of 5");
    assert_eq!(
        (info.split, &info.classes),
        (Split::Train, &toy.info().classes)
    );
}

#[test]
fn digests_tell_subsets_apart() {
    let toy = set(vec![0, 1, 2, 1, 0], 3);
    let digest = |indices: &[usize]| {
        Subset::new(toy.clone(), indices.to_vec())
            .unwrap()
            .info()
            .digest
            .clone()
    };
    assert_eq!(digest(&[0, 1]), digest(&[0, 1]));
    assert_eq!(digest(&[0, 1]).len(), 64);
    let mut all = vec![
        toy.info().digest.clone(),
        digest(&[0, 1]),
        digest(&[1, 0]),
        digest(&[0]),
        digest(&[]),
    ];
    all.push(digest(&[0, 1, 2, 3, 4]));
    all.push(
        class_filter(&toy, &[0, 1, 2])
            .unwrap()
            .info()
            .digest
            .clone(),
    );
    all.push(
        class_filter(&toy, &[2, 1, 0])
            .unwrap()
            .info()
            .digest
            .clone(),
    );
    let other = set(vec![0, 1, 2, 1, 1], 3);
    all.push(
        Subset::new(other, vec![0, 1])
            .unwrap()
            .info()
            .digest
            .clone(),
    );
    let len = all.len();
    all.sort();
    all.dedup();
    assert_eq!(all.len(), len);
}

#[test]
fn subsets_nest() {
    let toy = set((0..50).map(|i| i % 5).collect(), 5);
    let filtered: Arc<dyn Dataset> = Arc::new(class_filter(&toy, &[3, 1]).unwrap());
    let first = take(&filtered, 5).unwrap();
    assert_eq!(pixels(&first), [1, 3, 6, 8, 11]);
    assert_eq!(counts(&first), [2, 3]);
    assert_eq!(first.info().name, "toy");
    assert_eq!(
        first.info().provenance,
        "toy (made up), classes 3 1: 20 of 50, first 5 of 20"
    );
}

#[test]
fn class_filter_relabels_in_the_order_given() {
    let toy = set(vec![0, 1, 2, 3, 2, 1, 0], 4);
    let kept = class_filter(&toy, &[2, 0]).unwrap();
    assert_eq!(pixels(&kept), [0, 2, 4, 6]);
    assert_eq!(
        (0..4).map(|i| kept.label(i).unwrap()).collect::<Vec<_>>(),
        [1, 0, 0, 1]
    );
    assert_eq!(kept.info().classes, ["class 2", "class 0"]);
    for bad in [&[][..], &[4], &[1, 1]] {
        assert!(
            matches!(class_filter(&toy, bad), Err(Error::Argument(_))),
            "{bad:?}"
        );
    }
}

#[test]
fn take_from_the_front() {
    let toy = uneven();
    assert_eq!(
        take(&toy, 10).unwrap().indices(),
        (0..10).collect::<Vec<_>>()
    );
    assert_eq!(take(&toy, 200).unwrap().len(), 200);
    assert_eq!(take(&toy, 0).unwrap().len(), 0);
    assert!(matches!(take(&toy, 201), Err(Error::Argument(_))));
}

#[test]
fn take_stratified_keeps_the_shares() {
    let toy = uneven();
    for n in [1, 7, 20, 101, 200] {
        let part = take_stratified(&toy, n, 0).unwrap();
        assert_eq!(part.len(), n);
        assert_stratified(&part, &toy);
        assert!(
            part.indices().is_sorted_by(|a, b| a < b),
            "distinct, in the order of the dataset"
        );
        assert_eq!(
            part.indices(),
            take_stratified(&toy, n, 0).unwrap().indices()
        );
    }
    assert_ne!(
        take_stratified(&toy, 20, 0).unwrap().indices(),
        take_stratified(&toy, 20, 1).unwrap().indices()
    );
    assert_eq!(
        take_stratified(&toy, 20, 0).unwrap().info().provenance,
        "toy (made up), 20 of 200, stratified, seed 0"
    );
    assert!(take_stratified(&toy, 201, 0).is_err());
    assert!(take_stratified(&toy, 0, 0).is_err());
}

#[test]
fn stratified_split_by_fractions_and_counts() {
    let toy = uneven();
    let by_fractions = stratified_split(&toy, [0.7, 0.2, 0.1], 4).unwrap();
    let by_counts = stratified_split(&toy, [140, 40, 20], 4).unwrap();
    assert_eq!(
        by_fractions.iter().map(Dataset::len).collect::<Vec<_>>(),
        [140, 40, 20]
    );
    for (a, b) in by_fractions.iter().zip(&by_counts) {
        assert_eq!(a.indices(), b.indices());
        assert_stratified(a, &toy);
    }
    // 100, 60, 37 and 3 samples: where the shares are whole they are exact.
    assert_eq!(counts(&by_fractions[0])[..2], [70, 42]);
    let mut all: Vec<usize> = by_fractions
        .iter()
        .flat_map(|part| part.indices().to_vec())
        .collect();
    all.sort_unstable();
    assert!(all.into_iter().eq(0..200), "disjoint and complete");
    assert_eq!(
        by_counts[1].info().provenance,
        "toy (made up), part 2 of 3: 40 of 200, stratified, seed 4"
    );

    // Some may be left over.
    let parts = stratified_split(&toy, vec![0.25], 4).unwrap();
    assert_eq!((parts.len(), parts[0].len()), (1, 50));
    for sizes in [Sizes::from(&[0.7, 0.2]), Sizes::from(&[0.7, 0.2][..])] {
        assert_eq!(sizes, Sizes::from([0.7, 0.2]));
    }
    for sizes in [Sizes::from(&[140, 40]), Sizes::from(&[140, 40][..])] {
        assert_eq!(sizes, Sizes::from([140usize, 40]));
    }
}

#[test]
fn splits_that_cannot_be() {
    let toy = uneven();
    let refused =
        |sizes: Sizes| matches!(stratified_split(&toy, sizes, 0), Err(Error::Argument(_)));
    assert!(refused([150, 51].into()));
    assert!(refused([200, 0].into()));
    assert!(refused([usize::MAX, 2].into()));
    assert!(refused([0.9, 0.2].into()));
    assert!(refused([1.1, -0.1].into()));
    assert!(refused([f64::NAN].into()));
    assert!(refused([0.001].into()), "no sample");
    assert!(refused(Vec::<usize>::new().into()));
}

#[test]
fn folds_cover_the_set() {
    let toy = uneven();
    for (k, stratified) in [
        (2, false),
        (3, false),
        (3, true),
        (5, true),
        (200, false),
        (7, true),
    ] {
        let folds = k_fold(&toy, k, stratified, 9).unwrap();
        assert_eq!(folds.len(), k);
        let mut all = Vec::new();
        for fold in &folds {
            assert!(fold.validation.len().abs_diff(200 / k) <= 1);
            let mut both = [fold.train.indices(), fold.validation.indices()].concat();
            both.sort_unstable();
            assert!(
                both.into_iter().eq(0..200),
                "train and validation are disjoint and complete"
            );
            all.extend_from_slice(fold.validation.indices());
            if stratified {
                assert_stratified(&fold.validation, &toy);
                assert_stratified(&fold.train, &toy);
            }
        }
        all.sort_unstable();
        assert!(all.into_iter().eq(0..200), "every sample is validated once");
    }
    let folds = k_fold(&toy, 5, true, 9).unwrap();
    assert_eq!(
        folds[1].validation.info().provenance,
        "toy (made up), fold 2 of 5, validation: 40 of 200, stratified, seed 9"
    );
    assert_eq!(
        folds[1].train.info().provenance,
        "toy (made up), fold 2 of 5, train: 160 of 200, stratified, seed 9"
    );
    for k in [0, 1, 201] {
        assert!(matches!(k_fold(&toy, k, true, 0), Err(Error::Argument(_))));
    }
}

#[test]
fn the_choice_is_random() {
    // Over many seeds every sample is chosen about equally often.
    let toy = set((0..40).map(|i| i / 20).collect(), 2);
    let mut chosen = [0u32; 40];
    for seed in 0..2000 {
        let part = take_stratified(&toy, 10, seed).unwrap();
        assert_eq!(counts(&part), [5, 5]);
        part.indices().iter().for_each(|&i| chosen[i] += 1);
    }
    // 500 expected, standard deviation 19.
    assert!(chosen.iter().all(|&n| n.abs_diff(500) < 100), "{chosen:?}");
}

proptest! {
    #[test]
    fn any_split_is_stratified(
        labels in prop::collection::vec(0u32..6, 1..120),
        cuts in prop::collection::vec(1usize..40, 1..5),
        seed in any::<u64>(),
    ) {
        let toy = set(labels, 6);
        let sizes: Vec<usize> = cuts;
        let result = stratified_split(&toy, sizes.clone(), seed);
        if sizes.iter().sum::<usize>() > toy.len() {
            prop_assert!(result.is_err());
            return Ok(());
        }
        let parts = result.unwrap();
        prop_assert_eq!(parts.iter().map(Dataset::len).collect::<Vec<_>>(), sizes);
        let mut all: Vec<usize> = Vec::new();
        for part in &parts {
            assert_stratified(part, &toy);
            all.extend(part.indices());
        }
        let len = all.len();
        all.sort_unstable();
        all.dedup();
        prop_assert_eq!(all.len(), len);
    }
}
