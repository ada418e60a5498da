//! Two progress bars on a terminal: the epochs of the run, and the steps of the epoch.

use crossterm::terminal::size;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::state::State;
use super::terminal::colours;
use super::text::{self, Task};
use crate::console::status;

/// Positions of a bar, more than any terminal has columns.
const LENGTH: u64 = 10_000;

/// The bars of the current run.
pub struct Bars {
    multi: MultiProgress,
    run: ProgressBar,
    epoch: ProgressBar,
    coloured: bool,
}

impl Bars {
    /// Bars that are drawn with the first [`show`](Self::show).
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

    /// Shows the state of a run.
    pub fn show(&self, state: &State) {
        let width = size().map_or(80, |(columns, _)| columns.into());
        let (run, epoch) = (text::run(state), text::epoch(state));
        let align = text::columns(&run.head).max(text::columns(&epoch.head));
        self.put(&self.run, &run, align, width);
        self.put(&self.epoch, &epoch, align, width);
    }

    fn put(&self, bar: &ProgressBar, task: &Task, align: usize, width: usize) {
        let line = task.bar_line(align, width);
        let colours = if self.coloured { ".cyan/blue" } else { "" };
        let drawn = line.bar.map(|bar| format!(" [{{bar:{bar}{colours}}}]"));
        // Characters of two columns may still be too wide: the rest is cut off.
        let template = format!("{{prefix}}{} {{wide_msg}}", drawn.unwrap_or_default());
        bar.set_style(style(&template));
        bar.set_prefix(line.head);
        bar.set_position((task.share * LENGTH as f64) as u64);
        bar.set_message(line.tail);
    }

    /// Prints a line above the bars.
    pub fn line(&self, text: &str) {
        self.multi.suspend(|| status(text));
    }

    /// Removes the bars.
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

/// Style of a bar from an indicatif template.
pub fn style(template: &str) -> ProgressStyle {
    // The templates are constants of this crate and valid.
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}
