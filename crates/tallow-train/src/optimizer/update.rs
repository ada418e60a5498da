//! Step of one parameter, implemented twice.
//!
//! [`Update::run`] passes once over parameter, gradient and state, in place, on slices.
//! [`Update::reference`] does the same with candle's tensor operations, for every device and
//! type. The tests compare the two.

use std::sync::OnceLock;

use candle_core::{Tensor, Var};
use pulp::Arch;
use rayon::prelude::*;

/// Most elements that one task updates. A shorter parameter is updated on the calling thread, since
/// waking another thread takes longer than updating some thousand elements.
const CHUNK: usize = 1 << 15;

/// Coefficients of one step, the same for every element of a parameter.
#[derive(Clone, Copy, Debug)]
pub(super) enum Update {
    Sgd {
        lr: f64,
        weight_decay: f64,
        momentum: f64,
        /// Share of the gradient that enters the momentum: 1 - dampening, 1 in the first step.
        share: f64,
        nesterov: bool,
    },
    Adam {
        /// Factor of the parameter before the step: 1 - lr * decay if decoupled, else 1.
        keep: f64,
        /// Added to the gradient per parameter value: 0 if decoupled.
        weight_decay: f64,
        betas: (f64, f64),
        eps: f64,
        /// lr / (1 - beta1^t).
        step_size: f64,
        /// sqrt(1 - beta2^t).
        correction2_sqrt: f64,
    },
}

/// Element type: `f32` or `f64`.
pub(super) trait Real:
    Copy
    + Send
    + Sync
    + std::ops::Add<Output = Self>
    + std::ops::Sub<Output = Self>
    + std::ops::Mul<Output = Self>
    + std::ops::Div<Output = Self>
{
    fn of(value: f64) -> Self;
    fn root(self) -> Self;
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

impl Update {
    /// Updates `param` and `state` in place. A state vector that the update does not use is empty.
    ///
    /// Elements are independent of each other, so the bits are the same for any number of threads.
    pub(super) fn run<T: Real>(&self, param: &mut [T], grad: &[T], state: &mut [Vec<T>; 2]) {
        let [first, second] = state;
        if param.len() <= CHUNK {
            return self.run_chunk(param, grad, first, second);
        }
        let tasks = param.par_chunks_mut(CHUNK).zip(grad.par_chunks(CHUNK));
        match (first.is_empty(), second.is_empty()) {
            (true, _) => tasks.for_each(|(p, g)| self.run_chunk(p, g, &mut [], &mut [])),
            (false, true) => tasks
                .zip(first.par_chunks_mut(CHUNK))
                .for_each(|((p, g), a)| self.run_chunk(p, g, a, &mut [])),
            (false, false) => tasks
                .zip(first.par_chunks_mut(CHUNK))
                .zip(second.par_chunks_mut(CHUNK))
                .for_each(|(((p, g), a), b)| self.run_chunk(p, g, a, b)),
        }
    }

    /// Updates a chunk with the vector instructions of [`arch`].
    fn run_chunk<T: Real>(&self, param: &mut [T], grad: &[T], first: &mut [T], second: &mut [T]) {
        arch().dispatch(
            #[inline(always)]
            || self.run_elements(param, grad, first, second),
        );
    }

    #[inline(always)]
    fn run_elements<T: Real>(
        &self,
        param: &mut [T],
        grad: &[T],
        first: &mut [T],
        second: &mut [T],
    ) {
        match *self {
            Update::Sgd {
                lr,
                weight_decay,
                momentum: 0.0,
                ..
            } => {
                let (lr, decay) = (T::of(lr), T::of(weight_decay));
                for (p, &g) in param.iter_mut().zip(grad) {
                    *p = *p - lr * (g + decay * *p);
                }
            }
            Update::Sgd {
                lr,
                weight_decay,
                momentum,
                share,
                nesterov,
            } => {
                let (lr, decay) = (T::of(lr), T::of(weight_decay));
                let (momentum, share) = (T::of(momentum), T::of(share));
                for ((p, &g), m) in param.iter_mut().zip(grad).zip(first) {
                    let g = g + decay * *p;
                    *m = momentum * *m + share * g;
                    let direction = if nesterov { g + momentum * *m } else { *m };
                    *p = *p - lr * direction;
                }
            }
            Update::Adam {
                keep,
                weight_decay,
                betas,
                eps,
                step_size,
                correction2_sqrt,
            } => {
                let (keep, decay, eps) = (T::of(keep), T::of(weight_decay), T::of(eps));
                let (new1, beta2, new2) =
                    (T::of(1.0 - betas.0), T::of(betas.1), T::of(1.0 - betas.1));
                let (step_size, root2) = (T::of(step_size), T::of(correction2_sqrt));
                for (((p, &g), m), v) in param.iter_mut().zip(grad).zip(first).zip(second) {
                    let kept = keep * *p;
                    let g = g + decay * *p;
                    *m = *m + new1 * (g - *m);
                    *v = beta2 * *v + new2 * g * g;
                    *p = kept - step_size * *m / (v.root() / root2 + eps);
                }
            }
        }
    }

    /// Update by tensor operations: sets `param`, and replaces the state tensors.
    pub(super) fn reference(
        &self,
        param: &Var,
        grad: &Tensor,
        state: &mut [Option<Tensor>; 2],
    ) -> candle_core::Result<()> {
        let p = param.as_detached_tensor();
        let grad = grad.detach();
        let previous = |slot: &Option<Tensor>| match slot {
            Some(tensor) => Ok(tensor.clone()),
            None => p.zeros_like(),
        };
        match *self {
            Update::Sgd {
                lr,
                weight_decay,
                momentum,
                share,
                nesterov,
            } => {
                let grad = (&grad + (&p * weight_decay)?)?;
                let direction = if momentum == 0.0 {
                    grad
                } else {
                    let m = ((previous(&state[0])? * momentum)? + (&grad * share)?)?;
                    state[0] = Some(m.clone());
                    if nesterov {
                        (grad + (m * momentum)?)?
                    } else {
                        m
                    }
                };
                param.set(&(&p - (direction * lr)?)?)
            }
            Update::Adam {
                keep,
                weight_decay,
                betas,
                eps,
                step_size,
                correction2_sqrt,
            } => {
                let grad = (&grad + (&p * weight_decay)?)?;
                let (m, v) = (previous(&state[0])?, previous(&state[1])?);
                let m = (&m + ((&grad - &m)? * (1.0 - betas.0))?)?;
                let v = ((v * betas.1)? + (grad.sqr()? * (1.0 - betas.1))?)?;
                let denominator = ((v.sqrt()? / correction2_sqrt)? + eps)?;
                let change = ((&m / denominator)? * step_size)?;
                *state = [Some(m), Some(v)];
                param.set(&((&p * keep)? - change)?)
            }
        }
    }
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
