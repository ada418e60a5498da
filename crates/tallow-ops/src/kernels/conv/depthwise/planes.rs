//! Depthwise convolution in NCHW on vectors along the rows: the source plane is copied with zeros around its rows, and with the
//! columns of each residue modulo the stride together, so that every kernel position reads unbroken runs.

use pulp::{Simd, WithSimd};

use super::axis::{Axis, Tap};
use crate::kernels::conv::Geometry;
use crate::kernels::panel::{load, store};
use crate::kernels::parallel::{Threads, for_each_chunk};
use crate::kernels::scratch;
use crate::kernels::simd::arch;

/// Vectors of a row whose sums are in registers.
const VECTORS: usize = 4;
/// Lanes of the longest vectors.
const LANES: usize = 16;
/// Elements of the planes that share a copy.
const PIECE: usize = 1 << 14;

/// Destinations of one residue and the kernel columns that they see.
struct Phase {
    /// First destination.
    first: usize,
    count: usize,
    /// Kernel column, and where its run begins in a row of the copy.
    taps: Vec<Tap>,
}

/// The layout of the copy of a source plane.
struct Copy {
    /// Rows and columns of the source.
    rows: usize,
    columns: usize,
    /// Residues of the source columns, and zeros before those of each.
    step: usize,
    before: usize,
    /// Elements of a row of one residue, and of all of them.
    run: usize,
    row: usize,
}

impl Copy {
    /// The copy for the columns of a pass, and the phases that read it.
    fn new(axis: &Axis, rows: usize, columns: usize, kernel: usize) -> (Self, Vec<Phase>) {
        let step = axis.source_step as isize;
        let mut least = 0;
        let mut most = columns.div_ceil(axis.source_step);
        let mut phases = Vec::new();
        for first in 0..axis.step.min(axis.len) {
            let count = (axis.len - first).div_ceil(axis.step);
            // Residue and quotient of the source column of the first destination.
            let runs: Vec<(usize, isize, isize)> = (0..kernel)
                .filter_map(|k| {
                    axis.source(first, k)
                        .map(|at| (k, at.rem_euclid(step), at.div_euclid(step)))
                })
                // Those that see nothing but padding are left out.
                .filter(|&(_, _, at)| at + count as isize > 0 && at < most as isize)
                .collect();
            for &(_, _, at) in &runs {
                least = least.min(at);
            }
            phases.push((first, count, runs));
        }
        let before = least.unsigned_abs();
        for (_, count, runs) in &phases {
            for &(_, _, at) in runs {
                // Whole vectors are read.
                let end = (at + least.abs()) as usize + count.next_multiple_of(LANES);
                most = most.max(end.saturating_sub(before));
            }
        }
        let run = before + most;
        let copy = Self {
            rows,
            columns,
            step: axis.source_step,
            before,
            run,
            row: run * axis.source_step,
        };
        let phases = phases
            .into_iter()
            .map(|(first, count, runs)| Phase {
                first,
                count,
                taps: runs
                    .into_iter()
                    .map(|(k, residue, at)| {
                        (k, residue as usize * run + (at + before as isize) as usize)
                    })
                    .collect(),
            })
            .collect();
        (copy, phases)
    }

    fn len(&self) -> usize {
        self.rows * self.row
    }

    /// Copies a plane; `to` holds zeros where this does not write.
    fn fill(&self, from: &[f32], to: &mut [f32]) {
        for (from, to) in from
            .chunks_exact(self.columns)
            .zip(to.chunks_exact_mut(self.row))
        {
            if self.step == 1 {
                to[self.before..][..self.columns].copy_from_slice(from);
                continue;
            }
            for residue in 0..self.step.min(self.columns) {
                let to = &mut to[residue * self.run + self.before..];
                for (to, &from) in to.iter_mut().zip(from[residue..].iter().step_by(self.step)) {
                    *to = from;
                }
            }
        }
    }
}

/// `y = x * w + bias`.
pub(super) fn forward(g: &Geometry, x: &[f32], w: &[f32], bias: Option<&[f32]>, y: &mut [f32]) {
    correlate(g, Axis::forward(g), (g.height, g.width), x, w, bias, y);
}

/// Gradient of the input.
pub(super) fn grad_input(g: &Geometry, w: &[f32], dy: &[f32], dx: &mut [f32]) {
    correlate(
        g,
        Axis::gradient(g),
        (g.out_height, g.out_width),
        dy,
        w,
        None,
        dx,
    );
}

