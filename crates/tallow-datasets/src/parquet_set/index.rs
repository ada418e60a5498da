//! Index of the rows of Parquet files: the label of each, and the pages that the pictures are in.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parquet::basic::Type;
use parquet::column::reader::{ColumnReader, get_column_reader};
use parquet::data_type::{ByteArray, ByteArrayType};
use parquet::file::metadata::ColumnChunkMetaData;
use parquet::file::page_index::offset_index::PageLocation;
use parquet::file::reader::{FileReader, SerializedPageReader};
use rayon::prelude::*;
use sha2::{Digest, Sha256};

use crate::contain::contained;
use crate::digest::hex;
use crate::error::{Error, Result};
use crate::formats::class_names;
use crate::formats::parquet_columns::{
    MAX_RATIO, SLACK, Table, broken, kind, labels, stopped, unsound, values,
};
use crate::formats::parquet_pages::{Budget, Pages, check};

/// Names of the column of labels, in order of preference.
const LABEL_COLUMNS: [&str; 4] = ["label", "labels", "fine_label", "fine_labels"];

/// Largest number of classes where the file does not name them.
const CLASSES: usize = 1 << 16;

/// Bytes of pages for a label, of which each has eight.
const LABEL: u64 = 64;

/// Bytes of a block, unless a page has more: reading so much at a time is about as fast as reading a file from its beginning to its end.
const BLOCK: u64 = 1 << 20;

/// Least number of blocks of a window.
const IN_WINDOW: u64 = 16;

/// File with its rows.
pub(super) struct Shard {
    path: PathBuf,
    /// Size in bytes.
    length: u64,
    groups: Vec<Group>,
    /// Labels of all rows.
    pub labels: Vec<u32>,
    /// Names of the classes, if the file has them.
    pub names: Option<Vec<String>>,
}

/// Row group.
struct Group {
    /// Column of the pictures.
    column: ColumnChunkMetaData,
    pages: Pages,
    /// First row in the file.
    first: usize,
    rows: usize,
}

/// Rows in sequence that are read together.
struct Block {
    shard: usize,
    group: usize,
    /// Pages of the row group, from the first to before the last.
    pages: (usize, usize),
    /// First sample.
    first: usize,
    /// First row in the row group.
    row: usize,
    rows: usize,
    /// Bytes that it takes in memory.
    bytes: u64,
}

/// Rows of several files in order.
pub(super) struct Index {
    shards: Vec<Shard>,
    blocks: Vec<Block>,
    labels: Vec<u32>,
}

/// Place of a sample.
pub(super) struct Place<'a> {
    /// Number of its block.
    pub block: usize,
    /// Row in the block.
    pub row: usize,
    /// File.
    pub path: &'a Path,
    /// Row in the file.
    pub file_row: usize,
}

/// Reads the labels of files, and finds their pages. All files must have the same classes.
pub(super) fn read(files: &[PathBuf]) -> Result<Vec<Shard>> {
    let shards = files.par_iter().map(|file| Shard::read(file));
    // Of several errors, the one of the first file is told.
    let shards: Vec<Result<Shard>> = shards.collect();
    let shards = shards.into_iter().collect::<Result<Vec<_>>>()?;
    for pair in shards.windows(2) {
        if pair[0].names != pair[1].names {
            let expected = format!("the class names of {}", pair[0].path.display());
            let found = match &pair[1].names {
                Some(names) => names.join(", "),
                None => "no class names".into(),
            };
            return Err(Error::invalid(&pair[1].path, expected, found));
        }
    }
    match shards.iter().all(|shard| shard.labels.is_empty()) {
        true => {
            let path = files.first().cloned().unwrap_or_default();
            Err(Error::invalid(path, "images", "no rows"))
        }
        false => Ok(shards),
    }
}

impl Shard {
    /// Error unless the file has the size that it had when the dataset was opened.
    fn check(&self, file: &File) -> Result<()> {
        let path = &*self.path;
        let length = file.metadata().map_err(|e| Error::io(path, e))?.len();
        if length == self.length {
            return Ok(());
        }
        let expected = format!("{} bytes, as when the dataset was opened", self.length);
        Err(Error::invalid(path, expected, format!("{length} bytes")))
    }

