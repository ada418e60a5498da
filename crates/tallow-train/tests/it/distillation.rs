//! Knowledge distillation in the trainer.

use candle_nn::ModuleT;
use tallow_ops::no_grad;
use tallow_train::{
    Error, ForwardBackward, LossConfig, Result, StepInput, StepOutput, Target, TrainConfig,
    TrainStep, Trainer,
};

use crate::common::{bytes, loaders, net, recipe};

fn distillation() -> TrainConfig {
    TrainConfig {
        loss: LossConfig::Distillation {
            teacher: "runs/teacher".to_string(),
            temperature: 3.0,
            alpha: 0.75,
            label_smoothing: 0.0,
        },
        ..recipe(1)
    }
}

/// The teacher's logits by hand, in a training step.
struct ByHand<'t>(&'t dyn ModuleT);

impl TrainStep for ByHand<'_> {
    fn step(&mut self, input: &StepInput) -> Result<StepOutput> {
        // Without `detach`: the loss itself takes no gradient of the teacher.
        let target = Target::Teacher {
            target: Box::new(input.target.clone()),
            logits: no_grad(|| self.0.forward_t(input.images, false))?,
        };
        ForwardBackward.step(&StepInput {
            target: &target,
            ..*input
        })
    }
}

#[test]
fn the_teacher_is_evaluated_on_the_batch_and_not_trained() {
    let dir = tempfile::tempdir().unwrap();
    let (train, test) = loaders(1, 1);
    let (teacher, teachers) = net(9);
    Trainer::new(recipe(1))
        .fit(&teacher, &teachers, &train, None)
        .unwrap();
    let before = bytes(&teachers, dir.path());

    let (student, store) = net(1);
    let history = Trainer::new(distillation())
        .with_teacher(&teacher)
        .fit(&student, &store, &train, Some(&test))
        .unwrap();
    assert!(before == bytes(&teachers, dir.path()));
    let distilled = bytes(&store, dir.path());

    let (student, store) = net(1);
    let loss = distillation().loss.build().unwrap();
    Trainer::new(distillation())
        .with_loss(loss)
        .with_step(ByHand(&teacher))
        .fit(&student, &store, &train, None)
        .unwrap();
    assert!(distilled == bytes(&store, dir.path()));

    // The loss of an evaluation is that of the labels.
    let (student, store) = net(1);
    store
        .load(dir.path().join("weights.safetensors"), true)
        .unwrap();
    let evaluation = Trainer::new(recipe(1))
        .evaluate(&student, &store, &test)
        .unwrap();
    assert_eq!(history.rows[0].test_loss, Some(evaluation.loss));
}

#[test]
fn a_missing_and_a_useless_teacher_are_refused() {
    let (train, _) = loaders(1, 0);
    let (student, store) = net(1);
    let error = Trainer::new(distillation())
        .fit(&student, &store, &train, None)
        .unwrap_err();
    assert!(
        matches!(
            error,
            Error::Config {
                setting: "loss.teacher",
                ..
            }
        ),
        "{error}"
    );
    let (teacher, _) = net(2);
    let error = Trainer::new(recipe(1))
        .with_teacher(&teacher)
        .fit(&student, &store, &train, None)
        .unwrap_err();
    assert!(
        matches!(
            error,
            Error::Config {
                setting: "loss",
                ..
            }
        ),
        "{error}"
    );
}
