//! Tests of the sum over the ranks.

use std::sync::{Condvar, Mutex};
use std::thread;
use std::time::Duration;

use tallow_ops::Init;

use super::super::communicator::Alone;
use super::super::fake_device::FakeRanks;
use super::super::threads::Threads;
use super::*;
use crate::sums::Sums;

/// Results of `work` as each rank of a world.
fn run<C: Send, R: Send>(ranks: Vec<C>, work: impl Fn(C) -> R + Sync) -> Vec<R> {
    thread::scope(|scope| {
        let work = &work;
        let threads: Vec<_> = (ranks.into_iter())
            .map(|ranks| scope.spawn(move || work(ranks)))
            .collect();
        let joined = threads.into_iter().map(|thread| thread.join().unwrap());
        joined.collect()
    })
}

/// Output of a chunk whose gradients are `value`.
fn output(store: &ParamStore, value: f64, loss: Tensor) -> StepOutput {
    let mut grads = GradStore::default();
    for (name, var) in store.parameters() {
        if name != "unused" && (name != "once" || value == 3.0) {
            let grad = (var.ones_like().unwrap() * value).unwrap();
            grads.insert(&var, grad);
        }
    }
    let logits = loss.clone();
    StepOutput {
        loss,
        logits,
        grads,
    }
}

fn reduction<'a>(
    communicator: &Arc<dyn Communicator>,
    store: &ParamStore,
    order: &'a mut Order,
    has_term: bool,
) -> Reduction<'a> {
    let own = has_term.then(|| Sums::new(store.parameters()).until_last(1.0));
    let communicator = Arc::clone(communicator);
    Reduction::new(communicator, Waiting::default(), store, order, own)
}

fn store_of(dtype: DType, names: &[&str]) -> ParamStore {
    let store = ParamStore::new(dtype, &Device::Cpu, 0);
    for name in names {
        let made = store.root().param(name, (2, 3), Init::Const(0.0));
        made.unwrap();
    }
    store
}

fn loss_of(value: f64) -> Tensor {
    Tensor::new(value, &Device::Cpu).unwrap()
}

/// The third of four ranks has no chunk. The second one has the first chunk. Each has its gradients ready in another order, and the last
/// one has none before the end. The sums are made on the host, and then on a device.
#[test]
fn every_rank_gets_the_sums_and_the_buffers_of_one_of_them() {
    let work = |ranks: Arc<dyn Communicator>, dtype: DType| {
        let rank = ranks.rank();
        let store = store_of(dtype, &["plain", "once", "unused", "other"]);
        let root = store.root();
        let mean = root.buffer("mean", 2, Init::Const(rank as f64 - 1.5));
        let mean = mean.unwrap();
        let batches = Tensor::new(100 + rank as i64, &Device::Cpu).unwrap();
        let batches = root.buffer_from("batches", &batches).unwrap();
        let mut order = Order::default();
        let mut steps = Vec::new();
        for _ in 0..2 {
            let own = (rank != 2).then(|| output(&store, rank as f64, loss_of(rank as f64)));
            let mut reduction = reduction(&ranks, &store, &mut order, own.is_some());
            let mut parameters = store.parameters();
            parameters.rotate_left(rank);
            if let Some(own) = own.as_ref().filter(|_| rank < 2) {
                for (_, var) in &parameters {
                    if let Some(grad) = own.grads.get(var) {
                        reduction.hand_over(var, grad);
                    }
                }
            }
            let buffers = store.buffers().into_iter().map(|(name, var)| {
                let value = var.as_detached_tensor().copy().unwrap();
                let value = (rank == 1).then_some(value);
                OwnBuffer { name, var, value }
            });
            let (loss, grads) = reduction.finish(own, buffers.collect()).unwrap();
            let values = |var: &Var| {
                let grad = grads.get(var)?.to_dtype(DType::F64).unwrap();
                Some(grad.flatten_all().unwrap().to_vec1::<f64>().unwrap())
            };
            let found = store.parameters().into_iter().map(|(_, var)| values(&var));
            steps.push((loss.to_scalar::<f64>().unwrap(), found.collect::<Vec<_>>()));
        }
        let mean = mean.to_dtype(DType::F64).unwrap();
        let batches = batches.to_scalar::<i64>().unwrap();
        (steps, mean.to_vec1::<f64>().unwrap(), batches)
    };
    for dtype in [DType::F32, DType::F64] {
        // One value, buckets that end within a parameter, and one for all.
        for bytes in [1, 32, 4 << 20] {
            let world = Threads::world(4).into_iter();
            let world = world.map(|ranks| ranks.with_bucket_bytes(bytes));
            let world: Vec<Threads> = world.collect();
            let host = run(world, |ranks| work(Arc::new(ranks), dtype));
            let device = run(FakeRanks::world(4, bytes), |ranks| {
                work(Arc::new(ranks), dtype)
            });
            for (steps, mean, batches) in host.into_iter().chain(device) {
                for (loss, sums) in steps {
                    assert_eq!(loss, 4.0);
                    let of = |value: f64| Some(vec![value; 6]);
                    assert_eq!(sums, [of(4.0), of(3.0), None, of(4.0)]);
                }
                assert_eq!((mean, batches), (vec![-0.5; 2], 101));
            }
        }
    }
}

