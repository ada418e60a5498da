//! Decoding of picture files and of encoded images in tables: one function for training, evaluation and prediction.

pub(crate) mod error;
mod frames;
mod jpeg;
mod pixels;

use std::fmt;
use std::io::Cursor;

use image::{ColorType, DynamicImage, ImageDecoder, ImageFormat, ImageReader, Limits};

use crate::contain;
use crate::options::{Alpha, PictureOptions};
use crate::source::kind_of;
use error::PictureError;

pub(crate) use pixels::luma;

/// Bytes for each pixel of the largest picture, of all buffers together while it is decoded.
const BYTES_PER_PIXEL: u64 = 10;

/// Bytes that are allowed for decoding whatever the limit of pixels is.
const LEAST_BYTES: u64 = 160 << 20;

/// Bytes of planes that are kept for the result while a decoder of another crate works.
const MOST_KEPT: usize = 16 << 20;

/// Decoded picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture {
    /// Red, green and blue planes, `(3, height, width)`. A grey picture has three equal planes.
    pub planes: Vec<u8>,
    /// Height in pixels, after the orientation is applied.
    pub height: usize,
    /// Width in pixels, after the orientation is applied.
    pub width: usize,
    /// Name of the format, such as `JPEG`.
    pub format: &'static str,
    /// Whether the file has colour.
    pub colour: bool,
    /// Changes that the picture needed.
    pub notes: Vec<PictureNote>,
}

/// Change that a picture needed to become RGB pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum PictureNote {
    /// Turned or mirrored by the EXIF orientation, a number from 2 to 8.
    Oriented(u8),
    /// The EXIF orientation was left alone: [`PictureOptions::exif`] is off.
    NotOriented(u8),
    /// Parts are transparent; the alpha channel was dropped.
    AlphaDropped,
    /// Parts are transparent; they were blended with this colour.
    Blended(&'static str),
    /// The file has several frames or pages; the first one was taken.
    FirstFrame,
    /// A grey picture of 16 bits: the high byte was taken, where Pillow's `convert("RGB")` makes every value above 255 white.
    HighByte,
}

impl fmt::Display for PictureNote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Oriented(code) => write!(f, "turned upright by its EXIF orientation {code}"),
            Self::NotOriented(code) => write!(f, "its EXIF orientation {code} was not applied"),
            Self::AlphaDropped => f.write_str("its transparency was dropped, not blended"),
            Self::Blended(ground) => write!(f, "its transparent parts made {ground}"),
            Self::FirstFrame => f.write_str("the first of its frames was taken"),
            Self::HighByte => f.write_str(
                "of its 16 bits of grey the high byte was taken, where Pillow's convert(\"RGB\") clips at 255",
            ),
        }
    }
}

/// Decodes the bytes of a picture file. The contents tell the format: JPEG, PNG, WebP, BMP, GIF, TIFF or PNM.
///
/// The number of pixels in the header is compared with [`PictureOptions::max_pixels`] before anything is allocated for them. Decoding takes at
/// most ten bytes for each of so many pixels: pictures that take more for each, such as those of 16-bit colour or animations in WebP, may
/// have fewer. Baseline
/// JPEG is equal to Pillow and torchvision to the bit (`tallow-jpeg`). Bytes behind the end of a JPEG are ignored; one that
/// ends early is [`PictureError::Truncated`]. Samples of 16 bits give their high byte. Of an animation, the first frame is decoded.
///
/// ```
/// use tallow_datasets::{PictureOptions, decode_picture};
///
/// let file = b"P6 2 1 255\n\xff\x00\x00\x00\x00\xff"; // a red and a blue pixel
/// let picture = decode_picture(file, &PictureOptions::default())?;
/// assert_eq!((picture.height, picture.width), (1, 2));
/// assert_eq!(picture.planes, [255, 0, 0, 0, 0, 255]); // red, green, blue
/// # Ok::<(), tallow_datasets::PictureError>(())
/// ```
///
/// # Errors
/// [`PictureError`] says what is wrong with the contents.
pub fn decode_picture(bytes: &[u8], options: &PictureOptions) -> Result<Picture, PictureError> {
    let mut planes = Vec::new();
    let opened = Opened::new(bytes, options)?;
    let decoded = opened.decode(&mut planes)?;
    Ok(Picture {
        planes,
        height: decoded.height,
        width: decoded.width,
        format: name(decoded.format),
        colour: decoded.colour,
        notes: decoded.notes,
    })
}

/// Description of decoded pixels.
pub(crate) struct Decoded {
    pub height: usize,
    pub width: usize,
    pub format: ImageFormat,
    pub colour: bool,
    pub notes: Vec<PictureNote>,
}

/// Picture whose header is read and whose size is within the limit.
pub(crate) struct Opened<'a> {
    bytes: &'a [u8],
    options: PictureOptions,
    format: ImageFormat,
    /// Height and width as stored.
    stored: (usize, usize),
    /// EXIF orientation, 1 to 8.
    orientation: u8,
    /// `None` for a JPEG, for which the decoder is chosen later.
    decoder: Option<Box<dyn ImageDecoder + 'a>>,
}

