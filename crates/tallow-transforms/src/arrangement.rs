/// Origin of each pixel of an output whose rows and columns are those of an image, moved: what a pipeline with
/// [`Compose::tables`](crate::Compose::tables) draws for an image.
///
/// The value at a row and a column of the output is, with the codes of the two, that of the fill of the smaller code if one is below 0, and else the
/// entry of the channel's table for the byte of the image there.
///
/// ```
/// use tallow_transforms::{Arrangement, Compose, ImageRef, Pad, RandomHorizontalFlip, SampleRng, ToTensor};
///
/// let pipeline = Compose::from_transforms(vec![
///     Box::new(RandomHorizontalFlip::new(1.0)),
///     Box::new(Pad::new(1)),
///     Box::new(ToTensor),
/// ])?;
/// let mut found = Arrangement::default();
/// pipeline.arrange((1, 1, 2), &mut SampleRng::new(0, 0, 0), &mut found)?;
/// assert_eq!(found.rows, [-1, 0, -1]);
/// assert_eq!(found.columns, [-1, 1, 0, -1]);
/// assert_eq!(found.fills, [0.0]);
/// # Ok::<(), tallow_transforms::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Arrangement {
    /// For each row of the output, the row of the image, or `-1 - i` for fill `i`.
    pub rows: Vec<i32>,
    /// The same for columns.
    pub columns: Vec<i32>,
    /// Values of each fill in the output, one for each channel.
    pub fills: Vec<f32>,
}
