//! Whole runs.

use std::cell::RefCell;

use crate::common::{CLASSES, Net, StopIn, bytes, loader, loaders, net, recipe, textures};
use candle_core::{DType, Device, Tensor};
use candle_nn::ModuleT;
use tallow_datasets::{DataLoader, LoaderConfig, Split};
use tallow_ops::ParamStore;
use tallow_train::{
    BatchEnd, CONTINUE, Callback, CrossEntropy, Curve, EarlyStopping, EpochEnd, Error, FitStart,
    Flow, History, KeepBest, LogProgress, Loss, Monitor, OptimizerConfig, Per, ScheduleConfig,
    SgdConfig, Target, TrainConfig, Trainer,
};

#[test]
fn learns_and_says_how_well() {
    let (net, store) = net(0);
    let (train, test) = loaders(0, 1);
    let mut trainer = Trainer::new(recipe(4)).with_callback(LogProgress { every: 10 });
    let history = trainer.fit(&net, &store, &train, Some(&test)).unwrap();

    let accuracies: Vec<f64> = history
        .rows
        .iter()
        .map(|row| row.test_accuracy.unwrap())
        .collect();
    assert!(*accuracies.last().unwrap() >= 0.97, "{accuracies:?}");
    let losses: Vec<f64> = history.rows.iter().map(|row| row.train_loss).collect();
    assert!(losses[3] < 0.3 * losses[0], "{losses:?}");
    for (epoch, row) in history.rows.iter().enumerate() {
        assert_eq!((row.epoch, row.lr), (epoch, 0.05));
        assert!(row.seconds > 0.0 && row.images_per_second > 0.0);
        assert!(row.test_top5.unwrap() >= row.test_accuracy.unwrap());
    }
    assert_eq!(history.stopped, None);

    let evaluation = history.evaluation.unwrap();
    assert_eq!(evaluation, trainer.evaluate(&net, &store, &test).unwrap());
    assert_eq!(evaluation.accuracy, *accuracies.last().unwrap());
    assert_eq!(
        (evaluation.samples, evaluation.confusion.total()),
        (200, 200)
    );
    // Dropout and batch statistics would give other figures each time, and other ones than these.
    assert_eq!(
        (evaluation.loss, evaluation.accuracy),
        judged_by_hand(&net, &test)
    );
}

/// Loss and accuracy over single images in evaluation mode, from the definitions.
fn judged_by_hand(net: &Net, test: &DataLoader) -> (f64, f64) {
    let (mut loss, mut right, mut count) = (0.0, 0, 0);
    for batch in test.epoch(0) {
        let batch = batch.unwrap();
        let output = net.forward_t(&batch.images, false).unwrap();
        let labels: Vec<u32> = batch.labels.to_vec1().unwrap();
        let target = Target::Classes(batch.labels);
        let mean = CrossEntropy::default().loss(&output, &target).unwrap();
        loss += f64::from(mean.to_scalar::<f32>().unwrap()) * labels.len() as f64;
        let rows: Vec<Vec<f32>> = output.to_vec2().unwrap();
        for (row, &label) in rows.iter().zip(&labels) {
            right += usize::from(row.iter().all(|&score| score <= row[label as usize]));
        }
        count += labels.len();
    }
    (loss / count as f64, right as f64 / count as f64)
}

fn weights_after(seed: u64, workers: usize) -> Vec<u8> {
    let (net, store) = net(seed);
    let (train, test) = loaders(seed, workers);
    let mut trainer = Trainer::new(recipe(2));
    trainer.fit(&net, &store, &train, Some(&test)).unwrap();
    bytes(&store, tempfile::tempdir().unwrap().path())
}

#[test]
fn one_seed_gives_one_result_whatever_the_workers() {
    let expected = weights_after(3, 0);
    for workers in [0, 1, 3] {
        assert!(weights_after(3, workers) == expected, "{workers} workers");
    }
    assert!(weights_after(4, 0) != expected, "the seed has no influence");
}

#[test]
fn a_loss_that_is_not_finite_stops_the_run() {
    let (net, store) = net(0);
    let (train, _) = loaders(0, 0);
    let config = TrainConfig::new(3, OptimizerConfig::sgd(1e30));
    let error = Trainer::new(config)
        .fit(&net, &store, &train, None)
        .unwrap_err();
    let Error::NonFiniteLoss {
        epoch: 0,
        step,
        loss,
        ..
    } = error
    else {
        panic!("{error}")
    };
    assert!(
        (1..10).contains(&step) && !loss.is_finite(),
        "{step} {loss}"
    );
    assert!(
        error
            .to_string()
            .contains(&format!("in epoch 1, step {}", step + 1)),
        "{error}"
    );
}

