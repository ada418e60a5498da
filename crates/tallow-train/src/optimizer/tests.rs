//! The fused pass compared with the tensor operations, and the state.

use candle_core::{DType, Var};
use proptest::prelude::*;

use super::params::State;
use super::*;

fn all() -> Vec<OptimizerConfig> {
    let sgd = |momentum, dampening, weight_decay, nesterov| OptimizerConfig::Sgd {
        lr: 0.1,
        momentum,
        dampening,
        weight_decay,
        nesterov,
    };
    vec![
        sgd(0.0, 0.0, 0.0, false),
        sgd(0.0, 0.0, 0.1, false),
        sgd(0.9, 0.0, 0.0, false),
        sgd(0.9, 0.3, 0.1, false),
        sgd(0.9, 0.0, 0.1, true),
        OptimizerConfig::adam(0.01),
        OptimizerConfig::Adam {
            lr: 0.01,
            betas: (0.8, 0.95),
            eps: 1e-3,
            weight_decay: 0.1,
        },
        OptimizerConfig::adamw(0.01),
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
    match *config {
        OptimizerConfig::Sgd {
            lr,
            momentum,
            dampening,
            weight_decay,
            nesterov,
        } => {
            let mut sgd = Sgd::new(named(var), lr)
                .nesterov(nesterov)
                .dampening(dampening)
                .weight_decay(weight_decay)
                .momentum(momentum);
            sgd.params.slots[0].state = State::Tensors([None, None]);
            Box::new(sgd)
        }
        OptimizerConfig::Adam {
            lr,
            betas,
            eps,
            weight_decay,
        } => {
            let mut adam = Adam::new(named(var), lr)
                .betas(betas)
                .eps(eps)
                .weight_decay(weight_decay);
            adam.params.slots[0].state = State::Tensors([None, None]);
            Box::new(adam)
        }
        OptimizerConfig::AdamW {
            lr,
            betas,
            eps,
            weight_decay,
        } => {
            let mut adam = AdamW::new(named(var), lr)
                .betas(betas)
                .eps(eps)
                .weight_decay(weight_decay);
            adam.0.params.slots[0].state = State::Tensors([None, None]);
            Box::new(adam)
        }
    }
}

fn step(optimizer: &mut dyn Optimizer, var: &Var, grad: &Tensor) {
    let mut grads = GradStore::default();
    grads.insert(var, grad.clone());
    optimizer.step(&grads).unwrap();
}

/// The largest difference between the two paths after `steps`, over parameter and state.
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
        .map(|(a, b)| (a - b).abs())
        .fold(0.0, f64::max)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn fused_and_reference_agree(which in 0usize..8, rows in 1usize..7, columns in 0usize..40, steps in 1u64..12) {
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
    for (index, config) in all().iter().enumerate() {
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

#[test]
fn settings_out_of_range_are_refused() {
    let refused = |config: OptimizerConfig, setting: &str| {
        let message = config.validate().unwrap_err().to_string();
        assert!(message.starts_with(setting), "{message}");
    };
    refused(OptimizerConfig::sgd(-0.1), "optimizer.lr");
    refused(OptimizerConfig::sgd(f64::NAN), "optimizer.lr");
    refused(
        OptimizerConfig::sgd_momentum(0.1, -0.5),
        "optimizer.momentum",
    );
    let betas = (0.9, 1.0);
    refused(
        OptimizerConfig::Adam {
            lr: 0.1,
            betas,
            eps: 1e-8,
            weight_decay: 0.0,
        },
        "optimizer.betas",
    );
    refused(
        OptimizerConfig::Sgd {
            lr: 0.1,
            momentum: 0.9,
            dampening: 0.1,
            weight_decay: 0.0,
            nesterov: true,
        },
        "optimizer.nesterov",
    );
    let wrong =
        serde_json::from_str::<OptimizerConfig>(r#"{"name": "sgd", "lr": 1, "momentun": 0.9}"#);
    assert!(wrong.unwrap_err().to_string().contains("momentun"));

    let var = Var::zeros(1, DType::F32, &Device::Cpu).unwrap();
    let rule = ParamRule {
        name_contains: Some("bias".into()),
        ..ParamRule::default()
    };
    let made = OptimizerConfig::sgd(0.1).build_with_rules(named(&var), &[rule]);
    let message = made.err().unwrap().to_string();
    assert!(message.contains("matches no parameter"), "{message}");
    let none = OptimizerConfig::sgd(0.1).build(Vec::new());
    assert!(matches!(none, Err(Error::NoParameters)));
}

/// A rule's weight decay holds whatever the order of the setters.
#[test]
fn rules_apply_in_any_order() {
    let rule = ParamRule {
        lr_scale: 0.5,
        weight_decay: Some(0.0),
        ..ParamRule::default()
    };
    let after = |build: fn(Sgd, ParamRule) -> Sgd| {
        let var = Var::from_tensor(&tensor(&[1.0], &[1], DType::F64)).unwrap();
        let mut sgd = build(Sgd::new(named(&var), 0.5), rule.clone());
        step(&mut sgd, &var, &tensor(&[1.0], &[1], DType::F64));
        flat(&var)
    };
    let first = |sgd: Sgd, rule| sgd.rules(&[rule]).unwrap().weight_decay(4.0).momentum(0.9);
    let last = |sgd: Sgd, rule| sgd.momentum(0.9).weight_decay(4.0).rules(&[rule]).unwrap();
    assert_eq!((after(first), after(last)), (vec![0.75], vec![0.75]));
}

/// The momentum of a step is the one set last, and a momentum of 0 on the way leaves the buffer as it is, as in PyTorch.
#[test]
fn momentum_can_be_set_between_steps() {
    let var = Var::from_tensor(&tensor(&[0.0], &[1], DType::F64)).unwrap();
    let grad = tensor(&[1.0], &[1], DType::F64);
    let mut sgd = optimizer(&OptimizerConfig::sgd_momentum(1.0, 0.5), &var);
    assert_eq!(sgd.momentum(), Some(0.5));
    let mut found = Vec::new();
    for momentum in [0.5, 0.25, 0.0, 0.5] {
        sgd.set_momentum(momentum);
        step(&mut *sgd, &var, &grad);
        found.push(flat(&var)[0]);
    }
    assert_eq!(found, [-1.0, -2.25, -3.25, -4.875]);

    let mut plain = optimizer(&OptimizerConfig::sgd(1.0), &var);
    plain.set_momentum(0.5);
    assert_eq!(plain.momentum(), None);

    let mut adam = optimizer(&OptimizerConfig::adamw(0.1), &var);
    assert_eq!(adam.momentum(), Some(0.9));
    adam.set_momentum(0.0);
    step(&mut *adam, &var, &tensor(&[-2.0], &[1], DType::F64));
    let state = adam.state_dict().unwrap();
    assert_eq!(flat(&state[0].1), [-2.0]);
}
