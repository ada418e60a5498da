//! The fused pass compared with the tensor operations, and the state.

use std::collections::BTreeMap;

use candle_core::{DType, Var};
use proptest::prelude::*;

use super::*;
use crate::config::TrainConfig;

mod lookahead;
mod muon;
mod settings;

/// Every optimizer whose steps have a fused path, with the settings that lead to other code.
fn all() -> Vec<OptimizerConfig> {
    let sgd = |momentum, dampening, weight_decay, nesterov| SgdConfig {
        lr: 0.1,
        momentum,
        dampening,
        weight_decay,
        nesterov,
        maximize: weight_decay == 0.0,
    };
    let adam = AdamConfig {
        lr: 0.01,
        betas: (0.8, 0.95),
        eps: 1e-3,
        weight_decay: 0.1,
        ..AdamConfig::default()
    };
    let nadam = NAdamConfig {
        lr: 0.01,
        weight_decay: 0.1,
        ..NAdamConfig::default()
    };
    let radam = RAdamConfig {
        lr: 0.01,
        weight_decay: 0.1,
        ..RAdamConfig::default()
    };
    let rmsprop = |momentum, centered| RmsPropConfig {
        weight_decay: 0.1,
        momentum,
        centered,
        ..RmsPropConfig::default()
    };
    let lion = LionConfig {
        lr: 0.01,
        weight_decay: 0.1,
        maximize: true,
        ..LionConfig::default()
    };
    let lars = LarsConfig {
        momentum: 0.9,
        weight_decay: 0.1,
        ..LarsConfig::default()
    };
    let lamb = LambConfig {
        lr: 0.01,
        ..LambConfig::default()
    };
    vec![
        sgd(0.0, 0.0, 0.0, false).into(),
        sgd(0.0, 0.0, 0.1, false).into(),
        sgd(0.9, 0.0, 0.0, false).into(),
        sgd(0.9, 0.3, 0.1, false).into(),
        sgd(0.9, 0.0, 0.1, true).into(),
        OptimizerConfig::adam(0.01),
        adam.clone().into(),
        AdamConfig {
            amsgrad: true,
            maximize: true,
            ..adam
        }
        .into(),
        OptimizerConfig::adamw(0.01),
        nadam.clone().into(),
        NAdamConfig {
            decoupled_weight_decay: true,
            maximize: true,
            ..nadam
        }
        .into(),
        radam.clone().into(),
        RAdamConfig {
            decoupled_weight_decay: true,
            maximize: true,
            ..radam
        }
        .into(),
        rmsprop(0.0, false).into(),
        rmsprop(0.0, true).into(),
        rmsprop(0.9, false).into(),
        rmsprop(0.9, true).into(),
        lion.into(),
        lars.clone().into(),
        LarsConfig {
            nesterov: true,
            trust_clip: true,
            ..lars.clone()
        }
        .into(),
        LarsConfig {
            weight_decay: 0.0,
            momentum: 0.0,
            ..lars.clone()
        }
        .into(),
        LarsConfig {
            momentum: 0.0,
            ..lars
        }
        .into(),
        lamb.clone().into(),
        LambConfig {
            weight_decay: 0.0,
            bias_correction: false,
            ..lamb.clone()
        }
        .into(),
        LambConfig {
            trust_clip: true,
            grad_averaging: false,
            max_grad_norm: 0.0,
            ..lamb
        }
        .into(),
    ]
}

/// Values in [-1, 1) that differ from one `salt` to the next.
fn values(count: usize, salt: u64) -> Vec<f64> {
    (0..count as u64)
        .map(|i| {
            let mixed = (i + 1)
                .wrapping_mul(0x9e37_79b9_7f4a_7c15)
                .wrapping_mul(2 * salt + 1);
            (mixed >> 11) as f64 / (1u64 << 52) as f64 - 1.0
        })
        .collect()
}

fn tensor(values: &[f64], shape: &[usize], dtype: DType) -> Tensor {
    let tensor = Tensor::from_slice(values, shape, &Device::Cpu).unwrap();
    tensor.to_dtype(dtype).unwrap()
}

fn flat(tensor: &Tensor) -> Vec<f64> {
    let tensor = tensor.to_dtype(DType::F64).unwrap();
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}

fn named(var: &Var) -> Vec<(String, Var)> {
    vec![("w".into(), var.clone())]
}

fn optimizer(config: &OptimizerConfig, var: &Var) -> Box<dyn Optimizer> {
    config.build(named(var)).unwrap()
}

/// The same optimizer, made to use tensor operations.
fn reference(config: &OptimizerConfig, var: &Var) -> Box<dyn Optimizer> {
    let groups = Groups {
        rules: &[],
        decay_norm_and_bias: true,
        lr_scales: &BTreeMap::new(),
    };
    let members = rule::members(named(var), &groups).unwrap();
    let mut made = config.build_members(members).unwrap();
    made.params = made.params.use_tensors();
    Box::new(made)
}

