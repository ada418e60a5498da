//! Steps whose loss or gradients are not finite.

use std::sync::atomic::{AtomicUsize, Ordering};

use candle_core::Tensor;
use tallow_train::{CrossEntropy, EmaConfig, Error, Loss, Result, Target, TrainConfig, Trainer};

use crate::common::{loaders, net, recipe, values};

/// Loss that is not finite at some calls: its value, or its gradient only.
struct Flaky {
    calls: AtomicUsize,
    bad: &'static [usize],
    gradient_only: bool,
}

impl Flaky {
    fn new(bad: &'static [usize], gradient_only: bool) -> Self {
        let calls = AtomicUsize::new(0);
        Self {
            calls,
            bad,
            gradient_only,
        }
    }
}

impl Loss for Flaky {
    fn loss(&self, logits: &Tensor, target: &Target) -> Result<Tensor> {
        let loss = CrossEntropy::default().loss(logits, target)?;
        let call = self.calls.fetch_add(1, Ordering::Relaxed);
        if !self.bad.contains(&call) {
            return Ok(loss);
        }
        if !self.gradient_only {
            return Ok((loss * f64::NAN)?);
        }
        // The root of 0 is 0, and its slope is not finite.
        let zero = (logits - logits.detach())?;
        let root = zero.sqr()?.sum_all()?.sqrt()?;
        Ok((loss + root)?)
    }
}

#[test]
fn steps_that_are_not_finite_are_named_or_skipped() {
    let fit = |bad: &'static [usize], gradient_only: bool, allowed: usize| {
        let (net, store) = net(0);
        let (train, _) = loaders(0, 0);
        let config = TrainConfig {
            skip_non_finite: allowed,
            ema: Some(EmaConfig::default()),
            ..recipe(1)
        };
        let result = Trainer::new(config)
            .with_loss(Flaky::new(bad, gradient_only))
            .fit(&net, &store, &train, None);
        let finite = values(&store)
            .iter()
            .all(|(_, v)| v.iter().all(|x| x.is_finite()));
        assert!(finite, "the weights are those of the last good step");
        result
    };
    let error = fit(&[4], false, 0).unwrap_err();
    assert!(
        matches!(&error, Error::NonFiniteLoss { epoch: 0, step: 4, names, .. } if names.is_empty()),
        "{error}"
    );
    let error = fit(&[4], true, 0).unwrap_err();
    let Error::NonFiniteGradient {
        epoch: 0,
        step: 4,
        names,
    } = &error
    else {
        panic!("{error}")
    };
    assert_eq!(names.len(), 5, "{names:?}");
    assert!(error.to_string().contains("`fc.weight`"), "{error}");

    for gradient_only in [false, true] {
        let history = fit(&[0, 4, 5, 9], gradient_only, 2).unwrap();
        assert!(history.rows[0].train_loss.is_finite());
        let error = fit(&[0, 4, 5, 6], gradient_only, 2)
            .unwrap_err()
            .to_string();
        assert!(error.contains("in epoch 1, step 7"), "{error}");
    }
}

/// A skipped step leaves the running statistics as they were.
#[test]
fn skipped_steps_change_nothing() {
    let fit = |bad: &'static [usize], steps: usize| {
        let (net, store) = net(0);
        let (train, _) = loaders(0, 0);
        let config = TrainConfig {
            skip_non_finite: 1,
            max_steps: Some(steps),
            ..recipe(1)
        };
        Trainer::new(config)
            .with_loss(Flaky::new(bad, false))
            .fit(&net, &store, &train, None)
            .unwrap();
        values(&store)
    };
    assert_eq!(fit(&[3], 4), fit(&[], 3));
    assert_ne!(fit(&[], 4), fit(&[], 3));
}

#[test]
fn weights_that_are_not_finite_are_named() {
    let (net, store) = net(0);
    let (train, _) = loaders(0, 0);
    let (_, bias) = store
        .parameters()
        .into_iter()
        .find(|(name, _)| name == "fc.bias")
        .unwrap();
    bias.set(&(bias.as_detached_tensor() + f64::NAN).unwrap())
        .unwrap();
    let error = Trainer::new(recipe(1))
        .fit(&net, &store, &train, None)
        .unwrap_err();
    assert!(
        error.to_string().contains("; `fc.bias` is not finite:"),
        "{error}"
    );
}
