//! Results as a table in the terminal.

use tallow_cli::table::{align_right, new_table};

use super::row::{Other, Row, short};

/// A column: its title, whether it has numbers, and its cell for a row and one of the others.
struct Column {
    title: &'static str,
    number: bool,
    cell: fn(&Row, Option<&Other>, f64) -> Option<String>,
}

const fn text(
    title: &'static str,
    cell: fn(&Row, Option<&Other>, f64) -> Option<String>,
) -> Column {
    Column {
        title,
        number: false,
        cell,
    }
}

const fn number(
    title: &'static str,
    cell: fn(&Row, Option<&Other>, f64) -> Option<String>,
) -> Column {
    Column {
        title,
        number: true,
        cell,
    }
}

static COLUMNS: [Column; 16] = [
    text("benchmark", |row, _, _| Some(row.name.clone())),
    text("kind", |row, _, _| Some(row.kind.to_string())),
    number("batch", |row, _, _| Some(row.batch.to_string())),
    number("ours ms", |row, _, _| Some(short(row.ours_ms))),
    number("library ms", |row, _, _| row.library_ms.map(short)),
    text("other", |_, other, _| Some(other?.name.clone())),
    number("other ms", |_, other, _| Some(short(other?.ms))),
    number("ratio", |_, other, _| Some(format!("{:.2}", other?.ratio))),
    text("arm", |_, other, _| other?.arm.clone()),
    number("bf16 ms", |_, other, _| {
        Some(short(other?.bf16.as_ref()?.ms))
    }),
    text("bf16 arm", |_, other, _| {
        Some(other?.bf16.as_ref()?.arm.clone())
    }),
    number("GFLOP/s", |row, _, _| Some(format!("{:.1}", row.gflops?))),
    number("of GEMM", |row, _, peak| {
        Some(format!("{:.0} %", 100.0 * row.gflops? / peak))
    }),
    number("peak MiB", |row, _, _| {
        Some(format!("{:.0}", row.peak_rss_mb?))
    }),
    number("other's", |_, other, _| {
        Some(format!("{:.0}", other?.peak_rss_mb?))
    }),
    text("quiet", |row, _, _| {
        let quiet = if row.quiet { "yes" } else { "NO" };
        Some(quiet.to_string())
    }),
];

/// All rows as a table, with the columns that have something in them: a line for each of the others. `gemm_peak` is the speed of a large
/// matrix product.
pub fn table(rows: &[Row], gemm_peak: f64) -> String {
    let lines = rows.iter().flat_map(|row| {
        let others = row.others.iter().map(Some);
        let alone = row.others.is_empty().then_some(None);
        others.chain(alone).map(move |other| (row, other))
    });
    let cells: Vec<Vec<Option<String>>> = lines
        .map(|(row, other)| {
            let cell = |column: &Column| (column.cell)(row, other, gemm_peak);
            COLUMNS.iter().map(cell).collect()
        })
        .collect();
    let used: Vec<usize> = (0..COLUMNS.len())
        .filter(|&column| cells.iter().any(|line| line[column].is_some()))
        .collect();
    let titles: Vec<&str> = used.iter().map(|&column| COLUMNS[column].title).collect();
    let mut table = new_table(&titles);
    for line in &cells {
        let line = used.iter().map(|&column| line[column].clone());
        let line: Vec<String> = line.map(Option::unwrap_or_default).collect();
        table.add_row(line);
    }
    for (place, &column) in used.iter().enumerate() {
        if COLUMNS[column].number {
            align_right(&mut table, place);
        }
    }
    table.to_string()
}

/// A line for each row that was not quiet and each arm that was left out.
pub fn notes(rows: &[Row]) -> String {
    let mut text = String::new();
    for row in rows {
        let (name, kind, attempts) = (&row.name, row.kind, row.attempts);
        if !row.quiet {
            let reasons = row.disturbances.join("; ");
            let times = if attempts == 1 {
                "measurement"
            } else {
                "measurements"
            };
            text += &format!("{name} {kind}, not quiet in {attempts} {times}: {reasons}\n");
        }
        for other in &row.others {
            for out in &other.left_out {
                let (library, arm, reason) = (&other.name, &out.arm, &out.reason);
                text += &format!("{name} {kind}, left out of {library}: {arm}: {reason}\n");
            }
        }
    }
    text
}
