use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::error::{Error, Result};
use crate::image::Image;
use crate::wire;

/// Version of the file format, in the first event of a file.
const VERSION: &str = "brain.Event:2";

/// Buckets of a histogram, as in `tf.summary.histogram`.
const BUCKETS: usize = 30;

/// Writer of a TensorBoard event file. Each event is written at once, without a buffer.
///
/// A tag names a curve, a series of images or a series of histograms. TensorBoard groups tags by the part before the first `/`. A
/// step is the position on the horizontal axis: an epoch or an optimizer step.
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// let mut events = tallow_tensorboard::EventWriter::create(dir.path())?;
/// events.scalar("train/loss", 0, 2.3)?;
/// events.histogram("parameters/weight", 0, &[0.5, -0.25, 0.0])?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct EventWriter {
    path: PathBuf,
    file: File,
}

impl EventWriter {
    /// Creates the file `events.out.tfevents.<seconds since 1970>.<host>` in `dir`. If the name is taken, a number is appended.
    ///
    /// # Errors
    /// [`Error::Io`] when `dir` does not exist or cannot be written to.
    pub fn create(dir: impl AsRef<Path>) -> Result<Self> {
        let name = format!("events.out.tfevents.{:.0}.{}", wall_time().floor(), host());
        let (path, file) = new_file(dir.as_ref(), &name)?;
        let mut writer = Self { path, file };
        writer.put(0, |event| wire::bytes(event, 3, VERSION.as_bytes()))?;
        Ok(writer)
    }

    /// Path of the event file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Adds a point to the curve `tag`.
    ///
    /// # Errors
    /// [`Error::Io`] when the file cannot be written.
    pub fn scalar(&mut self, tag: &str, step: usize, value: f32) -> Result<()> {
        self.put(step, |event| summary(event, &scalar(tag, value)))
    }

    /// Adds an image.
    ///
    /// # Errors
    /// [`Error::Io`] when the file cannot be written, [`Error::Png`] when the image cannot be encoded.
    pub fn image(&mut self, tag: &str, step: usize, image: &Image) -> Result<()> {
        let size = (image.width(), image.height());
        self.png(tag, step, size, image.channels(), &image.png()?)
    }

    /// Adds an image that is a PNG file already, of this width and height in pixels and this number of channels. The bytes are not
    /// checked.
    ///
    /// # Errors
    /// [`Error::Io`] when the file cannot be written.
    pub fn png(
        &mut self,
        tag: &str,
        step: usize,
        size: (usize, usize),
        channels: usize,
        png: &[u8],
    ) -> Result<()> {
        self.put(step, |event| {
            summary(event, &image(tag, size, channels, png))
        })
    }

    /// Adds a histogram of `values`: 30 buckets of equal width from the minimum to the maximum.
    ///
    /// Values that are not finite are left out. Without any finite value, nothing is written.
    ///
    /// # Errors
    /// [`Error::Io`] when the file cannot be written.
    pub fn histogram(&mut self, tag: &str, step: usize, values: &[f32]) -> Result<()> {
        match histogram(tag, values) {
            Some(value) => self.put(step, |event| summary(event, &value)),
            None => Ok(()),
        }
    }

    /// Marks the start of a program at `step`. TensorBoard then drops the events of this and later steps that an earlier program
    /// wrote to a file in the same directory: for a run that is resumed.
    ///
    /// # Errors
    /// [`Error::Io`] when the file cannot be written.
    pub fn start(&mut self, step: usize) -> Result<()> {
        self.put(step, start)
    }

    fn put(&mut self, step: usize, content: impl FnOnce(&mut Vec<u8>)) -> Result<()> {
        let event = event(wall_time(), step, content);
        self.file
            .write_all(&wire::record(&event))
            .map_err(|source| io(&self.path, source))
    }
}

fn io(path: &Path, source: std::io::Error) -> Error {
    Error::Io {
        path: path.to_path_buf(),
        source,
    }
}

/// `Event`: `wall_time` 1, `step` 2, then one of `file_version` 3, `summary` 5, `session_log` 7.
fn event(wall_time: f64, step: usize, content: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut event = Vec::new();
    wire::double(&mut event, 1, wall_time);
    wire::int(&mut event, 2, step as i64);
    content(&mut event);
    event
}

/// `Summary`: `value` 1.
fn summary(event: &mut Vec<u8>, value: &[u8]) {
    let mut summary = Vec::new();
    wire::bytes(&mut summary, 1, value);
    wire::bytes(event, 5, &summary);
}

/// `SessionLog`: `status` 1, of which 1 is `START`.
fn start(event: &mut Vec<u8>) {
    let mut log = Vec::new();
    wire::int(&mut log, 1, 1);
    wire::bytes(event, 7, &log);
}

/// `Summary.Value`: `tag` 1, `simple_value` 2.
fn scalar(tag: &str, value: f32) -> Vec<u8> {
    let mut out = Vec::new();
    wire::bytes(&mut out, 1, tag.as_bytes());
    wire::float(&mut out, 2, value);
    out
}

/// `Summary.Value`: `tag` 1, `image` 4; `Image`: `height` 1, `width` 2, `colorspace` 3, `encoded_image_string` 4.
fn image(tag: &str, (width, height): (usize, usize), channels: usize, png: &[u8]) -> Vec<u8> {
    let mut image = Vec::new();
    wire::int(&mut image, 1, height as i64);
    wire::int(&mut image, 2, width as i64);
    wire::int(&mut image, 3, channels as i64);
    wire::bytes(&mut image, 4, png);
    let mut out = Vec::new();
    wire::bytes(&mut out, 1, tag.as_bytes());
    wire::bytes(&mut out, 4, &image);
    out
}