/// Communicator that counts its messages.
#[derive(Debug)]
struct Counting {
    ranks: Threads,
    messages: Mutex<usize>,
    counted: Condvar,
}

impl Counting {
    /// Waits until there were so many.
    fn wait_for(&self, messages: usize) {
        let counted = self.messages.lock().unwrap();
        let limit = Duration::from_secs(60);
        let (counted, _) = self
            .counted
            .wait_timeout_while(counted, limit, |counted| *counted < messages)
            .unwrap();
        assert!(*counted >= messages, "{counted} of {messages}");
    }
}

impl Communicator for Counting {
    fn rank(&self) -> usize {
        self.ranks.rank()
    }

    fn world(&self) -> usize {
        self.ranks.world()
    }

    fn all_to_all(&self, parts: &[&[u8]]) -> Result<Vec<Vec<u8>>> {
        let received = self.ranks.all_to_all(parts)?;
        *self.messages.lock().unwrap() += 1;
        self.counted.notify_all();
        Ok(received)
    }

    fn abort(&self, code: i32, why: &str) {
        self.ranks.abort(code, why);
    }

    fn bucket_bytes(&self) -> usize {
        self.ranks.bucket_bytes()
    }
}

/// Before the last gradient is there, the sums of the others are: two messages for each of 6 values.
#[test]
fn gradients_are_added_while_others_are_missing() {
    let world = Threads::world(2).into_iter();
    let world = world.map(|ranks| ranks.with_bucket_bytes(4));
    run(world.collect(), |ranks| {
        let ranks = Arc::new(Counting {
            ranks,
            messages: Mutex::default(),
            counted: Condvar::new(),
        });
        let communicator: Arc<dyn Communicator> = ranks.clone();
        let store = store_of(DType::F32, &["first", "second", "third"]);
        let mut order = Order::default();
        let mut reduction = reduction(&communicator, &store, &mut order, true);
        let own = output(&store, 1.0, loss_of(0.5));
        for (place, (_, var)) in store.parameters().iter().enumerate().rev() {
            reduction.hand_over(var, own.grads.get(var).unwrap());
            ranks.wait_for((3 - place) * 12);
        }
        let (loss, grads) = reduction.finish(Some(own), Vec::new()).unwrap();
        assert_eq!(loss.to_scalar::<f64>().unwrap(), 1.0);
        for (_, var) in store.parameters() {
            let sum = grads.get(&var).unwrap().to_vec2::<f32>().unwrap();
            assert_eq!(sum, [[2.0; 3]; 2]);
        }
    });
}

#[test]
fn the_order_is_that_of_the_first_rank() {
    let orders = run(Threads::world(2), |ranks| {
        let handed = [[2, 0], [3, 1]][ranks.rank()];
        let mut order = Order::default();
        assert_eq!(order.sequence(4), [3, 2, 1, 0]);
        order.learn(&ranks, &handed, 4).unwrap();
        // The first one stays.
        order.learn(&ranks, &[1], 4).unwrap();
        order.sequence(4)
    });
    assert_eq!(orders, [[2, 0, 3, 1], [2, 0, 3, 1]]);
    for wrong in [&[4][..], &[1, 1]] {
        let error = Order::default().learn(&Alone, wrong, 4).unwrap_err();
        let error = error.to_string();
        assert!(
            error.contains("else than an order of parameters"),
            "{error}"
        );
    }
}

#[test]
fn a_step_that_hands_over_what_it_does_not_return_is_refused() {
    fn hand_over(reduction: &mut Reduction, var: &Var, of: &StepOutput) {
        reduction.hand_over(var, of.grads.get(var).unwrap());
    }
    let alone: Arc<dyn Communicator> = Arc::new(Alone);
    let store = store_of(DType::F32, &["weight"]);
    let (_, var) = &store.parameters()[0];
    let finish = |step: &dyn Fn(&mut Reduction, &StepOutput)| {
        let mut order = Order::default();
        let mut reduction = reduction(&alone, &store, &mut order, true);
        let last = output(&store, 1.0, loss_of(0.5));
        step(&mut reduction, &last);
        reduction.finish(Some(last), Vec::new()).map(drop)
    };
    finish(&|_, _| {}).unwrap();
    finish(&|reduction, last| hand_over(reduction, var, last)).unwrap();
    let twice = finish(&|reduction, last| {
        hand_over(reduction, var, last);
        hand_over(reduction, var, last);
    });
    let message = twice.unwrap_err().to_string();
    assert!(
        message.contains("gradient of `weight` over twice"),
        "{message}"
    );
    let foreign = output(&store, 1.0, loss_of(0.5));
    let other = finish(&|reduction, _| hand_over(reduction, var, &foreign));
    let message = other.unwrap_err().to_string();
    assert!(
        message.contains("another gradient of `weight`"),
        "{message}"
    );
}
