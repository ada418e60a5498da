//! One step of one parameter: the arithmetic, twice.
//!
//! [`Update::run`] passes once over parameter, gradient and state, in place, on slices.
//! [`Update::reference`] says the same with candle's tensor operations, for every device and
//! type; the tests hold one against the other.

use candle_core::{Tensor, Var};
use pulp::Arch;
use rayon::prelude::*;

/// Longest run of elements that one task updates; a shorter parameter stays on the calling
/// thread, since waking another costs more than a few thousand elements do.
const CHUNK: usize = 1 << 15;

/// The numbers of one step, the same for every element of a parameter.
#[derive(Clone, Copy, Debug)]
pub(super) enum Update {
    Sgd {
        lr: f64,
        weight_decay: f64,
        momentum: f64,
        /// The share of the gradient that enters the momentum: 1 - dampening, 1 on the first step.
        share: f64,
        nesterov: bool,
    },
    Adam {
        /// What is left of the parameter first: 1 - lr * decay if decoupled, else 1.
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

/// f32 and f64: what the slices hold.
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

impl Update {
    /// Updates `param` and `state` in place. A state vector the update has no use for is empty.
    ///
    /// Elements do not depend on one another, so the bits are the same for any thread count.
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

    /// With the vector instructions of the CPU at hand.
    fn run_chunk<T: Real>(&self, param: &mut [T], grad: &[T], first: &mut [T], second: &mut [T]) {
        Arch::new().dispatch(
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

    /// The same with tensor operations: sets `param`, and replaces the state tensors.
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
