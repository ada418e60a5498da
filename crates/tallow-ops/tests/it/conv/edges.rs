//! Edge cases: empty batches, views, other types, and gradients that are not needed.

use candle_core::{DType, Var};
use tallow_ops::{Conv2dConfig, Layout, conv2d};

use super::case::{case, difference, run};

#[test]
fn only_what_is_a_variable_gets_a_gradient() {
    let case = case([2, 3, 6, 6], 4, (3, 3), Conv2dConfig::default());
    let arguments = case.arguments(DType::F32);
    for tracked in 0..3 {
        let variable = Var::from_tensor(&arguments[tracked]).unwrap();
        let mut tensors = arguments.clone();
        tensors[tracked] = variable.as_tensor().clone();
        let y = conv2d(&tensors[0], &tensors[1], Some(&tensors[2]), &case.config).unwrap();
        let gradients = y.sum_all().unwrap().backward().unwrap();
        for (i, tensor) in tensors.iter().enumerate() {
            assert_eq!(gradients.get(tensor).is_some(), i == tracked);
        }
    }
}

#[test]
fn an_empty_batch_has_an_empty_output_and_zero_gradients() {
    for layout in [Layout::Nchw, Layout::Nhwc] {
        for groups in [1, 4] {
            let case = case(
                [0, 4, 6, 5],
                8,
                (3, 3),
                Conv2dConfig {
                    layout,
                    groups,
                    ..Default::default()
                },
            );
            let tensors = run(conv2d, &case, &case.arguments(DType::F32), false);
            assert_eq!(tensors[0].elem_count(), 0);
            assert_eq!(tensors[1].dims(), case.x_shape());
            for t in &tensors[2..] {
                assert!(
                    t.flatten_all()
                        .unwrap()
                        .to_vec1::<f32>()
                        .unwrap()
                        .iter()
                        .all(|&v| v == 0.0)
                );
            }
        }
    }
}

#[test]
fn other_types_run_the_reference() {
    let case = case([1, 2, 4, 4], 2, (3, 3), Conv2dConfig::default());
    let f16 = case.arguments(DType::F16);
    let ours = conv2d(&f16[0], &f16[1], Some(&f16[2]), &case.config).unwrap();
    assert_eq!(ours.dtype(), DType::F16);
    let f64 = case.arguments(DType::F64);
    assert!(
        difference(
            &ours,
            &conv2d(&f64[0], &f64[1], Some(&f64[2]), &case.config).unwrap()
        ) < 5e-3
    );
}
