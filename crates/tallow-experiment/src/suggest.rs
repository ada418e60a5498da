//! Suggestions for a name that is not known.

pub use tallow_models::nearest;

/// Error message for an unknown name, with the nearest known name if there is one, and all known names.
pub fn unknown(kind: &str, word: &str, known: &[&str]) -> String {
    let mut message = format!("unknown {kind} `{word}`");
    if let Some(near) = nearest(word, known.iter().copied()) {
        message.push_str(&format!("; did you mean `{near}`?"));
    }
    message.push_str(&format!("\nknown: {}", known.join(", ")));
    message
}

/// Parses serde's messages "unknown field" and "unknown variant": the unknown word and the expected ones.
pub fn parse_unknown(message: &str) -> Option<(&str, Vec<&str>)> {
    let start = ["unknown field `", "unknown variant `"]
        .iter()
        .find_map(|p| message.find(p).map(|at| at + p.len()))?;
    let mut quoted = message[start..].split('`');
    let word = quoted.next()?;
    // After the word, text and backquoted names alternate.
    let expected = quoted.skip(1).step_by(2).collect();
    Some((word, expected))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_a_typo_and_not_a_stranger() {
        let known = ["mnist-pixel-order", "quickstart", "cifar10-cnn"];
        assert_eq!(nearest("mnist-pixels", known), Some("mnist-pixel-order"));
        assert_eq!(nearest("quikstart", known), Some("quickstart"));
        assert_eq!(nearest("zebra", known), None);
    }

    #[test]
    fn says_what_is_known() {
        let message = unknown("model", "cnnn", &["mlp", "cnn"]);
        assert_eq!(
            message,
            "unknown model `cnnn`; did you mean `cnn`?\nknown: mlp, cnn"
        );
        assert!(!unknown("model", "q", &["mlp"]).contains("did you mean"));
    }

    #[test]
    fn reads_serde_messages() {
        assert_eq!(
            parse_unknown("unknown field `epoch`, expected one of `epochs`, `loss`"),
            Some(("epoch", vec!["epochs", "loss"]))
        );
        assert_eq!(
            parse_unknown("unknown variant `sgdd`, expected `sgd` or `adam`"),
            Some(("sgdd", vec!["sgd", "adam"]))
        );
        assert_eq!(parse_unknown("missing field `lr`"), None);
    }
}
