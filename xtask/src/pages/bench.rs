//! Tables of speed from the runs of `cargo xtask bench`, side by side where there are several.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail, ensure};
use tallow_experiment::suggest;
use tallow_record::started;

use super::files::files;
use super::language::Language;
use super::page::Page;
use super::prose;
use super::tables::{Table, count_of_threads};
use crate::bench::{KINDS, Kind, Other, Row, Run};

/// Folder of the runs, below that of the pages.
const FOLDER: &str = "results/bench";

/// Text of a cell without a figure.
const NONE: &str = "—";

/// The block of these words: `runs` or a kind of benchmark, and perhaps a device other than the CPU. The pages with it are in English.
pub fn bench(words: &[&str], page: &Page<'_>) -> Result<String> {
    let (what, device) = match words {
        [what] => (*what, "cpu"),
        [what, device] => (*what, *device),
        _ => bail!("bench: expected `runs` or a kind of benchmark, and perhaps a device"),
    };
    let runs: Vec<(PathBuf, Run)> = read(page.store.dir())?
        .into_iter()
        .filter(|(_, run)| run.environment.device.starts_with(device))
        .collect();
    let text = match KINDS.into_iter().find(|kind| kind.to_string() == what) {
        Some(kind) => {
            let runs: Vec<&Run> = runs.iter().map(|(_, run)| run).collect();
            benchmarks(&runs, kind)
        }
        None if what == "runs" => {
            let links = runs.iter().map(|(path, run)| {
                let name = path.file_name().unwrap_or_default().to_string_lossy();
                (page.link(&format!("{FOLDER}/{name}")), run)
            });
            list(&links.collect::<Vec<_>>())
        }
        None => {
            let kinds = KINDS.map(|kind| kind.to_string());
            let known: Vec<&str> = kinds.iter().map(String::as_str).chain(["runs"]).collect();
            bail!(suggest::unknown("table of bench", what, &known))
        }
    };
    Ok(match text.is_empty() {
        true => page.language.not_run().to_string(),
        false => text,
    })
}

/// The runs with the paths of their files below the folder of the pages, the earliest first.
fn read(dir: &Path) -> Result<Vec<(PathBuf, Run)>> {
    let mut runs = Vec::new();
    for file in files(dir, Path::new(FOLDER), "json")? {
        ensure!(
            file.parent() == Some(Path::new(FOLDER)),
            "{}: runs stand in {FOLDER} itself",
            dir.join(&file).display()
        );
        let run = Run::read(&dir.join(&file))?;
        runs.push((file, run));
    }
    runs.sort_by(|a, b| a.1.time.cmp(&b.1.time));
    Ok(runs)
}

/// A row a run, each with a link to its file; empty without a run.
fn list(runs: &[(String, &Run)]) -> String {
    if runs.is_empty() {
        return String::new();
    }
    let headings = [
        "run (UTC)",
        "machine",
        "sides",
        "commit",
        "setting",
        "GEMM peak",
        "quiet",
    ];
    let mut table = Table::new(&headings.map(String::from), headings.len());
    for (link, run) in runs {
        let (environment, settings) = (&run.environment, &run.settings);
        let device = match environment.device.as_str() {
            "cpu" => String::new(),
            device => format!(", {device}"),
        };
        let calm = run.rows.iter().filter(|row| row.quiet).count();
        table.row(&[
            format!("[{}]({link})", started(&run.time)),
            format!(
                "{}, {}, {} cores, {} processors{device}",
                environment.cpu, environment.platform, run.cores, run.processors
            ),
            run.versions.join("; "),
            format!(
                "`{}`",
                prose::commit(environment.commit.as_deref().unwrap_or("unknown"))
            ),
            format!(
                "{}, {} rounds of {} s, arms: {}",
                count_of_threads(environment.threads, Language::English),
                settings.repeats,
                settings.seconds,
                settings.arms.name()
            ),
            format!("{:.0} GFLOP/s", run.gemm_peak_gflops),
            format!("{calm} of {}", run.rows.len()),
        ]);
    }
    table.finish()
}

/// A column: its title and its cell for a row of a run.
struct Column {
    title: &'static str,
    cell: fn(&Run, &Row) -> Option<String>,
}

