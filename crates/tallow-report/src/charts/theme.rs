//! Colours in a light and in a dark theme.

use std::fmt::Write;

use plotters::style::RGBColor;

/// Class of a chart's first tag.
pub const CLASS: &str = "chart";

/// Background.
pub const PAPER: RGBColor = RGBColor(0xff, 0xff, 0xff);
/// Letters and axes.
pub const INK: RGBColor = RGBColor(0x22, 0x22, 0x22);
/// Less important text.
pub const FAINT: RGBColor = RGBColor(0x66, 0x66, 0x66);
/// Zeros in a matrix, single values behind their mean.
pub const FAINTER: RGBColor = RGBColor(0x98, 0x98, 0x98);
/// Lines of the grid.
pub const GRID: RGBColor = RGBColor(0xe4, 0xe4, 0xe4);
/// Blue, the first colour.
pub const BLUE_: RGBColor = RGBColor(0x00, 0x72, 0xb2);
/// Vermilion, the second.
pub const VERMILION: RGBColor = RGBColor(0xd5, 0x5e, 0x00);
/// Okabe and Ito's colours, but for the yellow, which is lost on white.
const PALETTE: [RGBColor; 7] = [
    BLUE_,
    VERMILION,
    RGBColor(0x00, 0x9e, 0x73),
    RGBColor(0xcc, 0x79, 0xa7),
    RGBColor(0xe6, 0x9f, 0x00),
    RGBColor(0x56, 0xb4, 0xe9),
    RGBColor(0x00, 0x00, 0x00),
];

/// Colours of a dark theme, each beside the light one that it replaces.
const DARK: [(RGBColor, &str); 12] = [
    (PAPER, "#0d1117"),
    (INK, "#e6edf3"),
    (FAINT, "#9198a1"),
    (FAINTER, "#767d86"),
    (GRID, "#2b3138"),
    (PALETTE[0], "#2f8ccc"),
    (PALETTE[1], "#f0782a"),
    (PALETTE[2], "#2fbf94"),
    (PALETTE[3], "#e29bc4"),
    (PALETTE[4], "#f2c14e"),
    (PALETTE[5], "#9bd7ff"),
    (PALETTE[6], "#f8f8f8"),
];

/// The colour of the line, bar or row of this number.
pub fn colour(number: usize) -> RGBColor {
    PALETTE[number % PALETTE.len()]
}

/// Style sheet of charts. The colours in the tags are those of a light theme, and stay where a program reads no style sheets; in a dark
/// theme others take their place.
pub fn style() -> String {
    // Neighbouring cells without a seam between them.
    let mut rules = format!(".{CLASS} rect {{ shape-rendering: crispEdges }} ");
    rules.push_str("@media (prefers-color-scheme: dark) {");
    for (RGBColor(r, g, b), dark) in DARK {
        for property in ["fill", "stroke"] {
            // The backend's way to write a colour.
            let light = format!("[{property}=\"#{r:02X}{g:02X}{b:02X}\"]");
            // Writing to a string does not fail.
            let _ = write!(rules, " .{CLASS} {light} {{ {property}: {dark} }}");
        }
    }
    rules.push_str(" }");
    rules
}

/// Chart without its style sheet, for a page that has [`style`] once.
pub fn without_style(svg: &str) -> String {
    match (svg.find("<style>"), svg.find("</style>")) {
        (Some(start), Some(end)) if start < end => {
            format!("{}{}", &svg[..start], &svg[end + "</style>".len()..])
        }
        _ => svg.to_string(),
    }
}
