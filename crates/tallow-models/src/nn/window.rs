use tallow_ops::Pool2dConfig;

/// Side of the largest square image tried by [`least_side`].
const LARGEST: usize = 4096;

/// Effect of a layer on the height and width of a feature map.
#[derive(Clone, Copy, Debug)]
pub(super) enum Window {
    /// Sliding window of a convolution or pooling.
    Sliding(Pool2dConfig),
    /// Map of fixed height and width, as after adaptive pooling.
    Fixed(usize, usize),
    /// Layer of the user's, about which nothing is known.
    Unknown,
}

impl Window {
    /// Square window.
    pub(super) fn square(kernel: usize, stride: usize, padding: usize, dilation: usize) -> Self {
        Self::Sliding(Pool2dConfig {
            stride: (stride, stride),
            padding: (padding, padding),
            dilation: (dilation, dilation),
            ..Pool2dConfig::new(kernel)
        })
    }

    /// Whether kernel, stride and dilation are above 0.
    pub(super) fn is_valid(self) -> bool {
        match self {
            Self::Sliding(config) => [config.kernel, config.stride, config.dilation]
                .iter()
                .all(|&(rows, columns)| rows > 0 && columns > 0),
            Self::Fixed(rows, columns) => rows > 0 && columns > 0,
            Self::Unknown => true,
        }
    }

    /// Height and width of the output for an input of `(h, w)`; none when there is no output or it is not known.
    pub(super) fn output(self, (h, w): (usize, usize)) -> Option<(usize, usize)> {
        match self {
            Self::Sliding(config) => Some((
                output_side(h, &config, |pair| pair.0)?,
                output_side(w, &config, |pair| pair.1)?,
            )),
            Self::Fixed(h, w) => Some((h, w)),
            Self::Unknown => None,
        }
    }
}

/// `pooling_output_shape` of PyTorch; with `ceil_mode` off also the output of a convolution.
fn output_side(
    input: usize,
    config: &Pool2dConfig,
    of: impl Fn((usize, usize)) -> usize,
) -> Option<usize> {
    let (kernel, stride, padding) = (of(config.kernel), of(config.stride), of(config.padding));
    // Saturating: a size beyond usize fits no image in any case.
    let reach = of(config.dilation)
        .saturating_mul(kernel.checked_sub(1)?)
        .saturating_add(1);
    let overhang = if config.ceil_mode {
        stride.checked_sub(1)?
    } else {
        0
    };
    let padded = input.saturating_add(padding.saturating_mul(2));
    let slack = padded.saturating_add(overhang).checked_sub(reach)?;
    let output = slack.checked_div(stride)? + 1;
    // A window that would begin in the padding after the image is left out.
    let beyond = config.ceil_mode && (output - 1) * stride >= input + padding;
    Some(output - usize::from(beyond)).filter(|side| *side > 0)
}

/// Smallest side of a square image for which every window has an output.
pub(super) fn least_side(windows: &[Window]) -> Option<usize> {
    (1..=LARGEST).find(|&side| {
        windows
            .iter()
            .try_fold((side, side), |map, window| window.output(map))
            .is_some()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sides_are_pytorchs() {
        for (window, input, expected) in [
            (Window::square(5, 1, 0, 1), 5, Some(1)),
            (Window::square(5, 1, 0, 1), 4, None),
            (Window::square(3, 2, 1, 1), 32, Some(16)),
            (Window::square(3, 1, 0, 2), 5, Some(1)),
            (Window::square(3, 1, 0, 2), 4, None),
            (Window::square(2, 2, 0, 1), 7, Some(3)),
            (Window::square(0, 1, 0, 1), 7, None),
            (Window::square(2, 0, 0, 1), 7, None),
            (Window::Fixed(7, 7), 1, Some(7)),
            (Window::Unknown, 7, None),
        ] {
            let found = window.output((input, input)).map(|map| map.0);
            assert_eq!(found, expected, "{window:?} of {input}");
        }
        let ceil = Pool2dConfig {
            ceil_mode: true,
            ..Pool2dConfig::new(2)
        };
        assert_eq!(Window::Sliding(ceil).output((7, 6)), Some((4, 3)));
    }

    #[test]
    fn the_least_image_leaves_one_pixel() {
        let (conv, pool) = (Window::square(5, 1, 0, 1), Window::square(2, 2, 0, 1));
        assert_eq!(least_side(&[conv, pool, conv, pool]), Some(16));
        assert_eq!(least_side(&[conv, pool, conv, pool, conv]), Some(32));
        assert_eq!(least_side(&[Window::Fixed(7, 7), conv]), Some(1));
        assert_eq!(least_side(&[conv, Window::Unknown]), None);
    }
}
