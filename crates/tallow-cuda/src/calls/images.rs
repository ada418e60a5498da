//! Images of a batch from the bytes of a data set.

use crate::call::{Address, Arg, Call, elements};

/// Sizes of the images of a data set and of those that are made of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// Images of the batch.
    pub batch: u32,
    /// Channels.
    pub channels: u32,
    /// Rows and columns of the images of the data set.
    pub from: (u32, u32),
    /// Rows and columns of the images that are made.
    pub to: (u32, u32),
    /// Tables of 256 values: 1, or one for each channel.
    pub tables: u32,
}

impl Sizes {
    /// Values of the batch.
    pub fn outputs(&self) -> usize {
        let pixels = self.to.0 as usize * self.to.1 as usize;
        self.batch as usize * self.channels as usize * pixels
    }

    /// Codes of the batch: an index for each image, then one for each row and column of each.
    pub fn codes(&self) -> usize {
        self.batch as usize * (1 + self.to.0 as usize + self.to.1 as usize)
    }
}

/// Addresses of a data set and of the values of its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Set {
    /// Bytes of all images, `(N, C, H, W)`.
    pub pixels: Address,
    /// Labels of all images.
    pub labels: Address,
    /// Values of the output for each byte, `(tables, 256)` floats.
    pub tables: Address,
    /// Values of the fills, `(F, C)` floats.
    pub fills: Address,
}

/// Images in (N, C, H, W), and their labels. The outputs are at most as many as [`count`](crate::count) allows.
pub fn images(set: &Set, codes: Address, out: Address, labels: Address, sizes: &Sizes) -> Call {
    let count = sizes.outputs() as u32;
    let addresses = [
        set.pixels, set.labels, codes, set.tables, set.fills, out, labels,
    ];
    let mut args: Vec<Arg> = addresses.map(Arg::Address).into();
    let numbers = [
        count,
        sizes.batch,
        sizes.channels,
        sizes.from.0,
        sizes.from.1,
        sizes.to.0,
        sizes.to.1,
        sizes.tables,
    ];
    args.extend(numbers.map(Arg::U32));
    elements("images", count, args)
}
