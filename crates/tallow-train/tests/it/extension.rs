//! Losses, optimizers, schedules, training steps and callbacks of the caller's own in a trainer.

use std::sync::atomic::{AtomicUsize, Ordering};

use candle_core::backprop::GradStore;
use candle_core::{DType, Device, Tensor, Var};
use candle_nn::{Module, ModuleT, VarBuilder, VarMap};
use tallow_metrics::{Accuracy, TopK};
use tallow_ops::ParamStore;
use tallow_train::{
    BeforeStep, Callback, CrossEntropy, Error, ForwardBackward, History, Loss, Optimizer,
    OptimizerConfig, Per, Result, Schedule, StepInput, StepOutput, Target, TrainConfig, TrainStep,
    Trainer,
};

use crate::common::{CLASSES, bytes, loaders, net, net_in, recipe};

/// Weights after two epochs with this trainer.
fn weights(mut trainer: Trainer) -> Vec<u8> {
    let (net, store) = net(3);
    let (train, test) = loaders(3, 0);
    trainer.fit(&net, &store, &train, Some(&test)).unwrap();
    bytes(&store, tempfile::tempdir().unwrap().path())
}

/// Cross entropy that counts its calls.
struct Counted<'a>(&'a AtomicUsize);

impl Loss for Counted<'_> {
    fn loss(&self, logits: &Tensor, target: &Target) -> Result<Tensor> {
        self.0.fetch_add(1, Ordering::Relaxed);
        CrossEntropy::default().loss(logits, target)
    }
}

/// The built-in parts, passed as the caller's own, train the same weights to the bit.
#[test]
fn built_in_parts_passed_by_hand_give_the_same_bits() {
    let expected = weights(Trainer::new(recipe(2)));

    let calls = AtomicUsize::new(0);
    let other = TrainConfig {
        // Neither is used.
        optimizer: OptimizerConfig::adam(0.5),
        loss: tallow_train::LossConfig::SquaredError { on: 1.0, off: 0.0 },
        ..recipe(2)
    };
    let trainer = Trainer::new(other)
        .with_loss(Counted(&calls))
        .with_optimizer(|params| OptimizerConfig::sgd_momentum(0.05, 0.9).build(params))
        .with_schedule(recipe(2).schedule.build(19))
        .with_step(ForwardBackward);
    assert!(weights(trainer) == expected);
    // Two epochs of 19 training and 7 test batches.
    assert_eq!(calls.into_inner(), 2 * (19 + 7));
}

#[test]
fn evaluation_uses_the_own_loss() {
    struct Two;
    impl Loss for Two {
        fn loss(&self, logits: &Tensor, _: &Target) -> Result<Tensor> {
            Ok(Tensor::full(2f32, (), logits.device())?)
        }
    }
    let (net, store) = net(0);
    let (_, test) = loaders(0, 0);
    let trainer = Trainer::new(recipe(1)).with_loss(Two);
    assert_eq!(trainer.evaluate(&net, &store, &test).unwrap().loss, 2.0);
}

/// Momentum by tensor operations, with its buffers as state.
struct Heavy {
    params: Vec<(String, Var)>,
    buffers: Vec<Tensor>,
    lr: f64,
}

impl Heavy {
    fn new(params: Vec<(String, Var)>) -> Result<Self> {
        let buffers = params.iter().map(|(_, var)| var.zeros_like());
        let buffers = buffers.collect::<candle_core::Result<_>>()?;
        Ok(Self {
            params,
            buffers,
            lr: 0.05,
        })
    }
}

impl Optimizer for Heavy {
    fn step(&mut self, grads: &GradStore) -> Result<()> {
        for ((_, var), buffer) in self.params.iter().zip(&mut self.buffers) {
            if let Some(grad) = grads.get(var) {
                *buffer = ((&*buffer * 0.9)? + grad)?.detach();
                var.set(&(var.as_detached_tensor() - (&*buffer * self.lr)?)?)?;
            }
        }
        Ok(())
    }
    fn lr(&self) -> f64 {
        self.lr
    }
    fn set_lr(&mut self, lr: f64) {
        self.lr = lr;
    }
    fn state_dict(&self) -> Result<Vec<(String, Tensor)>> {
        let named = self.params.iter().zip(&self.buffers);
        Ok(named.map(|((n, _), b)| (n.clone(), b.clone())).collect())
    }
    fn load_state_dict(&mut self, tensors: &[(String, Tensor)]) -> Result<()> {
        for ((name, _), buffer) in self.params.iter().zip(&mut self.buffers) {
            let found = tensors.iter().find(|(n, _)| n == name);
            let (_, tensor) = found.ok_or_else(|| Error::custom(format!("{name} is missing")))?;
            *buffer = tensor.clone();
        }
        Ok(())
    }
}

