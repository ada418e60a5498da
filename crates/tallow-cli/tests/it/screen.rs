//! `--tui` on a pseudo terminal, whose other end is a terminal without a window.
#![cfg(unix)]

use std::io::{ErrorKind, Read, Write};
use std::process::Child;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use crate::common::{Sandbox, stderr};
use pty_process::Size;
use pty_process::blocking::{Command, Pty, open};

/// Sequence that leaves the alternate screen.
const LEAVE: &str = "\u{1b}[?1049l";
/// Longer than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// The runner on a terminal of its own.
struct Terminal {
    pty: Arc<Pty>,
    child: Child,
    output: Receiver<Vec<u8>>,
    /// Visible text.
    screen: vt100::Parser,
    /// All bytes so far.
    bytes: Vec<u8>,
}

impl Terminal {
    /// Begins in 24 rows of 80 columns.
    fn start(sandbox: &Sandbox, args: &[&str], more: &[(&str, &str)]) -> Self {
        let (pty, pts) = open().unwrap();
        pty.resize(Size::new(24, 80)).unwrap();
        let command = Command::new(assert_cmd::cargo::cargo_bin!("tallow"))
            .args(args)
            .current_dir(sandbox.path())
            .envs(sandbox.environment())
            .env("TERM", "xterm-256color")
            .env_remove("CI")
            .env_remove("RUST_LOG")
            .envs(more.iter().copied());
        let child = command.spawn(pts).unwrap();
        let pty = Arc::new(pty);
        let (send, output) = channel();
        let reader = pty.clone();
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            loop {
                match (&*reader).read(&mut buffer) {
                    Ok(n) if n > 0 && send.send(buffer[..n].to_vec()).is_ok() => {}
                    Err(error) if error.kind() == ErrorKind::Interrupted => {}
                    // On Linux an error says that the other end was closed.
                    _ => return,
                }
            }
        });
        Self {
            pty,
            child,
            output,
            screen: vt100::Parser::new(24, 80, 0),
            bytes: Vec::new(),
        }
    }

    /// Nothing is to be seen after it but what is drawn anew; at the size that it has already nothing is.
    fn resize(&mut self, rows: u16, columns: u16) {
        if self.screen.screen().size() == (rows, columns) {
            return;
        }
        self.screen.screen_mut().set_size(rows, columns);
        self.screen.process(b"\x1b[2J");
        self.pty.resize(Size::new(rows, columns)).unwrap();
    }

    fn press(&self, keys: &[u8]) {
        (&*self.pty).write_all(keys).unwrap();
    }

    fn contents(&self) -> String {
        self.screen.screen().contents()
    }

    /// Waits until this is to be seen.
    fn wait_for(&mut self, what: &str) {
        let until = Instant::now() + PATIENCE;
        while !self.contents().contains(what) {
            let more = self.more();
            let seen = self.contents();
            assert!(more, "it ended without {what:?}:\n{seen}");
            assert!(Instant::now() < until, "no {what:?} in\n{seen}");
        }
    }

    /// Takes in what there is; false at the end.
    fn more(&mut self) -> bool {
        match self.output.recv_timeout(Duration::from_millis(100)) {
            Ok(bytes) => {
                self.screen.process(&bytes);
                self.bytes.extend(bytes);
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return false,
        }
        true
    }

    /// Takes in all until it ends.
    fn drain(&mut self) {
        let until = Instant::now() + PATIENCE;
        while self.more() {
            assert!(
                Instant::now() < until,
                "it does not end:\n{}",
                self.contents()
            );
        }
    }

    /// Waits for the end, at which the terminal is as it was: what came after the screen, and the exit code.
    fn end(mut self) -> (String, Option<i32>) {
        self.drain();
        let code = self.child.wait().unwrap().code();
        let all = String::from_utf8_lossy(&self.bytes);
        let screen = self.screen.screen();
        assert!(
            !screen.alternate_screen() && !screen.hide_cursor(),
            "{all:?}"
        );
        let (_, after) = all.split_once(LEAVE).expect("no screen was left");
        // Only where raw mode was left is a carriage return set before each line feed.
        let lines = after.matches('\n').count();
        assert!(lines == after.matches("\r\n").count(), "{after:?}");
        (after.to_string(), code)
    }
}

