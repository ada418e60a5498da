use crate::{Error, MAX_SIDE, Result};

/// A borrowed image: u8, planar, `C x H x W` in row-major order, without gaps.
#[derive(Clone, Copy, Debug)]
pub struct ImageRef<'a> {
    /// `channels * height * width` bytes, one plane after the other.
    pub data: &'a [u8],
    /// 1 for grey, 3 for RGB; any other count works where a transform does not need one of these.
    pub channels: usize,
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
}

impl<'a> ImageRef<'a> {
    /// An image over `data`; [`Error::Image`] unless the bytes fill the shape exactly.
    pub fn new(data: &'a [u8], channels: usize, height: usize, width: usize) -> Result<Self> {
        let image = Self {
            data,
            channels,
            height,
            width,
        };
        image.check()?;
        Ok(image)
    }

    /// `(C, H, W)`.
    pub fn shape(&self) -> (usize, usize, usize) {
        (self.channels, self.height, self.width)
    }

    /// The fields are public, so every pipeline checks them before it trusts them.
    pub(crate) fn check(&self) -> Result<()> {
        let sides = 1..=MAX_SIDE;
        let bytes = self
            .channels
            .checked_mul(self.height.saturating_mul(self.width));
        if self.channels == 0
            || !sides.contains(&self.height)
            || !sides.contains(&self.width)
            || bytes != Some(self.data.len())
        {
            return Err(Error::Image {
                channels: self.channels,
                height: self.height,
                width: self.width,
                bytes: self.data.len(),
            });
        }
        Ok(())
    }
}