    fn read(path: &Path) -> Result<Self> {
        let mut table = Table::open(path, &LABEL_COLUMNS)?;
        let metadata = table.reader.metadata().file_metadata();
        let column = metadata.schema_descr().column(table.labels);
        let names = class_names::read(metadata.key_value_metadata(), &column.path().string())
            .map_err(|found| unsound(path, found))?;
        let classes = names.as_ref().map_or(CLASSES, Vec::len);
        let pictures = metadata.schema_descr().column(table.images);
        if pictures.physical_type() != Type::BYTE_ARRAY {
            return Err(kind(path, pictures.physical_type(), "bytes for images"));
        }
        if pictures.max_rep_level() > 0 {
            return Err(Error::invalid(path, "one image in each row", "lists"));
        }
        let mut budget = Budget {
            bytes: table.length.saturating_mul(MAX_RATIO).saturating_add(SLACK),
        };
        let (mut groups, mut all) = (Vec::new(), Vec::new());
        for (i, group) in table.reader.metadata().row_groups().iter().enumerate() {
            let at_group = |found: String| unsound(path, format!("{found} (row group {i})"));
            let rows = usize::try_from(group.num_rows())
                .map_err(|_| at_group("a negative number of rows".into()))?;
            // Each picture takes a byte at the very least.
            if (all.len() as u64).saturating_add(rows as u64) > table.length {
                return Err(at_group(format!(
                    "{rows} rows, more than such a file can hold"
                )));
            }
            let pages = check(
                &mut table.file,
                table.length,
                group,
                table.images,
                &mut budget,
            )
            .map_err(at_group)?;
            let mut of_labels = Budget {
                bytes: (rows as u64).saturating_mul(LABEL).saturating_add(SLACK),
            };
            check(
                &mut table.file,
                table.length,
                group,
                table.labels,
                &mut of_labels,
            )
            .map_err(at_group)?;
            let first = all.len();
            let labels = contained(|| {
                let group = table.reader.get_row_group(i).map_err(|e| broken(path, e))?;
                labels(path, &*group, table.labels, rows, classes, first)
            })
            .unwrap_or_else(|panic| Err(unsound(path, stopped(&panic))))?;
            if labels.len() != rows {
                return Err(at_group(format!("{} labels for {rows} rows", labels.len())));
            }
            let Some(page) = pages.data.first() else {
                // No rows.
                continue;
            };
            // Where the pages are was found by following them, and counts.
            let column = group.column(table.images).clone().into_builder();
            let column = column
                .set_dictionary_page_offset(pages.dictionary.map(|(at, _)| at as i64))
                .set_data_page_offset(page.at as i64)
                .clear_statistics()
                .build()
                .map_err(|e| broken(path, e))?;
            groups.push(Group {
                column,
                pages,
                first,
                rows,
            });
            all.extend(labels);
        }
        Ok(Self {
            path: path.to_path_buf(),
            length: table.length,
            groups,
            labels: all,
            names,
        })
    }
}

impl Group {
    /// Row of the first value of page `page`, or the end of the row group.
    fn row(&self, page: usize) -> usize {
        let page = self.pages.data.get(page);
        page.map_or(self.rows, |page| page.first as usize)
    }

    /// End of a block of pages from page `from` on, of `target` bytes or of one page, and the bytes that it takes in memory. Pages with
    /// references to the dictionary need that too.
    fn block(&self, from: usize, target: u64) -> (usize, u64) {
        let whole = self.pages.dictionary.map_or(0, |(_, bytes)| bytes);
        let (mut to, mut pages, mut dictionary) = (from, 0, 0);
        while let Some(page) = self.pages.data.get(to) {
            let with = match page.by_dictionary {
                true => whole,
                false => dictionary,
            };
            if to > from && pages + page.bytes + with > target {
                break;
            }
            (pages, dictionary) = (pages + page.bytes, with);
            to += 1;
        }
        (to, pages + dictionary)
    }
}

/// Bytes that the pictures of files take in memory.
pub(super) fn bytes(shards: &[Shard]) -> u64 {
    let groups = shards.iter().flat_map(|shard| &shard.groups);
    groups.map(|group| group.block(0, u64::MAX).1).sum()
}

/// SHA-256 of the number of rows and the sizes of every page of pictures, row group by row group, and of all labels. All that the blocks
/// depend on is in it: with the same digest, a dataset has the same orders.
pub(super) fn digest(shards: &[Shard]) -> String {
    let mut hash = Sha256::new();
    hash.update(b"tallow parquet\0");
    for shard in shards {
        for group in &shard.groups {
            let dictionary = group.pages.dictionary.map_or(0, |(_, bytes)| bytes);
            for figure in [group.pages.data.len() as u64, dictionary] {
                hash.update(figure.to_le_bytes());
            }
            for (number, page) in group.pages.data.iter().enumerate() {
                let rows = group.row(number + 1) - group.row(number);
                let by_dictionary = u64::from(page.by_dictionary);
                for figure in [rows as u64, page.bytes, page.stored, by_dictionary] {
                    hash.update(figure.to_le_bytes());
                }
            }
        }
        for label in &shard.labels {
            hash.update(label.to_le_bytes());
        }
    }
    hex(&hash.finalize())
}

