//! From the values of a pickle to tensors, as `torch._utils` describes them.

use candle_core::{DType, Device, Tensor};

use crate::weights::error::{Result, WeightsProblem};
use crate::weights::pickle::{Pickle, Value, damaged};

/// A run of numbers in a checkpoint, which tensors are views of.
#[derive(Clone, Copy, Debug)]
pub(super) struct Storage<'a> {
    pub key: &'a str,
    /// Such as `FloatStorage`.
    kind: &'a str,
    /// Start in the storage of this key, in numbers (a storage can be a view of another).
    start: usize,
    /// Length in numbers.
    len: usize,
}

impl<'a> Storage<'a> {
    /// From the tuple that describes it: `("storage", torch.FloatStorage, key, device, length)`, and in older files whether it is
    /// a view: `(key, offset, length)`.
    pub fn of(pickle: &Pickle<'a>, parts: &[Value<'a>]) -> Result<Self> {
        let (kind, key, len, view) = match *parts {
            [
                Value::Str("storage"),
                Value::Global("torch", kind),
                Value::Str(key),
                _,
                Value::Int(len),
            ] => (kind, key, len, Value::None),
            [
                Value::Str("storage"),
                Value::Global("torch", kind),
                Value::Str(key),
                _,
                Value::Int(len),
                view,
            ] => (kind, key, len, view),
            _ => {
                return Err(damaged(
                    "a storage that is not described as torch.save does",
                ));
            }
        };
        let (start, len) = match pickle.sequence(view) {
            None => (0, len),
            Some(&[_, Value::Int(start), Value::Int(len)]) => (start, len),
            Some(_) => {
                return Err(damaged(
                    "a view of a storage that is not described as torch.save does",
                ));
            }
        };
        let (Ok(start), Ok(len)) = (usize::try_from(start), usize::try_from(len)) else {
            return Err(damaged(format!("storage {key} of {len} numbers")));
        };
        Ok(Self {
            key,
            kind,
            start,
            len,
        })
    }

    /// Bytes a number; `None` for types that PyTorch has and this reader does not know.
    pub fn width(&self) -> Option<usize> {
        Some(match self.kind {
            "DoubleStorage" | "LongStorage" => 8,
            "FloatStorage" | "IntStorage" => 4,
            "HalfStorage" | "BFloat16Storage" | "ShortStorage" => 2,
            "ByteStorage" | "CharStorage" | "BoolStorage" => 1,
            _ => return None,
        })
    }

    fn dtype(&self) -> Option<DType> {
        Some(match self.kind {
            "DoubleStorage" => DType::F64,
            "FloatStorage" => DType::F32,
            "HalfStorage" => DType::F16,
            "BFloat16Storage" => DType::BF16,
            "LongStorage" => DType::I64,
            "IntStorage" => DType::I32,
            "ShortStorage" => DType::I16,
            "ByteStorage" | "BoolStorage" => DType::U8,
            _ => return None,
        })
    }
}

/// A tensor of a state dict: a view of a storage.
#[derive(Debug)]
pub(super) struct View<'a> {
    pub name: &'a str,
    pub storage: Storage<'a>,
    offset: usize,
    shape: Vec<usize>,
    stride: Vec<usize>,
}

impl<'a> View<'a> {
    /// `None` when the value is no tensor.
    pub fn of(pickle: &Pickle<'a>, name: &'a str, mut value: Value<'a>) -> Result<Option<Self>> {
        // A parameter wraps a tensor, a subclass of the tensor wraps its arguments; a file could wrap them forever.
        for _ in 0..4 {
            let Some((function, args)) = pickle.call(value) else {
                return Ok(None);
            };
            match (function, args) {
                (("torch._utils", "_rebuild_parameter"), [inner, ..]) => value = *inner,
                (
                    ("torch._tensor", "_rebuild_from_type_v2"),
                    [Value::Global(module, function), _, args, ..],
                ) => {
                    let Some(args) = pickle.sequence(*args) else {
                        break;
                    };
                    return Self::from_args(pickle, name, (module, function), args);
                }
                (function, args) => return Self::from_args(pickle, name, function, args),
            }
        }
        Err(damaged(format!(
            "`{name}`, which is not described as torch.save does"
        )))
    }