static TIMES: [Column; 16] = [
    Column {
        title: "batch",
        cell: |_, row| Some(row.batch.to_string()),
    },
    Column {
        title: "Tallow",
        cell: |_, row| Some(ms(row.ours_ms)),
    },
    Column {
        title: "Tallow as a library",
        cell: |_, row| row.library_ms.map(ms),
    },
    Column {
        title: "PyTorch f32",
        cell: |_, row| Some(ms(other(row, "pytorch")?.ms)),
    },
    Column {
        title: "ratio",
        cell: |_, row| Some(ratio(other(row, "pytorch")?.ratio)),
    },
    Column {
        title: "ratio to the library",
        cell: |_, row| Some(ratio(other(row, "pytorch")?.ms / row.library_ms?)),
    },
    Column {
        title: "PyTorch bf16",
        cell: |_, row| Some(ms(other(row, "pytorch")?.bf16.as_ref()?.ms)),
    },
    Column {
        title: "ratio of bf16",
        cell: |_, row| Some(ratio(other(row, "pytorch")?.bf16.as_ref()?.ratio)),
    },
    Column {
        title: "candle",
        cell: |_, row| Some(ms(other(row, "candle")?.ms)),
    },
    Column {
        title: "ratio of candle",
        cell: |_, row| Some(ratio(other(row, "candle")?.ratio)),
    },
    Column {
        title: "burn",
        cell: |_, row| Some(ms(other(row, "burn")?.ms)),
    },
    Column {
        title: "ratio of burn",
        cell: |_, row| Some(ratio(other(row, "burn")?.ratio)),
    },
    Column {
        title: "of the GEMM peak",
        cell: |run, row| {
            Some(format!(
                "{:.0} %",
                100.0 * row.gflops? / run.gemm_peak_gflops
            ))
        },
    },
    Column {
        title: "memory",
        cell: |_, row| Some(mib(row.peak_rss_mb?)),
    },
    Column {
        title: "PyTorch's memory",
        cell: |_, row| Some(mib(other(row, "pytorch")?.peak_rss_mb?)),
    },
    Column {
        title: "quiet",
        cell: |_, row| Some(quiet(row)),
    },
];

static ARMS: [Column; 2] = [
    Column {
        title: "PyTorch's fastest arm in f32",
        cell: |_, row| other(row, "pytorch")?.arm.clone(),
    },
    Column {
        title: "in bf16",
        cell: |_, row| Some(other(row, "pytorch")?.bf16.as_ref()?.arm.clone()),
    },
];

fn other<'a>(row: &'a Row, name: &str) -> Option<&'a Other> {
    row.others.iter().find(|other| other.name == name)
}

fn quiet(row: &Row) -> String {
    let word = if row.quiet { "yes" } else { "**no**" };
    word.to_string()
}

/// Three significant digits, or whole milliseconds.
fn ms(ms: f64) -> String {
    match ms {
        ms if ms < 0.1 => format!("{ms:.4} ms"),
        ms if ms < 1.0 => format!("{ms:.3} ms"),
        ms if ms < 10.0 => format!("{ms:.2} ms"),
        ms if ms < 100.0 => format!("{ms:.1} ms"),
        ms => format!("{ms:.0} ms"),
    }
}

fn ratio(ratio: f64) -> String {
    format!("{ratio:.2}")
}

fn mib(mib: f64) -> String {
    format!("{mib:.0} MiB")
}

/// The table of a kind of benchmark, the arms that counted, and notes; empty if no run has such benchmarks.
fn benchmarks(runs: &[&Run], kind: Kind) -> String {
    let has_kind = |run: &&&Run| run.rows.iter().any(|row| row.kind == kind);
    let runs: Vec<&Run> = runs.iter().filter(has_kind).copied().collect();
    let mut names: Vec<&str> = Vec::new();
    for row in runs.iter().flat_map(|run| &run.rows) {
        if row.kind == kind && !names.contains(&row.name.as_str()) {
            names.push(&row.name);
        }
    }
    if names.is_empty() {
        return String::new();
    }
    let mut text = side_by_side(&runs, kind, &names, &TIMES);
    if runs.len() > 1 {
        let order: Vec<String> = runs.iter().map(|run| started(&run.time)).collect();
        text += &format!(
            "\nOne figure for each run, where they differ: {}.\n",
            order.join(" / ")
        );
    }
    let arms = side_by_side(&runs, kind, &names, &ARMS);
    if !arms.is_empty() {
        text += &format!("\n{arms}");
    }
    for run in &runs {
        for row in run.rows.iter().filter(|row| row.kind == kind) {
            for note in notes(row) {
                text += &format!(
                    "\n`{}` in the run of {}: {note}.\n",
                    row.name,
                    started(&run.time)
                );
            }
        }
    }
    text
}

/// Notes on a row, for a reader to know beside its figures.
fn notes(row: &Row) -> Vec<String> {
    let mut notes = Vec::new();
    if !row.quiet {
        notes.push(format!("not quiet, {}", row.disturbances.join(", ")));
    }
    for other in &row.others {
        let left_out = other.left_out.iter();
        notes.extend(left_out.map(|out| format!("left out `{}`, {}", out.arm, out.reason)));
    }
    notes
}