/// A constant, that no parameter has a part in.
struct Constant;

impl ModuleT for Constant {
    fn forward_t(&self, x: &Tensor, _: bool) -> candle_core::Result<Tensor> {
        Tensor::zeros((x.dim(0)?, CLASSES), DType::F32, &Device::Cpu)
    }
}

#[test]
fn a_model_of_another_store_is_an_error() {
    let (_, store) = net(0);
    let (train, _) = loaders(0, 0);
    let error = Trainer::new(recipe(1))
        .fit(&Constant, &store, &train, None)
        .unwrap_err();
    assert!(matches!(error, Error::NoGradients), "{error}");
}

#[test]
fn a_loader_without_batches_is_an_error() {
    let (net, store) = net(0);
    let set = std::sync::Arc::new(textures(Split::Train, 10));
    let transforms =
        tallow_transforms::Compose::new(vec![tallow_transforms::TransformConfig::to_tensor()]);
    let config = LoaderConfig {
        batch_size: 32,
        shuffle: false,
        drop_last: true,
        num_workers: 0,
        prefetch: 1,
        seed: 0,
    };
    let train = DataLoader::new(set, transforms.unwrap(), config).unwrap();
    let error = Trainer::new(recipe(1))
        .fit(&net, &store, &train, None)
        .unwrap_err();
    assert!(
        matches!(
            error,
            Error::EmptyLoader {
                which: "training",
                ..
            }
        ),
        "{error}"
    );
}

/// Writes down what it hears.
struct Log<'a>(&'a RefCell<Vec<String>>);

impl Log<'_> {
    fn add(&self, text: String) {
        self.0.borrow_mut().push(text);
    }
}

impl Callback for Log<'_> {
    fn on_fit_start(&mut self, fit: &FitStart) -> Flow {
        self.add(format!(
            "fit {} x {} of {}",
            fit.epochs, fit.steps_per_epoch, fit.samples
        ));
        CONTINUE
    }
    fn on_epoch_start(&mut self, epoch: usize) -> tallow_train::Result<()> {
        self.add(format!("epoch {epoch}"));
        Ok(())
    }
    fn on_batch_start(&mut self, epoch: usize, step: usize) -> tallow_train::Result<()> {
        self.add(format!("batch {epoch}.{step}"));
        Ok(())
    }
    fn on_batch_end(&mut self, batch: &BatchEnd) -> Flow {
        assert!(batch.mean_loss > 0.0 && batch.lr == 0.05 && batch.steps == 3);
        self.add(format!(
            "batch {}.{} done: {}",
            batch.epoch, batch.step, batch.samples
        ));
        CONTINUE
    }
    fn on_evaluation_batch(&mut self, done: usize, batches: usize) -> tallow_train::Result<()> {
        self.add(format!("evaluated {done}/{batches}"));
        Ok(())
    }
    fn on_epoch_end(&mut self, end: &EpochEnd) -> Flow {
        assert_eq!(end.evaluation.map(|e| e.accuracy), end.row.test_accuracy);
        self.add(format!("epoch {} done", end.row.epoch));
        CONTINUE
    }
    fn on_fit_end(&mut self, history: &History) -> tallow_train::Result<()> {
        self.add(format!(
            "fit done: {}",
            history.stopped.as_deref().unwrap_or("all")
        ));
        Ok(())
    }
}

#[test]
fn callbacks_hear_everything_in_order() {
    let (net, store) = net(0);
    let (train, test) = (
        loader(textures(Split::Train, 70), 0, 0),
        loader(textures(Split::Test, 40), 0, 0),
    );
    let (first, second) = (RefCell::default(), RefCell::default());
    let mut trainer = Trainer::new(recipe(9))
        .with_callback(Log(&first))
        .with_callback(StopIn {
            epoch: 0,
            at_end: true,
        })
        .with_callback(Log(&second));
    trainer.fit(&net, &store, &train, Some(&test)).unwrap();
    drop(trainer);
    let expected = "fit 9 x 3 of 70,epoch 0,batch 0.0,batch 0.0 done: 32,batch 0.1,batch 0.1 done: 32,\
                    batch 0.2,batch 0.2 done: 6,evaluated 1/2,evaluated 2/2,epoch 0 done,fit done: asked to";
    assert_eq!(first.borrow().join(","), expected);
    assert_eq!(first, second);
}

