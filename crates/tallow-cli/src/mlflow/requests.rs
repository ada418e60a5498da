//! Requests within MLflow's limits.

use serde::Serialize;

/// Most metrics of a request.
pub const METRICS: usize = 1000;
/// Most parameters, and most tags, of a request.
pub const PAIRS: usize = 100;
/// Most bytes of the items of a request: MLflow takes 1 MB in all.
const BYTES: usize = 900_000;

/// Items in groups that fit into a request each: at most so many, and at most 900 kB of JSON.
pub fn groups<T: Serialize>(items: &[T], most: usize) -> Vec<&[T]> {
    let mut groups = Vec::new();
    let (mut first, mut bytes) = (0, 0);
    for (index, item) in items.iter().enumerate() {
        // A value that JSON cannot hold is an error of the request.
        let size = serde_json::to_vec(item).map_or(0, |text| text.len()) + 1;
        if index > first && (index - first == most || bytes + size > BYTES) {
            groups.push(&items[first..index]);
            (first, bytes) = (index, 0);
        }
        bytes += size;
    }
    if first < items.len() {
        groups.push(&items[first..]);
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_hold_every_item_once_and_keep_the_limits() {
        let lengths = |items: &[String], most| -> Vec<usize> {
            let groups = groups(items, most);
            assert_eq!(groups.concat(), items);
            groups.iter().map(|group| group.len()).collect()
        };
        let short = |count| vec!["x".to_string(); count];
        assert_eq!(lengths(&short(0), 100), [0; 0]);
        assert_eq!(lengths(&short(100), 100), [100]);
        assert_eq!(lengths(&short(201), 100), [100, 100, 1]);
        // Characters of three bytes.
        let long = vec!["字".repeat(6000); 100];
        assert_eq!(lengths(&long, 100), [49, 49, 2]);
        // One item alone is never cut.
        assert_eq!(lengths(&["x".repeat(2_000_000)], 100), [1]);
    }
}
