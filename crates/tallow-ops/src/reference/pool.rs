use candle_core::{DType, Tensor};

use super::layout::to_layout;
use crate::error::Result;
use crate::kernels::pool::Axis;
use crate::layout::{Extents, Layout};
use crate::pool::config::{Pool2dConfig, check_dilation, check_output};

/// Reference of [`crate::max_pool2d`]: gathers every window and takes its maximum.
pub fn max_pool2d(x: &Tensor, config: &Pool2dConfig) -> Result<Tensor> {
    let windows = regular("max_pool2d", x, config)?;
    let taken = gather(x, &windows, config.layout, f64::NEG_INFINITY)?;
    let taps = windows.taps;
    // Scores: NaN above everything, later ones higher; then the maxima, earlier ones higher; none for padding.
    let values = taken.detach();
    let nan = values.ne(&values)?;
    let infinity =
        Tensor::full(f32::INFINITY, values.shape(), values.device())?.to_dtype(values.dtype())?;
    let ranked = nan.where_cond(&infinity, &values)?;
    let maxima = ranked
        .broadcast_eq(&ranked.max_keepdim(3)?)?
        .to_dtype(DType::F32)?;
    let early: Vec<f32> = (0..windows.places.len())
        .map(|i| {
            if windows.places[i] == windows.outside {
                0.
            } else {
                (taps - i % taps) as f32
            }
        })
        .collect();
    let early = Tensor::from_vec(early, (1, 1, windows.count(), taps), x.device())?;
    // NaN is among the maxima too: steps of two, so that its score still grows from tap to tap.
    let late: Vec<f32> = (0..taps).map(|tap| (taps + 1 + 2 * tap) as f32).collect();
    let late = Tensor::from_vec(late, (1, 1, 1, taps), x.device())?;
    let scores = maxima
        .broadcast_mul(&early)?
        .add(&nan.to_dtype(DType::F32)?.broadcast_mul(&late)?)?;
    let winner = scores.argmax_keepdim(3)?.contiguous()?;
    windows.shape_back(&taken.gather(&winner, 3)?, config.layout)
}

/// Reference of [`crate::avg_pool2d`]: gathers every window and sums it.
pub fn avg_pool2d(x: &Tensor, config: &Pool2dConfig, count_include_pad: bool) -> Result<Tensor> {
    check_dilation(config)?;
    let windows = regular("avg_pool2d", x, config)?;
    let divisors = if count_include_pad {
        let (_, rows, columns) = config.axes("avg_pool2d", x)?;
        let along = |axis: crate::kernels::pool::Axis, o: usize| {
            (axis.input + 2 * axis.padding - o * axis.stride).min(axis.kernel)
        };
        (0..windows.count())
            .map(|o| along(rows, o / columns.output) * along(columns, o % columns.output))
            .collect()
    } else {
        windows.sizes()
    };
    average(x, &windows, config.layout, &divisors)
}

/// Reference of [`crate::adaptive_avg_pool2d`]: gathers every bin and sums it.
pub fn adaptive_avg_pool2d(x: &Tensor, output: (usize, usize), layout: Layout) -> Result<Tensor> {
    check_output(output)?;
    let extents = Extents::of("adaptive_avg_pool2d", x, layout)?;
    let (h, w) = (extents.h, extents.w);
    let bins = |input: usize, output: usize| -> Vec<Vec<Option<usize>>> {
        let bin = |o: usize| {
            (0..input).filter(move |i| (i + 1) * output > o * input && i * output < (o + 1) * input)
        };
        let size = (0..output).map(|o| bin(o).count()).max().unwrap_or(0);
        (0..output)
            .map(|o| {
                bin(o)
                    .map(Some)
                    .chain(std::iter::repeat(None))
                    .take(size)
                    .collect()
            })
            .collect()
    };
    let windows = Windows::new(&bins(h, output.0), &bins(w, output.1), h, w);
    average(x, &windows, layout, &windows.sizes())
}

/// Windows: the positions in a flattened plane that each output depends on.
struct Windows {
    rows: usize,
    columns: usize,
    taps: usize,
    /// `(rows * columns, taps)`, row-major.
    places: Vec<u32>,
    /// Position of padding: one past the plane.
    outside: u32,
}

impl Windows {
    /// Windows from the positions along each axis; `None` is padding.
    fn new(
        rows: &[Vec<Option<usize>>],
        columns: &[Vec<Option<usize>>],
        h: usize,
        w: usize,
    ) -> Self {
        let outside = (h * w) as u32;
        let mut places = Vec::new();
        for row in rows {
            for column in columns {
                for r in row {
                    for c in column {
                        places.push(r.zip(*c).map_or(outside, |(r, c)| (r * w + c) as u32));
                    }
                }
            }
        }
        let taps = places.len() / (rows.len() * columns.len());
        Self {
            rows: rows.len(),
            columns: columns.len(),
            taps,
            places,
            outside,
        }
    }

    fn count(&self) -> usize {
        self.rows * self.columns
    }

    /// Number of positions of each window inside the plane.
    fn sizes(&self) -> Vec<usize> {
        self.places
            .chunks(self.taps)
            .map(|w| w.iter().filter(|&&place| place != self.outside).count())
            .collect()
    }

    /// Activation tensor from `(N, C, windows, 1)`.
    fn shape_back(&self, y: &Tensor, layout: Layout) -> Result<Tensor> {
        let (n, c, _, _) = y.dims4()?;
        to_layout(
            &y.reshape((n, c, self.rows, self.columns))?,
            Layout::Nchw,
            layout,
        )
    }
}

/// Windows of a regular pooling, by its definition.
fn regular(op: &'static str, x: &Tensor, config: &Pool2dConfig) -> Result<Windows> {
    let (extents, rows, columns) = config.axes(op, x)?;
    let along = |axis: Axis| -> Vec<Vec<Option<usize>>> {
        let place = |o: usize, k: usize| {
            (o * axis.stride + k * axis.dilation)
                .checked_sub(axis.padding)
                .filter(|&at| at < axis.input)
        };
        (0..axis.output)
            .map(|o| (0..axis.kernel).map(|k| place(o, k)).collect())
            .collect()
    };
    Ok(Windows::new(
        &along(rows),
        &along(columns),
        extents.h,
        extents.w,
    ))
}

/// Elements of all windows, `(N, C, windows, taps)`, with `fill` for the padding.
fn gather(x: &Tensor, windows: &Windows, layout: Layout, fill: f64) -> Result<Tensor> {
    let x = to_layout(x, layout, Layout::Nchw)?;
    let (n, c, h, w) = x.dims4()?;
    let plane = x.reshape((n, c, h * w))?;
    let fill = Tensor::full(fill as f32, (n, c, 1), x.device())?.to_dtype(x.dtype())?;
    let places = Tensor::from_slice(&windows.places, windows.places.len(), x.device())?;
    let taken = Tensor::cat(&[&plane, &fill], 2)?.index_select(&places, 2)?;
    Ok(taken.reshape((n, c, windows.count(), windows.taps))?)
}

fn average(x: &Tensor, windows: &Windows, layout: Layout, divisors: &[usize]) -> Result<Tensor> {
    let divisors: Vec<f32> = divisors.iter().map(|&d| d as f32).collect();
    let divisors =
        Tensor::from_vec(divisors, (1, 1, windows.count(), 1), x.device())?.to_dtype(x.dtype())?;
    let sums = gather(x, windows, layout, 0.)?.sum_keepdim(3)?;
    windows.shape_back(&sums.broadcast_div(&divisors)?, layout)
}
