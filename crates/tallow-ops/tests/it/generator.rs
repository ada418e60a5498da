//! The stream's definition, its distributions, and its state.
use candle_core::{DType, Device, Tensor};
use serde_json::Value;
use tallow_ops::{Error, Generator, GeneratorState};

const CPU: &Device = &Device::Cpu;

fn f32s(t: &Tensor) -> Vec<f32> {
    t.flatten_all().unwrap().to_vec1().unwrap()
}

fn f64s(t: &Tensor) -> Vec<f64> {
    t.flatten_all().unwrap().to_vec1().unwrap()
}

fn numbers(value: &Value) -> Vec<f64> {
    value
        .as_array()
        .unwrap()
        .iter()
        .map(|v| v.as_f64().unwrap())
        .collect()
}

/// The k-th central moment about `mean`.
fn moment(values: &[f64], mean: f64, k: i32) -> f64 {
    values.iter().map(|v| (v - mean).powi(k)).sum::<f64>() / values.len() as f64
}

#[test]
fn follows_its_written_definition() {
    let cases: Value = serde_json::from_str(include_str!("../fixtures/generator.json")).unwrap();
    for case in cases.as_array().unwrap() {
        let seed = case["seed"].as_u64().unwrap();
        let expected: Vec<f32> = numbers(&case["uniform32"])
            .iter()
            .map(|v| *v as f32)
            .collect();
        let ours = Generator::new(seed)
            .uniform(0., 1., expected.len(), DType::F32, CPU)
            .unwrap();
        assert_eq!(f32s(&ours), expected, "seed {seed}");

        let expected = numbers(&case["uniform64_times_2_to_53"]);
        let expected: Vec<f64> = expected.iter().map(|v| v * 2f64.powi(-53)).collect();
        let ours = Generator::new(seed)
            .uniform(0., 1., expected.len(), DType::F64, CPU)
            .unwrap();
        assert_eq!(f64s(&ours), expected, "seed {seed}");

        let expected = numbers(&case["normal"]);
        let ours = Generator::new(seed)
            .normal(0., 1., expected.len(), DType::F64, CPU)
            .unwrap();
        for (a, b) in f64s(&ours).iter().zip(&expected) {
            // The fixture's logarithm and sine are another library's.
            assert!((a - b).abs() <= 1e-14, "seed {seed}: {a} and {b}");
        }
        let single = Generator::new(seed)
            .normal(0., 1., expected.len(), DType::F32, CPU)
            .unwrap();
        let rounded: Vec<f32> = f64s(&ours).iter().map(|v| *v as f32).collect();
        assert_eq!(f32s(&single), rounded);
    }
}

/// Every platform must give these very bits.
#[test]
fn normals_are_the_same_bits_everywhere() {
    let values = Generator::new(0)
        .normal(0., 1., 1000, DType::F64, CPU)
        .unwrap();
    let digest = f64s(&values)
        .iter()
        .fold(0u64, |h, v| h.rotate_left(5) ^ v.to_bits());
    assert_eq!(digest, 197_557_818_299_958_591);
}

#[test]
fn uniform_has_its_range_mean_and_variance() {
    for dtype in [DType::F32, DType::F64] {
        let t = Generator::new(3)
            .uniform(-2., 4., 1_000_000, dtype, CPU)
            .unwrap();
        let values = f64s(&t.to_dtype(DType::F64).unwrap());
        assert!(values.iter().all(|v| (-2. ..4.).contains(v)));
        let mean = moment(&values, 0., 1);
        // Standard errors: 6 / sqrt(12 n) = 0.0017 for the mean, 3 sqrt(0.8 / n) = 0.0027 for the variance.
        assert!((mean - 1.).abs() < 0.008, "{mean}");
        let variance = moment(&values, mean, 2);
        assert!((variance - 3.).abs() < 0.013, "{variance}");
    }
}

#[test]
fn normal_has_its_moments_and_tails() {
    let t = Generator::new(4)
        .normal(0., 1., 1_000_000, DType::F64, CPU)
        .unwrap();
    let values = f64s(&t);
    // Five standard errors each.
    for (k, expected, error) in [
        (1, 0., 0.005),
        (2, 1., 0.0075),
        (3, 0., 0.02),
        (4, 3., 0.05),
    ] {
        let found = moment(&values, 0., k);
        assert!((found - expected).abs() < error, "moment {k}: {found}");
    }
    for (z, inside) in [(1., 0.682_689_5), (2., 0.954_499_7), (3., 0.997_300_2)] {
        let found = values.iter().filter(|v| v.abs() < z).count() as f64 / 1e6;
        assert!((found - inside).abs() < 0.0025, "within {z}: {found}");
    }
    let shifted = f64s(
        &Generator::new(4)
            .normal(-1., 0.5, 10, DType::F64, CPU)
            .unwrap(),
    );
    for (s, z) in shifted.iter().zip(&values) {
        assert_eq!(*s, -1. + 0.5 * z);
    }
}