/// Halves the rate with every epoch.
struct Halved;

impl Schedule for Halved {
    fn lr(&self, base_lr: f64, time: u64, _: u64) -> f64 {
        base_lr * 0.5f64.powi(time as i32)
    }
    fn depends_on_total(&self) -> bool {
        false
    }
}

#[test]
fn own_optimizers_and_schedules_resume_to_the_bit() {
    let dir = tempfile::tempdir().unwrap();
    let (train, test) = loaders(1, 0);
    let run = |epochs: usize, checkpoints: &str, seed: u64| {
        let (net, store) = net(seed);
        let mut trainer = Trainer::new(recipe(epochs))
            .with_optimizer(Heavy::new)
            .with_schedule(Halved)
            .with_checkpoints(dir.path().join(checkpoints));
        let history = trainer.fit(&net, &store, &train, Some(&test)).unwrap();
        let rates: Vec<f64> = history.rows.iter().map(|row| row.lr).collect();
        (rates, bytes(&store, dir.path()))
    };
    let (rates, straight) = run(4, "straight", 1);
    assert_eq!(rates, [0.05, 0.025, 0.0125, 0.00625]);
    run(2, "stopped", 1);
    // Other initial weights: everything must come from the checkpoint.
    let (_, resumed) = run(4, "stopped", 8);
    assert!(straight == resumed);

    let (net, store) = net(1);
    let error = Trainer::new(recipe(4))
        .with_checkpoints(dir.path().join("stopped"))
        .fit(&net, &store, &train, None)
        .unwrap_err();
    let message = error.to_string();
    assert!(
        message.contains("parts of the caller's own: optimizer, schedule -> none"),
        "{message}"
    );
}

/// Schedule that refuses every run.
struct Refused;

impl Schedule for Refused {
    fn lr(&self, base_lr: f64, _: u64, _: u64) -> f64 {
        base_lr
    }
    fn per(&self) -> Per {
        Per::Step
    }
    fn validate(&self, total: u64) -> Result<()> {
        Err(Error::custom(format!("a run of {total} steps")))
    }
}

#[test]
fn own_schedules_are_validated_in_their_unit() {
    let (net, store) = net(0);
    let (train, _) = loaders(0, 0);
    let mut trainer = Trainer::new(recipe(3)).with_schedule(Refused);
    let error = trainer.fit(&net, &store, &train, None).unwrap_err();
    assert_eq!(error.to_string(), "a run of 57 steps");
}

/// Half the loss of the labels, half that of soft labels from another network: distillation.
struct Distill<'a>(&'a dyn ModuleT);

impl TrainStep for Distill<'_> {
    fn step(&mut self, input: &StepInput) -> Result<StepOutput> {
        let teacher = tallow_ops::no_grad(|| self.0.forward_t(input.images, false))?;
        let soft = Target::Soft(candle_nn::ops::softmax(&teacher.detach(), 1)?);
        let logits = input.model.forward_t(input.images, true)?;
        let hard = input.loss.loss(&logits, input.target)?;
        let soft = input.loss.loss(&logits, &soft)?;
        let loss = ((hard + soft)? * 0.5)?;
        let grads = loss.backward()?;
        Ok(StepOutput {
            loss,
            logits,
            grads,
        })
    }
}

#[test]
fn own_steps_train() {
    let (teacher, _) = net(4);
    let (net, store) = net(0);
    let (train, test) = loaders(0, 1);
    let mut trainer = Trainer::new(recipe(4)).with_step(Distill(&teacher));
    let history = trainer.fit(&net, &store, &train, Some(&test)).unwrap();
    let accuracy = history.rows[3].test_accuracy.unwrap();
    assert!(accuracy > 0.9, "{:?}", history.rows);
    drop(trainer);
    let plain = weights(Trainer::new(recipe(1)));
    let distilled = weights(Trainer::new(recipe(1)).with_step(Distill(&teacher)));
    assert!(plain != distilled);
}

