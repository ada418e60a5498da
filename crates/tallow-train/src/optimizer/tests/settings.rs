//! Settings of optimizers, and what they do.

use super::*;

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
    let adam = AdamConfig {
        betas: (0.9, 1.0),
        ..AdamConfig::default()
    };
    refused(adam.into(), "optimizer.betas");
    let sgd = SgdConfig {
        momentum: 0.9,
        dampening: 0.1,
        nesterov: true,
        ..SgdConfig::default()
    };
    refused(sgd.into(), "optimizer.nesterov");
    let read = |text: &str| serde_json::from_str::<OptimizerConfig>(text).unwrap();
    for (text, setting) in [
        (
            r#"{"name": "nadam", "momentum_decay": -1}"#,
            "optimizer.momentum_decay",
        ),
        (r#"{"name": "radam", "betas": [0.9, 2]}"#, "optimizer.betas"),
        (r#"{"name": "rmsprop", "alpha": 1}"#, "optimizer.alpha"),
        (
            r#"{"name": "rmsprop", "momentum": -1}"#,
            "optimizer.momentum",
        ),
        (
            r#"{"name": "lion", "betas": [-0.1, 0.99]}"#,
            "optimizer.betas",
        ),
        (
            r#"{"name": "lion", "weight_decay": -1}"#,
            "optimizer.weight_decay",
        ),
        (
            r#"{"name": "lars", "nesterov": true}"#,
            "optimizer.nesterov",
        ),
        (
            r#"{"name": "lars", "trust_coeff": -1}"#,
            "optimizer.trust_coeff",
        ),
        (
            r#"{"name": "lamb", "max_grad_norm": -1}"#,
            "optimizer.max_grad_norm",
        ),
        (r#"{"name": "lamb", "eps": -1}"#, "optimizer.eps"),
        (r#"{"name": "muon", "momentum": 1}"#, "optimizer.momentum"),
        (r#"{"name": "muon", "ns_steps": 100}"#, "optimizer.ns_steps"),
        (r#"{"name": "muon", "min_dims": 1}"#, "optimizer.min_dims"),
        (r#"{"name": "muon", "lr": 0}"#, "optimizer.lr"),
        (
            r#"{"name": "muon", "others": {"name": "muon"}}"#,
            "optimizer.others",
        ),
        (
            r#"{"name": "muon", "others": {"name": "sgd", "lr": -1}}"#,
            "optimizer.lr",
        ),
    ] {
        refused(read(text), setting);
    }
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

/// Recipes of older versions are written as before: new settings at their defaults are left out.
#[test]
fn settings_are_written_as_before() {
    let text = |config| serde_json::to_string(&config).unwrap();
    assert_eq!(
        text(OptimizerConfig::sgd_momentum(0.1, 0.5)),
        r#"{"name":"sgd","lr":0.1,"momentum":0.5,"dampening":0.0,"weight_decay":0.0,"nesterov":false}"#
    );
    assert_eq!(
        text(OptimizerConfig::adam(0.1)),
        r#"{"name":"adam","lr":0.1,"betas":[0.9,0.999],"eps":1e-8,"weight_decay":0.0}"#
    );
    assert_eq!(
        text(OptimizerConfig::adamw(0.1)),
        r#"{"name":"adamw","lr":0.1,"betas":[0.9,0.999],"eps":1e-8,"weight_decay":0.01}"#
    );
}

/// Parameters after a step of `p - 0.5 (g + 4 p)` at p = g = 1.
#[test]
fn weight_decay_spares_norms_and_biases() {
    let after = |rules: &[ParamRule], decay_norm_and_bias| {
        let params: Vec<(String, Var)> = [
            ("fc.weight", &[1, 1][..]),
            ("fc.bias", &[1]),
            ("bn.weight", &[1]),
            ("table.bias", &[1, 1]),
        ]
        .into_iter()
        .map(|(name, shape)| {
            (
                name.to_string(),
                Var::ones(shape, DType::F64, &Device::Cpu).unwrap(),
            )
        })
        .collect();
        let config = SgdConfig {
            lr: 0.5,
            weight_decay: 4.0,
            ..SgdConfig::default()
        };
        let config = OptimizerConfig::from(config);
        let groups = Groups {
            rules,
            decay_norm_and_bias,
            lr_scales: &BTreeMap::new(),
        };
        let mut made = config.build_with_groups(params.clone(), &groups).unwrap();
        let mut grads = GradStore::default();
        for (_, var) in &params {
            grads.insert(var, var.ones_like().unwrap());
        }
        made.step(&grads).unwrap();
        params
            .iter()
            .map(|(_, var)| flat(var)[0])
            .collect::<Vec<_>>()
    };
    assert_eq!(after(&[], true), [-1.5; 4]);
    assert_eq!(after(&[], false), [-1.5, 0.5, 0.5, 0.5]);
    // A rule that sets a weight decay has the last word; one that does not, has none.
    let bias = |weight_decay| ParamRule {
        name_contains: Some("fc.bias".into()),
        lr_scale: 0.5,
        weight_decay,
        ..ParamRule::default()
    };
    assert_eq!(after(&[bias(Some(4.0))], false), [-1.5, -0.25, 0.5, 0.5]);
    assert_eq!(after(&[bias(None)], false), [-1.5, 0.75, 0.5, 0.5]);
}

/// Factors of single parameters multiply those of rules.
#[test]
fn learning_rates_have_factors_by_name() {
    let params: Vec<(String, Var)> = ["a.weight", "a.bias", "b.weight"]
        .map(|name| {
            (
                name.to_string(),
                Var::ones(2, DType::F64, &Device::Cpu).unwrap(),
            )
        })
        .into();
    let rule = ParamRule {
        name_contains: Some("a.".into()),
        lr_scale: 0.5,
        ..ParamRule::default()
    };
    let store = tallow_ops::ParamStore::from_vars(params.clone(), 0).unwrap();
    let config = |scales: &[(&str, f64)]| TrainConfig {
        rules: vec![rule.clone()],
        lr_scales: (scales.iter())
            .map(|(name, scale)| (name.to_string(), *scale))
            .collect(),
        ..TrainConfig::new(1, OptimizerConfig::sgd(1.0))
    };
    let mut made = config(&[("a.weight", 0.25), ("b.weight", 0.0)])
        .optimizer(&store)
        .unwrap();
    let mut grads = GradStore::default();
    for (_, var) in &params {
        grads.insert(var, var.ones_like().unwrap());
    }
    made.step(&grads).unwrap();
    let after: Vec<f64> = params.iter().map(|(_, var)| flat(var)[0]).collect();
    assert_eq!(after, [0.875, 0.5, 1.0]);

    let refused = |scales: &[(&str, f64)]| {
        let error = config(scales).optimizer(&store).err().unwrap();
        error.to_string()
    };
    assert_eq!(
        refused(&[("c.weight", 0.5)]),
        "lr_scales: there is no parameter `c.weight`"
    );
    assert!(refused(&[("a.bias", -1.0)]).contains("lr_scales"));
    // Recipes of before have the same text.
    let text = serde_json::to_string(&config(&[])).unwrap();
    assert!(!text.contains("lr_scales"), "{text}");
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
