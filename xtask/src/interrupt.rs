//! Ctrl-C, and SIGTERM by which systems end programs: the first asks the training loop to stop after its batch, the second ends
//! the process.
//!
//! SIGHUP is left as it is: who starts a long run with `nohup` wants it to go on.

use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result};

use crate::progress::console;

/// 128 + SIGINT, as shells have it.
pub const EXIT_CODE: u8 = 130;

static REQUESTED: AtomicBool = AtomicBool::new(false);

/// From here on Ctrl-C asks instead of killing.
pub fn listen() -> Result<()> {
    #[cfg(unix)]
    {
        let mut signals = signal_hook::iterator::Signals::new([signal_hook::consts::SIGTERM])
            .context("cannot listen for SIGTERM")?;
        std::thread::spawn(move || signals.forever().for_each(|_| request()));
    }
    ctrlc::set_handler(request).context("cannot listen for Ctrl-C")
}

/// The user asks to stop, for the first time or again.
pub fn request() {
    if REQUESTED.swap(true, Ordering::SeqCst) {
        console::leave();
        std::process::exit(EXIT_CODE.into());
    }
    // Where a terminal shows ^C, not behind it.
    console::say("\nstopping after this batch; press Ctrl-C again to stop at once");
}

/// Whether the user asked to stop.
pub fn requested() -> bool {
    REQUESTED.load(Ordering::SeqCst)
}
