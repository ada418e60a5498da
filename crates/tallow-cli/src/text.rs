//! Numbers as text.

/// A number of bytes in decimal units: `1.5 MB`.
pub fn size(bytes: u64) -> String {
    let value = bytes as f64;
    match bytes {
        ..1_000 => format!("{bytes} B"),
        1_000..1_000_000 => format!("{:.1} kB", value / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} MB", value / 1e6),
        _ => format!("{:.1} GB", value / 1e9),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        assert_eq!(
            [12, 1_500, 2_000_000, 31_000_000_000].map(size),
            ["12 B", "1.5 kB", "2.0 MB", "31.0 GB"]
        );
    }
}