impl<'a> Opened<'a> {
    /// Reads the header.
    pub fn new(bytes: &'a [u8], options: &PictureOptions) -> Result<Self, PictureError> {
        let format = match image::guess_format(bytes) {
            Ok(format) if format.reading_enabled() => format,
            Ok(format) => return Err(unsupported(name(format))),
            Err(_) => {
                return Err(match foreign(bytes) {
                    Some(name) => unsupported(name),
                    None => PictureError::NotAnImage(kind_of(bytes)),
                });
            }
        };
        let mut opened = Opened {
            bytes,
            options: *options,
            format,
            stored: (0, 0),
            orientation: 1,
            decoder: None,
        };
        let mut components = 0;
        if format == ImageFormat::Jpeg {
            let headers = jpeg::Headers::read(bytes);
            if !headers.whole {
                return Err(PictureError::Truncated);
            }
            if let Some(kind) = headers.unsupported() {
                return Err(PictureError::Unsupported(format!("{kind} JPEG image")));
            }
            let size = headers.size;
            opened.stored = size.ok_or(PictureError::Damaged("no frame header".into()))?;
            opened.orientation = headers.orientation;
            components = headers.components;
        } else {
            let (decoder, size, orientation) = contained(|| {
                let mut decoder = decoder(bytes, format, options)?;
                let (width, height) = decoder.dimensions();
                let orientation = decoder.orientation().map_or(1, |o| o.to_exif());
                Ok((decoder, (height as usize, width as usize), orientation))
            })?;
            opened.stored = size;
            opened.orientation = orientation;
            opened.decoder = Some(decoder);
        }
        let (height, width) = opened.stored;
        if height == 0 || width == 0 {
            return Err(PictureError::Empty);
        }
        if let Some(decoder) = &opened.decoder
            && matches!(decoder.color_type(), ColorType::Rgb32F | ColorType::Rgba32F)
        {
            let kind = format!("a {} image of floating-point numbers", name(format));
            return Err(PictureError::Unsupported(kind));
        }
        let limit = options.max_pixels;
        // Three bytes for each pixel must be addressable where `usize` has 32 bits.
        let most = limit.min(usize::MAX as u64 / 4);
        let pixels = (height as u64).saturating_mul(width as u64);
        let most_bytes = limit.saturating_mul(BYTES_PER_PIXEL).max(LEAST_BYTES);
        let limit = match pixels > most {
            true => limit,
            false => most_bytes / opened.bytes_per_pixel(components),
        };
        if pixels > most || pixels > limit {
            return Err(PictureError::TooLarge {
                height,
                width,
                limit,
            });
        }
        Ok(opened)
    }

    /// Bytes that decoding takes for each pixel: the decoder's own buffers beside its result, then the result beside RGB planes and alpha.
    fn bytes_per_pixel(&self, jpeg_components: u8) -> u64 {
        let Some(decoder) = &self.decoder else {
            // A progressive JPEG has its coefficients, of 16 bits, in memory.
            return 2 * u64::from(jpeg_components) + 3;
        };
        let result = u64::from(decoder.color_type().bytes_per_pixel());
        let own = match self.format {
            // Canvas and frame.
            ImageFormat::WebP if frames::several(self.bytes, self.format) => 8,
            ImageFormat::WebP => 4,
            // Indices, and the canvas.
            ImageFormat::Gif => 5,
            // One strip can be the whole picture.
            ImageFormat::Tiff => result,
            _ => 0,
        };
        result + own.max(4)
    }

    /// Height and width of the decoded picture.
    pub fn size(&self) -> (usize, usize) {
        let (height, width) = self.stored;
        match self.options.exif && self.orientation >= 5 {
            true => (width, height),
            false => (height, width),
        }
    }

