//! Optimizers and schedules compared with PyTorch; `fixtures/make_fixtures.py` made the expected values.

use candle_core::backprop::GradStore;
use candle_core::{DType, Device, Tensor, Var};
use serde::Deserialize;
use tallow_train::{OptimizerConfig, ParamRule};

#[derive(Deserialize)]
struct Optimizers {
    a: Vec<f64>,
    b: Vec<f64>,
    cases: Vec<OptimizerCase>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OptimizerCase {
    case: String,
    optimizer: OptimizerConfig,
    #[serde(default)]
    rules: Vec<ParamRule>,
    halve_lr_at: Option<usize>,
    #[serde(default)]
    b_only_on_odd_steps: bool,
    f32: Vec<Vec<f64>>,
    f64: Vec<(usize, Vec<f64>)>,
}

const STEPS: usize = 50;

/// Both parameters in a row after each step.
fn trace(all: &Optimizers, case: &OptimizerCase, dtype: DType) -> Vec<Vec<f64>> {
    let var = |values: &[f64], shape: &[usize]| {
        let tensor = Tensor::from_slice(values, shape, &Device::Cpu).unwrap();
        Var::from_tensor(&tensor.to_dtype(dtype).unwrap()).unwrap()
    };
    let (a, b) = (var(&all.a, &[3, 2]), var(&all.b, &[2]));
    let named = vec![("a".to_string(), a.clone()), ("b".to_string(), b.clone())];
    let mut optimizer = (case.optimizer)
        .build_with_rules(named, &case.rules)
        .unwrap();
    let mut trace = Vec::new();
    for step in 0..STEPS {
        if case.halve_lr_at == Some(step) {
            optimizer.set_lr(optimizer.lr() * 0.5);
        }
        let grads: Vec<f64> = (0..8)
            .map(|i| (((7 * i + 13 * step + i * step) % 17) as f64 - 8.0) / 8.0)
            .collect();
        let mut store = GradStore::default();
        store.insert(&a, var(&grads[..6], &[3, 2]).into_inner());
        if !(case.b_only_on_odd_steps && step % 2 == 0) {
            store.insert(&b, var(&grads[6..], &[2]).into_inner());
        }
        optimizer.step(&store).unwrap();
        let flat = |var: &Var| {
            let tensor = var.to_dtype(DType::F64).unwrap();
            tensor.flatten_all().unwrap().to_vec1::<f64>().unwrap()
        };
        trace.push([flat(&a), flat(&b)].concat());
    }
    trace
}

fn assert_close(found: &[f64], expected: &[f64], tolerance: f64, what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (i, (found, expected)) in found.iter().zip(expected).enumerate() {
        let difference = (found - expected).abs();
        assert!(
            difference <= tolerance,
            "{what}, element {i}: {found}, expected {expected}"
        );
    }
}

#[test]
fn optimizers_step_as_pytorch() {
    let all: Optimizers =
        serde_json::from_str(include_str!("../fixtures/optimizers.json")).unwrap();
    assert_eq!(all.cases.len(), 16);
    for case in &all.cases {
        let single = trace(&all, case, DType::F32);
        assert_eq!(case.f32.len(), STEPS);
        for (step, (found, expected)) in single.iter().zip(&case.f32).enumerate() {
            assert_close(
                found,
                expected,
                1e-6,
                &format!("{} f32 step {step}", case.case),
            );
        }
        let double = trace(&all, case, DType::F64);
        for (steps, expected) in &case.f64 {
            let what = format!("{} f64 after {steps}", case.case);
            assert_close(&double[steps - 1], expected, 1e-13, &what);
        }
    }
}
