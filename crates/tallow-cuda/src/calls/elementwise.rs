//! Element-wise operators.

use crate::call::{Address, Arg, Call, by_four, elements};

/// Launch of a kernel over whole tensors, four values at a time where that is possible.
fn launch([one, four]: [&'static str; 2], addresses: &[Address], count: u32) -> Call {
    let (kernel, count) = if by_four(count as usize, addresses) {
        (four, count / 4)
    } else {
        (one, count)
    };
    let args = addresses.iter().copied().map(Arg::Address);
    elements(kernel, count, args.chain([Arg::U32(count)]).collect())
}

/// `y = relu(x)`.
pub fn relu(x: Address, y: Address, count: u32) -> Call {
    launch(["relu_1", "relu_4"], &[x, y], count)
}

/// Gradient of a ReLU, from its output `y`.
pub fn relu_gradient(y: Address, grad: Address, dx: Address, count: u32) -> Call {
    launch(
        ["relu_gradient_1", "relu_gradient_4"],
        &[y, grad, dx],
        count,
    )
}

/// `out = relu(x + y)`.
pub fn add_relu(x: Address, y: Address, out: Address, count: u32) -> Call {
    launch(["add_relu_1", "add_relu_4"], &[x, y, out], count)
}
