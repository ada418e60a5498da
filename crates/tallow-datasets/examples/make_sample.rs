//! Makes the embedded sample from the full Fashion-MNIST:
//!
//! ```text
//! cargo run --release --example make_sample -- DIRECTORY_WITH_FASHION_MNIST data/fashion-mnist-sample
//! ```
//!
//! The rule: the first 1,000 training images and the first 200 test images of each class, in the order in
//! which they come. The same input gives the same bytes.

use std::error::Error;
use std::fs::File;
use std::io::Write;
use std::path::Path;

use flate2::{Compression, GzBuilder};
use tallow_datasets::{Dataset, LoadOptions, Split, load};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [from, to] = &arguments[..] else {
        return Err("usage: make_sample FROM TO".into());
    };
    let options = LoadOptions {
        data_dir: Some(from.into()),
        ..Default::default()
    };
    for (split, prefix, per_class) in [(Split::Train, "train", 1000), (Split::Test, "t10k", 200)] {
        let full = load("fashion-mnist", split, &options)?;
        let (images, labels) = first_of_each_class(&*full, per_class)?;
        let n = labels.len() as u32;
        let to = Path::new(to);
        let header = [0x803, n, 28, 28];
        write_idx(
            &to.join(format!("{prefix}-images-idx3-ubyte.gz")),
            &header,
            &images,
        )?;
        write_idx(
            &to.join(format!("{prefix}-labels-idx1-ubyte.gz")),
            &[0x801, n],
            &labels,
        )?;
    }
    Ok(())
}

fn first_of_each_class(
    set: &dyn Dataset,
    per_class: usize,
) -> Result<(Vec<u8>, Vec<u8>), Box<dyn Error>> {
    let mut taken = vec![0; set.info().classes.len()];
    let (mut images, mut labels, mut scratch) = (Vec::new(), Vec::new(), Vec::new());
    for i in 0..set.len() {
        let label = set.label(i)?;
        if taken[label as usize] < per_class {
            taken[label as usize] += 1;
            images.extend_from_slice(set.image(i, &mut scratch)?.data);
            labels.push(label as u8);
        }
    }
    Ok((images, labels))
}

fn write_idx(path: &Path, header: &[u32], data: &[u8]) -> Result<(), Box<dyn Error>> {
    // No name and no time in the gzip header: the bytes depend on the data alone.
    let mut out = GzBuilder::new().write(File::create(path)?, Compression::best());
    for word in header {
        out.write_all(&word.to_be_bytes())?;
    }
    out.write_all(data)?;
    out.finish()?.sync_all()?;
    Ok(())
}
