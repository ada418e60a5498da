//! Convolution as a candle operator.

use candle_core::{CpuStorage, DType, Device, Result, Shape, Tensor, WithDType};

use super::algorithm::Algorithm;
use crate::cpu;
use crate::kernels::conv::{
    Epilogue, Geometry, Gradients, channels_last, depthwise, direct, grad_bias, matmul,
};
use crate::kernels::fresh::fresh;
use crate::kernels::real::Real;
use crate::layout::Layout;
use crate::weighted::{Argument, Weighted};

const NAME: &str = "conv2d";

/// Operator of one call of [`conv2d`](super::conv2d), with sizes already checked, on contiguous arguments of one type.
pub(super) struct Conv2d {
    pub(super) geometry: Geometry,
    pub(super) layout: Layout,
    pub(super) algorithm: Algorithm,
}

impl Conv2d {
    /// Buffer of a result: zeroed, or not initialized if the algorithm writes all of it.
    fn buffer<T: Real>(&self, len: usize, fill: impl FnOnce(&mut [T])) -> Vec<T> {
        if matches!(
            self.algorithm,
            Algorithm::ChannelsLast | Algorithm::Depthwise
        ) {
            // SAFETY: these passes write every element of their results.
            return unsafe { fresh(len, fill) };
        }
        let mut values = vec![T::ZERO; len];
        fill(&mut values);
        values
    }

    fn forward_as<T: Real + WithDType>(
        &self,
        x: Argument,
        w: Argument,
        b: Option<Argument>,
    ) -> Result<CpuStorage> {
        let (g, layout) = (&self.geometry, self.layout);
        let (x, w) = (
            cpu::slice::<T>(NAME, x.0, x.1)?,
            cpu::slice::<T>(NAME, w.0, w.1)?,
        );
        let b = b.map(|b| cpu::slice::<T>(NAME, b.0, b.1)).transpose()?;
        let fill = |y: &mut [T]| match self.algorithm {
            Algorithm::Matmul => matmul::forward(g, layout, x, w, b, y),
            Algorithm::ChannelsLast => {
                if let (Some(x), Some(w), Some(y)) = (T::f32s(x), T::f32s(w), T::f32s_mut(y)) {
                    let epilogue = Epilogue {
                        bias: b.and_then(T::f32s),
                        ..Default::default()
                    };
                    channels_last::forward(g, x, w, epilogue, y);
                }
            }
            Algorithm::Direct => direct::forward(g, x, w, b, y),
            Algorithm::Depthwise => depthwise::forward(g, layout, x, w, b, y),
        };
        let y = self.buffer(g.batch * g.out_image(), fill);
        Ok(T::to_cpu_storage_owned(y))
    }

    fn backward_as<T: Real + WithDType>(
        &self,
        x: &Tensor,
        w: &Tensor,
        b: Option<&Tensor>,
        dy: &Tensor,
    ) -> Result<[Option<Tensor>; 3]> {
        let (g, layout, dy) = (&self.geometry, self.layout, dy.contiguous()?);
        let (dx, dw, db) = {
            let (x_guard, w_guard, dy_guard) = (
                x.storage_and_layout(),
                w.storage_and_layout(),
                dy.storage_and_layout(),
            );
            let xs = cpu::locked::<T>(NAME, &x_guard.0, x_guard.1)?;
            let ws = cpu::locked::<T>(NAME, &w_guard.0, w_guard.1)?;
            let dys = cpu::locked::<T>(NAME, &dy_guard.0, dy_guard.1)?;
            let zeros = |tensor: &Tensor| {
                tensor
                    .track_op()
                    .then(|| vec![T::ZERO; tensor.elem_count()])
            };
            let mut db = b.and_then(zeros);
            let (dx, dw) = match self.algorithm {
                Algorithm::ChannelsLast => {
                    let dx = |dx: &mut [T]| {
                        if let (Some(w), Some(dy), Some(dx)) =
                            (T::f32s(ws), T::f32s(dys), T::f32s_mut(dx))
                        {
                            channels_last::input_grad(g, w, dy, dx);
                        }
                    };
                    let dw = |dw: &mut [T]| {
                        if let (Some(x), Some(dy), Some(dw)) =
                            (T::f32s(xs), T::f32s(dys), T::f32s_mut(dw))
                        {
                            channels_last::weight_grad(g, x, dy, dw);
                        }
                    };
                    (
                        x.track_op().then(|| self.buffer(xs.len(), dx)),
                        w.track_op().then(|| self.buffer(ws.len(), dw)),
                    )
                }
                Algorithm::Depthwise => {
                    let dx = |dx: &mut [T]| depthwise::input_grad(g, layout, ws, dys, dx);
                    let dx = x.track_op().then(|| self.buffer(xs.len(), dx));
                    let dw = w.track_op().then(|| {
                        self.buffer(ws.len(), |dw| {
                            depthwise::weight_grad(g, layout, xs, dys, dw, db.as_deref_mut());
                        })
                    });
                    (dx, dw)
                }
                Algorithm::Direct | Algorithm::Matmul => {
                    let (mut dx, mut dw) = (zeros(x), zeros(w));
                    let into = Gradients {
                        input: dx.as_deref_mut(),
                        weight: dw.as_deref_mut(),
                    };
                    match self.algorithm {
                        Algorithm::Direct => direct::backward(g, xs, ws, dys, into),
                        _ => matmul::backward(g, layout, xs, ws, dys, into),
                    }
                    (dx, dw)
                }
            };
            // Depthwise it is computed with the gradient of the weight.
            let with_weight = matches!(self.algorithm, Algorithm::Depthwise) && w.track_op();
            if let Some(db) = db.as_mut().filter(|_| !with_weight) {
                grad_bias(g, layout, dys, db);
            }
            (dx, dw, db)
        };
        let tensor = |gradient: Option<Vec<T>>, of: &Tensor| {
            gradient
                .map(|v| Tensor::from_vec(v, of.shape(), &Device::Cpu))
                .transpose()
        };
        Ok([
            tensor(dx, x)?,
            tensor(dw, w)?,
            b.map_or(Ok(None), |b| tensor(db, b))?,
        ])
    }
}

impl Weighted for Conv2d {
    const NAME: &'static str = NAME;

    fn forward(
        &self,
        x: Argument,
        w: Argument,
        b: Option<Argument>,
    ) -> Result<(CpuStorage, Shape)> {
        let storage = match x.0 {
            CpuStorage::F64(_) => self.forward_as::<f64>(x, w, b)?,
            _ => self.forward_as::<f32>(x, w, b)?,
        };
        let g = &self.geometry;
        let shape = match self.layout {
            Layout::Nchw => (g.batch, g.out_channels, g.out_height, g.out_width),
            Layout::Nhwc => (g.batch, g.out_height, g.out_width, g.out_channels),
        };
        Ok((storage, shape.into()))
    }

    /// Gradients of input, weight and bias; `None` for those not needed. The first layer of a network does not compute the
    /// gradient of its images.
    fn backward(
        &self,
        x: &Tensor,
        w: &Tensor,
        b: Option<&Tensor>,
        _: &Tensor,
        dy: &Tensor,
    ) -> Result<[Option<Tensor>; 3]> {
        match x.dtype() {
            DType::F64 => self.backward_as::<f64>(x, w, b, dy),
            _ => self.backward_as::<f32>(x, w, b, dy),
        }
    }
}
