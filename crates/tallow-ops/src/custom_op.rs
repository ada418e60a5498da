//! What the custom operators of this crate share.

use std::sync::OnceLock;

use candle_core::backend::BackendStorage;
use candle_core::{
    CpuStorage, CustomOp2, CustomOp3, DType, Device, Error, Layout, Result, Shape, Tensor,
    WithDType,
};

use crate::kernels::Float;
use crate::tape;

/// An element type that both candle and the kernels know.
pub(crate) trait Element: WithDType + Float {}

impl Element for f32 {}
impl Element for f64 {}

/// Evaluates `$body` with `$t` standing for the element type, or fails naming the operator.
macro_rules! for_float {
    ($dtype:expr, $op:expr, $t:ident => $body:expr) => {
        match $dtype {
            candle_core::DType::F32 => {
                type $t = f32;
                $body
            }
            candle_core::DType::F64 => {
                type $t = f64;
                $body
            }
            other => Err(candle_core::Error::UnsupportedDTypeForOp(other, $op).bt()),
        }
    };
}
pub(crate) use for_float;

/// The element type of a storage.
pub(crate) fn dtype(storage: &CpuStorage) -> DType {
    storage.dtype()
}

/// A buffer for a kernel to write its result into.
pub(crate) fn zeros<T: Float>(count: usize) -> Vec<T> {
    vec![T::ZERO; count]
}

/// A result as forward hands it over.
pub(crate) fn storage<T: WithDType>(values: Vec<T>) -> CpuStorage {
    T::to_cpu_storage_owned(values)
}

/// A result as backward hands it over.
pub(crate) fn tensor<T: WithDType>(values: Vec<T>, shape: impl Into<Shape>) -> Result<Tensor> {
    Tensor::from_vec(values, shape.into(), &Device::Cpu)
}

/// Keeps what backward needs. An operator value is made for one call, so the place is empty.
pub(crate) fn save<T>(place: &OnceLock<T>, value: T) -> Result<()> {
    place
        .set(value)
        .map_err(|_| Error::Msg("an operator value serves one call".into()).bt())
}

/// What forward kept.
pub(crate) fn saved<T>(place: &OnceLock<T>) -> Result<&T> {
    place
        .get()
        .ok_or_else(|| Error::Msg("backward ran before forward".into()).bt())
}

/// An argument as candle hands it to a forward pass.
pub(crate) type Argument<'a> = (&'a CpuStorage, &'a Layout);

/// An operator of an input, a weight and perhaps a bias.
pub(crate) trait Weighted: Send + Sync + 'static {
    const NAME: &'static str;

    fn forward(
        &self,
        x: Argument,
        weight: Argument,
        bias: Option<Argument>,
    ) -> Result<(CpuStorage, Shape)>;

    /// The gradients of the three, `None` for what nothing depends on.
    fn backward(
        &self,
        x: &Tensor,
        weight: &Tensor,
        bias: Option<&Tensor>,
        dy: &Tensor,
    ) -> Result<[Option<Tensor>; 3]>;
}

/// Runs the operator on contiguous arguments, on the tape.
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

/// candle has an operator of two arguments and one of three; this is both.
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

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        _y: &Tensor,
        dy: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let [dx, dw, _] = self.0.backward(x, weight, None, dy)?;
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

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        bias: &Tensor,
        _y: &Tensor,
        dy: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let [dx, dw, db] = self.0.backward(x, weight, Some(bias), dy)?;
        Ok((dx, dw, db))
    }
}
