//! Optimizers compared with PyTorch, timm and airbench94; `fixtures/make_more_optimizers.py` made the expected values.

use std::collections::HashMap;

use candle_core::backprop::GradStore;
use candle_core::{DType, Device, Tensor, Var};
use serde::Deserialize;
use tallow_ops::ParamStore;
use tallow_train::{LookaheadConfig, OptimizerConfig, ParamRule, TrainConfig};

#[derive(Deserialize)]
struct Fixture {
    start: Vec<f64>,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    case: String,
    optimizer: OptimizerConfig,
    #[serde(default)]
    rules: Vec<ParamRule>,
    #[serde(default = "yes")]
    decay_norm_and_bias: bool,
    lookahead: Option<LookaheadConfig>,
    #[serde(default)]
    cycle_momentum: bool,
    f32: Vec<(usize, Vec<f64>)>,
    f64: Vec<(usize, Vec<f64>)>,
}

fn yes() -> bool {
    true
}

const STEPS: usize = 50;
const SHAPES: [(&str, &[usize]); 3] = [
    ("conv.weight", &[3, 2, 1, 2]),
    ("fc.weight", &[2, 3]),
    ("fc.bias", &[3]),
];

fn split(values: &[f64], dtype: DType) -> Vec<Tensor> {
    let mut rest = values;
    let take = |(_, shape): (&str, &[usize])| {
        let (values, tail) = rest.split_at(shape.iter().product());
        rest = tail;
        let tensor = Tensor::from_slice(values, shape, &Device::Cpu).unwrap();
        tensor.to_dtype(dtype).unwrap()
    };
    SHAPES.map(take).to_vec()
}

/// All parameters in a row after each step.
fn trace(start: &[f64], case: &Case, dtype: DType) -> Vec<Vec<f64>> {
    let vars: Vec<Var> = split(start, dtype)
        .iter()
        .map(|tensor| Var::from_tensor(tensor).unwrap())
        .collect();
    let named: HashMap<String, Var> = SHAPES
        .iter()
        .zip(&vars)
        .map(|((name, _), var)| (name.to_string(), var.clone()))
        .collect();
    let store = ParamStore::from_vars(named, 0).unwrap();
    let config = TrainConfig {
        rules: case.rules.clone(),
        decay_norm_and_bias: case.decay_norm_and_bias,
        lookahead: case.lookahead,
        ..TrainConfig::new(1, case.optimizer.clone())
    };
    let mut optimizer = config.optimizer(&store).unwrap();
    optimizer.set_total_steps(STEPS as u64);
    let mut trace = Vec::new();
    for step in 0..STEPS {
        let grads: Vec<f64> = (0..start.len())
            .map(|i| (((7 * i + 13 * step + i * step) % 17) as f64 - 8.0) / 8.0)
            .collect();
        let mut store = GradStore::default();
        for (var, grad) in vars.iter().zip(split(&grads, dtype)) {
            store.insert(var, grad);
        }
        if case.cycle_momentum {
            assert!(optimizer.momentum().is_some());
            optimizer.set_momentum(0.95 - 0.02 * (step % 6) as f64);
        }
        optimizer.step(&store).unwrap();
        let flat = |var: &Var| {
            let tensor = var.to_dtype(DType::F64).unwrap();
            tensor.flatten_all().unwrap().to_vec1::<f64>().unwrap()
        };
        trace.push(vars.iter().flat_map(flat).collect());
    }
    trace
}

fn largest_difference(trace: &[Vec<f64>], expected: &[(usize, Vec<f64>)], case: &str) -> f64 {
    assert_eq!(expected.len(), 7, "{case}");
    let mut largest = 0.0;
    for (steps, expected) in expected {
        let found = &trace[steps - 1];
        assert_eq!(found.len(), expected.len(), "{case}");
        for (found, expected) in found.iter().zip(expected) {
            let difference = (found - expected).abs();
            // Also not when the difference is not a number.
            assert!(
                difference < 1.0,
                "{case}, step {steps}: {found}, expected {expected}"
            );
            largest = difference.max(largest);
        }
    }
    largest
}

/// Within 2e-6 in single and 1e-12 in double precision; Muon, whose iteration enlarges rounding errors, within 1e-5 and 1e-10.
#[test]
fn optimizers_step_as_pytorch_and_timm() {
    let all: Fixture =
        serde_json::from_str(include_str!("../fixtures/more_optimizers.json")).unwrap();
    assert_eq!(all.cases.len(), 40);
    for case in &all.cases {
        let (single, double) = match case.optimizer {
            OptimizerConfig::Muon(_) => (1e-5, 1e-10),
            _ => (2e-6, 1e-12),
        };
        let found = trace(&all.start, case, DType::F64);
        let largest = largest_difference(&found, &case.f64, &case.case);
        assert!(largest <= double, "{}, f64: {largest:e}", case.case);
        let found = trace(&all.start, case, DType::F32);
        let largest = largest_difference(&found, &case.f32, &case.case);
        assert!(largest <= single, "{}, f32: {largest:e}", case.case);
    }
}
