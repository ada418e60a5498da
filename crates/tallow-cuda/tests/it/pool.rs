use candle_core::{Device, Tensor, Var};
use tallow_cuda::Numbers;
use tallow_cuda::calls::pool::{self, Axis, Divisor, Windows};
use tallow_ops::{Layout, Pool2dConfig, adaptive_avg_pool2d, avg_pool2d, max_pool2d};

use crate::emulator::{Buffer, emulator};
use crate::support::{assert_close, bits, flat, in_both_orders, values};

const BATCH: usize = 3;
const CHANNELS: usize = 5;

fn layouts() -> [Layout; 2] {
    [Layout::Nchw, Layout::Nhwc]
}

fn shape(layout: Layout, h: usize, w: usize) -> [usize; 4] {
    match layout {
        Layout::Nchw => [BATCH, CHANNELS, h, w],
        Layout::Nhwc => [BATCH, h, w, CHANNELS],
    }
}

/// Output and gradient of the input by tallow-ops, in `f32`.
fn reference(
    x: &[f32],
    shape: [usize; 4],
    f: impl Fn(&Tensor) -> tallow_ops::Result<Tensor>,
) -> (Vec<f32>, Vec<f32>, Vec<f32>) {
    let x = Tensor::from_slice(x, &shape, &Device::Cpu).unwrap();
    let x = Var::from_tensor(&x).unwrap();
    let y = f(&x).unwrap();
    let grad = values(y.elem_count(), 8);
    let dy = Tensor::from_slice(&grad, y.shape(), &Device::Cpu).unwrap();
    let store = (&y * dy).unwrap().sum_all().unwrap().backward().unwrap();
    let single = |t: &Tensor| flat(t).into_iter().map(|v| v as f32).collect::<Vec<f32>>();
    (single(&y), grad, single(store.get(&x).unwrap()))
}

fn output(size: usize, config: &Pool2dConfig, axis: fn((usize, usize)) -> usize) -> usize {
    let (kernel, stride) = (axis(config.kernel), axis(config.stride));
    let reach = (kernel - 1) * axis(config.dilation) + 1;
    let room = size + 2 * axis(config.padding) - reach;
    if !config.ceil_mode {
        return room / stride + 1;
    }
    let output = room.div_ceil(stride) + 1;
    // A window that would start in the padding after the image is left out.
    output - usize::from((output - 1) * stride >= size + axis(config.padding))
}

fn axis(size: usize, config: &Pool2dConfig, of: fn((usize, usize)) -> usize) -> Axis {
    Axis {
        input: size as u32,
        output: output(size, config, of) as u32,
        kernel: of(config.kernel) as u32,
        stride: of(config.stride) as u32,
        padding: of(config.padding) as u32,
        dilation: of(config.dilation) as u32,
    }
}

fn windows(h: usize, w: usize, config: &Pool2dConfig) -> Windows {
    Windows {
        numbers: Numbers::F32,
        batch: BATCH as u32,
        channels: CHANNELS as u32,
        channels_last: config.layout == Layout::Nhwc,
        rows: axis(h, config, |pair| pair.0),
        columns: axis(w, config, |pair| pair.1),
    }
}

fn configs(layout: Layout) -> Vec<Pool2dConfig> {
    let of = |kernel, stride, padding, ceil_mode| Pool2dConfig {
        kernel,
        stride,
        padding,
        ceil_mode,
        layout,
        ..Pool2dConfig::new(1)
    };
    vec![
        of((2, 2), (2, 2), (0, 0), false),
        of((3, 3), (2, 2), (1, 1), false),
        of((3, 3), (3, 3), (0, 0), true),
        of((3, 2), (2, 1), (1, 1), true),
        of((1, 1), (2, 2), (0, 0), false),
        of((5, 4), (1, 3), (2, 0), false),
    ]
}

#[test]
fn maxima() {
    let Some(e) = emulator() else { return };
    let (h, w) = (7, 8);
    for layout in layouts() {
        let mut cases = configs(layout);
        cases.push(Pool2dConfig {
            dilation: (2, 3),
            stride: (1, 2),
            padding: (1, 1),
            layout,
            ..Pool2dConfig::new(2)
        });
        for config in cases {
            let shape = shape(layout, h, w);
            let mut x = values(shape.iter().product(), 1);
            // Equal values, and a NaN.
            x.iter_mut().step_by(3).for_each(|x| *x = 0.25);
            x[40] = f32::NAN;
            let (y, grad, dx) = reference(&x, shape, |x| max_pool2d(x, &config));
            let windows = windows(h, w, &config);
            assert_eq!(windows.outputs(), y.len(), "{config:?}");
            let found = in_both_orders(|backwards| {
                let (mut x, mut g) = (Buffer::floats(&x), Buffer::floats(&grad));
                let mut winner = Buffer::words(&vec![0; y.len()]);
                let (mut y, mut dx) = (Buffer::unset(y.len()), Buffer::unset(dx.len()));
                let calls = [
                    pool::max(x.address(), y.address(), winner.address(), &windows),
                    pool::max_gradient(g.address(), winner.address(), dx.address(), &windows),
                ];
                e.run(&calls, backwards);
                winner.read();
                [bits(y.read()), bits(dx.read())]
            });
            assert_eq!(found, [bits(&y), bits(&dx)], "{config:?}");
        }
    }
}

#[test]
fn averages() {
    let Some(e) = emulator() else { return };
    let (h, w) = (7, 8);
    for layout in layouts() {
        let shape = shape(layout, h, w);
        let x = values(shape.iter().product(), 2);
        let mut cases = Vec::new();
        for config in configs(layout) {
            let windows = windows(h, w, &config);
            for (divisor, padded) in [(Divisor::Inside, false), (Divisor::Padded, true)] {
                let expected = reference(&x, shape, |x| avg_pool2d(x, &config, padded));
                cases.push((format!("{config:?}"), windows, divisor, expected));
            }
        }
        for (rows, columns) in [(1, 1), (3, 2), (7, 8), (5, 3), (9, 16)] {
            let expected = reference(&x, shape, |x| {
                adaptive_avg_pool2d(x, (rows, columns), layout)
            });
            let axis = |input, output| Axis {
                input,
                output,
                kernel: 1,
                stride: 1,
                padding: 0,
                dilation: 1,
            };
            let windows = Windows {
                rows: axis(h as u32, rows as u32),
                columns: axis(w as u32, columns as u32),
                ..self::windows(h, w, &configs(layout)[0])
            };
            let name = format!("adaptive to {rows} x {columns}");
            cases.push((name, windows, Divisor::Adaptive, expected));
        }
        for (name, windows, divisor, (y, grad, dx)) in cases {
            assert_eq!(windows.outputs(), y.len(), "{name}");
            let [found, gradient] = in_both_orders(|backwards| {
                let (mut x, mut g) = (Buffer::floats(&x), Buffer::floats(&grad));
                let (mut y, mut dx) = (Buffer::unset(y.len()), Buffer::unset(dx.len()));
                let calls = [
                    pool::average(x.address(), y.address(), &windows, divisor),
                    pool::average_gradient(g.address(), dx.address(), &windows, divisor),
                ];
                e.run(&calls, backwards);
                [y.read().to_vec(), dx.read().to_vec()]
            });
            let wide = |values: &[f32]| values.iter().map(|&v| f64::from(v)).collect::<Vec<_>>();
            assert_close(&name, &found, &wide(&y), 1e-6);
            assert_close(&name, &gradient, &wide(&dx), 1e-6);
        }
    }
}
