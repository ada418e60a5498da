//! The built-in sample.

use std::time::Instant;

use tallow_datasets::{LoadOptions, Split, entry, load};

use crate::sets::make::*;

#[test]
fn it_has_equal_classes_and_the_stated_digest() {
    for (split, n) in [(Split::Train, 10_000), (Split::Test, 2_000)] {
        let start = Instant::now();
        let set = load("fashion-mnist-sample", split, &LoadOptions::default()).unwrap();
        eprintln!("{split} decoded in {:?}", start.elapsed());
        assert_eq!((set.len(), set.shape()), (n, Some((1, 28, 28))));
        assert_eq!(set.info().provenance, "fashion-mnist-sample (embedded)");
        let mut counts = [0; 10];
        labels(&*set).iter().for_each(|&l| counts[l as usize] += 1);
        assert_eq!(counts, [n / 10; 10]);
        let stated = entry("fashion-mnist-sample").unwrap().digest(split);
        assert_eq!(Some(set.info().digest.as_str()), stated);
    }
}

#[test]
fn it_is_the_first_images_of_each_class() {
    let Some(options) = crate::sets::real::options("fashion-mnist") else {
        return;
    };
    for (split, per_class) in [(Split::Train, 1000), (Split::Test, 200)] {
        let full = load("fashion-mnist", split, &options).unwrap();
        let sample = load("fashion-mnist-sample", split, &options).unwrap();
        let mut taken = [0; 10];
        let first = |&i: &usize| {
            let n = &mut taken[full.label(i).unwrap() as usize];
            *n += 1;
            *n <= per_class
        };
        let chosen: Vec<_> = (0..full.len()).filter(first).collect();
        assert_eq!(chosen.len(), sample.len());
        let (mut a, mut b) = (Vec::new(), Vec::new());
        for (k, &i) in chosen.iter().enumerate() {
            assert_eq!(full.label(i).unwrap(), sample.label(k).unwrap());
            assert_eq!(
                full.image(i, &mut a).unwrap().data,
                sample.image(k, &mut b).unwrap().data
            );
        }
    }
}
