//! Progress as text that fits into a line of the terminal.

use tallow_record::{duration, percent, thousands};

use super::state::State;

/// Largest width of a bar, without its brackets.
const BAR: usize = 24;
/// Smallest width of a bar.
const SHORTEST: usize = 8;
/// Separator of two figures.
const GAP: &str = "  ";

/// Progress of a task.
#[derive(Debug, PartialEq)]
pub struct Task {
    /// Name of the task.
    pub head: String,
    /// Figures, the most important first.
    pub figures: Vec<String>,
    /// Share that is done, in [0, 1].
    pub share: f64,
}

/// The parts of a line with a bar that fit into its width.
#[derive(Debug, PartialEq)]
pub struct BarLine {
    /// Text before the bar.
    pub head: String,
    /// Width of the bar, without its brackets.
    pub bar: Option<usize>,
    /// Text after the bar.
    pub tail: String,
}

/// Progress of the current run.
pub fn run(state: &State) -> Task {
    let now = &state.now;
    let epoch = (now.epoch + 1).min(now.epochs);
    let at = match (state.run(), now.epochs) {
        (None, _) => "all runs are over".to_string(),
        (Some(_), 0) => format!("{}  getting ready", state.label()),
        (Some(_), epochs) => format!("{}  epoch {epoch}/{epochs}", state.label()),
    };
    Task {
        head: at,
        figures: left(state.run().and_then(|_| state.left())),
        share: now.share(),
    }
}

/// Progress of the current epoch, or of the evaluation that ends it.
pub fn epoch(state: &State) -> Task {
    let now = &state.now;
    let (doing, done, of) = match now.testing {
        Some((done, of)) => ("testing", done, of),
        None => ("step", now.step, now.steps),
    };
    let mut figures = Vec::new();
    if now.step > 0 && now.loss.is_finite() {
        figures.push(format!("loss {:.4}", now.loss));
        figures.push(format!("accuracy {}", percent(now.accuracy)));
    }
    let rate = now.images_per_second();
    if rate > 0.0 {
        figures.push(format!("{} images/s", thousands(rate.round() as u64)));
    }
    figures.extend(left(state.epoch_left()));
    Task {
        head: format!(
            "{doing} {}/{}",
            thousands(done as u64),
            thousands(of as u64)
        ),
        figures,
        share: done as f64 / of.max(1) as f64,
    }
}

fn left(seconds: Option<f64>) -> Vec<String> {
    let text = seconds.map(|seconds| format!("{} left", duration(seconds)));
    text.into_iter().collect()
}

impl Task {
    /// As one line without a bar, of at most `width` columns: the last figures are left out first.
    pub fn line(&self, width: usize) -> String {
        let figures = (0..=self.figures.len()).rev();
        let lines = figures.map(|count| {
            let parts = std::iter::once(&self.head).chain(&self.figures[..count]);
            parts.map(String::as_str).collect::<Vec<_>>().join(GAP)
        });
        let mut lines = lines.skip_while(|line| columns(line) > width);
        lines.next().unwrap_or_else(|| cut(&self.head, width))
    }

    /// As a line with a bar, of at most `width` columns. The bar gets shorter first; then the last figures are left out, but for the
    /// first of them the bar goes. Where there is room, the head is as wide as `align`, so that bars stand in one column.
    pub fn bar_line(&self, align: usize, width: usize) -> BarLine {
        let head = cut(&self.head, width);
        let all = self.figures.len();
        let with_bar = (1..=all).rev().map(|count| (count, true));
        let choices = with_bar.chain([(all.min(1), false), (0, true)]);
        for (count, bar) in choices {
            let tail = self.figures[..count].join(GAP);
            let mut needed = columns(&head);
            if count > 0 {
                needed += 1 + columns(&tail);
            }
            let Some(mut room) = width.checked_sub(needed) else {
                continue;
            };
            if !bar {
                return BarLine {
                    head,
                    bar: None,
                    tail,
                };
            }
            // A space and the brackets.
            let Some(most) = room.checked_sub(3).filter(|most| *most >= SHORTEST) else {
                continue;
            };
            let bar = most.min(BAR);
            room -= bar + 3;
            let wide = align.min(columns(&head) + room);
            return BarLine {
                head: format!("{head:wide$}"),
                bar: Some(bar),
                tail,
            };
        }
        BarLine {
            head,
            bar: None,
            tail: String::new(),
        }
    }
}