fn step(optimizer: &mut dyn Optimizer, var: &Var, grad: &Tensor) {
    let mut grads = GradStore::default();
    grads.insert(var, grad.clone());
    optimizer.step(&grads).unwrap();
}

/// The largest difference between the two paths after `steps`, over parameter and state; relative where values are above 1, as the
/// momentum of RMSprop is.
fn difference(config: &OptimizerConfig, shape: &[usize], dtype: DType, steps: u64) -> f64 {
    let count = shape.iter().product();
    let start = tensor(&values(count, 99), shape, dtype);
    let vars: Vec<Var> = (0..2)
        .map(|_| Var::from_tensor(&start.copy().unwrap()).unwrap())
        .collect();
    let mut fused = optimizer(config, &vars[0]);
    let mut reference = reference(config, &vars[1]);
    for salt in 0..steps {
        let grad = tensor(&values(count, salt), shape, dtype);
        step(&mut *fused, &vars[0], &grad);
        step(&mut *reference, &vars[1], &grad);
    }
    assert_ne!(flat(&start), flat(&vars[0]), "{config:?} did nothing");
    let mut pairs = vec![(vars[0].as_tensor().clone(), vars[1].as_tensor().clone())];
    for (a, b) in fused
        .state_dict()
        .unwrap()
        .into_iter()
        .zip(reference.state_dict().unwrap())
    {
        assert_eq!(a.0, b.0);
        pairs.push((a.1, b.1));
    }
    pairs
        .iter()
        .flat_map(|(a, b)| flat(a).into_iter().zip(flat(b)))
        .map(|(a, b)| (a - b).abs() / b.abs().max(1.0))
        .fold(0.0, f64::max)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn fused_and_reference_agree(which in 0..all().len(), rows in 1usize..7, columns in 0usize..40, steps in 1u64..12) {
        let config = &all()[which];
        let shape = [rows, columns];
        prop_assume!(columns > 0);
        let single = difference(config, &shape, DType::F32, steps);
        prop_assert!(single < 2e-6, "{config:?} {single}");
        let double = difference(config, &shape, DType::F64, steps);
        prop_assert!(double < 1e-14, "{config:?} {double}");
    }
}

/// More elements than a task takes, and no whole number of tasks.
#[test]
fn parallel_parameters_agree_too() {
    for config in &all() {
        let found = difference(config, &[3, 25_001], DType::F64, 3);
        assert!(found < 1e-14, "{config:?} {found}");
    }
}

#[test]
fn the_thread_count_changes_no_bit() {
    for config in &all() {
        let run = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
            pool.build().unwrap().install(|| {
                let var = Var::from_tensor(&tensor(&values(100_000, 1), &[100_000], DType::F32));
                let var = var.unwrap();
                let mut optimizer = optimizer(config, &var);
                for salt in 2..5 {
                    let grad = tensor(&values(100_000, salt), &[100_000], DType::F32);
                    step(&mut *optimizer, &var, &grad);
                }
                var.to_vec1::<f32>().unwrap()
            })
        };
        assert_eq!(run(1), run(3), "{config:?}");
    }
}

/// Large and small parameters in one step, from a thread of a pool and from one outside of any.
#[test]
fn the_calling_thread_changes_no_bit() {
    for config in &all() {
        let run = || -> Vec<Vec<f32>> {
            let var = |(i, &count): (usize, &usize)| {
                let start = tensor(&values(count, i as u64), &[count], DType::F32);
                (format!("w{i}"), Var::from_tensor(&start).unwrap())
            };
            let counts = [3, 40_000, 17, 70_001];
            let vars: Vec<(String, Var)> = counts.iter().enumerate().map(var).collect();
            let mut optimizer = config.build(vars.clone()).unwrap();
            for salt in 10..12 {
                let mut grads = GradStore::default();
                for (_, var) in &vars {
                    let count = var.elem_count();
                    grads.insert(var, tensor(&values(count, salt), &[count], DType::F32));
                }
                optimizer.step(&grads).unwrap();
            }
            vars.iter().map(|(_, var)| var.to_vec1().unwrap()).collect()
        };
        let pool = rayon::ThreadPoolBuilder::new().num_threads(2);
        assert_eq!(run(), pool.build().unwrap().install(run), "{config:?}");
    }
}

#[test]
fn gradients_need_not_be_contiguous() {
    let var = Var::zeros((2, 3), DType::F32, &Device::Cpu).unwrap();
    let grad = Tensor::new(&[[1f32, 4.0], [2.0, 5.0], [3.0, 6.0]], &Device::Cpu).unwrap();
    let mut optimizer = optimizer(&OptimizerConfig::sgd(1.0), &var);
    step(&mut *optimizer, &var, &grad.t().unwrap());
    assert_eq!(
        var.to_vec2::<f32>().unwrap(),
        [[-1.0, -2.0, -3.0], [-4.0, -5.0, -6.0]]
    );
}

