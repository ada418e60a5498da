//! Events of `--events FILE` as JSON lines.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use serde::Serialize;
use tallow_record::{ClaimResult, EpochRow, Statement, Summary, Tier};

use crate::console::status;

/// Stream of events.
pub struct Events {
    name: String,
    /// `None` after a write failed.
    out: Option<Box<dyn Write + Send>>,
    /// Batches from one event to the next.
    pub every: usize,
}

/// Event, whose kind is the field `event`. `run` is the folder of the run's record.
#[derive(Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event<'a> {
    /// Training of a variant with a seed begins: run `number` of `of`.
    RunStarted {
        run: &'a Path,
        experiment: &'a str,
        tier: Tier,
        variant: &'a str,
        seed: u64,
        model: &'a str,
        parameters: usize,
        epochs: usize,
        steps_per_epoch: usize,
        number: usize,
        of: usize,
    },
    /// A step was taken; loss and accuracy are those of the epoch so far.
    Batch {
        run: &'a Path,
        epoch: usize,
        step: usize,
        steps: usize,
        loss: f64,
        accuracy: f64,
        lr: f64,
        images_per_second: f64,
    },
    /// The line of `metrics.jsonl`.
    EpochEnded {
        run: &'a Path,
        #[serde(flatten)]
        row: &'a EpochRow,
    },
    /// A run has ended; `metrics` as in its `summary.json`.
    RunEnded {
        run: &'a Path,
        #[serde(flatten)]
        summary: Outcome<'a>,
    },
    /// A trial of a sweep has the epochs of its rung; it may go on later.
    RunPaused { run: &'a Path },
    /// A run was interrupted or failed; only in `regress` and `sweep` may more runs follow.
    RunStopped { run: &'a Path, reason: &'a str },
    /// All runs of an experiment have ended.
    ClaimsJudged {
        experiment: &'a str,
        tier: Tier,
        failed: bool,
        claims: &'a [ClaimResult],
        statements: &'a [Statement],
    },
}

/// Result of a run.
#[derive(Serialize)]
pub struct Outcome<'a> {
    epochs: usize,
    stopped: Option<&'a str>,
    seconds: f64,
    metrics: &'a std::collections::BTreeMap<String, Option<f64>>,
}

impl<'a> From<&'a Summary> for Outcome<'a> {
    fn from(summary: &'a Summary) -> Self {
        Self {
            epochs: summary.epochs,
            stopped: summary.stopped.as_deref(),
            seconds: summary.seconds,
            metrics: &summary.metrics,
        }
    }
}

impl Events {
    /// Begins the file anew; `-` is standard output.
    pub fn create(path: &Path, every: u32) -> Result<Self> {
        let name = format!("--events {}", path.display());
        let out: Box<dyn Write + Send> = if path == Path::new("-") {
            Box::new(io::stdout())
        } else {
            Box::new(File::create(path).with_context(|| name.clone())?)
        };
        Ok(Self {
            name,
            out: Some(out),
            every: every as usize,
        })
    }

    /// Writes an event at once. A closed pipe or a full disk ends the events and not the training, with one message.
    pub fn put(&mut self, event: &Event) {
        #[derive(Serialize)]
        struct Line<'a> {
            /// Seconds since 1970.
            time: f64,
            #[serde(flatten)]
            event: &'a Event<'a>,
        }
        let Some(out) = &mut self.out else {
            return;
        };
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let time = now.map_or(0.0, |time| time.as_millis() as f64 / 1000.0);
        let written = serde_json::to_vec(&Line { time, event })
            .map_err(io::Error::from)
            .and_then(|mut line| {
                line.push(b'\n');
                out.write_all(&line)?;
                out.flush()
            });
        if let Err(error) = written {
            status(&format!(
                "{}: {error}; no more events are written",
                self.name
            ));
            self.out = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Broken(usize);

    impl Write for Broken {
        fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
            if self.0 == 0 {
                return Err(io::ErrorKind::BrokenPipe.into());
            }
            self.0 -= 1;
            Ok(buffer.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_reader_that_leaves_ends_the_events_alone() {
        let mut events = Events {
            name: "--events pipe".to_string(),
            out: Some(Box::new(Broken(1))),
            every: 1,
        };
        let event = Event::RunStopped {
            run: Path::new("runs/a"),
            reason: "interrupted",
        };
        for alive in [true, false, false] {
            events.put(&event);
            assert_eq!(events.out.is_some(), alive);
        }
    }
}
