//! Full-screen view of `--tui`. A thread of its own draws and reads keys, so that both work during a long batch.

use std::io::{self, IsTerminal, stderr, stdout};
use std::panic;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Once, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;

use super::draw::{self, Scene};
use super::state::State;
use super::terminal::{REFRESH, colours, set};
use crate::{console, interrupt};

/// Reason why the screen cannot be shown, if there is one.
pub fn refusal() -> Option<&'static str> {
    if !stderr().is_terminal() || !stdout().is_terminal() {
        return Some("standard output or standard error is no terminal");
    }
    if set("CI") {
        return Some("CI is set");
    }
    if std::env::var("TERM").is_ok_and(|term| term == "dumb") {
        return Some("TERM is dumb");
    }
    None
}

/// Full-screen view, which is shown until it is dropped.
pub struct Screen {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

/// State shared by the training thread and the thread that draws.
struct Shared {
    state: Mutex<State>,
    /// Time 0 of the state.
    began: Instant,
    over: AtomicBool,
}

impl Screen {
    /// Opens the screen. The time of the state is measured from `began`.
    pub fn open(state: &State, began: Instant) -> io::Result<Self> {
        static HOOK: Once = Once::new();
        HOOK.call_once(|| {
            let before = panic::take_hook();
            panic::set_hook(Box::new(move |panic| {
                console::leave();
                before(panic);
            }));
        });
        console::enter()?;
        let shared = Arc::new(Shared {
            state: Mutex::new(state.clone()),
            began,
            over: AtomicBool::new(false),
        });
        // From here on dropping it restores the terminal.
        let mut screen = Self {
            shared: shared.clone(),
            thread: None,
        };
        let terminal = Terminal::new(CrosstermBackend::new(console::Frame::default()))?;
        let thread = thread::Builder::new().name("screen".to_string());
        screen.thread = Some(thread.spawn(move || watch(&shared, terminal))?);
        Ok(screen)
    }

    /// Shows this state.
    pub fn show(&self, state: &State) {
        let mut shown = self.shared.state.lock();
        shown
            .as_mut()
            .unwrap_or_else(PoisonError::get_mut)
            .clone_from(state);
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::SeqCst);
        console::leave();
        if let Some(thread) = self.thread.take() {
            // The panic hook has reported a panic and restored the terminal.
            let _ = thread.join();
        }
    }
}

/// Draws and reads keys until the screen is dropped or the terminal is closed.
fn watch(shared: &Shared, mut terminal: Terminal<CrosstermBackend<console::Frame>>) {
    let coloured = colours();
    while !shared.over.load(Ordering::SeqCst) {
        let mut state = shared
            .state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        state.time = shared.began.elapsed().as_secs_f64();
        let scene = Scene {
            state: &state,
            lines: &console::last(draw::LINES),
            stopping: interrupt::requested(),
            second_ends: interrupt::second_ends(),
            coloured,
        };
        let drawn = terminal.draw(|frame| draw::draw(frame, &scene));
        if drawn.is_err() {
            return console::leave();
        }
        listen();
    }
}

/// Waits for keys until the next frame is due. A change of the terminal's size ends the wait.
fn listen() {
    let mut wait = REFRESH;
    loop {
        match event::poll(wait).and_then(|there| there.then(event::read).transpose()) {
            Ok(Some(Event::Key(key))) if stops(&key) => interrupt::request(),
            Ok(Some(_)) => {}
            Ok(None) => return,
            // Keys cannot be read; frames still can be drawn.
            Err(_) => return thread::sleep(REFRESH),
        }
        // With 0 it would not read pending events.
        wait = Duration::from_millis(1);
    }
}

