//! Error message for a name that is not known.

use tallow_models::nearest;

/// Error message for an unknown name, with the nearest known name if there is one, and all known names.
pub fn unknown(kind: &str, word: &str, known: &[&str]) -> String {
    let mut message = format!("unknown {kind} `{word}`");
    if let Some(near) = nearest(word, known.iter().copied()) {
        message.push_str(&format!("; did you mean `{near}`?"));
    }
    message.push_str(&format!("\nknown: {}", known.join(", ")));
    message
}
