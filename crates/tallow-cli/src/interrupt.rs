//! Ctrl-C, and SIGTERM, by which systems end programs: the first one asks training to stop after its batch, the second one ends the
//! process. SIGUSR1, by which batch systems announce the end of a job, asks to stop and never ends the process.
//!
//! SIGHUP is left as it is: a long run that was started with `nohup` goes on.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result};
use tallow_experiment::StopFlag;

use crate::console;
use crate::ending::INTERRUPTED;

static STOP: LazyLock<StopFlag> = LazyLock::new(StopFlag::default);

/// Whether a launcher ends this process if it does not stop in time.
static HAS_LAUNCHER: AtomicBool = AtomicBool::new(false);

/// From now on requests after the first do nothing: a launcher of several processes passes signals on, some of them twice, and ends the
/// processes itself.
pub fn leave_to_launcher() {
    HAS_LAUNCHER.store(true, Ordering::Relaxed);
}

/// From now on Ctrl-C requests a stop instead of ending the process. Further calls do nothing.
pub fn listen() -> Result<()> {
    static LISTENING: AtomicBool = AtomicBool::new(false);
    if LISTENING.swap(true, Ordering::Relaxed) {
        return Ok(());
    }
    #[cfg(unix)]
    {
        use signal_hook::consts::{SIGTERM, SIGUSR1};
        let mut signals = signal_hook::iterator::Signals::new([SIGTERM, SIGUSR1])
            .context("cannot listen for SIGTERM")?;
        std::thread::spawn(move || {
            signals.forever().for_each(|signal| match signal {
                SIGUSR1 if requested() => {}
                _ => request(),
            });
        });
    }
    ctrlc::set_handler(request).context("cannot listen for Ctrl-C")
}

/// Whether a second request ends the process.
pub fn second_ends() -> bool {
    !HAS_LAUNCHER.load(Ordering::Relaxed)
}

/// Requests a stop; the second request ends the process.
pub fn request() {
    if STOP.request() {
        if !second_ends() {
            return;
        }
        console::leave();
        std::process::exit(INTERRUPTED.into());
    }
    // Begins a new line, since terminals show ^C.
    let again = match second_ends() {
        true => "; press Ctrl-C again to stop at once",
        false => "",
    };
    console::status(&format!("\nstopping after this batch{again}"));
}

/// Whether a stop was requested.
pub fn requested() -> bool {
    STOP.requested()
}

/// The flag that the runner looks at after each batch.
pub fn flag() -> StopFlag {
    STOP.clone()
}
