//! Output of a comparison: table, JSON, JUnit and Markdown.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use tallow_record::write_atomic;
use tallow_regress::table::{self, Table};
use tallow_regress::{Findings, junit};

use super::args::RegressArgs;
use crate::ending::Ending;
use crate::output;
use crate::table::{align_right, new_table};

/// Creates the folders of the files to be written, before anything is trained.
pub fn prepare(args: &RegressArgs) -> Result<()> {
    for path in [&args.junit, &args.markdown].into_iter().flatten() {
        let folder = path.parent().filter(|p| !p.as_os_str().is_empty());
        if let Some(folder) = folder {
            fs::create_dir_all(folder)
                .with_context(|| format!("cannot create {}", folder.display()))?;
        }
    }
    Ok(())
}

/// Prints the findings and writes the files.
pub fn publish(args: &RegressArgs, findings: &Findings) -> Result<Ending> {
    let events = args.runner.events_on_stdout();
    output::result(&terminal(findings), args.json.then_some(findings), events)?;
    if let Some(path) = &args.junit {
        write(path, &junit(findings)?)?;
    }
    if let Some(path) = &args.markdown {
        write(path, &table::markdown(findings))?;
    }
    Ok(if findings.refused() {
        Ending::Refused
    } else if findings.passed {
        Ending::Done
    } else {
        Ending::ClaimFailed
    })
}

fn write(path: &Path, text: &str) -> Result<()> {
    write_atomic(path, text).with_context(|| format!("cannot write {}", path.display()))
}

/// Table of the findings, and the lines below it.
fn terminal(findings: &Findings) -> String {
    let Table {
        header,
        rows,
        numbers,
    } = table::overview(findings);
    let mut table = new_table(&header);
    for row in rows {
        table.add_row(row);
    }
    for column in numbers {
        align_right(&mut table, column);
    }
    format!("{table}\n{}\n", table::notes(findings).join("\n"))
}
