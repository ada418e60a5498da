//! Gradients that are on their way to the other ranks during the backward pass.

use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use candle_core::backprop::GradStore;
use candle_core::{DType, Device, Tensor, TensorId, Var};
use candle_nn::ModuleT;
use tallow_datasets::Split;
use tallow_ops::{Generator, Init, ParamStore, linear, relu};
use tallow_train::{
    Clip, Communicator, CrossEntropy, EmaConfig, Error, ForwardBackward, Profile, Result,
    StepInput, StepOutput, Target, Threads, TrainConfig, TrainStep, Trainer,
};

use crate::common::{CLASSES, bytes, loader, net, recipe, textures};
use crate::ranks::{everything, fit, rank, world};

/// Ranks of a world with buckets of so many bytes.
fn with_buckets(ranks: usize, bytes: usize) -> impl Iterator<Item = Threads> {
    let world = Threads::world(ranks).into_iter();
    world.map(move |ranks| ranks.with_bucket_bytes(bytes))
}

/// A bucket for each value, buckets that end within a parameter, and one for everything.
#[test]
fn buckets_of_any_size_train_the_same_weights() {
    let (_, alone) = fit(rank(&everything(1), None), 0).unwrap();
    for size in [2, 4] {
        for bytes in [1, 100, 4 << 20] {
            let runs = world(with_buckets(size, bytes), |_, ranks| {
                let trainer = rank(&everything(1), None).with_communicator(ranks);
                fit(trainer, 0).unwrap().1
            });
            for run in runs {
                assert_eq!(run.unwrap(), alone, "{size} ranks, {bytes} bytes");
            }
        }
    }
}

/// Network whose first weight is used twice, with a layer that is left out at random, so that chunks have their gradients in different
/// orders, and a parameter that is not used.
struct Tied {
    twice: Var,
    sometimes: Var,
    head: [Var; 2],
    generator: Generator,
}

fn tied() -> (Tied, ParamStore) {
    let store = ParamStore::new(DType::F32, &Device::Cpu, 0);
    let uniform = Init::Uniform { lo: -0.1, up: 0.1 };
    let root = store.root();
    let param = |name: &str, rows: usize| root.param(name, (rows, 64), uniform).unwrap();
    let net = Tied {
        twice: param("twice", 64),
        sometimes: param("sometimes", 64),
        head: [
            param("head", CLASSES),
            root.param("bias", CLASSES, Init::Const(0.0)).unwrap(),
        ],
        generator: store.generator(),
    };
    param("unused", 3);
    (net, store)
}

impl ModuleT for Tied {
    fn forward_t(&self, x: &Tensor, train: bool) -> candle_core::Result<Tensor> {
        let layer = |x: &Tensor, weight: &Var| relu(&linear(x, weight, None)?);
        let mut x = layer(&x.flatten_from(1)?, &self.twice)?;
        if train {
            let drawn = (self.generator).uniform(0.0, 1.0, 1, DType::F32, &Device::Cpu)?;
            if drawn.to_vec1::<f32>()?[0] < 0.5 {
                x = layer(&x, &self.sometimes)?;
            }
        }
        let x = layer(&x, &self.twice)?;
        Ok(linear(&x, &self.head[0], Some(&self.head[1]))?)
    }
}

/// The networks of these tests run on the tape, so that their gradients are sent in the backward pass and not after it.
#[test]
fn a_training_step_hands_every_gradient_over() {
    let (net, net_store) = net(0);
    let (tied, tied_store) = tied();
    let models: [(&dyn ModuleT, ParamStore); 2] = [(&net, net_store), (&tied, tied_store)];
    for (model, store) in models {
        let input = StepInput {
            model,
            store: &store,
            loss: &CrossEntropy::default(),
            images: &Tensor::ones((4, 1, 8, 8), DType::F32, &Device::Cpu).unwrap(),
            target: &Target::Classes(Tensor::new(&[0u32, 1, 2, 3], &Device::Cpu).unwrap()),
            epoch: 0,
            step: 0,
        };
        let mut handed: HashSet<TensorId> = HashSet::new();
        let output = ForwardBackward.step_with(&input, &mut |variable, _| {
            assert!(handed.insert(variable.id()));
        });
        let grads = output.unwrap().grads;
        let parameters = store.parameters().into_iter();
        let expected: HashSet<TensorId> = parameters
            .filter(|(_, var)| grads.get(var).is_some())
            .map(|(_, var)| var.id())
            .collect();
        assert!(expected.len() >= 3);
        assert_eq!(handed, expected);
    }
}

