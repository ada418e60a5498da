/// The name of `known` closest to `name`, for "did you mean"; none when all are far from it.
///
/// The similarity is the larger of Jaro-Winkler's, which favours a common prefix, and Damerau-Levenshtein's, which favours two
/// swapped letters.
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let name = name.to_lowercase();
    let similarity = |known: &str| {
        strsim::jaro_winkler(&name, known).max(strsim::normalized_damerau_levenshtein(&name, known))
    };
    known
        .into_iter()
        .map(|known| (similarity(known), known))
        .max_by(|a, b| a.0.total_cmp(&b.0))
        // Below this, two names share little but a few letters.
        .filter(|(similarity, _)| *similarity > 0.66)
        .map(|(_, name)| name)
}
