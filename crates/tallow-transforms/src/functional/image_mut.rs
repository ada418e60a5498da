use crate::image::Image;

/// Image of either element type, to be changed in place.
///
/// The operations take `impl Into<ImageMut>`: hand them a `&mut Image<u8>` or a `&mut Image<f32>`.
#[derive(Debug)]
pub enum ImageMut<'a> {
    /// Before to-tensor: 0 to 255.
    U8(&'a mut Image<u8>),
    /// After to-tensor: usually `[0, 1]`.
    F32(&'a mut Image<f32>),
}

impl ImageMut<'_> {
    /// The image for a shorter time.
    pub fn reborrow(&mut self) -> ImageMut<'_> {
        match self {
            Self::U8(image) => ImageMut::U8(image),
            Self::F32(image) => ImageMut::F32(image),
        }
    }

    /// Size `(H, W)`.
    pub fn size(&self) -> (usize, usize) {
        match self {
            Self::U8(image) => image.size(),
            Self::F32(image) => image.size(),
        }
    }
}

impl<'a> From<&'a mut Image<u8>> for ImageMut<'a> {
    fn from(image: &'a mut Image<u8>) -> Self {
        Self::U8(image)
    }
}

impl<'a> From<&'a mut Image<f32>> for ImageMut<'a> {
    fn from(image: &'a mut Image<f32>) -> Self {
        Self::F32(image)
    }
}
