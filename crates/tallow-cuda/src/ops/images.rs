//! Data set in the memory of a device, and batches made of it.

use candle_core::cuda_backend::CudaStorage;
use candle_core::cuda_backend::cudarc::driver::CudaSlice;
use candle_core::{CudaDevice, Storage};

use super::counted;
use crate::calls::images as calls;
use crate::engine::Engine;
use crate::error::{Error, Result, driver};
use crate::view::address;

const OP: &str = "images of a batch";

/// Data set on a device: bytes and labels of its images, and what its transforms make of a byte.
pub struct Images {
    device: CudaDevice,
    pixels: CudaSlice<u8>,
    labels: CudaSlice<u32>,
    tables: CudaSlice<f32>,
    /// Number of tables.
    different: usize,
    fills: CudaSlice<f32>,
    /// The same on the host.
    known_fills: Vec<f32>,
    /// `(C, H, W)`.
    shape: (usize, usize, usize),
    len: usize,
}

/// Draws of the transforms for a batch; see [`calls::images`].
#[derive(Clone, Copy, Debug)]
pub struct Drawn<'a> {
    /// Indices of the images in the data set.
    pub indices: &'a [usize],
    /// Code of each row of each image.
    pub rows: &'a [i32],
    /// Code of each column of each image.
    pub columns: &'a [i32],
    /// Values of the fills, one a channel each.
    pub fills: &'a [f32],
}

impl Images {
    /// Uploads a data set: `pixels` are `(N, C, H, W)`, with one label each.
    ///
    /// # Errors
    /// If there is no room for it on the device, or the parts do not fit together.
    pub fn upload(
        device: &CudaDevice,
        shape: (usize, usize, usize),
        pixels: &[u8],
        labels: &[u32],
        tables: &[[f32; 256]],
    ) -> Result<Self> {
        let (c, h, w) = shape;
        let wrong = |message: String| Err(Error::Argument { op: OP, message });
        let expected = labels.len() * c * h * w;
        if expected == 0 || pixels.len() != expected {
            return wrong(format!(
                "{} bytes, expected {expected} of at least one image",
                pixels.len()
            ));
        }
        if tables.len() != 1 && tables.len() != c {
            return wrong(format!("{} tables for {c} channels", tables.len()));
        }
        Ok(Self {
            device: device.clone(),
            pixels: device.clone_htod(pixels)?,
            labels: device.clone_htod(labels)?,
            tables: device.clone_htod(tables.as_flattened())?,
            different: tables.len(),
            fills: device.clone_htod(&vec![0f32; c])?,
            known_fills: Vec::new(),
            shape,
            len: labels.len(),
        })
    }

    /// Images of a batch, in (N, C, H, W), and their labels.
    ///
    /// # Errors
    /// If the codes are not of images of the data set.
    pub fn batch(&mut self, drawn: &Drawn) -> Result<(Storage, Storage, [usize; 4])> {
        let n = drawn.indices.len();
        let sizes = self.sizes(drawn)?;
        let engine = Engine::of(&self.device)?;
        if drawn.fills != self.known_fills && !drawn.fills.is_empty() {
            self.fills = self.device.clone_htod(drawn.fills)?;
            self.known_fills = drawn.fills.to_vec();
        }
        let mut codes: Vec<i32> = Vec::with_capacity(sizes.codes());
        codes.extend(drawn.indices.iter().map(|&index| index as u32 as i32));
        codes.extend_from_slice(drawn.rows);
        codes.extend_from_slice(drawn.columns);
        let codes = driver("cuMemcpyHtoDAsync", engine.stream().clone_htod(&codes))?;
        let (out, labels) = (
            engine.uninit::<f32>(sizes.outputs())?,
            engine.uninit::<u32>(n)?,
        );
        let set = calls::Set {
            pixels: address(&self.pixels),
            labels: address(&self.labels),
            tables: address(&self.tables),
            fills: address(&self.fills),
        };
        let call = calls::images(
            &set,
            address(&codes),
            out.address(),
            labels.address(),
            &sizes,
        );
        // SAFETY: `sizes` has checked that every code is a row or column of an image of the set or a fill; the outputs have their sizes.
        unsafe { engine.launch(&call)? };
        let shape = [n, self.shape.0, sizes.to.0 as usize, sizes.to.1 as usize];
        let (out, labels): (CudaStorage, CudaStorage) =
            (engine.storage(out), engine.storage(labels));
        Ok((Storage::Cuda(out), Storage::Cuda(labels), shape))
    }

    /// Sizes of a batch, if all of its codes are within them.
    fn sizes(&self, drawn: &Drawn) -> Result<calls::Sizes> {
        let (c, h, w) = self.shape;
        let Drawn {
            indices,
            rows,
            columns,
            fills,
        } = *drawn;
        let n = indices.len();
        let wrong = |message: String| Err(Error::Argument { op: OP, message });
        let whole = |codes: &[i32]| n > 0 && !codes.is_empty() && codes.len().is_multiple_of(n);
        if !whole(rows) || !whole(columns) || !fills.len().is_multiple_of(c) {
            return wrong(format!(
                "{} rows and {} columns for {n} images, {} values of fills",
                rows.len(),
                columns.len(),
                fills.len()
            ));
        }
        if let Some(index) = indices.iter().find(|&&index| index >= self.len) {
            return wrong(format!("image {index} of {}", self.len));
        }
        let fills = fills.len() / c;
        let inside = |code: i32, side: usize| match usize::try_from(code) {
            Ok(place) => place < side,
            Err(_) => ((-1 - code) as usize) < fills,
        };
        let outside = rows
            .iter()
            .find(|&&code| !inside(code, h))
            .or_else(|| columns.iter().find(|&&code| !inside(code, w)));
        if let Some(code) = outside {
            return wrong(format!(
                "code {code} for images of {h}x{w} and {fills} fills"
            ));
        }
        let (high, wide) = (rows.len() / n, columns.len() / n);
        counted(
            OP,
            n.saturating_mul(c)
                .saturating_mul(high)
                .saturating_mul(wide),
        )?;
        counted(OP, n.saturating_mul(1 + high + wide))?;
        Ok(calls::Sizes {
            batch: n as u32,
            channels: c as u32,
            from: (h as u32, w as u32),
            to: (high as u32, wide as u32),
            tables: self.different as u32,
        })
    }
}