/// Whether the key is `q`, or Ctrl-C, which raises no signal in raw mode.
fn stops(key: &KeyEvent) -> bool {
    let control = key.modifiers.contains(KeyModifiers::CONTROL);
    key.kind == KeyEventKind::Press
        && match key.code {
            KeyCode::Char('q') => !control,
            KeyCode::Char('c') => control,
            _ => false,
        }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn q_and_ctrl_c_stop() {
        let key = |code, modifiers| KeyEvent::new(KeyCode::Char(code), modifiers);
        assert!(stops(&key('q', KeyModifiers::NONE)));
        assert!(stops(&key('c', KeyModifiers::CONTROL)));
        assert!(!stops(&key('c', KeyModifiers::NONE)));
        assert!(!stops(&key('q', KeyModifiers::CONTROL)));
        assert!(!stops(&key('x', KeyModifiers::NONE)));
        let mut released = key('q', KeyModifiers::NONE);
        released.kind = KeyEventKind::Release;
        assert!(!stops(&released));
    }

    /// Set where a test runs itself on a pseudo terminal.
    #[cfg(unix)]
    const INSIDE: &str = "TALLOW_TEST_INSIDE";

    /// Runs a test of these on a pseudo terminal of 24 rows of 80 columns. Once `shown` is to be seen, it changes the size, presses
    /// `q`, and makes the file that the environment variable names. Whether the test succeeded, and all of its output.
    #[cfg(unix)]
    fn on_terminal(test: &str, shown: &str) -> (bool, Vec<u8>) {
        use std::io::{Read, Write};

        let folder = tempfile::tempdir().unwrap();
        let pressed = &folder.path().join("pressed");

        let (mut pty, pts) = pty_process::blocking::open().unwrap();
        pty.resize(pty_process::Size::new(24, 80)).unwrap();
        let name = format!("progress::screen::tests::{test}");
        let command = pty_process::blocking::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", &name, "--nocapture"])
            .env(INSIDE, pressed)
            .env("RUST_BACKTRACE", "0");
        let mut child = command.spawn(pts).unwrap();
        let (mut bytes, mut buffer) = (Vec::new(), [0; 4096]);
        // At the end some systems have an error.
        while let Ok(n @ 1..) = pty.read(&mut buffer) {
            bytes.extend_from_slice(&buffer[..n]);
            if !pressed.exists() && String::from_utf8_lossy(&bytes).contains(shown) {
                pty.resize(pty_process::Size::new(30, 100)).unwrap();
                // The signal first, and then the key.
                thread::sleep(Duration::from_millis(100));
                pty.write_all(b"q").unwrap();
                std::fs::write(pressed, "").unwrap();
            }
        }
        (child.wait().unwrap().success(), bytes)
    }

    /// Waits for that file.
    #[cfg(unix)]
    fn wait_for(pressed: &std::ffi::OsStr) {
        let until = Instant::now() + Duration::from_secs(60);
        while !std::path::Path::new(pressed).exists() && Instant::now() < until {
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// A change of size and a key press while a frame is drawn are both pending at the next poll.
    #[cfg(unix)]
    #[test]
    fn a_key_is_not_lost_when_the_size_changes() {
        if let Some(pressed) = std::env::var_os(INSIDE) {
            console::enter().unwrap();
            listen();
            eprintln!("drawing");
            wait_for(&pressed);
            let until = Instant::now() + Duration::from_secs(20);
            while !interrupt::requested() && Instant::now() < until {
                listen();
            }
            console::leave();
            assert!(interrupt::requested());
            return;
        }
        let test = "a_key_is_not_lost_when_the_size_changes";
        let (succeeded, bytes) = on_terminal(test, "drawing");
        assert!(succeeded, "{:?}", String::from_utf8_lossy(&bytes));
    }

    /// The test runs itself on a pseudo terminal and panics there.
    #[cfg(unix)]
    #[test]
    fn a_panic_gives_the_terminal_back_first() {
        if let Some(pressed) = std::env::var_os(INSIDE) {
            let _screen = Screen::open(&State::default(), Instant::now()).unwrap();
            console::status("printed before");
            wait_for(&pressed);
            panic!("on purpose");
        }
        let test = "a_panic_gives_the_terminal_back_first";
        let (succeeded, bytes) = on_terminal(test, "q or Ctrl-C");
        assert!(!succeeded);
        let mut screen = vt100::Parser::new(24, 80, 0);
        screen.process(&bytes);
        let text = String::from_utf8_lossy(&bytes);
        assert!(
            text.contains("q or Ctrl-C"),
            "no screen was drawn: {text:?}"
        );
        let screen = screen.screen();
        assert!(
            !screen.alternate_screen() && !screen.hide_cursor(),
            "{text:?}"
        );
        let seen = screen.contents();
        assert!(
            seen.contains("printed before\n") && seen.contains("on purpose"),
            "{seen}"
        );
    }
}
