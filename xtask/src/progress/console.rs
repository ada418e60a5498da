//! The way to the terminal for what may happen while a [`screen`](super::screen) is up: lines wait until it is gone, so that they
//! do not tear it.
//!
//! One lock guards both, so that nothing is drawn after the terminal was given back and no line is lost between.

use std::collections::VecDeque;
use std::io::{self, Write, stderr};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crossterm::cursor::{Hide, Show};
use crossterm::execute;
use crossterm::terminal::{
    EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode,
};

/// Lines that wait at most; of more, the first are left out.
const HELD: usize = 10_000;

/// What waits while a screen is up.
#[derive(Default)]
struct Held {
    lines: VecDeque<String>,
    left_out: usize,
}

impl Held {
    fn push(&mut self, text: &str) {
        for line in text.lines().filter(|line| !line.is_empty()) {
            if self.lines.len() == HELD {
                self.lines.pop_front();
                self.left_out += 1;
            }
            self.lines.push_back(line.to_string());
        }
    }
}

/// `None` while no screen is up.
static SCREEN: Mutex<Option<Held>> = Mutex::new(None);

fn screen() -> MutexGuard<'static, Option<Held>> {
    SCREEN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Says a line on standard error: now, or once the screen is gone. What cannot be written is not: nobody is there to read it.
pub fn say(line: &str) {
    match &mut *screen() {
        Some(held) => held.push(line),
        None => {
            let _ = writeln!(stderr(), "{line}");
        }
    }
}

/// The last `count` lines that wait.
pub fn last(count: usize) -> Vec<String> {
    let screen = screen();
    let lines = screen.iter().flat_map(|held| &held.lines);
    let skipped = lines.clone().count().saturating_sub(count);
    lines.skip(skipped).cloned().collect()
}

/// Takes the terminal over: keys come as they are pressed, and what is on it now comes back when it is [left](leave).
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

/// Gives the terminal back as it was and says what waited. May be called from anywhere and at any time, a panic and a signal
/// included; does nothing while no screen is up.
pub fn leave() {
    let mut screen = screen();
    let Some(held) = screen.take() else {
        return;
    };
    let mut out = stderr();
    let _ = execute!(out, LeaveAlternateScreen, Show);
    let _ = disable_raw_mode();
    if held.left_out > 0 {
        let _ = writeln!(out, "... {} lines before these", held.left_out);
    }
    for line in held.lines {
        let _ = writeln!(out, "{line}");
    }
}

/// What a frame is written to: nothing reaches the terminal before the frame is whole, nor after the screen was left.
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

/// Where `tracing` writes: each call has an event's whole text.
pub struct Log;

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Some(held) = &mut *screen() {
            held.push(&String::from_utf8_lossy(bytes));
            return Ok(bytes.len());
        }
        stderr().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        stderr().flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_lines_give_way() {
        let mut held = Held::default();
        held.push("one\ntwo\n");
        assert_eq!(held.lines, ["one", "two"]);
        for i in 0..HELD {
            held.push(&format!("line {i}"));
        }
        assert_eq!((held.lines.len(), held.left_out), (HELD, 2));
        assert_eq!(held.lines[0], "line 0");
    }
}
