//! Gradients that are added by sums of their device, in the place of those on the host.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use candle_core::{Device, Tensor};
use tallow_train::{Communicator, DeviceSum, DeviceSums, Error, Result, Threads};

use crate::ranks::{everything, fit, rank, world};

/// Ranks on the CPU, whose tensors of `f32` a second world adds.
#[derive(Debug)]
struct OnDevice {
    ranks: Threads,
    sums: Arc<Second>,
}

#[derive(Debug)]
struct Second {
    ranks: Arc<Threads>,
    bytes: usize,
    /// Sums until one fails.
    until: usize,
    begun: AtomicUsize,
    made: Arc<AtomicUsize>,
    waits: AtomicUsize,
}

impl OnDevice {
    /// All ranks of a world with buckets of so many bytes. After `until` sums the last rank has one that fails.
    fn world(size: usize, bytes: usize, until: usize) -> Vec<Self> {
        let limit = Duration::from_secs(60);
        let pairs = Threads::world(size).into_iter().zip(Threads::world(size));
        let ranks = pairs.map(|(host, second)| {
            let is_last = host.rank() + 1 == size;
            Self {
                ranks: host.with_bucket_bytes(bytes).with_limit(limit),
                sums: Arc::new(Second {
                    ranks: Arc::new(second.with_limit(limit)),
                    bytes,
                    until: if is_last { until } else { usize::MAX },
                    begun: AtomicUsize::new(0),
                    made: Arc::default(),
                    waits: AtomicUsize::new(0),
                }),
            }
        });
        ranks.collect()
    }
}

impl Communicator for OnDevice {
    fn rank(&self) -> usize {
        self.ranks.rank()
    }

    fn world(&self) -> usize {
        self.ranks.world()
    }

    fn all_to_all(&self, parts: &[&[u8]]) -> Result<Vec<Vec<u8>>> {
        self.ranks.all_to_all(parts)
    }

    fn abort(&self, code: i32, why: &str) {
        self.ranks.abort(code, why);
    }

    fn bucket_bytes(&self) -> usize {
        self.ranks.bucket_bytes()
    }

    fn device_sums(&self, device: &Device) -> Option<Arc<dyn DeviceSums>> {
        assert!(device.is_cpu());
        Some(self.sums.clone())
    }
}

impl DeviceSums for Second {
    fn begin(&self, values: Tensor) -> Result<DeviceSum> {
        let begun = self.begun.fetch_add(1, Ordering::SeqCst);
        let fails = begun >= self.until;
        let (ranks, made) = (Arc::clone(&self.ranks), Arc::clone(&self.made));
        Ok(Box::new(move || -> Result<Tensor> {
            // In the order in which they began.
            assert_eq!(made.fetch_add(1, Ordering::SeqCst), begun);
            if fails {
                return Err(Error::Ranks("the cable is out".to_string()));
            }
            let mut own = values.to_vec1::<f32>()?;
            ranks.all_reduce_f32(&mut own)?;
            Ok(Tensor::from_vec(own, values.elem_count(), &Device::Cpu)?)
        }))
    }

    fn wait(&self) -> Result<()> {
        let made = self.made.load(Ordering::SeqCst);
        assert_eq!(made, self.begun.load(Ordering::SeqCst));
        self.waits.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }

    fn library(&self) -> String {
        "a second world".to_string()
    }

    fn bucket_bytes(&self) -> usize {
        self.bytes
    }
}

/// With dropout, mixup, clipping, sharpness-aware steps, an average, and a last batch in which some ranks have nothing.
#[test]
fn sums_on_a_device_train_the_weights_of_one_rank() {
    let (_, alone) = fit(rank(&everything(1), None), 0).unwrap();
    for size in [2, 4] {
        // A bucket for each value, buckets that end within a parameter, and one for everything.
        for bytes in [4, 100, 25 << 20] {
            let ranks = OnDevice::world(size, bytes, usize::MAX);
            let sums: Vec<Arc<Second>> = ranks.iter().map(|ranks| ranks.sums.clone()).collect();
            let runs = world(ranks, |_, ranks| {
                let trainer = rank(&everything(1), None).with_communicator(ranks);
                fit(trainer, 0).unwrap().1
            });
            for run in runs {
                assert_eq!(run.unwrap(), alone, "{size} ranks, {bytes} bytes");
            }
            for sums in sums {
                // Two passes for each of four steps.
                assert_eq!(sums.waits.load(Ordering::SeqCst), 8);
                assert!(sums.begun.load(Ordering::SeqCst) >= 8);
            }
        }
    }
}

/// With many buckets in the middle of the first backward pass, with one in the third step.
#[test]
fn a_sum_that_fails_ends_all_ranks() {
    for (bytes, until) in [(100, 9), (25 << 20, 5)] {
        let errors = world(OnDevice::world(2, bytes, until), |_, ranks| {
            let trainer = rank(&everything(1), None).with_communicator(ranks);
            fit(trainer, 0).map(drop).unwrap_err().to_string()
        });
        let errors: Vec<String> = errors.into_iter().map(|error| error.unwrap()).collect();
        assert_eq!(errors[1], "the cable is out");
        assert_eq!(errors[0], "rank 1 has ended before the others");
    }
}