#[test]
fn parameters_that_are_used_twice_sometimes_or_never_have_the_same_sums() {
    let config = TrainConfig {
        chunks: 4,
        clip: Some(Clip::Norm(0.5)),
        ema: Some(EmaConfig {
            decay: 0.9,
            ..EmaConfig::default()
        }),
        allow_unused: vec!["unused".to_string(), "sometimes".to_string()],
        ..recipe(2)
    };
    let weights = |mut trainer: Trainer| {
        let (net, store) = tied();
        let train = loader(textures(Split::Train, 99), 0, 1);
        trainer.fit(&net, &store, &train, None).unwrap();
        bytes(&store, tempfile::tempdir().unwrap().path())
    };
    let alone = weights(Trainer::new(config.clone()));
    for size in [2, 4] {
        // Both end within a parameter.
        for bytes in [36, 1000] {
            let found = world(with_buckets(size, bytes), |_, ranks| {
                weights(Trainer::new(config.clone()).with_communicator(ranks))
            });
            for found in found {
                assert!(found.unwrap() == alone, "{size} ranks, {bytes} bytes");
            }
        }
    }
}

/// Communicator that notes the names of the threads by which it is called.
#[derive(Debug)]
struct Noting {
    ranks: Threads,
    names: Arc<Mutex<HashSet<String>>>,
}

/// Name of the thread that adds gradients.
const GRADIENTS: &str = "tallow-gradients";

/// Name of the thread that calls.
fn caller() -> String {
    thread::current().name().unwrap_or_default().to_string()
}

impl Communicator for Noting {
    fn rank(&self) -> usize {
        self.ranks.rank()
    }

    fn world(&self) -> usize {
        self.ranks.world()
    }

    fn all_to_all(&self, parts: &[&[u8]]) -> Result<Vec<Vec<u8>>> {
        self.names.lock().unwrap().insert(caller());
        self.ranks.all_to_all(parts)
    }

    fn abort(&self, code: i32, why: &str) {
        self.ranks.abort(code, why);
    }

    fn bucket_bytes(&self) -> usize {
        self.ranks.bucket_bytes()
    }
}

/// One rank, and a network that fits into one bucket, need no thread.
#[test]
fn a_thread_adds_gradients_where_there_is_something_to_overlap() {
    for (size, bytes, expected) in [(2, 100, true), (2, 4 << 20, false), (1, 100, false)] {
        let names = Arc::<Mutex<HashSet<String>>>::default();
        let ranks = with_buckets(size, bytes).map(|ranks| Noting {
            ranks,
            names: Arc::clone(&names),
        });
        let runs = world(ranks, |_, ranks| {
            fit(rank(&everything(1), None).with_communicator(ranks), 0).unwrap();
        });
        assert!(runs.iter().all(std::result::Result::is_ok));
        let found = names.lock().unwrap().contains(GRADIENTS);
        assert_eq!(found, expected, "{size} ranks, {bytes} bytes");
    }
}

/// End of a backward pass before its time.
#[derive(Clone, Copy)]
enum Fault<'f> {
    Panic,
    Error,
    /// Until the three other ranks have ended, which are counted.
    Stall(&'f AtomicUsize),
}

/// Waits until three ranks have ended.
fn stall(ended: &AtomicUsize) {
    let started = Instant::now();
    while ended.load(Ordering::Relaxed) < 3 && started.elapsed() < Duration::from_secs(60) {
        thread::sleep(Duration::from_millis(5));
    }
}

/// Step whose backward pass takes `pause` for each parameter, from the last one on.
#[derive(Clone, Copy, Default)]
struct Paced<'f> {
    pause: Duration,
    /// Whether gradients are handed over as they come.
    early: bool,
    /// Fault in the middle of the second step.
    fault: Option<Fault<'f>>,
}

