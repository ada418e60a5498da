//! Operators of an input, a weight and an optional bias.

use candle_core::{CpuStorage, CustomOp2, CustomOp3, Layout, Result, Shape, Tensor};

use crate::tape;

/// Argument of a forward pass: storage and layout.
pub(crate) type Argument<'a> = (&'a CpuStorage, &'a Layout);

/// Argument of a forward pass on a CUDA device.
#[cfg(feature = "cuda")]
pub(crate) type CudaArgument<'a> = (&'a candle_core::CudaStorage, &'a Layout);

/// Result of a forward pass on a CUDA device.
#[cfg(feature = "cuda")]
pub(crate) type CudaOutput = Result<(candle_core::CudaStorage, Shape)>;

/// Operator of an input, a weight and an optional bias.
pub(crate) trait Weighted: Send + Sync + 'static {
    const NAME: &'static str;

    fn forward(
        &self,
        x: Argument,
        weight: Argument,
        bias: Option<Argument>,
    ) -> Result<(CpuStorage, Shape)>;

    /// [`forward`](Self::forward) on a CUDA device; an error by default, for operators of the CPU.
    #[cfg(feature = "cuda")]
    fn forward_cuda(
        &self,
        _x: CudaArgument,
        _weight: CudaArgument,
        _bias: Option<CudaArgument>,
    ) -> CudaOutput {
        let message = format!("{}: this is the operator of the CPU", Self::NAME);
        Err(candle_core::Error::Msg(message).bt())
    }

    /// Gradients of the three; `None` for those not needed. `y` is the result of the forward pass.
    fn backward(
        &self,
        x: &Tensor,
        weight: &Tensor,
        bias: Option<&Tensor>,
        y: &Tensor,
        dy: &Tensor,
    ) -> Result<[Option<Tensor>; 3]>;
}

/// Runs the operator on contiguous arguments and records it on the tape.
pub(crate) fn apply_weighted(
    x: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
    op: impl Weighted,
) -> Result<Tensor> {
    let (x, weight) = (x.contiguous()?, weight.contiguous()?);
    match bias {
        Some(bias) => tape::apply3(&x, &weight, &bias.contiguous()?, WithArguments(op)),
        None => tape::apply2(&x, &weight, WithArguments(op)),
    }
}

/// Adapter to candle's operators of two and of three arguments.
struct WithArguments<T>(T);

impl<T: Weighted> CustomOp2 for WithArguments<T> {
    fn name(&self) -> &'static str {
        T::NAME
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        weight: &CpuStorage,
        weight_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        self.0.forward((x, x_layout), (weight, weight_layout), None)
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(
        &self,
        x: &candle_core::CudaStorage,
        x_layout: &Layout,
        weight: &candle_core::CudaStorage,
        weight_layout: &Layout,
    ) -> CudaOutput {
        self.0
            .forward_cuda((x, x_layout), (weight, weight_layout), None)
    }

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        y: &Tensor,
        dy: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let [dx, dw, _] = self.0.backward(x, weight, None, y, dy)?;
        Ok((dx, dw))
    }
}

impl<T: Weighted> CustomOp3 for WithArguments<T> {
    fn name(&self) -> &'static str {
        T::NAME
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        weight: &CpuStorage,
        weight_layout: &Layout,
        bias: &CpuStorage,
        bias_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let bias = Some((bias, bias_layout));
        self.0.forward((x, x_layout), (weight, weight_layout), bias)
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(
        &self,
        x: &candle_core::CudaStorage,
        x_layout: &Layout,
        weight: &candle_core::CudaStorage,
        weight_layout: &Layout,
        bias: &candle_core::CudaStorage,
        bias_layout: &Layout,
    ) -> CudaOutput {
        let bias = Some((bias, bias_layout));
        self.0
            .forward_cuda((x, x_layout), (weight, weight_layout), bias)
    }

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        bias: &Tensor,
        y: &Tensor,
        dy: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let [dx, dw, db] = self.0.backward(x, weight, Some(bias), y, dy)?;
        Ok((dx, dw, db))
    }
}
