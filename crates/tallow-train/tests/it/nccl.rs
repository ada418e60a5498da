//! Ranks with a GPU each, whose gradients NCCL adds. The ranks are threads.
//!
//! Runs in a build for CUDA where there are GPUs and NCCL: `cargo test --release -p tallow-train --test it nccl --features cuda`. Otherwise each
//! test prints that it was skipped.

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use candle_core::{Device, Tensor};
use tallow_train::{
    Communicator, Error, Nccl, Threads, TrainConfig, Trainer, WithNccl, cuda_device_count,
};

use crate::common::{bytes, loaders, net_on, recipe};
use crate::ranks::world;

const LIMIT: Duration = Duration::from_secs(60);

/// Straight to standard error: what `eprintln` writes is swallowed when a test passes.
fn skip(why: &str) {
    let line = format!("SKIPPED: {why}\n");
    std::io::stderr().write_all(line.as_bytes()).unwrap();
}

/// So many GPUs, if there are and NCCL is there.
fn gpus(count: usize) -> Option<Vec<Device>> {
    let found = cuda_device_count().unwrap_or(0);
    if found < count {
        skip(&format!("{found} CUDA devices, needed are {count}"));
        return None;
    }
    let devices = (0..count).map(|i| tallow_ops::cuda_device(i).unwrap());
    let devices: Vec<Device> = devices.collect();
    let alone = Threads::world(1).remove(0);
    match WithNccl::join(Arc::new(alone), &devices[0], LIMIT) {
        Ok(_) => Some(devices),
        Err(Error::NoNccl(why)) if why.contains("was not found") => {
            skip(&why);
            None
        }
        Err(error) => panic!("{error}"),
    }
}

/// Values over many magnitudes.
fn values(rank: usize, len: usize) -> Vec<f32> {
    let value = |i: usize| {
        let scale = 2f32.powi((rank * 5 % 24) as i32);
        scale * (((i * 37 + rank * 11) % 101) as f32 / 7.0 - 6.0)
    };
    (0..len).map(value).collect()
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|x| x.to_bits()).collect()
}

/// Sums on the devices beside those on the host, several at once.
fn check_sums(ranks: &dyn Communicator, device: &Device) {
    let sums = ranks.device_sums(device).unwrap();
    assert!(sums.library().starts_with("NCCL 2."));
    let lens = [1, 7, 1000, 1 << 20, (4 << 20) + 3];
    let own = lens.map(|len| values(ranks.rank(), len));
    let begun = own.clone().map(|own| {
        let len = own.len();
        sums.begin(Tensor::from_vec(own, len, device).unwrap())
    });
    let made = std::thread::spawn(move || begun.map(|sum| (sum.unwrap())().unwrap()));
    let made = made.join().unwrap();
    sums.wait().unwrap();
    for (made, mut own) in made.into_iter().zip(own) {
        ranks.all_reduce_f32(&mut own).unwrap();
        assert_eq!(bits(&made.to_vec1::<f32>().unwrap()), bits(&own));
    }
}

#[test]
fn a_gpu_alone_sends_to_itself() {
    let Some(devices) = gpus(1) else { return };
    let alone = Threads::world(1).remove(0);
    let nccl = WithNccl::join(Arc::new(alone), &devices[0], LIMIT).unwrap();
    check_sums(&nccl, &devices[0]);
    assert!(nccl.device_sums(&Device::Cpu).is_none());
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("here");
    let nccl = Nccl::join(&file, (0, 1), &devices[0], LIMIT).unwrap();
    assert!(!file.exists());
    for word in [&b"a word"[..], b""] {
        assert_eq!(nccl.all_to_all(&[word]).unwrap(), [word]);
    }
    check_sums(&nccl, &devices[0]);
}

#[test]
fn sums_on_two_gpus_have_the_bits_of_those_on_the_host() {
    let Some(devices) = gpus(2) else { return };
    for found in world(Threads::world(2), |rank, ranks| {
        let nccl = WithNccl::join(ranks, &devices[rank], LIMIT).unwrap();
        check_sums(&nccl, &devices[rank]);
    }) {
        found.unwrap();
    }
}

#[test]
fn two_gpus_find_each_other_by_a_file() {
    let Some(devices) = gpus(2) else { return };
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("here");
    // The threads are numbered by this world.
    for found in world(Threads::world(2), |rank, _| {
        let nccl = Nccl::join(&file, (rank, 2), &devices[rank], LIMIT).unwrap();
        let parts: Vec<Vec<u8>> = (0..2).map(|to| vec![rank as u8; 3 * to]).collect();
        let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
        let received = nccl.all_to_all(&parts).unwrap();
        assert_eq!(received, [vec![0; 3 * rank], vec![1; 3 * rank]]);
        check_sums(&nccl, &devices[rank]);
    }) {
        found.unwrap();
    }
}

#[test]
fn ranks_with_the_same_gpu_are_told() {
    let Some(devices) = gpus(1) else { return };
    for found in world(Threads::world(2), |_, ranks| {
        WithNccl::join(ranks, &devices[0], LIMIT).unwrap_err()
    }) {
        let error = found.unwrap();
        assert!(matches!(error, Error::NoNccl(_)), "{error}");
        assert!(error.to_string().contains("have the same GPU"), "{error}");
    }
}

/// Weights after an epoch in two chunks.
fn train(device: &Device, ranks: Option<Arc<dyn Communicator>>) -> Vec<u8> {
    let (net, store) = net_on(device, 1);
    let (train, test) = loaders(1, 1);
    let config = TrainConfig {
        chunks: 2,
        ..recipe(1)
    };
    let mut trainer = Trainer::new(config);
    if let Some(ranks) = ranks {
        trainer = trainer.with_communicator(ranks);
    }
    trainer.fit(&net, &store, &train, Some(&test)).unwrap();
    bytes(&store, tempfile::tempdir().unwrap().path())
}

/// Through the host: on one GPU too, which two ranks share.
#[test]
fn ranks_without_nccl_train_the_weights_of_one() {
    let Some(devices) = gpus(1) else { return };
    let expected = train(&devices[0], None);
    for found in world(Threads::world(2), |_, ranks| {
        // A device with a stream of its own.
        let device = tallow_ops::cuda_device(0).unwrap();
        train(&device, Some(ranks))
    }) {
        assert!(found.unwrap() == expected);
    }
}

#[test]
fn two_gpus_train_the_weights_of_one() {
    let Some(devices) = gpus(2) else { return };
    let expected = train(&devices[0], None);
    for found in world(Threads::world(2), |rank, ranks| {
        let nccl = WithNccl::join(ranks, &devices[rank], LIMIT).unwrap();
        train(&devices[rank], Some(Arc::new(nccl)))
    }) {
        assert!(found.unwrap() == expected);
    }
}
