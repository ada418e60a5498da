//! Properties of the terminal that standard error is.

use std::io::{IsTerminal, stderr};
use std::time::Duration;

/// Time between two updates of the display; drawing after every batch would slow small networks down.
pub const REFRESH: Duration = Duration::from_millis(100);

/// Whether progress is plain lines: where standard error is no terminal, or in a CI system.
pub fn plain() -> bool {
    !stderr().is_terminal() || set("CI")
}

/// Whether the user wants colours (<https://no-color.org>).
pub fn colours() -> bool {
    !set("NO_COLOR")
}

/// Whether an environment variable is set and not empty.
pub fn set(variable: &str) -> bool {
    std::env::var_os(variable).is_some_and(|value| !value.is_empty())
}
