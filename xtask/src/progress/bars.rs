//! Two bars on a terminal: the run with its epochs, and the epoch with its steps.

use std::io::{Write, stderr};

use crossterm::terminal;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::colours;
use super::state::State;
use super::text::{self, Told};

/// Positions of a bar, finer than any terminal's columns.
const LENGTH: u64 = 10_000;

/// The bars of the run that goes on.
pub struct Bars {
    multi: MultiProgress,
    run: ProgressBar,
    epoch: ProgressBar,
    coloured: bool,
}

impl Bars {
    /// Nothing is drawn yet.
    pub fn new() -> Self {
        let multi = MultiProgress::with_draw_target(ProgressDrawTarget::stderr());
        let add = || multi.add(ProgressBar::new(LENGTH));
        let (run, epoch) = (add(), add());
        Self {
            multi,
            run,
            epoch,
            coloured: colours(),
        }
    }

    /// Shows where a run is.
    pub fn show(&self, state: &State) {
        let width = terminal::size().map_or(80, |(columns, _)| columns.into());
        let (run, epoch) = (text::run(state), text::epoch(state));
        let align = text::columns(&run.head).max(text::columns(&epoch.head));
        self.put(&self.run, &run, align, width);
        self.put(&self.epoch, &epoch, align, width);
    }

    fn put(&self, bar: &ProgressBar, told: &Told, align: usize, width: usize) {
        let line = told.barred(align, width);
        let colours = if self.coloured { ".cyan/blue" } else { "" };
        let drawn = line.bar.map(|bar| format!(" [{{bar:{bar}{colours}}}]"));
        // Characters that take two columns may still be too many: what does not fit is cut off.
        let template = format!("{{prefix}}{} {{wide_msg}}", drawn.unwrap_or_default());
        bar.set_style(style(&template));
        bar.set_prefix(line.head);
        bar.set_position((told.share * LENGTH as f64) as u64);
        bar.set_message(line.tail);
    }

    /// Prints a line that stays, above the bars.
    pub fn line(&self, text: &str) {
        // A terminal that is gone is no reason to stop.
        self.multi.suspend(|| {
            let _ = writeln!(stderr(), "{text}");
        });
    }

    /// Takes the bars away.
    pub fn clear(&self) {
        self.run.finish_and_clear();
        self.epoch.finish_and_clear();
    }
}

impl Drop for Bars {
    fn drop(&mut self) {
        self.clear();
    }
}

/// A bar's style.
pub fn style(template: &str) -> ProgressStyle {
    // The templates are ours, so the fallback is for the type system alone.
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}