/// A row a benchmark, with the columns that have a figure in some run; empty if none has. Figures of several runs are in one cell.
fn side_by_side(runs: &[&Run], kind: Kind, names: &[&str], columns: &[Column]) -> String {
    let cell = |name: &str, column: &Column| -> Option<String> {
        let figures: Vec<Option<String>> = runs
            .iter()
            .map(|run| {
                let row = run
                    .rows
                    .iter()
                    .find(|row| row.kind == kind && row.name == name);
                row.and_then(|row| (column.cell)(run, row))
            })
            .collect();
        if figures.iter().all(|figure| *figure == figures[0]) {
            return figures.into_iter().next().flatten();
        }
        let figures = figures.into_iter().map(|f| f.unwrap_or(NONE.to_string()));
        Some(figures.collect::<Vec<_>>().join(" / "))
    };
    let used = columns.iter();
    let used = used.filter(|column| names.iter().any(|name| cell(name, column).is_some()));
    let used: Vec<&Column> = used.collect();
    if used.is_empty() {
        return String::new();
    }
    let titles = used.iter().map(|column| column.title);
    let titles: Vec<String> = ["benchmark"]
        .into_iter()
        .chain(titles)
        .map(String::from)
        .collect();
    let mut table = Table::new(&titles, 1);
    for name in names {
        let cells = used
            .iter()
            .map(|column| cell(name, column).unwrap_or(NONE.to_string()));
        let row: Vec<String> = [format!("`{name}`")].into_iter().chain(cells).collect();
        table.row(&row);
    }
    table.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::FIXTURE;

    fn run() -> Run {
        serde_json::from_str(FIXTURE).unwrap()
    }

    fn assert_has(text: &str, lines: &[&str]) {
        for line in lines {
            assert!(text.contains(line), "no {line:?} in\n{text}");
        }
    }

    #[test]
    fn without_a_run_there_is_no_table() {
        assert_eq!(benchmarks(&[], Kind::Step), "");
        assert_eq!(benchmarks(&[&run()], Kind::Loader), "", "it has none");
        assert_eq!(list(&[]), "");
    }

    #[test]
    fn one_run() {
        let run = run();
        let text = benchmarks(&[&run], Kind::Step);
        assert_has(
            &text,
            &[
                "| benchmark | batch | Tallow | Tallow as a library | PyTorch f32 | ratio | ratio to the library | PyTorch bf16 |",
                "| `fc` | 64 | 0.0500 ms | 0.0625 ms | 0.250 ms | 5.00 | 4.00 | 0.500 ms | 10.00 | 0.750 ms | 15.00 | 0.125 ms | 2.50 | 25 % | \
                 40 MiB | 300 MiB | **no** |",
                "| `cnn` | 64 | 0.500 ms | 0.625 ms | 2.50 ms | 5.00 | 4.00 | — | — | 40.0 ms | 80.00 | — | — | 50 % | 50 MiB | 400 MiB | yes |",
                "| `fc` | eager fp32 nchw fused, 1 thread | eager bf16 nchw fused, 1 thread |",
                "| `cnn` | compile fp32 channels_last fused, 2 threads | — |",
                "\n`fc` in the run of 2026-01-31 12:00:00: not quiet, other programs used 0.75 processors.\n",
                "left out `compile bf16 nchw fused, 2 threads`, took longer than 300 s.\n",
            ],
        );
        assert!(
            !text.contains("mnist-cnn") && !text.contains("One figure"),
            "{text}"
        );
        let epoch = benchmarks(&[&run], Kind::Epoch);
        assert_has(
            &epoch,
            &["| `mnist-cnn` | 64 | 500 ms | 625 ms | 2500 ms | 5.00 |"],
        );
        assert!(!epoch.contains("candle"), "an empty column");
    }

    #[test]
    fn two_runs_stand_side_by_side() {
        let first = run();
        let mut second = run();
        second.time = "20260202T080000Z".to_string();
        second.rows.retain(|row| row.name == "cnn");
        second.rows[0].ours_ms = 0.4;
        second.rows[0].others[0].ratio = 6.25;
        let text = benchmarks(&[&first, &second], Kind::Step);
        assert_has(
            &text,
            &[
                "| `cnn` | 64 | 0.500 ms / 0.400 ms | 0.625 ms | 2.50 ms | 5.00 / 6.25 | 4.00 |",
                // The second run has no row of it.
                "| `fc` | 64 / — | 0.0500 ms / — |",
                "where they differ: 2026-01-31 12:00:00 / 2026-02-02 08:00:00.\n",
            ],
        );
        let listed = list(&[
            ("a.json".to_string(), &first),
            ("b.json".to_string(), &second),
        ]);
        assert_has(
            &listed,
            &[
                "| [2026-01-31 12:00:00](a.json) | A processor, linux x86_64, 2 cores, 4 processors | Tallow 0.1.0; PyTorch 2.15.0, \
                 torchvision 0.29.2; candle 0.11.1; burn 0.22.1 (flex) | `0123456789ab` | 2 threads, 7 rounds of 0.2 s, arms: all | \
                 200 GFLOP/s | 2 of 3 |",
                "| [2026-02-02 08:00:00](b.json) |",
                "| 1 of 1 |",
            ],
        );
    }
}