    /// From the arguments of `_rebuild_tensor`: storage, offset, size, stride; what follows says how to train it.
    fn from_args(
        pickle: &Pickle<'a>,
        name: &'a str,
        function: (&str, &str),
        args: &[Value<'a>],
    ) -> Result<Option<Self>> {
        if !matches!(
            function,
            ("torch._utils", "_rebuild_tensor" | "_rebuild_tensor_v2")
        ) {
            return Ok(None);
        }
        let wrong = || {
            damaged(format!(
                "`{name}`, which is not described as torch.save does"
            ))
        };
        let &[Value::Persistent(id), Value::Int(offset), size, stride, ..] = args else {
            return Err(wrong());
        };
        let numbers = |value| {
            let values = pickle.sequence(value)?.iter();
            values
                .map(|v| match *v {
                    Value::Int(n) => usize::try_from(n).ok(),
                    _ => None,
                })
                .collect::<Option<Vec<_>>>()
        };
        let parts = pickle
            .items(id)
            .first()
            .and_then(|parts| pickle.sequence(*parts));
        let storage = Storage::of(pickle, parts.ok_or_else(wrong)?)?;
        let (Some(shape), Some(stride), Ok(offset)) =
            (numbers(size), numbers(stride), usize::try_from(offset))
        else {
            return Err(wrong());
        };
        if shape.len() != stride.len() {
            return Err(wrong());
        }
        let view = Self {
            name,
            storage,
            offset,
            shape,
            stride,
        };
        view.check()?;
        Ok(Some(view))
    }

    /// Check that the view stays inside its storage and is no larger: an expanded tensor can be of any size at no cost to the file.
    fn check(&self) -> Result<()> {
        let count = self
            .shape
            .iter()
            .try_fold(1usize, |n, size| n.checked_mul(*size));
        let last = || {
            let steps = self.shape.iter().zip(&self.stride);
            steps
                .into_iter()
                .try_fold(self.offset, |at, (size, stride)| {
                    at.checked_add((size - 1).checked_mul(*stride)?)
                })
        };
        let fits = match count {
            Some(0) => true,
            Some(count) => {
                count <= self.storage.len && last().is_some_and(|last| last < self.storage.len)
            }
            None => false,
        };
        if fits {
            return Ok(());
        }
        Err(damaged(format!(
            "`{}` of shape {:?} in a storage of {} numbers",
            self.name, self.shape, self.storage.len
        )))
    }

    fn count(&self) -> usize {
        self.shape.iter().product()
    }

    /// Bytes it takes in memory.
    pub fn bytes(&self) -> usize {
        self.count()
            .saturating_mul(self.storage.width().unwrap_or(0))
    }

    /// The tensor, from the bytes of the storage of its key.
    pub fn tensor(&self, stored: &[u8]) -> Result<Tensor> {
        let (Some(width), Some(dtype)) = (self.storage.width(), self.storage.dtype()) else {
            return Err(WeightsProblem::Type {
                tensor: self.name.into(),
                expected: "numbers of 8 to 64 bits, floating-point or integer",
                found: self.storage.kind.into(),
            });
        };
        let own = self.storage.start.checked_mul(width).and_then(|start| {
            let end = start.checked_add(self.storage.len.checked_mul(width)?)?;
            stored.get(start..end)
        });
        let Some(own) = own else {
            return Err(damaged(format!(
                "storage {} of {} bytes, not {} numbers of {width} bytes",
                self.storage.key,
                stored.len(),
                self.storage.start.saturating_add(self.storage.len),
            )));
        };
        let raw = |bytes: &[u8]| {
            Tensor::from_raw_buffer(bytes, dtype, &self.shape, &Device::Cpu)
                .map_err(|e| damaged(format!("`{}`: {e}", self.name)))
        };
        if self.is_contiguous() {
            let start = self.offset * width;
            return raw(own
                .get(start..start + self.count() * width)
                .unwrap_or_default());
        }
        let mut gathered = Vec::with_capacity(self.count() * width);
        for index in 0..self.count() {
            let at = width * self.position(index);
            gathered.extend_from_slice(&own[at..at + width]);
        }
        raw(&gathered)
    }

    fn is_contiguous(&self) -> bool {
        let mut expected = 1;
        self.shape
            .iter()
            .zip(&self.stride)
            .rev()
            .all(|(size, stride)| {
                let fits = *size == 1 || *stride == expected;
                expected *= size;
                fits
            })
    }

    /// Place in the storage of the number that comes `index`th in row-major order.
    fn position(&self, mut index: usize) -> usize {
        let mut at = self.offset;
        for (size, stride) in self.shape.iter().zip(&self.stride).rev() {
            at += index % size * stride;
            index /= size;
        }
        at
    }
}