#[test]
fn half_precision_takes_the_reference_path() {
    let var = Var::from_tensor(&tensor(&[1.0, -1.0], &[2], DType::BF16)).unwrap();
    let mut optimizer = optimizer(&OptimizerConfig::sgd_momentum(0.5, 0.5), &var);
    step(
        &mut *optimizer,
        &var,
        &tensor(&[1.0, 0.5], &[2], DType::BF16),
    );
    step(
        &mut *optimizer,
        &var,
        &tensor(&[1.0, 0.5], &[2], DType::BF16),
    );
    assert_eq!(flat(&var), [-0.25, -1.625]);
}

#[test]
fn state_goes_through_a_file() {
    let dir = tempfile::tempdir().unwrap();
    let muon = OptimizerConfig::Muon(MuonConfig::default());
    for (index, config) in all().iter().chain([&muon]).enumerate() {
        let grads: Vec<Tensor> = (0..6)
            .map(|s| tensor(&values(6, s), &[2, 3], DType::F32))
            .collect();
        let straight = Var::from_tensor(&tensor(&values(6, 50), &[2, 3], DType::F32)).unwrap();
        let mut optimizer_a = optimizer(config, &straight);
        grads
            .iter()
            .for_each(|grad| step(&mut *optimizer_a, &straight, grad));

        let stopped = Var::from_tensor(&tensor(&values(6, 50), &[2, 3], DType::F32)).unwrap();
        let mut first = optimizer(config, &stopped);
        grads[..3]
            .iter()
            .for_each(|grad| step(&mut *first, &stopped, grad));
        let path = dir.path().join(format!("{index}.safetensors"));
        save(&*first, &path).unwrap();
        let mut second = optimizer(config, &stopped);
        load(&mut *second, &path).unwrap();
        grads[3..]
            .iter()
            .for_each(|grad| step(&mut *second, &stopped, grad));
        assert_eq!(flat(&straight), flat(&stopped), "{config:?}");
    }
}

#[test]
fn state_of_another_optimizer_is_refused() {
    let var = Var::zeros(3, DType::F32, &Device::Cpu).unwrap();
    let adam = optimizer(&OptimizerConfig::adam(0.1), &var)
        .state_dict()
        .unwrap();
    let mut sgd = optimizer(&OptimizerConfig::sgd_momentum(0.1, 0.9), &var);
    let message = sgd.load_state_dict(&adam).unwrap_err().to_string();
    assert!(
        message.contains("w.momentum_buffer is missing"),
        "{message}"
    );

    let mut plain = optimizer(&OptimizerConfig::sgd(0.1), &var);
    let message = plain.load_state_dict(&adam).unwrap_err().to_string();
    assert!(message.contains("3 tensors, expected 1"), "{message}");

    let longer = Var::zeros(4, DType::F32, &Device::Cpu).unwrap();
    let mut other = optimizer(&OptimizerConfig::adam(0.1), &longer);
    let message = other.load_state_dict(&adam).unwrap_err().to_string();
    assert!(
        message.contains("w.exp_avg has shape [3], the parameter [4]"),
        "{message}"
    );
}

#[test]
fn truncated_state_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("optimizer.safetensors");
    let var = Var::zeros(30, DType::F32, &Device::Cpu).unwrap();
    let mut made = optimizer(&OptimizerConfig::adam(0.1), &var);
    save(&*made, &path).unwrap();
    let bytes = std::fs::read(&path).unwrap();
    for length in [0, 7, 20, bytes.len() - 1] {
        std::fs::write(&path, &bytes[..length]).unwrap();
        let message = load(&mut *made, &path).unwrap_err().to_string();
        assert!(message.contains("optimizer.safetensors"), "{message}");
    }
}

#[test]
fn gradients_that_do_not_fit_are_errors() {
    let var = Var::zeros((2, 2), DType::F32, &Device::Cpu).unwrap();
    let mut made = optimizer(&OptimizerConfig::sgd(0.1), &var);
    let mut grads = GradStore::default();
    grads.insert(&var, Tensor::zeros(4, DType::F32, &Device::Cpu).unwrap());
    let error = made.step(&grads).unwrap_err();
    assert!(matches!(error, Error::GradientShape { .. }), "{error}");
    assert_eq!(
        error.to_string(),
        "gradient of `w`: expected shape [2, 2], found [4]"
    );
    grads.insert(&var, var.to_dtype(DType::F64).unwrap());
    let error = made.step(&grads).unwrap_err();
    assert!(matches!(error, Error::GradientType { .. }), "{error}");
    assert_eq!(
        error.to_string(),
        "gradient of `w`: expected type F32, found F64"
    );
    assert!(matches!(
        made.step(&GradStore::default()),
        Err(Error::NoGradients)
    ));
}
