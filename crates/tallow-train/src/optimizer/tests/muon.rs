//! Muon: which parameters it takes, its state and its rates.

use super::*;

/// Matrices and filters to Muon, the rest to the other optimizer, with the state of both.
#[test]
fn muon_shares_the_parameters_out() {
    let params = || -> Vec<(String, Var)> {
        [
            ("conv.weight", &[4, 2, 3, 3][..]),
            ("conv.bias", &[4]),
            ("depthwise.weight", &[4, 1, 3, 3]),
            ("hidden.weight", &[5, 6]),
            ("fc.weight", &[3, 5]),
        ]
        .into_iter()
        .enumerate()
        .map(|(salt, (name, shape))| {
            let values = values(shape.iter().product(), salt as u64);
            let var = Var::from_tensor(&tensor(&values, shape, DType::F32)).unwrap();
            (name.to_string(), var)
        })
        .collect()
    };
    let kinds = |text: &str| {
        let config: OptimizerConfig = serde_json::from_str(text).unwrap();
        let made = config.build(params()).unwrap();
        let names = made.state_dict().unwrap().into_iter().map(|(name, _)| name);
        names
            .filter_map(|name| name.strip_suffix(".momentum_buffer").map(str::to_string))
            .collect::<Vec<_>>()
    };
    assert_eq!(
        kinds(r#"{"name": "muon"}"#),
        ["conv.weight", "hidden.weight", "fc.weight"]
    );
    assert_eq!(kinds(r#"{"name": "muon", "min_dims": 4}"#), ["conv.weight"]);
    assert_eq!(
        kinds(r#"{"name": "muon", "exclude": ["fc", "conv"]}"#),
        ["hidden.weight"]
    );
    let refused = |text: &str| {
        let config: OptimizerConfig = serde_json::from_str(text).unwrap();
        config.build(params()).err().unwrap().to_string()
    };
    let message = refused(r#"{"name": "muon", "exclude": ["head"]}"#);
    assert!(message.contains("`head` matches no parameter"), "{message}");
    let message = refused(r#"{"name": "muon", "min_dims": 5}"#);
    assert!(
        message.contains("no parameter is left for Muon"),
        "{message}"
    );

    let others = OptimizerConfig::sgd_momentum(0.05, 0.9);
    let config = OptimizerConfig::from(MuonConfig {
        lr: 0.1,
        exclude: vec!["fc".into()],
        others: Box::new(others),
        ..MuonConfig::default()
    });
    let steps =
        |made: &mut dyn Optimizer, params: &[(String, Var)], salts: std::ops::Range<u64>| {
            for salt in salts {
                let mut grads = GradStore::default();
                for (index, (_, var)) in params.iter().enumerate() {
                    let values = values(var.elem_count(), 7 * salt + index as u64);
                    grads.insert(var, tensor(&values, var.dims(), DType::F32));
                }
                made.set_lr(0.1 / (1 + salt) as f64);
                made.step(&grads).unwrap();
            }
        };
    let straight = params();
    steps(
        &mut *config.build(straight.clone()).unwrap(),
        &straight,
        0..6,
    );
    let stopped = params();
    let mut first = config.build(stopped.clone()).unwrap();
    steps(&mut *first, &stopped, 0..3);
    let mut second = config.build(stopped.clone()).unwrap();
    let state = first.state_dict().unwrap();
    second.load_state_dict(&state).unwrap();
    steps(&mut *second, &stopped, 3..6);
    for ((name, a), (_, b)) in straight.iter().zip(&stopped) {
        assert_eq!(flat(a), flat(b), "{name}");
    }
    let message = second.load_state_dict(&state[1..]).unwrap_err().to_string();
    assert!(message.contains("is missing"), "{message}");

    // A schedule that halves the rate of Muon halves that of the others.
    let bias = || params().swap_remove(1);
    let rates = |factor: f64| {
        let (params, grad) = (params(), bias().1.ones_like().unwrap());
        let mut made = config.build(params.clone()).unwrap();
        made.set_lr(0.1 * factor);
        let mut grads = GradStore::default();
        grads.insert(&params[1].1, grad);
        made.step(&grads).unwrap();
        flat(&bias().1)[0] - flat(&params[1].1)[0]
    };
    assert!((rates(1.0) - 0.05).abs() < 1e-7, "{}", rates(1.0));
    assert!((rates(0.5) - 0.025).abs() < 1e-7, "{}", rates(0.5));
}
