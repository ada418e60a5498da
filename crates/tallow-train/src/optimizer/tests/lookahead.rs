//! Lookahead around other optimizers.

use super::*;

/// Plain gradient descent of rate 1 with a gradient of -1 goes up by 1 in each step.
#[test]
fn lookahead_goes_back_a_part_of_the_way() {
    let run = |config: LookaheadConfig| {
        let var = Var::from_tensor(&tensor(&[0.0], &[1], DType::F64)).unwrap();
        let inner = OptimizerConfig::sgd(1.0).build(named(&var)).unwrap();
        let mut made = Lookahead::new(inner, named(&var), config).unwrap();
        made.set_total_steps(5);
        let mut found = Vec::new();
        for _ in 0..5 {
            step(&mut made, &var, &tensor(&[-1.0], &[1], DType::F64));
            found.push(flat(&var)[0]);
        }
        found
    };
    let config = LookaheadConfig {
        k: 2,
        alpha: 0.25,
        power: 0.0,
    };
    assert_eq!(run(config), [1.0, 0.5, 1.5, 1.0, 2.0]);
    // Shares of 1 - 0.75 (2 / 5), then 1 - 0.75 (4 / 5); at the end the slow weights.
    let falling = LookaheadConfig {
        power: 1.0,
        ..config
    };
    let found = run(falling);
    let second: f64 = 2.0 * 0.7;
    let fourth = second + 2.0 * 0.4;
    let expected = [1.0, second, second + 1.0, fourth, fourth];
    for (found, expected) in found.iter().zip(expected) {
        assert!(
            (found - expected).abs() < 1e-12,
            "{found}, expected {expected}"
        );
    }
}

#[test]
fn lookahead_keeps_its_state_and_checks_its_settings() {
    let config = LookaheadConfig {
        k: 3,
        ..LookaheadConfig::default()
    };
    let made = |var: &Var| {
        let inner = OptimizerConfig::adam(0.1).build(named(var)).unwrap();
        Lookahead::new(inner, named(var), config).unwrap()
    };
    let start = || Var::from_tensor(&tensor(&values(6, 50), &[2, 3], DType::F32)).unwrap();
    let grad = |salt| tensor(&values(6, salt), &[2, 3], DType::F32);
    let straight = start();
    let mut whole = made(&straight);
    (0..8).for_each(|salt| step(&mut whole, &straight, &grad(salt)));
    let stopped = start();
    let mut first = made(&stopped);
    (0..4).for_each(|salt| step(&mut first, &stopped, &grad(salt)));
    let mut second = made(&stopped);
    let state = first.state_dict().unwrap();
    second.load_state_dict(&state).unwrap();
    (4..8).for_each(|salt| step(&mut second, &stopped, &grad(salt)));
    assert_eq!(flat(&straight), flat(&stopped));

    let without = optimizer(&OptimizerConfig::adam(0.1), &stopped)
        .state_dict()
        .unwrap();
    let message = second.load_state_dict(&without).unwrap_err().to_string();
    assert!(message.contains("lookahead_step is missing"), "{message}");

    let refused = |config: LookaheadConfig| {
        let inner = OptimizerConfig::sgd(0.1).build(named(&straight)).unwrap();
        Lookahead::new(inner, named(&straight), config)
            .err()
            .unwrap()
            .to_string()
    };
    let message = refused(LookaheadConfig { k: 0, ..config });
    assert!(message.starts_with("lookahead.k"), "{message}");
    let message = refused(LookaheadConfig {
        alpha: 1.5,
        ..config
    });
    assert!(message.starts_with("lookahead.alpha"), "{message}");
    let power = LookaheadConfig {
        k: 1,
        power: 2.0,
        ..config
    };
    let inner = OptimizerConfig::sgd(0.1).build(named(&straight)).unwrap();
    let mut made = Lookahead::new(inner, named(&straight), power).unwrap();
    let mut grads = GradStore::default();
    grads.insert(&straight, grad(0));
    let message = made.step(&grads).unwrap_err().to_string();
    assert!(message.contains("set_total_steps"), "{message}");
}
