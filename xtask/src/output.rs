//! Standard output and error messages.

use std::io::{self, Write};

use anyhow::Result;
use serde::Serialize;

/// Writes to standard output, which may be a pipe that its reader has closed.
pub fn print(text: &str) -> Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => Ok(result?),
    }
}

/// The result of a command, once: as JSON where that is asked for, else as text. Text that standard output has no place for, since JSON
/// or events are on it, goes to standard error.
pub fn result<T: Serialize>(text: &str, json: Option<&T>, events_on_stdout: bool) -> Result<()> {
    match json {
        None if !events_on_stdout => return print(text),
        _ => say!("{}", text.trim_end_matches('\n')),
    }
    match json {
        Some(value) => print(&format!("{}\n", serde_json::to_string(value)?)),
        None => Ok(()),
    }
}

/// An error and its causes as one message, leaving out a cause that the message before it quotes.
pub fn message(error: &anyhow::Error) -> String {
    let mut message = String::new();
    for cause in error.chain() {
        let text = cause.to_string();
        if message.contains(&text) {
            continue;
        }
        if !message.is_empty() {
            message.push_str(": ");
        }
        message.push_str(&text);
    }
    message
}

#[cfg(test)]
mod tests {
    use anyhow::{Context, anyhow};

    use super::*;

    #[test]
    fn says_each_cause_once() {
        let cause = anyhow!("no such file").context("data.gz: no such file");
        let error = Err::<(), _>(cause).context("mnist").unwrap_err();
        assert_eq!(message(&error), "mnist: data.gz: no such file");
    }
}
