/// The real, contiguous axis order of an activation tensor.
///
/// PyTorch's `channels_last` is a view: the shape stays `(N, C, H, W)` and the strides change. Here the shape itself is
/// `(N, H, W, C)`, because candle's backward adds every gradient into a contiguous tensor and would copy a view element by element.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Layout {
    /// `(N, C, H, W)`.
    #[default]
    Nchw,
    /// `(N, H, W, C)`.
    Nhwc,
}