/// `Summary.Value`: `tag` 1, `histo` 5; `HistogramProto`: `min` 1, `max` 2, `num` 3, `sum` 4, `sum_squares` 5,
/// `bucket_limit` 6 (each bucket's upper edge), `bucket` 7 (its count).
fn histogram(tag: &str, values: &[f32]) -> Option<Vec<u8>> {
    let values = || {
        let values = values.iter().filter(|v| v.is_finite());
        values.map(|&v| f64::from(v))
    };
    let (mut min, mut max) = (f64::INFINITY, f64::NEG_INFINITY);
    let (mut count, mut sum, mut squares) = (0.0, 0.0, 0.0);
    for value in values() {
        (min, max) = (min.min(value), max.max(value));
        (count, sum, squares) = (count + 1.0, sum + value, squares + value * value);
    }
    if count == 0.0 {
        return None;
    }
    // Equal values give a single bucket.
    let buckets = if max > min { BUCKETS } else { 1 };
    let width = (max - min) / buckets as f64;
    let mut limits: Vec<f64> = (1..=buckets).map(|i| min + i as f64 * width).collect();
    limits[buckets - 1] = max;
    let mut counts = vec![0.0; buckets];
    for value in values() {
        // With a single bucket the width is 0 and the quotient NaN, which becomes bucket 0.
        let bucket = ((value - min) / width) as usize;
        counts[bucket.min(buckets - 1)] += 1.0;
    }
    let mut histogram = Vec::new();
    for (field, value) in [(1, min), (2, max), (3, count), (4, sum), (5, squares)] {
        wire::double(&mut histogram, field, value);
    }
    wire::doubles(&mut histogram, 6, &limits);
    wire::doubles(&mut histogram, 7, &counts);
    let mut out = Vec::new();
    wire::bytes(&mut out, 1, tag.as_bytes());
    wire::bytes(&mut out, 5, &histogram);
    Some(out)
}

fn new_file(dir: &Path, name: &str) -> Result<(PathBuf, File)> {
    let mut path = dir.join(name);
    let mut number = 1;
    loop {
        match OpenOptions::new().write(true).create_new(true).open(&path) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                number += 1;
                path = dir.join(format!("{name}.{number}"));
            }
            Err(source) => return Err(io(&path, source)),
            Ok(file) => return Ok((path, file)),
        }
    }
}

/// Seconds since 1970.
fn wall_time() -> f64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0.0, |time| time.as_secs_f64())
}

/// Name of this machine from `/proc` or the environment. It only makes file names differ.
fn host() -> String {
    let kernel = std::fs::read_to_string("/proc/sys/kernel/hostname").ok();
    let host = kernel
        .or_else(|| std::env::var("HOSTNAME").ok())
        .or_else(|| std::env::var("COMPUTERNAME").ok())
        .unwrap_or_default();
    match host.trim() {
        "" => "localhost".to_string(),
        host => host.replace(
            |c: char| !c.is_ascii_alphanumeric() && c != '-' && c != '.',
            "_",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Compares with the events of `make_events.py`, which TensorBoard's own writer wrote.
    #[test]
    fn writes_what_tensorboard_writes() {
        let time = 1_700_000_000.25;
        let values: Vec<f32> = (-8..16).map(|i| i as f32 / 8.0).collect();
        let with_gaps = [&values[..], &[f32::NAN, f32::INFINITY]].concat();
        let histo = |tag, values: &[f32]| histogram(tag, values).unwrap();
        let mut file = Vec::new();
        let mut put = |step, value: Vec<u8>| {
            let event = event(time, step, |event| summary(event, &value));
            file.extend(wire::record(&event));
        };
        put(0, scalar("train/loss", std::f32::consts::LN_10));
        put(300, scalar("train/loss", 0.0));
        put(70_000, scalar("test/loss", f32::NAN));
        put(2, image("samples", (300, 200), 3, b"\x89PNG and so on"));
        put(1, histo("parameters/weight", &values));
        put(1, histo("parameters/weight", &with_gaps));
        put(1, histo("parameters/bias", &[0.5; 10]));
        let start = event(time, 7, start);
        file.extend(wire::record(&start));
        let version = event(time, 0, |event| wire::bytes(event, 3, VERSION.as_bytes()));
        let ours = [wire::record(&version), file].concat();

        let theirs = include_bytes!("../tests/fixtures/events.tfevents");
        let different = ours.iter().zip(theirs).position(|(a, b)| a != b);
        assert_eq!((different, ours.len()), (None, theirs.len()));
    }

    #[test]
    fn nothing_finite_is_no_histogram() {
        assert_eq!(histogram("tag", &[]), None);
        assert_eq!(histogram("tag", &[f32::NAN, f32::INFINITY]), None);
    }

    #[test]
    fn every_file_has_its_own_name() {
        let dir = tempfile::tempdir().unwrap();
        let first = EventWriter::create(dir.path()).unwrap();
        let second = EventWriter::create(dir.path()).unwrap();
        assert_ne!(first.path(), second.path());
        let name = first.path().file_name().unwrap().to_str().unwrap();
        let rest = name.strip_prefix("events.out.tfevents.").unwrap();
        let (seconds, host) = rest.split_once('.').unwrap();
        assert!(seconds.parse::<u64>().unwrap() > 1_700_000_000 && !host.is_empty());
        let missing = EventWriter::create(dir.path().join("none")).err().unwrap();
        assert!(missing.to_string().contains("tfevents"), "{missing}");
    }
}
