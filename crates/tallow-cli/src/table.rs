//! Tables for the terminal.

use std::io::{IsTerminal, stdout};

use comfy_table::{CellAlignment, ContentArrangement, Table, presets};
use crossterm::terminal;

/// A table with this header, at most as wide as the terminal that standard output is. Elsewhere each row is one line.
pub fn new_table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED);
    table.set_header(header);
    if stdout().is_terminal()
        && let Ok((columns, _)) = terminal::size()
        && columns > 0
    {
        table.set_content_arrangement(ContentArrangement::Dynamic);
        table.set_width(columns);
    }
    table
}

/// Aligns a column of numbers to the right.
pub fn align_right(table: &mut Table, column: usize) {
    if let Some(column) = table.column_mut(column) {
        column.set_cell_alignment(CellAlignment::Right);
    }
}
