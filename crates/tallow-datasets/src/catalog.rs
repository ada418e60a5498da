//! Datasets known by name: one file per dataset, and the list of them.

mod cifar10;
mod cifar100;
mod emnist;
mod fashion_mnist;
mod kmnist;
mod mnist;
// The worked example "Add a dataset" of docs/architecture.md.
#[cfg(test)]
mod oracle_mnist;

use crate::entry::Entry;
use crate::error::{Error, Result};

static CATALOG: &[Entry] = &[
    #[cfg(feature = "sample")]
    fashion_mnist::SAMPLE,
    mnist::ENTRY,
    fashion_mnist::ENTRY,
    kmnist::ENTRY,
    emnist::BYCLASS,
    emnist::BYMERGE,
    emnist::BALANCED,
    emnist::LETTERS,
    emnist::DIGITS,
    emnist::MNIST,
    cifar10::ENTRY,
    cifar100::FINE,
    cifar100::COARSE,
];

/// All datasets known by name.
pub fn catalog() -> &'static [Entry] {
    CATALOG
}

/// Entry of the dataset of that name.
///
/// # Errors
/// [`Error::UnknownDataset`] lists the known names.
pub fn entry(name: &str) -> Result<&'static Entry> {
    catalog()
        .iter()
        .find(|e| e.name == name)
        .ok_or_else(|| Error::UnknownDataset {
            name: name.to_string(),
            known: catalog().iter().map(|e| e.name).collect(),
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_found() {
        for (i, e) in catalog().iter().enumerate() {
            assert_eq!(entry(e.name).unwrap().name, e.name);
            assert!(catalog()[..i].iter().all(|other| other.name != e.name));
        }
        let error = entry("cifar-10").unwrap_err().to_string();
        assert!(
            error.contains("`cifar-10`") && error.contains("cifar10"),
            "{error}"
        );
    }

    #[test]
    fn the_worked_example_is_an_entry() {
        let entry = &oracle_mnist::ENTRY;
        assert!(catalog().iter().all(|known| known.name != entry.name));
        assert_eq!(entry.formats(), [crate::Format::Idx]);
        assert_eq!(entry.classes.len(), 10);
    }

    #[test]
    fn classes_have_their_published_number() {
        let expected = [
            ("mnist", 10),
            ("fashion-mnist", 10),
            ("kmnist", 10),
            ("emnist-byclass", 62),
            ("emnist-bymerge", 47),
            ("emnist-balanced", 47),
            ("emnist-letters", 26),
            ("emnist-digits", 10),
            ("cifar10", 10),
            ("cifar100", 100),
            ("cifar100-coarse", 20),
        ];
        for (name, n) in expected {
            let classes = entry(name).unwrap().classes;
            let distinct: std::collections::BTreeSet<_> = classes.iter().collect();
            assert_eq!((classes.len(), distinct.len()), (n, n), "{name}");
        }
    }

    #[test]
    fn hosts_name_published_files() {
        for e in catalog() {
            for file in e.hosts.iter().flat_map(|h| h.files) {
                assert!(
                    e.published.iter().any(|p| p.name == *file),
                    "{}: {file}",
                    e.name
                );
            }
            for p in e.published {
                assert_eq!(p.sha256.len(), 64, "{}: {}", e.name, p.name);
            }
        }
    }
}
