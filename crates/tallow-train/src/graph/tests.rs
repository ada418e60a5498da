use std::cell::RefCell;

use candle_core::TensorId;
use candle_nn::ModuleT;
use tallow_ops::{BatchNormConfig, Init, batch_norm_eval, batch_norm_train, dropout, linear, relu};

use super::*;
use crate::loss::{CrossEntropy, Loss, SquaredError};
use crate::optimizer::OptimizerConfig;
use crate::sam::SamConfig;
use crate::trainer::ForwardBackward;

/// Network with all that a step changes besides gradients: running statistics, and the generator of dropout.
struct Net {
    store: ParamStore,
    hidden: Var,
    scale: Var,
    shift: Var,
    mean: Var,
    variance: Var,
    head: Var,
}

impl Net {
    fn new() -> Self {
        let store = ParamStore::new(DType::F32, &Device::Cpu, 7);
        let root = store.root();
        let uniform = Init::Uniform { lo: -0.7, up: 0.7 };
        Self {
            hidden: root.param("hidden", (6, 4), uniform).unwrap(),
            scale: root.param("scale", 6, Init::Const(1.)).unwrap(),
            shift: root.param("shift", 6, Init::Const(0.)).unwrap(),
            mean: root.buffer("mean", 6, Init::Const(0.)).unwrap(),
            variance: root.buffer("variance", 6, Init::Const(1.)).unwrap(),
            head: root.param("head", (3, 6), uniform).unwrap(),
            store,
        }
    }
}

impl ModuleT for Net {
    fn forward_t(&self, x: &Tensor, train: bool) -> candle_core::Result<Tensor> {
        let x = linear(&x.flatten_from(1)?, &self.hidden, None)?;
        let maps = x.reshape((x.dim(0)?, 6, 1, 1))?;
        let (scale, shift, config) = (&self.scale, &self.shift, BatchNormConfig::default());
        let maps = match train {
            true => batch_norm_train(&maps, scale, shift, &self.mean, &self.variance, &config)?,
            false => batch_norm_eval(&maps, scale, shift, &self.mean, &self.variance, &config)?,
        };
        let x = relu(&maps.flatten_from(1)?)?;
        let x = dropout(&x, 0.3, &self.store.generator())?;
        Ok(linear(&x, &self.head, None)?)
    }
}

/// Fault of a recorder.
#[derive(Clone, Copy, PartialEq)]
enum Fault {
    /// It cannot record, and finds out after the step has changed everything.
    Refuses,
    /// A launch reads the batch that was recorded.
    OldBatch,
    /// A launch draws the masks that were recorded.
    OldMasks,
}

/// Images and targets that the last step was given.
type Seen = Rc<RefCell<Option<(Tensor, Target)>>>;

/// Step that notes what it is given.
struct Noted(Seen);

impl TrainStep for Noted {
    fn step(&mut self, input: &StepInput) -> Result<StepOutput> {
        *self.0.borrow_mut() = Some((input.images.clone(), input.target.clone()));
        ForwardBackward.step(input)
    }
}

/// Recorder on the CPU: a launch computes the step anew from the memory that was recorded, and writes to the same tensors.
struct Repeats {
    net: Rc<Net>,
    loss: Rc<dyn Loss>,
    seen: Seen,
    fault: Option<Fault>,
    tries: Rc<Cell<usize>>,
}

impl Recorder for Repeats {
    fn warm_up(&mut self, step: &mut dyn FnMut() -> Result<StepOutput>) -> Result<StepOutput> {
        step()
    }

    fn record(&mut self, step: &mut dyn FnMut() -> Result<Kept>) -> Result<(Kept, Launch)> {
        self.tries.set(self.tries.get() + 1);
        let (net, of_batch, fault) = (self.net.clone(), self.loss.clone(), self.fault);
        let recorded = net.store.generator().state();
        let kept = step()?;
        if fault == Some(Fault::Refuses) {
            return Err(crate::Error::config("test", "it cannot be recorded"));
        }
        let (mut images, mut target) = self.seen.borrow().clone().unwrap();
        if fault == Some(Fault::OldBatch) {
            images = images.copy()?;
            target = target.map(&mut Tensor::copy)?;
        }
        let var = |tensor: &Tensor| Var::from_tensor(tensor).unwrap();
        let (loss, logits) = (var(&kept.loss), var(&kept.logits));
        let gradients: Vec<(TensorId, Var)> =
            kept.gradients.iter().map(|(id, g)| (*id, var(g))).collect();
        let written = Kept {
            loss: loss.as_detached_tensor(),
            logits: logits.as_detached_tensor(),
            gradients: (gradients.iter())
                .map(|(id, var)| (*id, var.as_detached_tensor()))
                .collect(),
        };
        let launch = move |moved: u64| -> Result<()> {
            let generator = net.store.generator();
            let now = generator.state();
            let moved = if fault == Some(Fault::OldMasks) {
                0
            } else {
                moved
            };
            generator.set_state(&GeneratorState {
                word_position: recorded.word_position.wrapping_add(moved),
                ..recorded
            });
            let output = ForwardBackward.step(&StepInput {
                model: &*net,
                store: &net.store,
                loss: &*of_batch,
                images: &images,
                target: &target,
                epoch: 0,
                step: 0,
            })?;
            // A device does not know the generator of the host.
            generator.set_state(&now);
            loss.set(&output.loss)?;
            logits.set(&output.logits)?;
            for (id, var) in &gradients {
                var.set(output.grads.get_id(*id).unwrap())?;
            }
            Ok(())
        };
        Ok((written, Box::new(launch)))
    }
}