/// As many of a text's characters as there are columns, the last of them an ellipsis where it has more.
pub fn cut(text: &str, width: usize) -> String {
    if columns(text) <= width {
        return text.to_string();
    }
    let start = text.chars().take(width.saturating_sub(1));
    start.chain((width > 0).then_some('…')).collect()
}

/// Columns of a text whose characters have one each.
pub fn columns(text: &str) -> usize {
    text.chars().count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::progress::state::tests::state;

    impl BarLine {
        fn columns(&self) -> usize {
            let bar = self.bar.map_or(0, |bar| bar + 3);
            let tail = match columns(&self.tail) {
                0 => 0,
                n => n + 1,
            };
            columns(&self.head) + bar + tail
        }
    }

    /// The state with large numbers in all places.
    fn large() -> State {
        let mut state = state();
        state.runs[1].variant = "cnn-permuted".to_string();
        state.now.step = 1234;
        state.now.steps = 1563;
        state.now.images = 31_600;
        state.now.epoch = 10;
        state.now.epochs = 12;
        state.now.epoch_started = 40.0;
        state.runs[1].test_seconds = 200.0;
        state
    }

    #[test]
    fn an_epoch_tells_its_figures() {
        let mut state = state();
        let task = epoch(&state);
        assert_eq!(
            task.line(80),
            "step 25/100  loss 1.2500  accuracy 57.50 %  640 images/s  10 s left"
        );
        assert_eq!(task.share, 0.25);
        state.now.testing = Some((3, 4));
        assert_eq!(
            (epoch(&state).head.as_str(), epoch(&state).share),
            ("testing 3/4", 0.75)
        );
        state.now = Default::default();
        assert_eq!(epoch(&state).line(80), "step 0/0");
        let task = run(&state).line(80);
        assert!(
            task.starts_with("[2/4] fc seed 1  getting ready  "),
            "{task}"
        );
        assert_eq!(run(&state).line(8), "[2/4] f…");
        state.current = 4;
        assert_eq!(run(&state).line(80), "all runs are over");
    }

    #[test]
    fn all_figures_stand_in_eighty_columns() {
        let state = state();
        let (run, epoch) = (run(&state), epoch(&state));
        let align = columns(&run.head);
        for task in [&run, &epoch] {
            let line = task.bar_line(align, 80);
            assert_eq!(line.tail, task.figures.join("  "), "{line:?}");
            assert!(line.bar >= Some(8) && line.columns() <= 80, "{line:?}");
        }
        // With room to spare the bars stand under each other.
        let heads = [&run, &epoch].map(|task| columns(&task.bar_line(align, 120).head));
        assert_eq!(heads, [align; 2]);
        assert_eq!(epoch.bar_line(align, 120).bar, Some(BAR));
    }

    #[test]
    fn a_line_is_never_wider_than_the_terminal() {
        for state in [state(), large()] {
            for task in [run(&state), epoch(&state)] {
                for width in 0..=200 {
                    let line = task.bar_line(60, width);
                    assert!(line.columns() <= width, "{width}: {line:?}");
                    assert!(columns(&task.line(width)) <= width);
                }
            }
        }
    }

    #[test]
    fn the_least_important_goes_first() {
        let task = epoch(&large());
        let tail = |width| task.bar_line(0, width).tail;
        let kept: Vec<usize> = (0..=120)
            .map(|width| tail(width).split("  ").filter(|t| !t.is_empty()).count())
            .collect();
        assert!(kept.is_sorted(), "{kept:?}");
        assert_eq!(tail(80), "loss 1.2500  accuracy 57.50 %  2,528 images/s");
        assert_eq!(tail(60), "loss 1.2500  accuracy 57.50 %");
        // The loss is worth more than a bar.
        assert_eq!(task.bar_line(0, 30).bar, None);
        assert_eq!(tail(30), "loss 1.2500");
        assert_eq!(task.bar_line(0, 5).head, "step…");
    }
}