#[test]
fn the_best_weights_are_kept() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("best.safetensors");
    let (model, store) = net(0);
    let (train, test) = loaders(0, 0);
    // After two epochs the rate throws the weights far away.
    let mut config = recipe(4);
    config.schedule.curve = Curve::MultiStep {
        milestones: vec![2],
        gamma: 40.0,
    };
    let mut trainer =
        Trainer::new(config).with_callback(KeepBest::new(Monitor::TestAccuracy, &path));
    let history = trainer.fit(&model, &store, &train, Some(&test)).unwrap();
    let best = Monitor::TestAccuracy.best(&history.rows).unwrap();
    assert!(best.epoch < 2, "{history:?}");
    assert_eq!(Some(best), history.best());

    let (other, store) = net(9);
    store.load(&path, true).unwrap();
    let found = trainer.evaluate(&other, &store, &test).unwrap();
    assert_eq!(Some(found.accuracy), best.test_accuracy);
    assert_eq!(Some(found.loss), best.test_loss);
}

#[test]
fn schedules_by_step_and_by_epoch() {
    let (train, _) = loaders(0, 0);
    let rates = |per: Per| {
        let seen = RefCell::new(Vec::new());
        struct Rates<'a>(&'a RefCell<Vec<f64>>);
        impl Callback for Rates<'_> {
            fn on_batch_end(&mut self, batch: &BatchEnd) -> Flow {
                self.0.borrow_mut().push(batch.lr);
                CONTINUE
            }
        }
        let mut config = recipe(2);
        config.schedule = ScheduleConfig {
            curve: Curve::Step {
                size: 1,
                gamma: 0.5,
            },
            per,
            warmup: None,
        };
        let (net, store) = net(0);
        let mut trainer = Trainer::new(config).with_callback(Rates(&seen));
        trainer.fit(&net, &store, &train, None).unwrap();
        drop(trainer);
        seen.into_inner()
    };
    // 600 images in batches of 32: 19 steps.
    let by_epoch: Vec<f64> = (0..38).map(|i| if i < 19 { 0.05 } else { 0.025 }).collect();
    assert_eq!(rates(Per::Epoch), by_epoch);
    let by_step: Vec<f64> = (0..38).map(|i| 0.05 * 0.5f64.powi(i)).collect();
    assert_eq!(rates(Per::Step), by_step);
}

/// One matrix and nothing else: (N, 1, 8, 8) to (N, 6).
struct Linear(candle_core::Var);

impl ModuleT for Linear {
    fn forward_t(&self, x: &Tensor, _: bool) -> candle_core::Result<Tensor> {
        x.flatten_from(1)?.matmul(&self.0.t()?)
    }
}

#[test]
fn double_precision_trains_too() {
    let (train, test) = loaders(0, 0);
    let run = |dtype: DType| {
        let store = ParamStore::new(dtype, &Device::Cpu, 0);
        let init = tallow_ops::Init::Const(0.0);
        let weight = store.root().param("weight", (CLASSES, 64), init).unwrap();
        let mut trainer = Trainer::new(TrainConfig::new(2, OptimizerConfig::sgd(0.01)));
        let model = Linear(weight.clone());
        let history = trainer.fit(&model, &store, &train, Some(&test)).unwrap();
        let weight = weight.to_dtype(DType::F64).unwrap().flatten_all().unwrap();
        (history.rows[1].clone(), weight.to_vec1::<f64>().unwrap())
    };
    let ((single, weights32), (double, weights64)) = (run(DType::F32), run(DType::F64));
    assert!(
        double.train_accuracy > 0.4,
        "nothing was learned: {double:?}"
    );
    assert!(
        (single.train_loss - double.train_loss).abs() < 1e-6,
        "{single:?} {double:?}"
    );
    assert_eq!(single.test_accuracy, double.test_accuracy);
    let differences = weights32.iter().zip(&weights64).map(|(a, b)| (a - b).abs());
    let largest = differences.fold(0.0, f64::max);
    assert!(largest > 0.0 && largest < 1e-6, "{largest}");
}

