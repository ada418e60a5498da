use candle_core::{Device, Tensor};
use tallow_cuda::calls::loss;
use tallow_ops::{CrossEntropyConfig, cross_entropy};

use crate::emulator::{Buffer, Emulator, emulator};
use crate::support::{assert_close, bits, flat, floats, in_both_orders, values, variable};

/// Loss, and gradient of the logits for a gradient of `upstream` at the loss.
fn on_the_device(
    e: &Emulator,
    logits: &[f32],
    labels: &[u32],
    smoothing: f64,
    upstream: f32,
) -> (Vec<f32>, Vec<f32>) {
    let sizes = (labels.len() as u32, (logits.len() / labels.len()) as u32);
    let [loss, gradient] = in_both_orders(|backwards| {
        let (mut z, mut labels) = (Buffer::floats(logits), Buffer::words(labels));
        let (mut p, mut losses) = (
            Buffer::unset(logits.len()),
            Buffer::doubles(sizes.0 as usize),
        );
        let (mut loss, mut up) = (Buffer::unset(1), Buffer::floats(&[upstream]));
        let mut dz = Buffer::unset(logits.len());
        let labels_at = labels.address();
        let calls = [
            loss::cross_entropy(
                z.address(),
                labels_at,
                p.address(),
                losses.address(),
                sizes,
                smoothing,
            ),
            loss::mean(losses.address(), loss.address(), sizes.0),
            loss::gradient(
                p.address(),
                labels_at,
                up.address(),
                dz.address(),
                sizes,
                smoothing,
            ),
        ];
        e.run(&calls, backwards);
        p.read();
        losses.read();
        [bits(loss.read()), bits(dz.read())]
    });
    (floats(loss), floats(gradient))
}

#[test]
fn losses_and_gradients() {
    let Some(e) = emulator() else { return };
    for (rows, classes) in [(1, 1), (5, 10), (130, 7), (3, 1000)] {
        for smoothing in [0., 0.1] {
            let scaled = values(rows * classes, 1);
            let logits: Vec<f32> = scaled.iter().map(|z| 30. * z).collect();
            let labels: Vec<u32> = (0..rows).map(|row| (row * 3 % classes) as u32).collect();
            let (loss, dz) = on_the_device(e, &logits, &labels, smoothing, 0.5);

            let z = variable(&logits, &[rows, classes]);
            let config = CrossEntropyConfig {
                label_smoothing: smoothing,
            };
            let labels = Tensor::new(&labels[..], &Device::Cpu).unwrap();
            let expected = cross_entropy(&z, &labels, &config).unwrap();
            let store = (&expected * 0.5).unwrap().backward().unwrap();
            assert_close("loss", &loss, &flat(&expected), 1e-6);
            assert_close("gradient", &dz, &flat(store.get(&z).unwrap()), 2e-6);
        }
    }
}

#[test]
fn labels_out_of_range_make_the_loss_nan() {
    let Some(e) = emulator() else { return };
    let logits = values(30, 2);
    let (loss, _) = on_the_device(e, &logits, &[1, 10, 9], 0., 1.);
    assert!(loss[0].is_nan());
}

/// Large logits do not overflow, and one that is infinite beside the label is a loss of 0.
#[test]
fn logits_of_any_size() {
    let Some(e) = emulator() else { return };
    let (loss, _) = on_the_device(e, &[1e30, -1e30, f32::NEG_INFINITY], &[0], 0., 1.);
    assert_eq!(loss, [0.]);
    let (loss, _) = on_the_device(e, &[0., f32::NAN], &[0], 0., 1.);
    assert!(loss[0].is_nan());
}

/// Rows of fewer and more classes than threads, with equal scores, infinities and NaN.
#[test]
fn right_predictions_are_counted() {
    let Some(e) = emulator() else { return };
    let above = |a: f32, b: f32| a > b || (a.is_nan() && !b.is_nan());
    for (rows, classes) in [(1, 1), (7, 3), (64, 10), (131, 40), (9, 1000)] {
        let mut logits: Vec<f32> = values(rows * classes, 5)
            .iter()
            // Few different values, so that many are equal.
            .map(|z| (4. * z).round())
            .collect();
        logits[0] = f32::NEG_INFINITY;
        if rows > 3 {
            logits[classes + 1] = f32::NAN;
            logits[2 * classes..3 * classes].fill(f32::NEG_INFINITY);
        }
        let predicted: Vec<usize> = logits
            .chunks(classes)
            .map(|row| {
                (1..classes).fold(0, |best, k| if above(row[k], row[best]) { k } else { best })
            })
            .collect();
        // Every third label is another one.
        let labels: Vec<u32> = predicted
            .iter()
            .enumerate()
            .map(|(i, &class)| ((class + usize::from(i % 3 == 1)) % classes) as u32)
            .collect();
        let right = labels
            .iter()
            .zip(&predicted)
            .filter(|&(&label, &class)| label as usize == class)
            .count();
        let found = in_both_orders(|backwards| {
            let (mut loss, mut z) = (Buffer::floats(&[0.25]), Buffer::floats(&logits));
            let (mut labels, mut out) = (Buffer::words(&labels), Buffer::unset(4));
            let call = loss::tally(
                loss.address(),
                z.address(),
                labels.address(),
                out.at(2),
                (rows as u32, classes as u32),
            );
            e.run(&[call], backwards);
            out.read()[2..].to_vec()
        });
        assert_eq!(found, [0.25, right as f32], "{rows} x {classes}");
    }
}
