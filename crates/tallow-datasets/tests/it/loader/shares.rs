//! Shares of an epoch: slices of its batches, and some of its batches.

use tallow_datasets::{Batch, BatchSlice, DataLoader, LoaderConfig};

use super::{bits, config, loader, plain, random, set};

fn batches(loader: &DataLoader, epoch: u64) -> Vec<Batch> {
    loader.epoch(epoch).map(|batch| batch.unwrap()).collect()
}

fn slice(rank: usize, world: usize, chunks: usize) -> BatchSlice {
    BatchSlice {
        rank,
        world,
        chunks,
        with_previous: false,
    }
}

/// 25 samples in batches of 8: the last batch has one sample, fewer than chunks.
#[test]
fn slices_of_all_ranks_are_the_batches() {
    for drop_last in [false, true] {
        let config = LoaderConfig {
            drop_last,
            ..config(8, 0)
        };
        let whole = loader(set(25), random(), config.clone());
        let expected = batches(&whole, 2);
        for (world, chunks) in [(1, 4), (2, 4), (4, 4), (3, 3)] {
            let of_rank = |rank: usize| {
                let config = LoaderConfig {
                    num_workers: rank % 2,
                    ..config.clone()
                };
                let loader = loader(set(25), random(), config);
                loader.slice(slice(rank, world, chunks)).unwrap()
            };
            let mut joined: Vec<(Vec<u32>, Vec<u32>, Vec<usize>)> =
                vec![Default::default(); expected.len()];
            for rank in 0..world {
                let loader = of_rank(rank);
                assert_eq!(loader.num_batches(), whole.num_batches());
                let found = batches(&loader, 2);
                assert_eq!(found.len(), expected.len());
                let samples: usize = found.iter().map(Batch::len).sum();
                assert_eq!(loader.num_samples(), samples);
                for (joined, batch) in joined.iter_mut().zip(&found) {
                    let (_, images, labels, indices) = bits(batch);
                    joined.0.extend(images);
                    joined.1.extend(labels);
                    joined.2.extend(indices);
                }
            }
            for (joined, batch) in joined.into_iter().zip(&expected) {
                let (_, images, labels, indices) = bits(batch);
                assert_eq!(joined, (images, labels, indices), "{world} ranks");
            }
        }
    }
}

#[test]
fn a_slice_may_begin_with_the_sample_before_it() {
    let whole = batches(&loader(set(10), plain(), config(8, 0)), 0);
    let found = loader(set(10), plain(), config(8, 0)).slice(BatchSlice {
        with_previous: true,
        ..slice(0, 2, 2)
    });
    let found = batches(&found.unwrap(), 0);
    let first = &whole[0].indices;
    assert_eq!(found[0].indices, [&first[7..], &first[..4]].concat());
    assert_eq!(found[0].images.dims(), [5, 2, 4, 6]);
    let last = &whole[1].indices;
    assert_eq!(found[1].indices, [last[1], last[0]]);
}

#[test]
fn a_slice_goes_on_in_the_middle_of_an_epoch() {
    let loader = loader(set(25), random(), config(8, 2));
    let loader = loader.slice(slice(1, 2, 4)).unwrap();
    let all: Vec<_> = batches(&loader, 1).iter().map(bits).collect();
    let rest: Vec<_> = loader
        .epoch_from(1, 2)
        .map(|batch| bits(&batch.unwrap()))
        .collect();
    assert_eq!(rest, all[2..]);
    // The first batches of the whole epoch, of which it is a slice too.
    let first = batches(&loader.first_batches(1), 0);
    assert_eq!(first.len(), 1);
    assert_eq!(first[0].indices, batches(&loader, 0)[0].indices);
}

#[test]
fn dealt_batches_are_those_of_the_epoch() {
    for (samples, drop_last) in [(50, false), (50, true), (8, false), (3, true)] {
        let config = LoaderConfig {
            drop_last,
            ..config(8, 1)
        };
        let whole = loader(set(samples), random(), config.clone());
        let expected: Vec<_> = batches(&whole, 0).iter().map(bits).collect();
        let mut found = vec![None; expected.len()];
        for rank in 0..3 {
            let dealt = loader(set(samples), random(), config.clone());
            let dealt = dealt.deal(rank, 3).unwrap();
            let own = batches(&dealt, 0);
            assert_eq!(own.len(), dealt.num_batches());
            assert_eq!(
                own.iter().map(Batch::len).sum::<usize>(),
                dealt.num_samples()
            );
            for (number, batch) in own.iter().enumerate() {
                found[rank + 3 * number] = Some(bits(batch));
            }
        }
        let found: Option<Vec<_>> = found.into_iter().collect();
        assert_eq!(found.as_ref(), Some(&expected));
    }
}

/// Only samples that are read in blocks are dealt out.
#[test]
fn chunks_leave_the_order_of_single_samples() {
    for shuffle in [false, true] {
        let config = LoaderConfig {
            shuffle,
            ..config(8, 1)
        };
        let whole = loader(set(25), random(), config);
        let in_chunks = whole.clone().for_chunks(4).unwrap();
        let of = |loader: &DataLoader| batches(loader, 1).iter().map(bits).collect::<Vec<_>>();
        assert_eq!(of(&in_chunks), of(&whole));
    }
}

#[test]
fn impossible_shares_are_refused() {
    let whole = || loader(set(22), plain(), config(4, 0));
    for (wrong, message) in [
        (slice(2, 2, 4), "rank 2 in a world of 2"),
        (slice(0, 2, 3), "3 chunks of a batch for 2 ranks"),
        (slice(0, 1, 0), "0 chunks"),
    ] {
        let error = whole().slice(wrong).unwrap_err().to_string();
        assert!(error.contains(message), "{error}");
    }
    assert!(whole().deal(3, 3).is_err());
    let sliced = whole().slice(slice(0, 2, 2)).unwrap();
    let error = sliced.deal(0, 2).unwrap_err().to_string();
    assert!(error.contains("already"), "{error}");
}
