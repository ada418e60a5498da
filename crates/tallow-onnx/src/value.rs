/// Value in a [`Graph`](crate::Graph): an input, a constant array, or the output of an operator.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Value(pub(crate) String);

impl Value {
    /// Name in the file.
    pub fn name(&self) -> &str {
        &self.0
    }
}

/// Type of the values of an input, output or array.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ElementType {
    /// 32-bit floats.
    F32,
    /// Bytes.
    U8,
    /// 64-bit integers.
    I64,
}

impl ElementType {
    /// Number in the file: `TensorProto.DataType`.
    pub fn code(self) -> i32 {
        match self {
            Self::F32 => 1,
            Self::U8 => 2,
            Self::I64 => 7,
        }
    }
}

/// Axis of an input or output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dim<'a> {
    /// Size.
    Size(usize),
    /// Name of a size that may differ from call to call.
    Free(&'a str),
}