#[test]
fn bernoulli_hits_as_often_as_asked() {
    let t = Generator::new(5)
        .bernoulli(0.3, (1000, 1000), DType::F32, CPU)
        .unwrap();
    let values = f32s(&t);
    assert!(values.iter().all(|v| *v == 0. || *v == 1.));
    let share = values.iter().sum::<f32>() / 1e6;
    assert!((share - 0.3).abs() < 0.0023, "{share}");
    for (p, sum) in [(0., 0.), (1., 1000.)] {
        let t = Generator::new(5)
            .bernoulli(p, 1000, DType::F64, CPU)
            .unwrap();
        assert_eq!(f64s(&t).iter().sum::<f64>(), sum);
    }
}

#[test]
fn upper_bound_is_never_reached() {
    let up = 1f64.next_up();
    let t = Generator::new(6)
        .uniform(1., up, 1000, DType::F64, CPU)
        .unwrap();
    assert!(f64s(&t).iter().all(|v| *v == 1.));
    let up = 1f32.next_up();
    let t = Generator::new(6)
        .uniform(1., up.into(), 1000, DType::F32, CPU)
        .unwrap();
    assert!(f32s(&t).iter().all(|v| *v == 1.));
    let t = Generator::new(6)
        .uniform(2.5, 2.5, 10, DType::F32, CPU)
        .unwrap();
    assert_eq!(f32s(&t), [2.5; 10]);
}

#[test]
fn clones_share_one_stream() {
    let whole = f32s(
        &Generator::new(1)
            .uniform(0., 1., 8, DType::F32, CPU)
            .unwrap(),
    );
    let a = Generator::new(1);
    let b = a.clone();
    let mut parts = f32s(&a.uniform(0., 1., 3, DType::F32, CPU).unwrap());
    parts.extend(f32s(&b.uniform(0., 1., 5, DType::F32, CPU).unwrap()));
    assert_eq!(parts, whole);
    assert_eq!(a.state(), b.state());
    assert_eq!(
        a.state(),
        GeneratorState {
            seed: 1,
            word_position: 8
        }
    );
    assert_ne!(
        f32s(
            &Generator::new(2)
                .uniform(0., 1., 8, DType::F32, CPU)
                .unwrap()
        ),
        whole
    );
}

#[test]
fn state_goes_through_json_and_resumes_anywhere() {
    let draw = |g: &Generator| {
        let mut all = f64s(&g.normal(0., 1., 5, DType::F64, CPU).unwrap());
        all.extend(f64s(&g.bernoulli(0.5, 3, DType::F64, CPU).unwrap()));
        all.extend(f64s(&g.uniform(0., 1., 7, DType::F64, CPU).unwrap()));
        all
    };
    for skip in 0..40 {
        let g = Generator::new(u64::MAX);
        g.uniform(0., 1., skip, DType::F32, CPU).unwrap();
        let text = serde_json::to_string(&g.state()).unwrap();
        let expected = draw(&g);
        let resumed = Generator::new(0);
        resumed.set_state(&serde_json::from_str(&text).unwrap());
        assert_eq!(draw(&resumed), expected, "after {skip} words");
        assert_eq!(resumed.state(), g.state());
    }
    let wrong = r#"{"seed": 1, "word_position": 2, "more": 3}"#;
    assert!(serde_json::from_str::<GeneratorState>(wrong).is_err());
}

#[test]
fn half_precision_is_rounded_single_precision() {
    let single = Generator::new(9)
        .uniform(-1., 1., 50, DType::F32, CPU)
        .unwrap();
    for dtype in [DType::F16, DType::BF16] {
        let half = Generator::new(9).uniform(-1., 1., 50, dtype, CPU).unwrap();
        assert_eq!(half.dtype(), dtype);
        let rounded = single.to_dtype(dtype).unwrap();
        let f = |t: &Tensor| f32s(&t.to_dtype(DType::F32).unwrap());
        assert_eq!(f(&half), f(&rounded));
    }
}

#[test]
fn nonsense_is_refused_and_draws_nothing() {
    let g = Generator::new(0);
    for (what, result) in [
        ("lo > hi", g.uniform(1., 0., 2, DType::F32, CPU)),
        ("nan", g.uniform(f64::NAN, 0., 2, DType::F32, CPU)),
        ("infinite", g.uniform(0., f64::INFINITY, 2, DType::F32, CPU)),
        ("negative std", g.normal(0., -1., 2, DType::F32, CPU)),
        ("nan std", g.normal(0., f64::NAN, 2, DType::F32, CPU)),
        ("p above one", g.bernoulli(1.5, 2, DType::F32, CPU)),
        ("nan p", g.bernoulli(f64::NAN, 2, DType::F32, CPU)),
        ("integers", g.uniform(0., 1., 2, DType::U32, CPU)),
    ] {
        assert!(
            matches!(result, Err(Error::Config { .. })),
            "{what}: {result:?}"
        );
    }
    assert_eq!(g.state().word_position, 0);
    assert_eq!(
        g.uniform(0., 1., (3, 0), DType::F32, CPU).unwrap().dims(),
        [3, 0]
    );
}