fn correlate(
    g: &Geometry,
    [rows, columns]: [Axis; 2],
    sources: (usize, usize),
    from: &[f32],
    weight: &[f32],
    bias: Option<&[f32]>,
    to: &mut [f32],
) {
    let (plane, to_plane) = (sources.0 * sources.1, rows.len * columns.len);
    assert_eq!(from.len(), g.batch * g.channels * plane);
    assert_eq!(to.len(), g.batch * g.channels * to_plane);
    assert_eq!(weight.len(), g.weights());
    let (copy, phases) = Copy::new(&columns, sources.0, sources.1, g.kernel.1);
    let taps: Vec<Vec<Tap>> = (0..rows.len).map(|y| rows.taps(y)).collect();
    // A few planes share a copy, whose zeros are written once.
    let planes = PIECE.div_ceil(plane);
    let threads = Threads::for_work(g.multiply_adds());
    for_each_chunk(to, planes * to_plane, threads, |i, to| {
        let mut buffer = scratch::zeroed::<f32>(copy.len());
        for (j, to) in to.chunks_exact_mut(to_plane).enumerate() {
            let (at, channel) = (i * planes + j, (i * planes + j) % g.channels);
            copy.fill(&from[at * plane..][..plane], &mut buffer);
            arch().dispatch(Plane {
                columns: &columns,
                row: copy.row,
                taps: &taps,
                phases: &phases,
                kernel_width: g.kernel.1,
                from: &buffer,
                weight: &weight[channel * g.taps()..][..g.taps()],
                bias: bias.map_or(0.0, |bias| bias[channel]),
                to,
            });
        }
    });
}

/// One plane of destinations.
struct Plane<'a> {
    columns: &'a Axis,
    /// Elements of a row of the copy.
    row: usize,
    /// Taps of every row of destinations.
    taps: &'a [Vec<Tap>],
    phases: &'a [Phase],
    kernel_width: usize,
    /// The copy.
    from: &'a [f32],
    weight: &'a [f32],
    bias: f32,
    to: &'a mut [f32],
}

impl WithSimd for Plane<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let lanes = S::F32_LANES;
        for (y, taps) in self.taps.iter().enumerate() {
            for phase in self.phases {
                let mut at = 0;
                while at < phase.count {
                    let vectors = (phase.count - at).div_ceil(lanes);
                    // SAFETY: every row of the copy holds whole vectors from each tap on, up to the last destination.
                    unsafe {
                        if vectors >= VECTORS {
                            self.run::<S, VECTORS>(simd, (y, taps), phase, at);
                            at += VECTORS * lanes;
                        } else if vectors >= 2 {
                            self.run::<S, 2>(simd, (y, taps), phase, at);
                            at += 2 * lanes;
                        } else {
                            self.run::<S, 1>(simd, (y, taps), phase, at);
                            at += lanes;
                        }
                    }
                }
            }
        }
    }
}

impl Plane<'_> {
    /// `V` vectors of destinations.
    #[inline(always)]
    unsafe fn run<S: Simd, const V: usize>(
        &mut self,
        simd: S,
        (y, taps): (usize, &[Tap]),
        phase: &Phase,
        at: usize,
    ) {
        let lanes = S::F32_LANES;
        let mut sums = [simd.splat_f32s(self.bias); V];
        for &(ky, row) in taps {
            let weight = &self.weight[ky * self.kernel_width..][..self.kernel_width];
            let from = &self.from[row * self.row..][..self.row];
            for &(kx, start) in &phase.taps {
                let weight = simd.splat_f32s(weight[kx]);
                for (v, sum) in sums.iter_mut().enumerate() {
                    // SAFETY: promised by the caller.
                    let from = unsafe { load::<S>(from.as_ptr().add(start + at + v * lanes)) };
                    *sum = simd.mul_add_e_f32s(from, weight, *sum);
                }
            }
        }
        let (width, step) = (self.columns.len, self.columns.step);
        let to = &mut self.to[y * width..][..width];
        for (v, sum) in sums.into_iter().enumerate() {
            let at = at + v * lanes;
            let count = lanes.min(phase.count - at);
            let first = phase.first + at * step;
            if step == 1 && count == lanes {
                // SAFETY: the destinations are inside the row, which is `count` or longer from here on.
                unsafe { store::<S>(to[first..][..lanes].as_mut_ptr(), sum) };
            } else {
                let mut values = [0.0; 64];
                // SAFETY: no vector has more lanes.
                unsafe { store::<S>(values.as_mut_ptr(), sum) };
                let to = to[first..].iter_mut().step_by(step);
                to.zip(&values[..count])
                    .for_each(|(to, &value)| *to = value);
            }
        }
    }
}