/// Sets all gradients to 0 but those of one parameter.
struct Only(&'static str);

impl Callback for Only {
    fn on_before_optimizer_step(&mut self, step: &mut BeforeStep) -> Result<()> {
        for (name, parameter) in step.store.parameters() {
            if name != self.0 {
                let zeros = parameter.zeros_like()?;
                step.grads.insert(&parameter, zeros);
            }
        }
        Ok(())
    }
}

#[test]
fn callbacks_change_the_gradients_that_the_optimizer_uses() {
    let (net, store) = net(0);
    let before = store.state_dict().unwrap();
    let (train, _) = loaders(0, 0);
    Trainer::new(recipe(1))
        .with_callback(Only("fc.bias"))
        .fit(&net, &store, &train, None)
        .unwrap();
    let values = |t: &Tensor| t.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    for ((name, before), (_, after)) in before.iter().zip(store.state_dict().unwrap()) {
        // The running statistics are buffers, and follow the data.
        let trained = name == "fc.bias" || name.contains("running");
        assert_eq!(values(before) != values(&after), trained, "{name}");
    }
}

#[test]
fn metrics_are_computed_in_every_evaluation() {
    /// Metrics of each epoch, as callbacks see them.
    #[derive(Default)]
    struct Seen(Vec<(f64, f64)>);
    impl Callback for Seen {
        fn on_epoch_end(&mut self, end: &tallow_train::EpochEnd) -> tallow_train::Flow {
            let evaluation = end.evaluation.unwrap();
            assert_eq!(evaluation.top5, Some(evaluation.metrics["top5_accuracy"]));
            let accuracy = evaluation.metrics["accuracy"];
            self.0.push((accuracy, evaluation.accuracy));
            tallow_train::CONTINUE
        }
    }
    let (net, store) = net(0);
    let (train, test) = loaders(0, 0);
    let mut seen = Seen::default();
    // Slow enough that the second epoch is better than the first.
    let config = TrainConfig::new(2, OptimizerConfig::sgd(0.002));
    let mut trainer = Trainer::new(config)
        .with_metric(Accuracy::new())
        .with_metric(TopK::new(5).unwrap())
        .with_callback(&mut seen);
    let history = trainer.fit(&net, &store, &train, Some(&test)).unwrap();
    // Each evaluation starts from zero.
    let evaluation = history.evaluation.unwrap();
    assert_eq!(evaluation, trainer.evaluate(&net, &store, &test).unwrap());
    drop(trainer);
    assert_eq!(seen.0.len(), 2);
    assert!(seen.0.iter().all(|(own, built_in)| own == built_in));
    assert_ne!(seen.0[0], seen.0[1]);
}

/// A linear model as candle's examples write it.
struct Linear(candle_nn::Linear);

impl ModuleT for Linear {
    fn forward_t(&self, x: &Tensor, _: bool) -> candle_core::Result<Tensor> {
        self.0.forward(&x.flatten_from(1)?)
    }
}

#[test]
fn models_of_a_var_builder_need_the_store_of_their_variables() {
    let map = VarMap::new();
    let builder = VarBuilder::from_varmap(&map, DType::F32, &Device::Cpu);
    let model = Linear(candle_nn::linear(64, CLASSES, builder.pp("fc")).unwrap());
    let (train, test) = loaders(0, 0);
    let mut trainer = Trainer::new(TrainConfig::new(2, OptimizerConfig::sgd(0.05)));

    let empty = ParamStore::new(DType::F32, &Device::Cpu, 0);
    let error = trainer.fit(&model, &empty, &train, None).unwrap_err();
    assert!(matches!(error, Error::NoParameters), "{error}");
    assert!(error.to_string().contains("ParamStore::from_vars"));
    let error = Trainer::new(recipe(1))
        .with_optimizer(Heavy::new)
        .fit(&model, &empty, &train, None)
        .unwrap_err();
    assert!(matches!(error, Error::NoParameters), "{error}");

    let vars = map.data().lock().unwrap().clone();
    let store = ParamStore::from_vars(vars, 0).unwrap();
    let history = trainer.fit(&model, &store, &train, Some(&test)).unwrap();
    let (first, last) = (&history.rows[0], &history.rows[1]);
    assert!(last.train_loss < first.train_loss, "{:?}", history.rows);
    let weight = store.parameters()[1].1.to_vec2::<f32>().unwrap();
    assert_eq!(weight, model.0.weight().to_vec2::<f32>().unwrap());
}

#[test]
fn a_model_without_weights_is_not_trained() {
    let store = ParamStore::skip_init(DType::F32, &Device::Cpu, 3);
    let model = net_in(&store);
    let (train, _) = loaders(3, 0);
    let fit = || Trainer::new(recipe(1)).fit(&model, &store, &train, None);
    let message = fit().unwrap_err().to_string();
    let part = "parameters without values: conv.weight, fc.weight;";
    assert!(message.contains(part), "{message}");

    store.init_missing().unwrap();
    let skipped = fit().unwrap();
    let (drawn, drawn_store) = net(3);
    let history = Trainer::new(recipe(1)).fit(&drawn, &drawn_store, &train, None);
    let losses = |history: &History| {
        let rows = history.rows.iter();
        rows.map(|row| row.train_loss).collect::<Vec<f64>>()
    };
    assert_eq!(losses(&skipped), losses(&history.unwrap()));
}
