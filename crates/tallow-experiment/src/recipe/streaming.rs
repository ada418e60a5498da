//! Reading of the pictures of a recipe's dataset.

use tallow_datasets::{LoadOptions, Streaming, own_path};

use super::Data;
use crate::error::{Error, Result};

impl Data {
    /// Streaming of the pictures of Parquet files.
    pub(crate) fn streaming(&self) -> Streaming {
        let window = self
            .shuffle_window
            .map(|mib| (mib as u64).saturating_mul(1 << 20));
        Streaming {
            on: self.streaming,
            window: window.unwrap_or(Streaming::WINDOW),
        }
    }

    /// Options of loading with the decoding and the streaming of the recipe.
    pub(crate) fn with_options(&self, options: LoadOptions) -> LoadOptions {
        LoadOptions {
            pictures: self.pictures,
            streaming: self.streaming(),
            ..options
        }
    }

    /// Refuses settings of streaming that have no effect on the dataset.
    pub(super) fn check_streaming(&self) -> Result<()> {
        let name = &self.dataset;
        let refuse = |message: String| Err(Error::Recipe(message));
        let parquet = name.starts_with("parquet:");
        let one_by_one = name.starts_with("folder:") || name.starts_with("csv:");
        match self.streaming {
            Some(true) if own_path(name).is_none() || name.starts_with("npz:") => {
                return refuse(format!(
                    "data.streaming = true: `{name}` is read into memory as a whole; expected pictures at parquet:PATH, folder:PATH or csv:PATH"
                ));
            }
            Some(false) if one_by_one => {
                return refuse(format!(
                    "data.streaming = false: the pictures of `{name}` are read one by one in any case; leave it out"
                ));
            }
            _ => {}
        }
        match self.shuffle_window {
            Some(0) => refuse("data.shuffle_window is 0: expected a number of MiB, such as 64".into()),
            Some(_) if !parquet => refuse(format!(
                "data.shuffle_window has no meaning for `{name}`, whose pictures are all shuffled together; leave it out"
            )),
            Some(_) if self.streaming == Some(false) => refuse(
                "data.shuffle_window has no meaning with data.streaming = false, which shuffles all pictures together".into(),
            ),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_no_effect_is_refused() {
        let data = |dataset: &str, streaming: Option<bool>, window: Option<usize>| -> Data {
            let mut data: Data =
                serde_json::from_value(serde_json::json!({ "dataset": dataset })).unwrap();
            (data.streaming, data.shuffle_window) = (streaming, window);
            data
        };
        for (dataset, streaming, window) in [
            ("parquet:birds", None, None),
            ("parquet:birds", Some(true), Some(8)),
            ("parquet:birds", None, Some(8)),
            ("parquet:birds", Some(false), None),
            ("folder:birds", Some(true), None),
            ("csv:birds", None, None),
            ("mnist", Some(false), None),
        ] {
            let data = data(dataset, streaming, window);
            data.check_streaming().unwrap();
            let options = data.with_options(LoadOptions::default());
            let expected = Streaming {
                on: streaming,
                window: window.unwrap_or(64) as u64 * 1024 * 1024,
            };
            assert_eq!(options.streaming, expected);
        }
        for (dataset, streaming, window, part) in [
            ("mnist", Some(true), None, "`mnist` is read into memory"),
            ("npz:x", Some(true), None, "`npz:x` is read into memory"),
            ("folder:x", Some(false), None, "read one by one"),
            ("folder:x", None, Some(8), "no meaning for `folder:x`"),
            (
                "parquet:x",
                Some(false),
                Some(8),
                "no meaning with data.streaming",
            ),
            ("parquet:x", None, Some(0), "data.shuffle_window is 0"),
        ] {
            let error = data(dataset, streaming, window).check_streaming();
            let error = error.unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
    }
}
