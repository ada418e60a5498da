//! Results on standard output, and the text of errors.

use std::io::{self, Write};

use anyhow::Result;
use serde::Serialize;

use crate::console::status;

/// Writes a value as one line of JSON.
pub fn json<T: Serialize>(value: &T) -> Result<()> {
    print(&format!("{}\n", serde_json::to_string(value)?))
}

/// Writes to standard output; a pipe that its reader has closed is no error.
pub fn print(text: &str) -> Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => Ok(result?),
    }
}

/// Writes the result of a command: as JSON where that is asked for, else as text. The text goes to standard error where standard
/// output has the JSON or the events.
pub fn result<T: Serialize>(text: &str, json: Option<&T>, events_on_stdout: bool) -> Result<()> {
    match json {
        None if !events_on_stdout => return print(text),
        _ => status!("{}", text.trim_end_matches('\n')),
    }
    match json {
        Some(value) => self::json(value),
        None => Ok(()),
    }
}

/// An error and its causes as one message, without causes that the text before them contains.
pub fn message(error: &anyhow::Error) -> String {
    tallow_record::error_message(error.as_ref())
}

#[cfg(test)]
mod tests {
    use anyhow::{Context, anyhow};

    use super::*;

    #[test]
    fn has_each_cause_once() {
        let cause = anyhow!("no such file").context("data.gz: no such file");
        let error = Err::<(), _>(cause).context("mnist").unwrap_err();
        assert_eq!(message(&error), "mnist: data.gz: no such file");
    }
}
