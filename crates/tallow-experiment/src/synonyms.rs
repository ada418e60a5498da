//! Names that other libraries have for keys and for names of a recipe: PyTorch, torchvision, timm, Lightning, Keras and fastai.

mod keys;
mod meaning;
mod names;

pub(crate) use keys::KEYS;
pub(crate) use meaning::Meaning;
pub(crate) use names::NAMES;

/// A word in the form in which words are compared: its letters and digits, in lower case. `RandomCrop`, `random_crop` and `random-crop`
/// are one word.
pub(crate) fn canonical(word: &str) -> String {
    let letters = word.chars().filter(|c| c.is_alphanumeric());
    letters.flat_map(char::to_lowercase).collect()
}

/// Meaning of a key of another library.
pub(crate) fn of_key(word: &str) -> Option<Meaning> {
    look_up(KEYS, word)
}

/// Meaning of a name that another library has for a transform, an optimizer, a loss or a schedule.
pub(crate) fn of_name(word: &str) -> Option<Meaning> {
    look_up(NAMES, word)
}

fn look_up(table: &[(&[&str], Meaning)], word: &str) -> Option<Meaning> {
    let word = canonical(word);
    let row = table
        .iter()
        .find(|(words, _)| words.contains(&word.as_str()));
    row.map(|(_, meaning)| *meaning)
}
