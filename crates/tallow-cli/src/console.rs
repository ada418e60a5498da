//! Standard error, shared by status lines, logs and the full-screen view: while the screen is shown, lines are held back, so that
//! they do not damage it.
//!
//! One lock guards both: nothing is drawn after the terminal was restored, and no line is lost in between.

use std::collections::{BTreeSet, VecDeque};
use std::io::{self, Write, stderr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use crossterm::cursor::{Hide, Show};
use crossterm::execute;
use crossterm::terminal::{
    EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode,
};

use crate::rank_log;

/// Largest number of lines held back; of more, the oldest are dropped.
const HELD: usize = 10_000;

/// Lines held back while the screen is shown.
#[derive(Default)]
struct Held {
    lines: VecDeque<String>,
    dropped: usize,
}

impl Held {
    fn push(&mut self, text: &str) {
        for line in text.lines().filter(|line| !line.is_empty()) {
            if self.lines.len() == HELD {
                self.lines.pop_front();
                self.dropped += 1;
            }
            self.lines.push_back(line.to_string());
        }
    }
}

/// Whether this process shows nothing but errors: another one speaks for it.
static MUTE: AtomicBool = AtomicBool::new(false);

/// Shows nothing but errors from now on. Logs are shown where `RUST_LOG` asks for them.
pub fn mute() {
    MUTE.store(true, Ordering::Relaxed);
}

fn is_mute() -> bool {
    MUTE.load(Ordering::Relaxed)
}

/// `None` while no screen is shown.
static SCREEN: Mutex<Option<Held>> = Mutex::new(None);

fn screen() -> MutexGuard<'static, Option<Held>> {
    SCREEN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Prints a line on standard error: at once, or when the screen is closed. Errors are ignored, since nobody reads it any more.
///
/// Unlike `eprintln!`, it does not panic where standard error was closed.
#[macro_export]
macro_rules! status {
    ($($text:tt)*) => {
        $crate::console::status(&format!($($text)*))
    };
}

#[doc(inline)]
pub use crate::status;

/// Prints a line on standard error: at once, or when the screen is closed. Errors are ignored.
pub fn status(line: &str) {
    rank_log::write(format!("{line}\n").as_bytes());
    if !is_mute() {
        show(line);
    }
}

/// Time that a launcher gets to pass on what was written.
const FORWARDED: Duration = Duration::from_millis(200);

/// Time that a disk gets before this process ends.
const DISK: Duration = Duration::from_secs(2);

/// Shows an error, and the line behind it that `next` finds, before this process of several ends: at once, of a process too that
/// [shows](mute) nothing else, and with time for the launcher to pass them on, since that of MPICH reads no more once a process aborts.
///
/// The disk comes after the screen and has a limit: one that does not answer may be the reason for the end. `late` is in the place of a line
/// that is not found in time.
pub fn last_words(
    text: &str,
    next: impl FnOnce() -> Option<String> + Send + 'static,
    late: Option<&str>,
) {
    leave();
    show(text);
    let next = in_time(next).unwrap_or_else(|| late.map(String::from));
    if let Some(line) = &next {
        show(line);
    }
    let words = std::iter::once(text).chain(next.as_deref());
    let words: String = words.map(|line| format!("{line}\n")).collect();
    in_time(move || rank_log::write(words.as_bytes()));
    thread::sleep(FORWARDED);
}

/// Result of `work` on the disk; `None` if it takes too long, and goes on in its thread.
fn in_time<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    let (done, result) = channel();
    let thread = thread::Builder::new().spawn(move || {
        // Nobody waits for it any more where it took too long.
        let _ = done.send(work());
    });
    thread.ok()?;
    result.recv_timeout(DISK).ok()
}

fn show(line: &str) {
    match &mut *screen() {
        Some(held) => held.push(line),
        None => {
            let _ = writeln!(stderr(), "{line}");
        }
    }
}

