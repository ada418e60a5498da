//! Element-wise operators.

use crate::call::{Address, Arg, Call, Family, Numbers, by_four, elements, family};

/// Launch of a kernel over whole tensors, four values at a time where that is possible.
fn launch(family: Family, numbers: Numbers, addresses: &[Address], count: u32) -> Call {
    let four = by_four(count as usize, numbers, addresses);
    let count = if four { count / 4 } else { count };
    let args = addresses.iter().copied().map(Arg::Address);
    let args = args.chain([Arg::U32(count)]).collect();
    elements(family.of(numbers, four), count, args)
}

/// `y = relu(x)`.
pub fn relu(numbers: Numbers, x: Address, y: Address, count: u32) -> Call {
    launch(family!("relu"), numbers, &[x, y], count)
}

/// Gradient of a ReLU, from its output `y`.
pub fn relu_gradient(numbers: Numbers, y: Address, grad: Address, dx: Address, count: u32) -> Call {
    launch(family!("relu_gradient"), numbers, &[y, grad, dx], count)
}

/// `out = x + y`.
pub fn add(numbers: Numbers, x: Address, y: Address, out: Address, count: u32) -> Call {
    launch(family!("add"), numbers, &[x, y, out], count)
}

/// `out = relu(x + y)`.
pub fn add_relu(numbers: Numbers, x: Address, y: Address, out: Address, count: u32) -> Call {
    launch(family!("add_relu"), numbers, &[x, y, out], count)
}