impl Paced<'_> {
    fn run(
        &self,
        input: &StepInput,
        ready: &mut dyn FnMut(&Tensor, &Tensor),
    ) -> Result<StepOutput> {
        let parameters = input.store.parameters();
        let mut grads = GradStore::default();
        for (place, (_, var)) in parameters.iter().enumerate().rev() {
            thread::sleep(self.pause);
            let fault = self.fault.filter(|_| input.step == 1);
            match fault.filter(|_| place == parameters.len() / 2) {
                None => {}
                Some(Fault::Panic) => panic!("on purpose"),
                Some(Fault::Error) => return Err(Error::custom("the disk is full")),
                Some(Fault::Stall(ended)) => stall(ended),
            }
            let grad = (var.ones_like()? * 1e-3)?;
            ready(var, &grad);
            grads.insert(var, grad);
        }
        Ok(StepOutput {
            loss: Tensor::new(0.5f32, &Device::Cpu)?,
            logits: Tensor::zeros((input.images.dim(0)?, CLASSES), DType::F32, &Device::Cpu)?,
            grads,
        })
    }
}

impl TrainStep for Paced<'_> {
    fn step(&mut self, input: &StepInput) -> Result<StepOutput> {
        self.run(input, &mut |_, _| {})
    }

    fn step_with(
        &mut self,
        input: &StepInput,
        ready: &mut dyn FnMut(&Tensor, &Tensor),
    ) -> Result<StepOutput> {
        match self.early {
            true => self.run(input, ready),
            false => self.step(input),
        }
    }
}

/// Values of each parameter of [`paced`], and their number.
const VALUES: usize = 250;
const PARAMETERS: usize = 8;

/// Trains two steps of two chunks for each rank by `step`; the weights and the times.
fn paced(step: Paced, ranks: Arc<dyn Communicator>) -> Result<(Vec<u8>, Profile)> {
    /// Network that the step does without.
    struct Nothing;
    impl ModuleT for Nothing {
        fn forward_t(&self, x: &Tensor, _: bool) -> candle_core::Result<Tensor> {
            Ok(x.clone())
        }
    }
    let store = ParamStore::new(DType::F32, &Device::Cpu, 0);
    for number in 0..PARAMETERS {
        let name = format!("p{number}");
        store.root().param(&name, VALUES, Init::Const(0.0)).unwrap();
    }
    let config = TrainConfig {
        chunks: ranks.world(),
        ..recipe(1)
    };
    let train = loader(textures(Split::Train, 64), 0, 0);
    let mut trainer = Trainer::new(config)
        .with_step(step)
        .with_communicator(ranks);
    trainer.fit(&Nothing, &store, &train, None)?;
    let weights = bytes(&store, tempfile::tempdir().unwrap().path());
    Ok((weights, trainer.profile().clone()))
}

/// Link that takes its time for each byte to another rank.
#[derive(Debug)]
struct Slow {
    ranks: Threads,
    per_byte: Duration,
}

impl Communicator for Slow {
    fn rank(&self) -> usize {
        self.ranks.rank()
    }

    fn world(&self) -> usize {
        self.ranks.world()
    }

    fn all_to_all(&self, parts: &[&[u8]]) -> Result<Vec<Vec<u8>>> {
        let others = parts.iter().enumerate();
        let others = others.filter(|(to, _)| *to != self.rank());
        let bytes: usize = others.map(|(_, part)| part.len()).sum();
        thread::sleep(self.per_byte * bytes as u32);
        self.ranks.all_to_all(parts)
    }

    fn abort(&self, code: i32, why: &str) {
        self.ranks.abort(code, why);
    }

    fn bucket_bytes(&self) -> usize {
        self.ranks.bucket_bytes()
    }
}

