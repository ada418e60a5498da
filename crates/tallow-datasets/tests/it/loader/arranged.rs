//! Draws of the transforms for images that are made elsewhere.

use tallow_datasets::{ArrangedBatch, BatchSlice, DataLoader, ImageSet};
use tallow_transforms::{Compose, TransformConfig};

use super::{bits, config, loader, random, set};

/// Images of a batch as a device makes them, as bits.
fn made(batch: &ArrangedBatch, set: &ImageSet, transform: &Compose) -> Vec<u32> {
    let (c, h, w) = (2, 4, 6);
    let n = batch.indices.len();
    let (high, wide) = (batch.rows.len() / n, batch.columns.len() / n);
    let tables = transform.tables().unwrap();
    let mut out = Vec::new();
    for (slot, &index) in batch.indices.iter().enumerate() {
        for channel in 0..c {
            for y in 0..high {
                for x in 0..wide {
                    let (row, column) =
                        (batch.rows[slot * high + y], batch.columns[slot * wide + x]);
                    let code = row.min(column);
                    let value = if code < 0 {
                        batch.fills[(-1 - code) as usize * c + channel]
                    } else {
                        let place =
                            ((index * c + channel) * h + row as usize) * w + column as usize;
                        tables[channel % tables.len()][usize::from(set.pixels()[place])]
                    };
                    out.push(value.to_bits());
                }
            }
        }
    }
    out
}

fn assert_same(loader: &DataLoader, set: &ImageSet, first: usize) {
    let transform = loader.transform();
    let arranged = loader.arranged_from(2, first).unwrap();
    let mut batches = loader.epoch_from(2, first);
    let mut count = 0;
    for found in arranged {
        let (found, batch) = (found.unwrap(), batches.next().unwrap().unwrap());
        let (_, images, labels, indices) = bits(&batch);
        assert_eq!((&found.labels, &found.indices), (&labels, &indices));
        assert_eq!(made(&found, set, transform), images);
        count += 1;
    }
    assert!(batches.next().is_none() && count > 0);
}

#[test]
fn the_batches_are_those_of_the_epoch() {
    let set = set(43);
    for workers in [0, 3] {
        let loader = loader(set.clone(), random(), config(8, workers));
        assert_same(&loader, &set, 0);
        assert_same(&loader, &set, 2);
    }
    let slice = BatchSlice {
        rank: 1,
        world: 2,
        chunks: 2,
        with_previous: false,
    };
    let part = loader(set.clone(), random(), config(8, 0)).slice(slice);
    assert_same(&part.unwrap(), &set, 0);
}

#[test]
fn other_transforms_and_sets_have_none() {
    let permuted = Compose::new(vec![
        TransformConfig::to_tensor(),
        TransformConfig::permute_pixels(1),
    ]);
    let loader = loader(set(5), permuted.unwrap(), config(2, 0));
    assert!(loader.arranged_from(0, 0).is_none());
}