impl Index {
    /// Index of the rows of files. In a `window` of bytes there must be room for every block.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a page that is larger than the window.
    pub fn new(mut shards: Vec<Shard>, window: Option<u64>) -> Result<Self> {
        let target = window.map_or(BLOCK, |window| BLOCK.min(window / IN_WINDOW));
        let (mut blocks, mut labels) = (Vec::new(), Vec::new());
        for (number, shard) in shards.iter_mut().enumerate() {
            for (of, group) in shard.groups.iter().enumerate() {
                let mut from = 0;
                while from < group.pages.data.len() {
                    let (to, bytes) = group.block(from, target);
                    if let Some(window) = window.filter(|window| bytes > *window) {
                        return Err(Error::invalid(
                            &shard.path,
                            format!(
                                "pages of at most {window} bytes of pictures, the window of the shuffle"
                            ),
                            format!(
                                "a page of {bytes} bytes in row group {of}; raise the window (`data.shuffle_window` in a recipe), or \
                                 write the file again with smaller pages"
                            ),
                        ));
                    }
                    let row = group.row(from);
                    blocks.push(Block {
                        shard: number,
                        group: of,
                        pages: (from, to),
                        first: labels.len() + group.first + row,
                        row,
                        rows: group.row(to) - row,
                        bytes,
                    });
                    from = to;
                }
            }
            labels.append(&mut shard.labels);
        }
        labels.shrink_to_fit();
        Ok(Self {
            shards,
            blocks,
            labels,
        })
    }

    /// Labels of all samples.
    pub fn labels(&self) -> &[u32] {
        &self.labels
    }

    /// Bytes that a block takes in memory.
    pub fn bytes(&self, block: usize) -> u64 {
        self.blocks[block].bytes
    }

    /// Block of each sample, and the bytes of each block.
    pub fn blocks(&self) -> (Vec<u32>, Vec<u64>) {
        let blocks = self.blocks.iter().zip(0..);
        let of = blocks.flat_map(|(block, number)| std::iter::repeat_n(number, block.rows));
        let bytes = self.blocks.iter().map(|block| block.bytes);
        (of.collect(), bytes.collect())
    }

    /// Place of a sample; `None` beyond the end.
    pub fn place(&self, sample: usize) -> Option<Place<'_>> {
        if sample >= self.labels.len() {
            return None;
        }
        let after = self.blocks.partition_point(|block| block.first <= sample);
        let number = after.checked_sub(1)?;
        let block = &self.blocks[number];
        let shard = &self.shards[block.shard];
        let row = sample - block.first;
        Some(Place {
            block: number,
            row,
            path: &shard.path,
            file_row: shard.groups[block.group].first + block.row + row,
        })
    }

    /// Reads the pictures of a block, as they are stored.
    pub fn read(&self, block: usize) -> Result<Vec<ByteArray>> {
        let block = &self.blocks[block];
        let shard = &self.shards[block.shard];
        let (group, path) = (&shard.groups[block.group], &*shard.path);
        // A handle of its own: threads would move the place in a file that they share.
        let io = |e| Error::io(path, e);
        let file = File::open(path).map_err(io)?;
        shard.check(&file)?;
        let again = file.try_clone().map_err(io)?;
        contained(|| block.pictures(group, path, file))
            .unwrap_or_else(|panic| Err(unsound(path, stopped(&panic))))
            // The file may have been cut off since.
            .map_err(|error| shard.check(&again).err().unwrap_or(error))
    }
}

impl Block {
    fn pictures(&self, group: &Group, path: &Path, file: File) -> Result<Vec<ByteArray>> {
        let located = |what| move |_| unsound(path, format!("{what} beyond 2 GiB"));
        let mut locations = Vec::with_capacity(self.pages.1);
        // Those before are skipped without being read.
        for page in &group.pages.data[..self.pages.1] {
            locations.push(PageLocation {
                offset: i64::try_from(page.at).map_err(located("an offset"))?,
                compressed_page_size: i32::try_from(page.stored).map_err(located("a page"))?,
                first_row_index: i64::try_from(page.first).map_err(located("a row"))?,
            });
        }
        let end = self.row + self.rows;
        let pages = SerializedPageReader::new(Arc::new(file), &group.column, end, Some(locations))
            .map_err(|e| broken(path, e))?;
        let column = group.column.column_descr_ptr();
        let ColumnReader::ByteArrayColumnReader(mut reader) =
            get_column_reader(column, Box::new(pages))
        else {
            return Err(kind(path, group.column.column_type(), "bytes for images"));
        };
        let skipped = reader.skip_records(self.row).map_err(|e| broken(path, e))?;
        let pictures = values::<ByteArrayType>(path, reader, self.rows, group.first + self.row)?;
        if (skipped, pictures.len()) != (self.row, self.rows) {
            let found = format!("{} pictures in {} rows", pictures.len(), self.rows);
            return Err(unsound(path, found));
        }
        Ok(pictures)
    }
}