impl Drop for Terminal {
    /// Where a test has failed, its run is not left behind.
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const LONG: [&str; 7] = [
    "run",
    "quickstart",
    "--tui",
    "--only",
    "cnn",
    "--set",
    "train.epochs=1000",
];

#[test]
fn a_run_shows_itself_at_any_size() {
    let sandbox = Sandbox::new();
    let mut terminal = Terminal::start(&sandbox, &LONG, &[("RUST_LOG", "debug")]);
    for (rows, columns) in [(24, 80), (40, 120), (10, 40), (2, 5), (1, 1), (30, 100)] {
        terminal.resize(rows, columns);
        if rows < 10 {
            thread::sleep(Duration::from_millis(300));
            continue;
        }
        terminal.wait_for("[1/10] cnn seed 0  epoch ");
        // The last row too, so the whole of it is drawn.
        terminal.wait_for("q or Ctrl-C");
        assert!(terminal.screen.screen().alternate_screen());
        assert!(terminal.screen.screen().hide_cursor());
    }
    terminal.press(b"q");
    let (after, code) = terminal.end();
    assert_eq!(code, Some(130), "{after}");
}

#[test]
fn the_results_come_after_the_screen() {
    let sandbox = Sandbox::new();
    let args = "run quickstart --tui --set train.epochs=2 --only cnn --seeds 0";
    let args: Vec<&str> = args.split(' ').collect();
    let terminal = Terminal::start(&sandbox, &args, &[("RUST_LOG", "debug")]);
    let (after, code) = terminal.end();
    assert_eq!(code, Some(0), "{after}");
    for expected in [
        "[1/1] cnn seed 0  epoch 1/2  train loss",
        "[1/1] cnn seed 0  epoch 2/2  train loss",
        "report: ",
        "quickstart on fashion-mnist-sample",
        "6,422",
    ] {
        assert!(after.contains(expected), "no {expected} in {after}");
    }
}

#[test]
fn q_and_ctrl_c_stop_it_as_an_interruption_does() {
    let sandbox = Sandbox::new();
    for key in [b"q", &[3]] {
        let mut terminal = Terminal::start(&sandbox, &LONG, &[]);
        // Of an epoch that has ended.
        terminal.wait_for("/1000  train loss");
        terminal.resize(30, 100);
        terminal.press(key);
        let (after, code) = terminal.end();
        assert_eq!(code, Some(130), "{after}");
        assert!(after.contains("stopping after this batch"), "{after}");
    }
    let mut terminal = Terminal::start(&sandbox, &LONG, &[]);
    terminal.wait_for("/1000");
    let killed = std::process::Command::new("kill")
        .args(["-INT", &terminal.child.id().to_string()])
        .status()
        .unwrap();
    assert!(killed.success());
    let (after, code) = terminal.end();
    assert_eq!(code, Some(130), "{after}");
}

#[test]
fn twice_q_stops_it_at_once() {
    let sandbox = Sandbox::new();
    // All of the training set in one batch, so that it is in the middle of one.
    let args = [&LONG[..], &["--set", "train.batch_size=10000"]].concat();
    let mut terminal = Terminal::start(&sandbox, &args, &[]);
    terminal.wait_for("/1000");
    terminal.press(b"qq");
    let (after, code) = terminal.end();
    assert_eq!(code, Some(130), "{after}");
}

#[test]
fn an_error_leaves_the_terminal_clean_and_is_told() {
    let sandbox = Sandbox::new();
    let mut terminal = Terminal::start(&sandbox, &LONG, &[]);
    terminal.wait_for("/1000  train loss");
    // The epoch's end cannot be written down.
    std::fs::remove_dir_all(sandbox.out()).unwrap();
    let (after, code) = terminal.end();
    assert_eq!(code, Some(2), "{after}");
    assert!(after.contains("error: "), "{after}");
}

/// The plain bars, on the same terminal.
#[test]
fn bars_show_all_their_figures_in_eighty_columns() {
    let sandbox = Sandbox::new();
    let args: Vec<&str> = LONG.into_iter().filter(|arg| *arg != "--tui").collect();
    let mut terminal = Terminal::start(&sandbox, &args, &[]);
    let whole = |line: &str| {
        let parts = ["step ", "loss ", " %  ", " images/s  "];
        parts.iter().all(|part| line.contains(part)) && line.ends_with(" left")
    };
    let until = Instant::now() + PATIENCE;
    while !terminal.contents().lines().any(whole) {
        assert!(terminal.more(), "{}", terminal.contents());
        assert!(Instant::now() < until, "{}", terminal.contents());
    }
    assert!(!terminal.screen.screen().alternate_screen());
    terminal.press(&[3]);
    terminal.drain();
    assert_eq!(terminal.child.wait().unwrap().code(), Some(130));
}

#[test]
fn where_there_is_no_terminal_there_are_lines() {
    let args = "run quickstart --tui --set train.epochs=1 --only fc --seeds 0";
    let args: Vec<&str> = args.split(' ').collect();
    let sandbox = Sandbox::new();
    let output = sandbox.tallow().args(&args).output().unwrap();
    let text = stderr(&output);
    assert!(
        text.contains("--tui: standard output or standard error is no terminal"),
        "{text}"
    );
    assert!(
        text.contains("epoch 1/1") && !text.contains('\u{1b}'),
        "{text}"
    );

    // A CI system's terminal.
    let mut terminal = Terminal::start(&sandbox, &args, &[("CI", "true")]);
    terminal.drain();
    let seen = String::from_utf8_lossy(&terminal.bytes).into_owned();
    assert!(seen.contains("--tui: CI is set"), "{seen}");
    assert!(
        seen.contains("epoch 1/1") && !seen.contains('\u{1b}'),
        "{seen}"
    );
}
