//! Experiments that come with this crate: the files of its folder `experiments`.

mod list {
    include!(concat!(env!("OUT_DIR"), "/builtin.rs"));
}

/// Names of the built-in experiments, sorted.
pub fn names() -> &'static [&'static str] {
    list::NAMES
}

/// TOML of a built-in experiment.
pub fn text(name: &str) -> Option<&'static str> {
    let at = list::NAMES.iter().position(|known| *known == name)?;
    list::TEXTS.get(at).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_sorted_and_have_a_text() {
        assert!(names().is_sorted() && names().contains(&"quickstart"));
        assert!(
            names()
                .iter()
                .all(|name| text(name).unwrap().contains("question"))
        );
        assert_eq!(text("no-such-experiment"), None);
    }
}
