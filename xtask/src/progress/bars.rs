//! Two bars on a terminal: the run with its epochs, and the epoch with its steps.

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::colours;
use super::state::{State, duration};
use crate::table::{percent, thousands};

/// The bars of the run that goes on.
pub struct Bars {
    multi: MultiProgress,
    run: ProgressBar,
    epoch: ProgressBar,
}

impl Bars {
    /// Nothing is drawn yet.
    pub fn new() -> Self {
        let bar = if colours() {
            "[{bar:24.cyan/blue}]"
        } else {
            "[{bar:24}]"
        };
        let multi = MultiProgress::with_draw_target(ProgressDrawTarget::stderr());
        let add = || {
            // What does not fit into the terminal's width is cut off.
            let bar =
                ProgressBar::new(1).with_style(style(&format!("{{prefix}} {bar} {{wide_msg}}")));
            multi.add(bar)
        };
        let (run, epoch) = (add(), add());
        Self { multi, run, epoch }
    }

    /// Shows where a run is.
    pub fn show(&self, state: &State) {
        let now = &state.now;
        let epoch = (now.epoch + 1).min(now.epochs);
        let run_prefix = format!("{}  epoch {epoch}/{}", state.label(), now.epochs);
        let (doing, done, of) = match now.testing {
            Some((done, of)) => ("testing", done, of),
            None => ("step", now.step, now.steps),
        };
        let epoch_prefix = format!(
            "{doing} {}/{}",
            thousands(done as u64),
            thousands(of as u64)
        );
        let width = run_prefix.chars().count().max(epoch_prefix.len());
        self.run.set_prefix(format!("{run_prefix:width$}"));
        self.run.set_length((now.epochs * now.steps) as u64);
        self.run
            .set_position((now.epoch * now.steps + now.step) as u64);
        self.run.set_message(match state.left() {
            Some(left) => format!("{} left", duration(left)),
            None => String::new(),
        });
        self.epoch.set_prefix(format!("{epoch_prefix:width$}"));
        self.epoch.set_length(of as u64);
        self.epoch.set_position(done as u64);
        self.epoch.set_message(figures(state));
    }

    /// Prints a line that stays, above the bars.
    pub fn line(&self, text: &str) {
        self.multi.suspend(|| eprintln!("{text}"));
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

/// `loss 1.2500  accuracy 57.50 %  640 images/s  10 s`.
fn figures(state: &State) -> String {
    let now = &state.now;
    let mut parts = Vec::new();
    if now.step > 0 && now.loss.is_finite() {
        parts.push(format!("loss {:.4}", now.loss));
        parts.push(format!("accuracy {}", percent(now.accuracy)));
    }
    let rate = now.images_per_second();
    if rate > 0.0 {
        parts.push(format!("{} images/s", thousands(rate.round() as u64)));
    }
    if let Some(left) = state.epoch_left() {
        parts.push(format!("{} left", duration(left)));
    }
    parts.join("  ")
}

/// A bar's style.
pub fn style(template: &str) -> ProgressStyle {
    // The templates are fixed, so the fallback is for the type system alone.
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::progress::state::tests::state;

    #[test]
    fn figures_of_an_epoch() {
        let mut state = state();
        assert_eq!(
            figures(&state),
            "loss 1.2500  accuracy 57.50 %  640 images/s  10 s left"
        );
        state.now = Default::default();
        assert_eq!(figures(&state), "");
    }
}
