//! The mark of a block.

/// Words of the mark of a block.
pub struct Block<'a> {
    /// Name of the results.
    pub name: &'a str,
    /// Metrics, in order.
    pub metrics: Vec<&'a str>,
    /// Variants, in order; empty for all.
    pub variants: Vec<&'a str>,
}
