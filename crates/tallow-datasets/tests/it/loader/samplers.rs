//! Custom samplers.

use std::sync::Arc;

use tallow_datasets::{Error, LoaderConfig, Sampler};

use crate::loader::{bits, config, loader, plain, random, set};

/// The given indices in every epoch, announced as `len`.
#[derive(Debug)]
struct Fixed {
    indices: Vec<usize>,
    len: usize,
}

fn fixed(indices: &[usize], len: usize) -> Arc<dyn Sampler> {
    let indices = indices.to_vec();
    Arc::new(Fixed { indices, len })
}

impl Sampler for Fixed {
    fn len(&self) -> usize {
        self.len
    }
    fn indices(&self, _: u64) -> Vec<usize> {
        self.indices.clone()
    }
}

#[test]
fn indices_may_repeat_and_be_left_out() {
    let order = [4, 4, 0, 19, 4];
    for workers in [0, 2] {
        let loader =
            loader(set(20), random(), config(2, workers)).with_sampler(fixed(&order, order.len()));
        assert_eq!((loader.num_batches(), loader.num_samples()), (3, 5));
        let batches: Vec<_> = loader.epoch(1).map(|b| bits(&b.unwrap())).collect();
        let seen: Vec<usize> = batches.iter().flat_map(|b| b.3.clone()).collect();
        assert_eq!(seen, order);
        // One sample looks the same wherever it stands in an epoch.
        assert_eq!(batches[0].1[..32], batches[0].1[32..]);
    }
}

#[test]
fn the_default_order_is_that_of_the_built_in_samplers() {
    use tallow_datasets::{RandomSampler, SequentialSampler};
    for shuffle in [true, false] {
        let config = LoaderConfig {
            shuffle,
            ..config(4, 0)
        };
        let by_default = loader(set(22), random(), config.clone());
        let named: Arc<dyn Sampler> = if shuffle {
            Arc::new(RandomSampler::new(22, config.seed))
        } else {
            Arc::new(SequentialSampler::new(22))
        };
        let by_name = by_default.clone().with_sampler(named);
        for epoch in 0..2 {
            let all = |loader: &tallow_datasets::DataLoader| -> Vec<_> {
                loader.epoch(epoch).map(|b| bits(&b.unwrap())).collect()
            };
            assert!(all(&by_default) == all(&by_name));
        }
    }
}

#[test]
fn a_sampler_that_is_wrong_does_no_harm() {
    for workers in [0, 2] {
        let made = || loader(set(6), plain(), config(2, workers));
        // Fewer indices than announced, then more.
        assert_eq!(
            made().with_sampler(fixed(&[1, 2, 3], 6)).epoch(0).count(),
            2
        );
        assert_eq!(
            made().with_sampler(fixed(&[1, 2, 3], 1)).epoch(0).count(),
            2
        );
        let beyond = made().with_sampler(fixed(&[1, 6], 2)).epoch(0).next();
        assert!(matches!(
            beyond,
            Some(Err(Error::Index { index: 6, len: 6 }))
        ));
    }
}
