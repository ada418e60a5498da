//! Step of one parameter, implemented twice.
//!
//! [`run`] passes over parameter, gradient and state in place, on slices, as [`Update::apply`] says. [`Update::reference`] does the same
//! with candle's tensor operations, for every device and type. The tests compare the two.

use std::sync::OnceLock;

use candle_core::Tensor;
use pulp::Arch;
use rayon::prelude::*;

/// Elements of a partial sum, and of a parameter up to which it is updated on the calling thread: waking another one takes longer than
/// updating some thousand elements.
pub(super) const CHUNK: usize = 1 << 15;
/// Elements that one task updates: few enough that all threads are done with a parameter at about the same time.
const PIECE: usize = 1 << 14;

/// State of one parameter, in slices or vectors: the first of the three are used.
pub(super) type Moments<M> = [M; 3];

/// Coefficients of one step of one parameter, the same for every element, and what is done with them.
pub(super) trait Update: Copy + Sync {
    /// Updates some of the elements and their state in place. A state that the update does not use is empty.
    fn apply<T: Real>(&self, param: &mut [T], grad: &[T], state: Moments<&mut [T]>);

    /// Updates the state tensors, and returns the new parameter.
    fn reference(
        &self,
        param: &Tensor,
        grad: &Tensor,
        state: &mut Moments<Option<Tensor>>,
    ) -> candle_core::Result<Tensor>;

    /// Rule and numbers for the kernel of a CUDA device, which updates all parameters at once; `None`, the default, for an update without one.
    #[cfg(feature = "cuda")]
    fn rule(&self) -> Option<tallow_cuda::ops::optimizer::Rule> {
        None
    }

    /// Whether norms over the whole parameter enter the step. Then [`measure`](Self::measure) passes over all elements before
    /// [`apply`](Self::apply).
    fn is_layer_wise(&self) -> bool {
        false
    }

    /// Sums of squares of two quantities over some of the elements.
    fn measure<T: Real>(&self, _: &[T], _: &[T], _: Moments<&mut [T]>) -> [f64; 2] {
        [0.0; 2]
    }

    /// The update with the two norms, the roots of the sums of squares.
    fn with_norms(self, _: [f64; 2]) -> Self {
        self
    }
}

/// Element type: `f32` or `f64`.
pub(super) trait Real:
    Copy
    + Send
    + Sync
    + PartialOrd
    + std::ops::Add<Output = Self>
    + std::ops::Sub<Output = Self>
    + std::ops::Mul<Output = Self>
    + std::ops::Div<Output = Self>
{
    fn of(value: f64) -> Self;
    fn root(self) -> Self;
    fn to_f64(self) -> f64;
}

impl Real for f32 {
    #[inline(always)]
    fn of(value: f64) -> Self {
        value as f32
    }
    #[inline(always)]
    fn root(self) -> Self {
        self.sqrt()
    }
    #[inline(always)]
    fn to_f64(self) -> f64 {
        self.into()
    }
}

impl Real for f64 {
    #[inline(always)]
    fn of(value: f64) -> Self {
        value
    }
    #[inline(always)]
    fn root(self) -> Self {
        self.sqrt()
    }
    #[inline(always)]
    fn to_f64(self) -> f64 {
        self
    }
}

/// Instruction set of this process, the same as in the operators: `TALLOW_SIMD` applies here too.
fn arch() -> Arch {
    static ARCH: OnceLock<Arch> = OnceLock::new();
    *ARCH.get_or_init(|| match tallow_ops::instruction_set() {
        "portable" => Arch::Scalar,
        #[cfg(target_arch = "x86_64")]
        "avx2" => pulp::x86::V3::try_new().map_or(Arch::Scalar, Arch::V3),
        // The best one that the processor has.
        _ => Arch::new(),
    })
}

/// Elements that one task updates.
struct Chunk<'a, T> {
    param: &'a mut [T],
    grad: &'a [T],
    state: Moments<&'a mut [T]>,
}