/// The newest `count` of the lines held back.
pub fn last(count: usize) -> Vec<String> {
    let screen = screen();
    let lines = screen.iter().flat_map(|held| &held.lines);
    let skipped = lines.clone().count().saturating_sub(count);
    lines.skip(skipped).cloned().collect()
}

/// Opens the alternate screen in raw mode, until [`leave`] restores the terminal.
pub fn enter() -> io::Result<()> {
    let mut screen = screen();
    enable_raw_mode()?;
    if let Err(error) = execute!(stderr(), EnterAlternateScreen, Hide) {
        let _ = disable_raw_mode();
        return Err(error);
    }
    *screen = Some(Held::default());
    Ok(())
}

/// Restores the terminal and prints the lines held back. May be called from anywhere and at any time, from a panic hook and a signal
/// handler too; does nothing while no screen is shown.
pub fn leave() {
    let mut screen = screen();
    let Some(held) = screen.take() else {
        return;
    };
    let mut out = stderr();
    let _ = execute!(out, LeaveAlternateScreen, Show);
    let _ = disable_raw_mode();
    if held.dropped > 0 {
        let _ = writeln!(out, "... {} lines before these", held.dropped);
    }
    for line in held.lines {
        let _ = writeln!(out, "{line}");
    }
}

/// Buffer of a frame: nothing reaches the terminal before the frame is complete, nor after the screen was closed.
#[derive(Default)]
pub struct Frame(Vec<u8>);

impl Write for Frame {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        let screen = screen();
        let bytes = std::mem::take(&mut self.0);
        if screen.is_none() {
            return Ok(());
        }
        let mut out = stderr().lock();
        out.write_all(&bytes)?;
        out.flush()
    }
}

/// Whether the log is shown with all details, as `RUST_LOG` asks for.
pub fn is_detailed() -> bool {
    std::env::var_os("RUST_LOG").is_some()
}

/// Largest number of messages that are remembered.
const REMEMBERED: usize = 1000;

/// Messages of the log that were shown.
static SHOWN: Mutex<BTreeSet<Vec<u8>>> = Mutex::new(BTreeSet::new());

/// Whether a message was not shown before. A dataset that is opened twice says the same of its files twice.
fn is_new(message: &[u8]) -> bool {
    let mut shown = SHOWN.lock().unwrap_or_else(PoisonError::into_inner);
    !shown.contains(message) && (shown.len() == REMEMBERED || shown.insert(message.to_vec()))
}

/// Writer for `tracing`, each of whose calls has the whole text of an event.
pub struct Log;

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        rank_log::write(bytes);
        if !is_detailed() && (is_mute() || !is_new(bytes)) {
            return Ok(bytes.len());
        }
        if let Some(held) = &mut *screen() {
            held.push(&String::from_utf8_lossy(bytes));
            return Ok(bytes.len());
        }
        // Whole, since the rest of a part would be in the log of the rank twice.
        stderr().write_all(bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        stderr().flush()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn a_message_is_new_once() {
        let message = b"warning: a message of this test\n";
        assert!(is_new(message));
        assert!(!is_new(message));
        assert!(is_new(b"warning: another one of this test\n"));
    }

    #[test]
    fn a_disk_that_does_not_answer_holds_nothing_up() {
        assert_eq!(in_time(|| 7), Some(7));
        let started = Instant::now();
        let longest = Duration::from_secs(60);
        assert_eq!(in_time(move || thread::sleep(longest)), None);
        let never = move || -> Option<String> {
            thread::sleep(longest);
            None
        };
        last_words("an error of this test", never, Some("what is said instead"));
        assert!(started.elapsed() < longest / 2);
    }

    #[test]
    fn the_oldest_lines_are_dropped() {
        let mut held = Held::default();
        held.push("one\ntwo\n");
        assert_eq!(held.lines, ["one", "two"]);
        for i in 0..HELD {
            held.push(&format!("line {i}"));
        }
        assert_eq!((held.lines.len(), held.dropped), (HELD, 2));
        assert_eq!(held.lines[0], "line 0");
    }
}
