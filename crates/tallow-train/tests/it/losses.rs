//! Losses compared with PyTorch and torchvision; `fixtures/make_losses.py` made the expected values.

use candle_core::{DType, Device, Tensor, Var};
use serde::Deserialize;
use tallow_ops::gradcheck;
use tallow_train::{Distillation, Error, Loss, LossConfig, Target};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Fixtures {
    logits: Vec<Vec<f64>>,
    labels: Vec<u32>,
    soft: Vec<Vec<f64>>,
    multi: Vec<Vec<f64>>,
    teacher: Vec<Vec<f64>>,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    case: LossConfig,
    target: String,
    value: f64,
    gradient: Vec<Vec<f64>>,
}

fn fixtures() -> Fixtures {
    serde_json::from_str(include_str!("../fixtures/losses.json")).unwrap()
}

fn rows(rows: &[Vec<f64>]) -> Tensor {
    Tensor::new(rows.to_vec(), &Device::Cpu).unwrap()
}

impl Fixtures {
    fn target(&self, kind: &str) -> Target {
        let labels = Target::Classes(Tensor::new(&self.labels[..], &Device::Cpu).unwrap());
        match kind {
            "labels" => labels,
            "soft" => Target::Soft(rows(&self.soft)),
            "multi" => Target::MultiLabel(rows(&self.multi)),
            "teacher" => Target::Teacher {
                target: Box::new(labels),
                logits: rows(&self.teacher),
            },
            other => panic!("{other}"),
        }
    }
}

#[test]
fn losses_and_gradients_are_pytorchs() {
    let all = fixtures();
    assert_eq!(all.cases.len(), 25);
    for case in &all.cases {
        for (dtype, tolerance) in [(DType::F64, 1e-14), (DType::F32, 1e-6)] {
            let logits = rows(&all.logits).to_dtype(dtype).unwrap();
            let logits = Var::from_tensor(&logits).unwrap();
            let loss = case.case.build().unwrap();
            let loss = loss.loss(&logits, &all.target(&case.target)).unwrap();
            let grads = loss.backward().unwrap();
            let gradient = grads.get(&logits).unwrap().to_dtype(DType::F64).unwrap();
            let value = loss
                .to_dtype(DType::F64)
                .unwrap()
                .to_scalar::<f64>()
                .unwrap();
            let what = format!("{:?} of {}, {dtype:?}", case.case, case.target);
            let scale = case.value.abs().max(1.0);
            assert!(
                (value - case.value).abs() <= tolerance * scale,
                "{what}: {value}, expected {}",
                case.value
            );
            let found = gradient.to_vec2::<f64>().unwrap().concat();
            for (i, (found, expected)) in found.iter().zip(case.gradient.concat()).enumerate() {
                assert!(
                    (found - expected).abs() <= tolerance,
                    "{what}, gradient {i}: {found}, expected {expected}"
                );
            }
        }
    }
}

/// The logits of 0 and of 12 are left out: there `|x|` has a kink, and the differences cancel.
#[test]
fn gradients_equal_finite_differences() {
    let all = fixtures();
    let keep = Tensor::new(&[0.125f64; 20], &Device::Cpu).unwrap();
    let logits =
        (rows(&all.logits).clamp(-3.0, 3.0).unwrap() + keep.reshape((5, 4)).unwrap()).unwrap();
    for case in &all.cases {
        let loss = case.case.build().unwrap();
        let target = all.target(&case.target);
        let f = |t: &[Tensor]| match loss.loss(&t[0], &target) {
            Err(Error::Ops(error)) => Err(error),
            other => Ok(other.unwrap()),
        };
        let error = gradcheck::max_relative_error(f, std::slice::from_ref(&logits)).unwrap();
        assert!(error < 1e-7, "{:?} of {}: {error}", case.case, case.target);
    }
}

/// Large logits overflow nowhere.
#[test]
fn large_logits_have_finite_losses() {
    let all = fixtures();
    for case in &all.cases {
        let logits = (rows(&all.logits) * 1e4)
            .unwrap()
            .to_dtype(DType::F32)
            .unwrap();
        let logits = Var::from_tensor(&logits).unwrap();
        let loss = case.case.build().unwrap();
        let loss = loss.loss(&logits, &all.target(&case.target)).unwrap();
        let value = loss.to_scalar::<f32>().unwrap();
        assert!(value.is_finite(), "{:?}: {value}", case.case);
    }
}

#[test]
fn targets_that_do_not_fit_are_refused() {
    let all = fixtures();
    let logits = rows(&all.logits);
    for name in ["cross-entropy", "softmax-cross-entropy", "focal"] {
        let loss: LossConfig = serde_json::from_value(serde_json::json!({ "name": name })).unwrap();
        let loss = loss.build().unwrap();
        for kind in ["multi", "teacher"] {
            let error = loss.loss(&logits, &all.target(kind)).unwrap_err();
            assert!(matches!(error, Error::Target { .. }), "{name}: {error}");
        }
    }
    let other = Target::Teacher {
        target: Box::new(all.target("labels")),
        logits: logits.narrow(1, 0, 3).unwrap(),
    };
    let error = Distillation::default().loss(&logits, &other).unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("loss.teacher: the teacher's outputs have shape [5, 3]"),
        "{error}"
    );
}

#[test]
fn settings_out_of_range_are_refused() {
    for (text, setting) in [
        (r#"{"name": "focal", "gamma": -1}"#, "loss.gamma"),
        (
            r#"{"name": "focal", "class_weights": [0, 0]}"#,
            "loss.class_weights",
        ),
        (r#"{"name": "sigmoid-focal", "alpha": 1.5}"#, "loss.alpha"),
        (r#"{"name": "sigmoid-focal", "gamma": -1}"#, "loss.gamma"),
        (
            r#"{"name": "binary-cross-entropy", "pos_weight": [1, -1]}"#,
            "loss.pos_weight",
        ),
        (
            r#"{"name": "distillation", "teacher": "t", "temperature": 0}"#,
            "loss.temperature",
        ),
        (
            r#"{"name": "distillation", "teacher": "t", "alpha": 1.5}"#,
            "loss.alpha",
        ),
        (
            r#"{"name": "distillation", "teacher": "t", "label_smoothing": 2}"#,
            "loss.label_smoothing",
        ),
    ] {
        let config: LossConfig = serde_json::from_str(text).unwrap();
        let message = config.validate().unwrap_err().to_string();
        assert!(message.starts_with(setting), "{text}: {message}");
        assert!(config.build().is_err());
    }
    assert!(serde_json::from_str::<LossConfig>(r#"{"name": "distillation"}"#).is_err());
}
