//! Plans for a device that is only described, which cuDNN makes from version 9.8 on without a GPU.

use std::ffi::CString;

use super::constants::{attribute, descriptor};
use super::descriptor::Descriptor;
use super::library::Library;
use super::plan::{Convolution, Pass, Plan, Target};
use crate::call::Precision;

/// An H100, described by hand: the choices for a real one can differ.
const H100: &str = include_str!("../../tests/fixtures/h100.json");

/// First version that makes plans for described devices.
const FIRST: usize = 90_800;

/// Images, channels, size, channels of the output, size of the filter, stride and padding, of the convolutions of `vgg16-bn`, `resnet18`,
/// `resnet20`, `cnn` and `lenet`.
const CONVOLUTIONS: [[usize; 7]; 26] = [
    [128, 3, 32, 64, 3, 1, 1],
    [128, 64, 32, 64, 3, 1, 1],
    [128, 64, 16, 128, 3, 1, 1],
    [128, 128, 16, 128, 3, 1, 1],
    [128, 128, 8, 256, 3, 1, 1],
    [128, 256, 8, 256, 3, 1, 1],
    [128, 256, 4, 512, 3, 1, 1],
    [128, 512, 4, 512, 3, 1, 1],
    [128, 512, 2, 512, 3, 1, 1],
    [128, 64, 32, 128, 3, 2, 1],
    [128, 64, 32, 128, 1, 2, 0],
    [128, 128, 16, 256, 3, 2, 1],
    [128, 128, 16, 256, 1, 2, 0],
    [128, 256, 8, 512, 3, 2, 1],
    [128, 256, 8, 512, 1, 2, 0],
    [128, 3, 32, 16, 3, 1, 1],
    [128, 16, 32, 16, 3, 1, 1],
    [128, 16, 32, 32, 3, 2, 1],
    [128, 32, 16, 32, 3, 1, 1],
    [128, 32, 16, 64, 3, 2, 1],
    [128, 64, 8, 64, 3, 1, 1],
    [64, 1, 28, 6, 5, 1, 0],
    [64, 6, 12, 6, 5, 1, 0],
    [64, 3, 32, 16, 5, 1, 0],
    [64, 16, 14, 32, 5, 1, 0],
    // A last batch of one.
    [1, 512, 4, 512, 3, 1, 1],
];

/// Needs cuDNN, and no device.
#[test]
fn every_pass_of_every_convolution_has_a_plan_that_is_the_same_each_time() {
    let library = match Library::get() {
        Ok(library) if library.version() >= FIRST => library,
        Ok(library) => return eprintln!("SKIPPED: cuDNN {} is too old", library.version()),
        Err(error) => return eprintln!("SKIPPED: {error}"),
    };
    let mut device = Descriptor::new(library, descriptor::DEVICE_PROPERTIES).unwrap();
    let text = CString::new(H100).unwrap();
    device
        .set_text(attribute::DEVICE_PROPERTIES_JSON, &text)
        .unwrap();
    device.finalize().unwrap();
    let target = Target::Described(Box::leak(Box::new(device)));
    for precision in [Precision::F32, Precision::Tf32, Precision::Bf16] {
        for sizes in CONVOLUTIONS {
            let convolution = convolution(sizes);
            for pass in Pass::ALL {
                let name = format!("{pass:?} {precision:?} {convolution:?}");
                let plan = || {
                    let plan = Plan::choose(library, target, pass, &convolution, precision);
                    plan.unwrap().unwrap_or_else(|| panic!("{name}: no plan"))
                };
                let (first, again) = (plan(), plan());
                assert_eq!(first.describe(), again.describe(), "{name}");
                let small = first.workspace < 200 << 20;
                assert!(small, "{name}: {}", first.describe());
            }
        }
    }
}

fn convolution(
    [batch, channels, size, out_channels, kernel, stride, pad]: [usize; 7],
) -> Convolution {
    let output = (size + 2 * pad - kernel) / stride + 1;
    Convolution {
        batch,
        channels,
        input: (size, size),
        out_channels,
        output: (output, output),
        kernel: (kernel, kernel),
        stride: (stride, stride),
        padding: (pad, pad),
        dilation: (1, 1),
        groups: 1,
    }
}