/// A backward pass of 8 times 20 ms, and as long a sum: 320 ms one after the other, about 180 ms together. Both sleep, so that a busy
/// machine makes them longer alike; the best of three tries counts.
#[test]
fn a_slow_sum_is_hidden_behind_the_backward_pass() {
    let pause = Duration::from_millis(20);
    let seconds = |early: bool| {
        let bucket = 4 * VALUES;
        let ranks = with_buckets(2, bucket).map(|ranks| Slow {
            ranks,
            // Half of the values goes to the other rank, and half of the sums.
            per_byte: pause / bucket as u32,
        });
        let step = Paced {
            pause,
            early,
            fault: None,
        };
        let found = world(ranks, |_, ranks| paced(step, ranks).unwrap());
        let found: Vec<_> = found.into_iter().map(|found| found.unwrap()).collect();
        assert!(found[0].0 == found[1].0);
        let profile = &found[0].1;
        assert_eq!(profile.steps, 2);
        (profile.backward, profile.exchange, found[0].0.clone())
    };
    let both = 2.0 * PARAMETERS as f64 * pause.as_secs_f64();
    let mut tries = Vec::new();
    for _ in 0..3 {
        let (late, early) = (seconds(false), seconds(true));
        assert!(late.2 == early.2);
        // Both are really that long.
        assert!(late.0 + late.1 >= 2.0 * both, "{} {}", late.0, late.1);
        assert!(early.0 >= both, "{}", early.0);
        let share = (early.0 + early.1) / (late.0 + late.1);
        if share < 0.8 {
            return;
        }
        tries.push(share);
    }
    panic!("shares of the time without overlap: {tries:?}");
}

/// Errors of four ranks of which the third has a fault in the middle of its second backward pass, while gradients are on their way; `None`
/// for a panic. `ended` counts the ranks that have an error.
fn errors_by(fault: Fault, ended: &AtomicUsize, limit: Duration) -> Vec<Option<String>> {
    let started = Instant::now();
    let ranks = with_buckets(4, 64).map(|ranks| ranks.with_limit(limit));
    let found = world(ranks, |number, ranks| {
        let step = Paced {
            pause: Duration::from_millis(1),
            early: true,
            fault: (number == 2).then_some(fault),
        };
        let error = paced(step, ranks).map(drop).unwrap_err().to_string();
        ended.fetch_add(1, Ordering::Relaxed);
        error
    });
    assert!(started.elapsed() < Duration::from_secs(60));
    found.into_iter().map(std::result::Result::ok).collect()
}

#[test]
fn a_panic_in_the_backward_pass_ends_all_ranks() {
    let errors = errors_by(Fault::Panic, &AtomicUsize::new(0), Duration::from_secs(60));
    let others = Some("rank 2 has panicked".to_string());
    assert_eq!(errors, [others.clone(), others.clone(), None, others]);
}

#[test]
fn an_error_in_the_backward_pass_ends_all_ranks() {
    let errors = errors_by(Fault::Error, &AtomicUsize::new(0), Duration::from_secs(60));
    let own = Some("the disk is full".to_string());
    let others = Some("rank 2 has ended before the others".to_string());
    assert_eq!(errors, [others.clone(), others.clone(), own, others]);
}

#[test]
fn a_rank_that_stalls_in_the_backward_pass_is_named_after_the_limit() {
    let ended = AtomicUsize::new(0);
    let errors = errors_by(Fault::Stall(&ended), &ended, Duration::from_secs(3));
    let named = |error: &Option<String>| {
        let error = error.as_deref().unwrap_or_default();
        error.contains("has waited for rank 2 for 3 s")
    };
    assert!(errors.iter().any(named), "{errors:?}");
    assert!(errors.iter().all(Option::is_some), "{errors:?}");
}

/// A communicator that panics in the thread of the gradients panics in the trainer.
#[test]
fn a_panic_of_the_thread_that_adds_gradients_goes_on_in_the_trainer() {
    /// Communicator whose second rank panics.
    #[derive(Debug)]
    struct Breaks(Threads);
    impl Communicator for Breaks {
        fn rank(&self) -> usize {
            self.0.rank()
        }

        fn world(&self) -> usize {
            self.0.world()
        }

        fn all_to_all(&self, parts: &[&[u8]]) -> Result<Vec<Vec<u8>>> {
            assert!(self.rank() == 0 || caller() != GRADIENTS, "on purpose");
            self.0.all_to_all(parts)
        }

        fn abort(&self, code: i32, why: &str) {
            self.0.abort(code, why);
        }

        fn bucket_bytes(&self) -> usize {
            self.0.bucket_bytes()
        }
    }
    let found = world(with_buckets(2, 64).map(Breaks), |_, ranks| {
        let step = Paced {
            early: true,
            ..Paced::default()
        };
        paced(step, ranks).map(drop).unwrap_err().to_string()
    });
    let [first, second] = &found[..] else {
        panic!("{found:?}");
    };
    assert_eq!(first.as_deref().unwrap(), "rank 1 has panicked");
    assert!(second.is_err());
}