fn chunks<'a, T>(
    size: usize,
    param: &'a mut [T],
    grad: &'a [T],
    state: &'a mut Moments<Vec<T>>,
) -> Vec<Chunk<'a, T>> {
    let mut state = state.each_mut().map(|moment| moment.chunks_mut(size));
    let parts = param.chunks_mut(size).zip(grad.chunks(size));
    let chunk = |(param, grad)| Chunk {
        param,
        grad,
        state: state.each_mut().map(|m| m.next().unwrap_or_default()),
    };
    parts.map(chunk).collect()
}

/// Updates `param` and `state` in place. A state vector that the update does not use is empty.
///
/// The bits are the same for any number of threads: elements are independent of each other, and sums have a fixed partition.
pub(super) fn run<T: Real, U: Update>(
    update: &U,
    param: &mut [T],
    grad: &[T],
    state: &mut Moments<Vec<T>>,
) {
    let measured;
    let update = if update.is_layer_wise() {
        let sums = |chunk: Chunk<'_, T>| measure_chunk(update, chunk);
        let sums: Vec<[f64; 2]> = match param.len() <= CHUNK {
            true => chunks(CHUNK, param, grad, state)
                .into_iter()
                .map(sums)
                .collect(),
            false => chunks(CHUNK, param, grad, state)
                .into_par_iter()
                .map(sums)
                .collect(),
        };
        let total = |which: usize| sums.iter().map(|sums| sums[which]).sum::<f64>();
        measured = update.with_norms([total(0).sqrt(), total(1).sqrt()]);
        &measured
    } else {
        update
    };
    if param.len() <= CHUNK {
        let state = state.each_mut().map(Vec::as_mut_slice);
        apply_chunk(update, Chunk { param, grad, state });
    } else {
        chunks(PIECE, param, grad, state)
            .into_par_iter()
            .with_max_len(1)
            .for_each(|chunk| apply_chunk(update, chunk));
    }
}

/// Updates a chunk with the vector instructions of [`arch`].
fn apply_chunk<T: Real, U: Update>(update: &U, chunk: Chunk<'_, T>) {
    arch().dispatch(
        #[inline(always)]
        || update.apply(chunk.param, chunk.grad, chunk.state),
    );
}

fn measure_chunk<T: Real, U: Update>(update: &U, chunk: Chunk<'_, T>) -> [f64; 2] {
    arch().dispatch(
        #[inline(always)]
        || update.measure(chunk.param, chunk.grad, chunk.state),
    )
}

/// Sum of squares, in `f64` and in an order that depends on nothing but the length.
#[inline(always)]
pub(super) fn sum_of_squares<T: Real>(values: &[T]) -> f64 {
    // Independent sums, so that the compiler may use vectors.
    const LANES: usize = 16;
    let mut sums = [0.0; LANES];
    let mut whole = values.chunks_exact(LANES);
    for values in &mut whole {
        for (sum, value) in sums.iter_mut().zip(values) {
            *sum += value.to_f64() * value.to_f64();
        }
    }
    for (sum, value) in sums.iter_mut().zip(whole.remainder()) {
        *sum += value.to_f64() * value.to_f64();
    }
    sums.iter().sum()
}

/// Previous value of a state tensor: zeros before the first step.
pub(super) fn previous(slot: &Option<Tensor>, like: &Tensor) -> candle_core::Result<Tensor> {
    match slot {
        Some(tensor) => Ok(tensor.clone()),
        None => like.zeros_like(),
    }
}

/// `from + weight (to - from)`, as `torch.lerp`.
pub(super) fn lerp(from: &Tensor, to: &Tensor, weight: f64) -> candle_core::Result<Tensor> {
    from + ((to - from)? * weight)?
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Meaningful where `TALLOW_SIMD` is set, as CI does.
    #[test]
    fn the_instruction_set_is_that_of_the_operators() {
        let name = match arch() {
            Arch::Scalar => "portable",
            #[cfg(target_arch = "x86_64")]
            Arch::V3(_) => "avx2",
            #[cfg(target_arch = "x86_64")]
            Arch::V4(_) => "avx512",
            _ => return,
        };
        assert_eq!(name, tallow_ops::instruction_set());
    }
}
