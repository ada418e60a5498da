//! Meaning of a name that another library has.

/// Meaning of a name of another library.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Meaning {
    /// The same as this key or name.
    Same(&'static str),
    /// Said with this key, in the way that the sentence describes.
    As(&'static str, &'static str),
    /// Nothing in a recipe; the sentence says where it is, or that there is no such thing.
    Not(&'static str),
}