    /// Decodes to RGB planes, `(3, height, width)`, in `out`, which is resized.
    pub fn decode(self, out: &mut Vec<u8>) -> Result<Decoded, PictureError> {
        let (height, width) = self.stored;
        let (format, options, orientation) = (self.format, self.options, self.orientation);
        let mut notes = Vec::new();
        out.clear();
        let baseline = match (format, self.bytes) {
            (ImageFormat::Jpeg, bytes) => {
                out.resize(3 * height * width, 0);
                baseline(bytes, out)?
            }
            _ => None,
        };
        let colour = match baseline {
            Some(colour) => colour,
            None => {
                let bytes = self.bytes;
                // Large planes would lie beside the buffers of the decoder.
                if out.capacity() > MOST_KEPT {
                    *out = Vec::new();
                }
                let image = contained(|| {
                    let decoder = match self.decoder {
                        Some(decoder) => decoder,
                        None => decoder(bytes, format, &options)?,
                    };
                    DynamicImage::from_decoder(decoder).map_err(damaged)
                })?;
                if (image.height() as usize, image.width() as usize) != (height, width) {
                    return Err(PictureError::Damaged(
                        "its sizes contradict each other".into(),
                    ));
                }
                let colour = image.color().has_color();
                if matches!(image, DynamicImage::ImageLuma16(_)) {
                    notes.push(PictureNote::HighByte);
                }
                out.resize(3 * height * width, 0);
                let alpha = pixels::planes(image, out);
                if let Some(alpha) = alpha.filter(|alpha| alpha.iter().any(|&a| a != 255)) {
                    notes.push(match options.alpha {
                        Alpha::Drop => PictureNote::AlphaDropped,
                        Alpha::Blend => PictureNote::Blended(pixels::blend(out, &alpha)),
                    });
                }
                if frames::several(bytes, format) {
                    notes.push(PictureNote::FirstFrame);
                }
                colour
            }
        };
        let (mut height, mut width) = (height, width);
        if orientation > 1 && options.exif {
            (height, width) = pixels::orient(out, (height, width), orientation);
            notes.insert(0, PictureNote::Oriented(orientation));
        } else if orientation > 1 {
            notes.insert(0, PictureNote::NotOriented(orientation));
        }
        Ok(Decoded {
            height,
            width,
            format,
            colour,
            notes,
        })
    }
}

/// Decodes a baseline JPEG. `None` for another kind of JPEG; else whether it has colour.
fn baseline(bytes: &[u8], out: &mut [u8]) -> Result<Option<bool>, PictureError> {
    match tallow_jpeg::decode_into(bytes, out) {
        Ok(()) => Ok(Some(jpeg::Headers::read_start(bytes).components != 1)),
        // Damage of the image data; headers that are only unusual are left to the general decoder.
        Err(tallow_jpeg::Error::Damaged(what)) if tallow_jpeg::dimensions(bytes).is_ok() => {
            Err(PictureError::Damaged(what.to_string()))
        }
        Err(_) => Ok(None),
    }
}

fn decoder<'a>(
    bytes: &'a [u8],
    format: ImageFormat,
    options: &PictureOptions,
) -> Result<Box<dyn ImageDecoder + 'a>, PictureError> {
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    let mut limits = Limits::default();
    // As much as the pixels of the largest picture take, and as much again while they are decoded.
    limits.max_alloc = Some(options.max_pixels.saturating_mul(8).max(LEAST_BYTES));
    reader.limits(limits);
    Ok(Box::new(reader.into_decoder().map_err(damaged)?))
}

fn unsupported(name: &str) -> PictureError {
    let article = match name.starts_with(['A', 'H', 'I', 'O', 'S']) {
        true => "an",
        false => "a",
    };
    PictureError::Unsupported(format!("{article} {name} image"))
}

fn damaged(error: image::ImageError) -> PictureError {
    PictureError::Damaged(error.to_string())
}

/// Result of a third-party decoder, whose panic becomes an error.
fn contained<T>(work: impl FnOnce() -> Result<T, PictureError>) -> Result<T, PictureError> {
    contain::contained(work)
        .unwrap_or_else(|_| Err(PictureError::Damaged("its decoder failed on it".into())))
}

/// Name of a format that `image` does not know.
fn foreign(bytes: &[u8]) -> Option<&'static str> {
    const KNOWN: [(usize, &[u8], &str); 10] = [
        // The photos of iPhones.
        (4, b"ftyphei", "HEIC"),
        (4, b"ftyphev", "HEIC"),
        (4, b"ftypmif", "HEIC"),
        (0, b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG 2000"),
        (0, b"\xff\x4f\xff\x51", "JPEG 2000"),
        (0, b"\0\0\0\x0cJXL \r\n\x87\n", "JPEG XL"),
        (0, b"\xff\x0a", "JPEG XL"),
        (0, b"8BPS", "Photoshop"),
        (0, b"<svg", "SVG"),
        (0, b"\x0a\x05\x01\x08", "PCX"),
    ];
    let known = KNOWN
        .iter()
        .find(|(at, magic, _)| bytes.get(*at..).is_some_and(|rest| rest.starts_with(magic)));
    known.map(|(_, _, name)| *name)
}

fn name(format: ImageFormat) -> &'static str {
    match format {
        ImageFormat::Jpeg => "JPEG",
        ImageFormat::Png => "PNG",
        ImageFormat::WebP => "WebP",
        ImageFormat::Bmp => "BMP",
        ImageFormat::Gif => "GIF",
        ImageFormat::Tiff => "TIFF",
        ImageFormat::Pnm => "PNM",
        ImageFormat::Avif => "AVIF",
        ImageFormat::Ico => "ICO",
        ImageFormat::Hdr => "HDR",
        ImageFormat::OpenExr => "OpenEXR",
        ImageFormat::Qoi => "QOI",
        ImageFormat::Dds => "DDS",
        ImageFormat::Farbfeld => "Farbfeld",
        _ => "foreign",
    }
}