/// Bits of a run of twelve steps: the loss of each, parameters, buffers and the position of the generator; and how many steps were launched, and
/// how often one was recorded.
#[derive(Debug, PartialEq)]
struct Run {
    losses: Vec<u32>,
    state: Vec<Vec<u32>>,
    generator: GeneratorState,
    launched: u64,
    recorded: usize,
}

/// Twelve steps, the eighth with a smaller batch; recorded if there is a recorder, with or without a fault.
fn run(recorder: Option<Option<Fault>>) -> Run {
    run_with(Rc::new(CrossEntropy::default()), recorder)
}

fn run_with(loss: Rc<dyn Loss>, recorder: Option<Option<Fault>>) -> Run {
    let (net, seen, tries) = (Rc::new(Net::new()), Seen::default(), Rc::default());
    let mut inner = Noted(Rc::clone(&seen));
    let launches = Launches::default();
    let mut step: Box<dyn TrainStep + '_> = match recorder {
        None => Box::new(&mut inner),
        Some(fault) => {
            let recorder = Box::new(Repeats {
                net: Rc::clone(&net),
                loss: Rc::clone(&loss),
                seen,
                fault,
                tries: Rc::clone(&tries),
            });
            Box::new(Repeated::new(&mut inner, recorder, launches.clone()))
        }
    };
    let mut losses = Vec::new();
    for number in 0..12 {
        let samples = if number == 7 { 3 } else { 5 };
        let pixel = |i: usize| ((i * 37 + number * 101) % 64) as f32 / 32. - 1.;
        let images: Vec<f32> = (0..4 * samples).map(pixel).collect();
        let labels: Vec<u32> = (0..samples).map(|i| ((i + number) % 3) as u32).collect();
        let images = Tensor::from_vec(images, (samples, 1, 2, 2), &Device::Cpu).unwrap();
        let labels = Tensor::from_vec(labels, samples, &Device::Cpu).unwrap();
        let output = step
            .step(&StepInput {
                model: &*net,
                store: &net.store,
                loss: &*loss,
                images: &images,
                target: &Target::Classes(labels),
                epoch: 0,
                step: number,
            })
            .unwrap();
        losses.push(output.loss.to_scalar::<f32>().unwrap().to_bits());
        for (_, var) in net.store.parameters() {
            let gradient = output.grads.get(&var).unwrap();
            let moved = (var.as_detached_tensor() - (gradient * 0.2).unwrap()).unwrap();
            var.set(&moved).unwrap();
        }
    }
    let bits = |(_, t): &(String, Tensor)| {
        let values = t.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        values.into_iter().map(f32::to_bits).collect()
    };
    drop(step);
    Run {
        losses,
        state: net.store.state_dict().unwrap().iter().map(bits).collect(),
        generator: net.store.generator().state(),
        launched: launches.get(),
        recorded: tries.get(),
    }
}

#[test]
fn repeated_steps_have_the_bits_of_plain_ones() {
    let plain = run(None);
    let mut distinct = plain.losses.clone();
    distinct.sort_unstable();
    distinct.dedup();
    assert_eq!(distinct.len(), 12, "every step has another loss");
    // Three to warm up, two that are compared, and one of another size.
    let expected = Run {
        launched: 6,
        recorded: 1,
        ..plain
    };
    assert_eq!(run(Some(None)), expected);
}

/// A loss of candle's operators, whose backward pass leaves gradients of the targets too.
#[test]
fn steps_with_operators_of_candle_are_repeated() {
    let loss: Rc<dyn Loss> = Rc::new(SquaredError::default());
    let plain = run_with(Rc::clone(&loss), None);
    let expected = Run {
        launched: 6,
        recorded: 1,
        ..plain
    };
    assert_eq!(run_with(loss, Some(None)), expected);
}

#[test]
fn a_recording_that_fails_or_repeats_something_else_is_given_up_for_good() {
    for fault in [Fault::Refuses, Fault::OldBatch, Fault::OldMasks] {
        let expected = Run {
            recorded: 1,
            ..run(None)
        };
        assert_eq!(run(Some(Some(fault))), expected);
    }
}

#[test]
fn steps_whose_results_outlive_a_pass_are_not_recorded() {
    let config = TrainConfig {
        cuda_graph: true,
        ..TrainConfig::new(1, OptimizerConfig::sgd(0.1))
    };
    assert_eq!(obstacle(&config, false, true), None);
    let chunks = TrainConfig {
        chunks: 2,
        ..config.clone()
    };
    let sam = TrainConfig {
        sam: Some(SamConfig::default()),
        ..config.clone()
    };
    for (config, own_step, alone, part) in [
        (&config, true, true, "the caller's own"),
        (&config, false, false, "other ranks"),
        (&chunks, false, true, "chunks"),
        (&sam, false, true, "two passes"),
    ] {
        let why = obstacle(config, own_step, alone).unwrap();
        assert!(why.contains(part), "{why}");
    }
    // Without a device there is none, and a run that did not ask for it has none.
    let (alone, cpu) = (Ranks::default(), Device::Cpu);
    assert!(recorder(&config, false, &alone, &cpu).is_none());
    let off = TrainConfig::new(1, OptimizerConfig::sgd(0.1));
    assert!(recorder(&off, false, &alone, &cpu).is_none());
}