/// Gradient of the weight.
pub(super) fn grad_weight(g: &Geometry, x: &[f32], dy: &[f32], dw: &mut [f32]) {
    assert_eq!(x.len(), g.batch * g.image());
    assert_eq!(dy.len(), g.batch * g.out_image());
    let [rows, columns] = Axis::forward(g);
    let (copy, phases) = Copy::new(&columns, g.height, g.width, g.kernel.1);
    let Some(phase) = phases.first() else { return };
    let taps: Vec<Vec<Tap>> = (0..rows.len).map(|y| rows.taps(y)).collect();
    let width = g.out_width.next_multiple_of(LANES);
    for_each_chunk(
        dw,
        g.taps(),
        Threads::for_work(g.multiply_adds()),
        |c, dw| {
            let mut buffer = scratch::zeroed::<f32>(copy.len());
            let mut upper = scratch::zeroed::<f32>(g.out_height * width);
            // A vector per kernel position.
            let mut sums = scratch::zeroed::<f32>(g.taps() * LANES);
            for n in 0..g.batch {
                let at = n * g.channels + c;
                copy.fill(&x[at * g.plane()..][..g.plane()], &mut buffer);
                let dy = dy[at * g.out_plane()..][..g.out_plane()].chunks_exact(g.out_width);
                for (to, dy) in upper.chunks_exact_mut(width).zip(dy) {
                    to[..g.out_width].copy_from_slice(dy);
                }
                arch().dispatch(WeightGrad {
                    g,
                    row: copy.row,
                    taps: &taps,
                    phase,
                    x: &buffer,
                    dy: &upper,
                    width,
                    sums: &mut sums,
                });
            }
            for (dw, sums) in dw.iter_mut().zip(sums.chunks_exact(LANES)) {
                *dw = sums.iter().sum();
            }
        },
    );
}

/// Weight gradient of one plane, added to a vector per kernel position.
struct WeightGrad<'a> {
    g: &'a Geometry,
    /// Elements of a row of the copy.
    row: usize,
    taps: &'a [Vec<Tap>],
    phase: &'a Phase,
    /// The copy.
    x: &'a [f32],
    /// Rows of `width`, with zeros behind the pixels.
    dy: &'a [f32],
    width: usize,
    sums: &'a mut [f32],
}

impl WithSimd for WeightGrad<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        for ky in 0..self.g.kernel.0 {
            let phase = self.phase;
            let mut taps = &phase.taps[..];
            macro_rules! run {
                ($count:literal) => {
                    while let Some((some, rest)) = taps.split_first_chunk::<$count>() {
                        self.positions::<S, $count>(simd, ky, some);
                        taps = rest;
                    }
                };
            }
            run!(5);
            run!(3);
            run!(2);
            run!(1);
        }
    }
}

impl WeightGrad<'_> {
    /// `N` kernel positions of a row of the kernel.
    #[inline(always)]
    fn positions<S: Simd, const N: usize>(&mut self, simd: S, ky: usize, taps: &[Tap; N]) {
        let lanes = S::F32_LANES;
        let place = |i: usize| (ky * self.g.kernel.1 + taps[i].0) * LANES;
        let mut sums = [simd.splat_f32s(0.0); N];
        for (i, sum) in sums.iter_mut().enumerate() {
            // SAFETY: each position has as many elements as the longest vector.
            *sum = unsafe { load::<S>(self.sums[place(i)..][..LANES].as_ptr()) };
        }
        for (y, dy) in self.dy.chunks_exact(self.width).enumerate() {
            let Some(&(_, row)) = self.taps[y].iter().find(|tap| tap.0 == ky) else {
                continue;
            };
            let x = &self.x[row * self.row..][..self.row];
            for at in (0..self.phase.count).step_by(lanes) {
                // SAFETY: rows of either hold whole vectors up to the last pixel.
                unsafe {
                    let dy = load::<S>(dy.as_ptr().add(at));
                    for (sum, tap) in sums.iter_mut().zip(taps) {
                        let x = load::<S>(x.as_ptr().add(tap.1 + at));
                        *sum = simd.mul_add_e_f32s(x, dy, *sum);
                    }
                }
            }
        }
        for (i, sum) in sums.into_iter().enumerate() {
            let at = place(i);
            // SAFETY: as above.
            unsafe { store::<S>(self.sums[at..][..LANES].as_mut_ptr(), sum) };
        }
    }
}