#[test]
fn frozen_parameters_stay_and_batch_norm_follows_the_data() {
    let (net, store) = net(0);
    let before = store.state_dict().unwrap();
    let (train, _) = loaders(0, 0);
    let config = TrainConfig {
        optimizer: OptimizerConfig::Sgd(SgdConfig {
            lr: 0.05,
            momentum: 0.9,
            // Decay would shrink even what has no gradient, if it were given to the optimizer.
            weight_decay: 0.1,
            ..SgdConfig::default()
        }),
        freeze: vec!["conv".into(), "bn*".into()],
        ..recipe(1)
    };
    Trainer::new(config)
        .fit(&net, &store, &train, None)
        .unwrap();
    for ((name, before), (_, after)) in before.iter().zip(store.state_dict().unwrap()) {
        let values = |t: &Tensor| t.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        let same = values(before) == values(&after);
        let frozen = ["conv.weight", "bn.weight", "bn.bias"].contains(&name.as_str());
        assert_eq!(same, frozen, "{name}");
    }

    let slip = TrainConfig {
        freeze: vec!["layer1".into()],
        ..recipe(1)
    };
    let error = Trainer::new(slip)
        .fit(&net, &store, &train, None)
        .unwrap_err();
    assert!(
        matches!(
            error,
            Error::Config {
                setting: "freeze",
                ..
            }
        ),
        "{error}"
    );
}

/// A run of five epochs, its weights, and the epochs that were evaluated.
fn evaluated(config: TrainConfig, stopping: Option<EarlyStopping>) -> (History, Vec<usize>) {
    let (net, store) = net(0);
    let (train, test) = loaders(0, 1);
    let mut trainer = Trainer::new(config);
    if let Some(stopping) = stopping {
        trainer = trainer.with_callback(stopping);
    }
    let history = trainer.fit(&net, &store, &train, Some(&test)).unwrap();
    let rows = history.rows.iter();
    let judged = rows.filter(|row| row.test_accuracy.is_some() && row.test_loss.is_some());
    let judged = judged.map(|row| row.epoch).collect();
    (history, judged)
}

#[test]
fn evaluates_every_second_epoch_and_the_last() {
    let every = |evaluate_every| TrainConfig {
        evaluate_every,
        ..recipe(5)
    };
    let (all, judged) = evaluated(every(1), None);
    assert_eq!(judged, [0, 1, 2, 3, 4]);
    let (second, judged) = evaluated(every(2), None);
    assert_eq!(judged, [1, 3, 4]);
    assert_eq!(evaluated(every(100), None).1, [4]);
    // Training is the same, and so are the figures of the epochs that are judged.
    for (a, b) in all.rows.iter().zip(&second.rows) {
        assert_eq!(a.train_loss, b.train_loss);
        assert!(b.test_loss.is_none() || a.test_loss == b.test_loss);
    }
    assert_eq!(all.evaluation, second.evaluation);

    let (net, store) = net(0);
    let (train, _) = loaders(0, 1);
    let error = Trainer::new(every(0)).fit(&net, &store, &train, None);
    let message = error.unwrap_err().to_string();
    assert!(
        message.contains("evaluate_every: must be at least 1"),
        "{message}"
    );
}

#[test]
fn patience_counts_the_epochs_that_are_evaluated() {
    // Nothing is an improvement of 2, so that the second evaluation ends the run.
    let stopping = || EarlyStopping::new(Monitor::TestAccuracy, 1).min_delta(2.0);
    for (evaluate_every, epochs) in [(1, 2), (2, 4), (3, 6)] {
        let config = TrainConfig {
            evaluate_every,
            ..recipe(6)
        };
        let (history, judged) = evaluated(config, Some(stopping()));
        assert_eq!(history.rows.len(), epochs, "{judged:?}");
        assert!(history.stopped.is_some());
    }

    // The same for the learning rate, which is divided by 10 after the second evaluation.
    for (evaluate_every, reduced) in [(1, 2), (2, 4), (3, 6)] {
        let mut config = TrainConfig {
            evaluate_every,
            ..recipe(7)
        };
        let plateau = r#"{"curve": {"name": "reduce-on-plateau", "monitor": "test_accuracy", "threshold": 2.0, "threshold_mode": "abs", "patience": 0, "cooldown": 100}}"#;
        config.schedule = serde_json::from_str::<ScheduleConfig>(plateau).unwrap();
        let (history, _) = evaluated(config, None);
        let rates: Vec<f64> = history.rows.iter().map(|row| row.lr).collect();
        let first = rates.iter().position(|&rate| rate < 0.04);
        assert_eq!(first, Some(reduced), "{rates:?}");
    }
}
