//! Maximum number of steps, and norms of the gradients.

use crate::common::{loaders, net, recipe};
use candle_core::{DType, Tensor};
use candle_nn::ModuleT;
use tallow_train::{
    BatchEnd, CONTINUE, Callback, CrossEntropy, Curve, Error, Flow, GradientNorms, Loss, Per,
    ScheduleConfig, Target, TrainConfig, Trainer,
};

/// Counts the steps of each epoch, and keeps the rates.
#[derive(Default)]
struct Steps {
    ends: Vec<(usize, usize, usize)>,
    rates: Vec<f64>,
}

impl Callback for Steps {
    fn on_batch_end(&mut self, end: &BatchEnd) -> Flow {
        self.ends.push((end.epoch, end.step, end.steps));
        self.rates.push(end.lr);
        CONTINUE
    }
}

fn run(config: TrainConfig) -> (tallow_train::History, Steps) {
    let (net, store) = net(0);
    let (train, test) = loaders(0, 1);
    let mut steps = Steps::default();
    let history = Trainer::new(config)
        .with_callback(&mut steps)
        .fit(&net, &store, &train, Some(&test))
        .unwrap();
    (history, steps)
}

/// 600 images in batches of 32 are 19 steps.
#[test]
fn ends_in_the_middle_of_an_epoch() {
    let config = TrainConfig {
        max_steps: Some(25),
        ..recipe(10)
    };
    let (history, steps) = run(config);
    assert_eq!(steps.ends.len(), 25);
    assert_eq!(steps.ends[18], (0, 18, 19));
    assert_eq!(*steps.ends.last().unwrap(), (1, 5, 6));
    assert_eq!((history.rows.len(), &history.stopped), (2, &None));
    assert!(history.rows[1].test_accuracy.is_some());
}

#[test]
fn the_epochs_are_a_bound_too() {
    let config = TrainConfig {
        max_steps: Some(1000),
        ..recipe(2)
    };
    assert_eq!(run(config).1.ends.len(), 38);
}

/// The schedule ends where the training does.
#[test]
fn the_schedule_is_over_the_steps_taken() {
    let config = TrainConfig {
        max_steps: Some(7),
        schedule: ScheduleConfig {
            curve: Curve::Cosine {
                t_max: None,
                eta_min: 0.0,
            },
            per: Per::Step,
            ..ScheduleConfig::constant()
        },
        ..recipe(10)
    };
    let rates = run(config).1.rates;
    assert_eq!(rates.len(), 7);
    let expected = 0.05 * (1.0 + (std::f64::consts::PI * 6.0 / 7.0).cos()) / 2.0;
    assert!((rates[6] - expected).abs() < 1e-12, "{rates:?}");
}

#[test]
fn no_steps_are_refused() {
    let (net, store) = net(0);
    let (train, _) = loaders(0, 0);
    let config = TrainConfig {
        max_steps: Some(0),
        ..recipe(1)
    };
    let error = Trainer::new(config).fit(&net, &store, &train, None);
    assert!(matches!(error, Err(Error::Config { .. })), "{error:?}");
}

#[test]
fn gradient_norms_are_those_of_the_loss() {
    let (net, store) = net(0);
    let (train, test) = loaders(0, 0);
    // Before training, by hand, with the dropout that the first step will draw.
    let batch = train.epoch(0).next().unwrap().unwrap();
    let (twin, twins) = crate::common::net(0);
    let output = twin.forward_t(&batch.images, true).unwrap();
    let target = Target::Classes(batch.labels);
    let loss = CrossEntropy::default().loss(&output, &target).unwrap();
    let grads = loss.backward().unwrap();
    let norm = |grad: &Tensor| {
        let grad = grad.to_dtype(DType::F64).unwrap();
        let square = grad.sqr().unwrap().sum_all().unwrap();
        square.to_scalar::<f64>().unwrap().sqrt()
    };

    let mut norms = GradientNorms::over(5);
    Trainer::new(recipe(3))
        .with_callback(&mut norms)
        .fit(&net, &store, &train, Some(&test))
        .unwrap();
    let rows = norms.rows();
    let at: Vec<_> = rows
        .iter()
        .map(|r| (r.epoch, r.step, r.steps.unwrap()))
        .collect();
    assert_eq!(at, [(0, 0, 1), (0, 18, 5), (1, 18, 5), (2, 18, 5)]);

    let mut square = 0.0;
    assert_eq!(rows[0].norms.len(), twins.parameters().len());
    for ((name, var), (found, value)) in twins.parameters().iter().zip(&rows[0].norms) {
        let expected = norm(grads.get(var.as_tensor()).unwrap());
        assert_eq!(name, found);
        assert!(
            (expected - value).abs() <= 1e-4 * expected,
            "{name}: {value}, not {expected}"
        );
        square += expected * expected;
    }
    assert!((rows[0].total - square.sqrt()).abs() <= 1e-4 * square.sqrt());
    // What was learnt needs smaller steps.
    assert!(rows[3].total < rows[0].total, "{rows:?}");
}
