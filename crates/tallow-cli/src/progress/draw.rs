//! One frame of the full-screen view, as a function of the state.
//!
//! From top to bottom: progress of the run and of its epoch; curves and the list of runs; the last status lines; the keys. A small
//! terminal shows a part of it, and the bars in any case.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::symbols::Marker;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Axis, Block, Borders, Chart, Dataset, GraphType, Paragraph};
use tallow_record::{duration, percent, thousands};

use super::state::{Run, State};
use super::text::{self, Task};

/// Largest number of status lines.
pub const LINES: usize = 8;

/// Smallest height of a chart: its title, some of the curve, the axis and its labels.
const CHART: u16 = 5;
/// Smallest width for two panes side by side.
const BESIDE: u16 = 60;

/// Colours of the variants, in turn.
const COLOURS: [Color; 6] = [
    Color::Cyan,
    Color::Yellow,
    Color::Magenta,
    Color::Green,
    Color::Blue,
    Color::Red,
];

/// Contents of a frame.
pub struct Scene<'a> {
    /// The runs.
    pub state: &'a State,
    /// The last status lines.
    pub lines: &'a [String],
    /// Whether the user asked to stop.
    pub stopping: bool,
    /// Whether a second request ends the process.
    pub second_ends: bool,
    /// Whether to use colours.
    pub coloured: bool,
}

/// Contents of a pane.
#[derive(Clone, Copy)]
enum Pane {
    Loss,
    Accuracy,
    Steps,
    Runs,
}

/// Draws a frame of any size.
pub fn draw(frame: &mut Frame, scene: &Scene) {
    let area = frame.area();
    let [title, bars, panes, lines, keys] = rows(area);
    let state = scene.state;
    if title.height > 0 {
        heading(frame, title, state);
    }
    progress(frame, bars, scene);
    let grid = grid(panes);
    for (pane, area) in chosen(state, grid.len()).into_iter().zip(grid) {
        match pane {
            Pane::Runs => runs(frame, area, scene),
            _ => curves(frame, area, scene, pane),
        }
    }
    log(frame, lines, scene.lines);
    let text = match (scene.stopping, scene.second_ends) {
        (true, true) => "stopping after this batch; q or Ctrl-C again stops at once",
        (true, false) => "stopping after this batch",
        (false, _) => "q or Ctrl-C stops after this batch",
    };
    frame.render_widget(Paragraph::new(text).style(faint()), keys);
}

/// The areas of the title, the bars, the panes, the status lines and the keys.
fn rows(area: Rect) -> [Rect; 5] {
    let height = area.height;
    let title = u16::from(height >= 12);
    let keys = u16::from(height >= 6);
    let bars = if height >= 4 { 4 } else { height };
    let free = height.saturating_sub(title + keys + bars);
    let lines = match free {
        // Both, where the panes stay large enough.
        16.. => (free / 5).min(LINES as u16) + 1,
        CHART.. => 0,
        _ => free,
    };
    let rows = [title, bars, free - lines, lines, keys];
    Layout::vertical(rows.map(Constraint::Length)).areas(area)
}

/// Areas for as many panes as fit, row by row.
fn grid(area: Rect) -> Vec<Rect> {
    if area.height < CHART {
        return Vec::new();
    }
    let across = if area.width >= BESIDE { 2 } else { 1 };
    let down = if area.height >= 2 * CHART { 2 } else { 1 };
    let rows = Layout::vertical(vec![Constraint::Fill(1); down]).split(area);
    let columns = Layout::horizontal(vec![Constraint::Fill(1); across]).spacing(2);
    let places = rows.iter().flat_map(|row| columns.split(*row).to_vec());
    places.collect()
}

/// The panes for this number of areas.
fn chosen(state: &State, places: usize) -> Vec<Pane> {
    let tested = state.runs.iter().any(|run| !run.rows.is_empty());
    match places {
        1 if tested => vec![Pane::Accuracy],
        1 => vec![Pane::Steps],
        2 if tested => vec![Pane::Loss, Pane::Accuracy],
        2 => vec![Pane::Steps, Pane::Runs],
        _ => vec![Pane::Loss, Pane::Accuracy, Pane::Steps, Pane::Runs],
    }
}

fn heading(frame: &mut Frame, area: Rect, state: &State) {
    let passed = format!("{} so far", duration(state.time));
    let room = usize::from(area.width).saturating_sub(text::columns(&passed) + 2);
    let title = text::cut(&state.title, room);
    frame.render_widget(Paragraph::new(title).style(Modifier::BOLD), area);
    frame.render_widget(Paragraph::new(passed).style(faint()).right_aligned(), area);
}

/// The run and its epoch: their text, and below each its bar where it fits.
fn progress(frame: &mut Frame, area: Rect, scene: &Scene) {
    let state = scene.state;
    let (run, epoch) = (text::run(state), text::epoch(state));
    let width = usize::from(area.width);
    let mut lines = vec![Line::styled(run.line(width), Modifier::BOLD)];
    // Between two runs there is no epoch.
    if state.now.epochs > 0 {
        lines.push(Line::from(epoch.line(width)));
    }
    if state.now.epochs > 0 && area.height >= 4 {
        lines.insert(1, bar(&run, width, scene.coloured));
        lines.push(bar(&epoch, width, scene.coloured));
    }
    frame.render_widget(Paragraph::new(lines), area);
}

/// A bar over the whole width, with its share behind it.
fn bar(task: &Task, width: usize, coloured: bool) -> Line<'static> {
    let share = task.share.clamp(0.0, 1.0);
    let label = format!(" {:>3.0} %", 100.0 * share);
    let room = width.saturating_sub(label.len());
    let done = (share * room as f64).round() as usize;
    Line::from(vec![
        Span::styled("█".repeat(done), colour(coloured, Color::Cyan)),
        Span::styled("░".repeat(room - done), colour(coloured, Color::Blue)),
        Span::raw(label),
    ])
}

/// A curve of each run that has one; that of the present run lies on top.
fn curves(frame: &mut Frame, area: Rect, scene: &Scene, pane: Pane) {
    let state = scene.state;
    let mut curves: Vec<(usize, Vec<(f64, f64)>)> = match pane {
        Pane::Steps => vec![(state.current, state.losses.points.clone())],
        _ => (state.runs.iter().enumerate())
            .map(|(number, run)| (number, by_epoch(run, pane)))
            .collect(),
    };
    curves.retain(|(_, points)| !points.is_empty());
    curves.sort_by_key(|(number, _)| *number == state.current);
    let all = || curves.iter().flat_map(|(_, points)| points);
    let last = all().map(|(x, _)| *x).fold(1.0, f64::max);
    let (title, last, unit) = match pane {
        Pane::Accuracy => (
            "test accuracy, %",
            last.max(state.now.epochs as f64),
            "epoch",
        ),
        Pane::Loss => ("training loss", last.max(state.now.epochs as f64), "epoch"),
        _ => ("loss of the epoch so far", last, "step"),
    };
    let low = all().map(|(_, y)| *y).fold(f64::INFINITY, f64::min);
    let high = all().map(|(_, y)| *y).fold(f64::NEG_INFINITY, f64::max);
    if low > high {
        let nothing = Paragraph::new("nothing yet").style(faint());
        return frame.render_widget(nothing.block(block(title)), area);
    }
    // A curve that is level lies in the middle. No axis begins below zero unless a figure does.
    let margin = if high > low { 0.05 * (high - low) } else { 0.5 };
    let floor = if low >= 0.0 { 0.0 } else { f64::NEG_INFINITY };
    let y = [(low - margin).max(floor), high + margin];
    let digits = if high - low >= 2.0 { 1 } else { 3 };
    let labels = y.map(|value| format!("{value:.digits$}"));
    let first = if matches!(pane, Pane::Steps) {
        1.0
    } else {
        0.0
    };
    let sets = curves.iter().map(|(number, points)| {
        let present = *number == state.current;
        let mut style = variant_style(scene, *number);
        if !present {
            style = style.add_modifier(Modifier::DIM);
        }
        Dataset::default()
            .data(points)
            .marker(Marker::Braille)
            .graph_type(GraphType::Line)
            .style(style)
    });
    let x_labels = [
        thousands(first as u64),
        format!("{unit} {}", thousands(last as u64)),
    ];
    let axis = |bounds, labels: [String; 2]| {
        let axis = Axis::default().bounds(bounds).style(faint());
        axis.labels(labels)
    };
    let chart = Chart::new(sets.collect())
        .block(block(title))
        .legend_position(None)
        .x_axis(axis([first, last.max(first + 1.0)], x_labels))
        .y_axis(axis(y, labels));
    frame.render_widget(chart, area);
}

/// The finite figures of a run's epochs, counted from 1.
fn by_epoch(run: &Run, pane: Pane) -> Vec<(f64, f64)> {
    let figures = run.rows.iter().filter_map(|row| {
        let figure = match pane {
            Pane::Accuracy => 100.0 * row.test_accuracy?,
            _ => row.train_loss,
        };
        Some(((row.epoch + 1) as f64, figure)).filter(|(_, figure)| figure.is_finite())
    });
    figures.collect()
}

/// The runs around the present one, each in the colour of its curves.
fn runs(frame: &mut Frame, area: Rect, scene: &Scene) {
    let state = scene.state;
    let room = usize::from(area.height.saturating_sub(1));
    let start = state.current.saturating_sub(room / 2);
    let start = start.min(state.runs.len().saturating_sub(room));
    let name = |run: &Run| format!("{} seed {}", run.variant, run.seed);
    let width = state.runs.iter().map(|run| text::columns(&name(run)));
    let width = width.max().unwrap_or(0);
    let rows = state.runs.iter().enumerate().skip(start).take(room);
    let rows = rows.map(|(number, run)| {
        let (mark, style) = match number.cmp(&state.current) {
            std::cmp::Ordering::Less if run.failed => ("✗", Style::new()),
            std::cmp::Ordering::Less => ("✓", Style::new()),
            std::cmp::Ordering::Equal => ("▶", Style::new().add_modifier(Modifier::BOLD)),
            std::cmp::Ordering::Greater => ("·", faint()),
        };
        let accuracy = run.rows.last().and_then(|row| row.test_accuracy);
        let accuracy = accuracy.map(percent).unwrap_or_default();
        let seconds = run.seconds.map(duration).unwrap_or_default();
        let text = format!(" {:width$}  {accuracy:>8}  {seconds}", name(run));
        Line::from(vec![
            Span::styled(mark, variant_style(scene, number)),
            Span::styled(text, style),
        ])
    });
    let title = format!(
        "runs {}/{}",
        state.current.min(state.runs.len()),
        state.runs.len()
    );
    let list = Paragraph::new(rows.collect::<Vec<_>>());
    frame.render_widget(list.block(block(&title)), area);
}

/// The last status lines, the newest at the bottom.
fn log(frame: &mut Frame, area: Rect, lines: &[String]) {
    let room = usize::from(area.height.saturating_sub(1));
    let last = &lines[lines.len().saturating_sub(room)..];
    let lines = last.iter().map(|line| Line::from(line.as_str()));
    let lines = Paragraph::new(lines.collect::<Vec<_>>());
    if area.height > 1 {
        frame.render_widget(lines.block(block("log")), area);
    }
}

/// A pane under its title.
fn block(title: &str) -> Block<'_> {
    Block::new()
        .borders(Borders::TOP)
        .border_style(faint())
        .title(Span::styled(format!(" {title} "), Style::new().not_dim()))
}

/// The style of a run's variant.
fn variant_style(scene: &Scene, run: usize) -> Style {
    let runs = &scene.state.runs;
    let Some(of) = runs.get(run) else {
        return Style::new();
    };
    let mut variants: Vec<&str> = Vec::new();
    for run in runs {
        if !variants.contains(&run.variant.as_str()) {
            variants.push(&run.variant);
        }
    }
    let place = variants.iter().position(|name| *name == of.variant);
    colour(scene.coloured, COLOURS[place.unwrap_or(0) % COLOURS.len()])
}

fn colour(coloured: bool, colour: Color) -> Style {
    if coloured {
        Style::new().fg(colour)
    } else {
        Style::new()
    }
}

fn faint() -> Style {
    Style::new().add_modifier(Modifier::DIM)
}

#[cfg(test)]
mod tests {
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    use super::*;
    use crate::progress::state::Now;
    use crate::progress::state::tests::state;

    /// The rows of a frame.
    fn drawn(state: &State, size: (u16, u16)) -> Vec<String> {
        let lines = ["[2/4] fc seed 1  epoch 1/4", "a line of the log"].map(String::from);
        let scene = Scene {
            state,
            lines: &lines,
            stopping: false,
            second_ends: true,
            coloured: true,
        };
        let mut terminal = Terminal::new(TestBackend::new(size.0, size.1)).unwrap();
        terminal.draw(|frame| draw(frame, &scene)).unwrap();
        let buffer = terminal.backend().buffer();
        let rows = buffer.content().chunks(usize::from(size.0).max(1));
        rows.map(|row| row.iter().map(|cell| cell.symbol()).collect::<String>())
            .collect()
    }

    #[test]
    fn all_of_it_stands_in_eighty_columns() {
        for size in [(80, 24), (120, 40)] {
            let rows = drawn(&state(), size);
            let text = rows.join("\n");
            for expected in [
                "quickstart, smoke tier",
                "53 s so far",
                "[2/4] fc seed 1  epoch 2/4  5 min 48 s left",
                "step 25/100  loss 1.2500  accuracy 57.50 %  640 images/s  10 s left",
                " 31 %",
                " 25 %",
                " training loss ",
                " test accuracy, % ",
                " loss of the epoch so far ",
                "epoch 4",
                "step 125",
                "✓ fc seed 0    80.00 %  40 s",
                "▶ fc seed 1    55.00 %",
                "· cnn seed 1",
                "a line of the log",
                "q or Ctrl-C stops after this batch",
            ] {
                assert!(text.contains(expected), "no {expected} in\n{text}");
            }
            let curve = |c: char| ('\u{2801}'..='\u{28ff}').contains(&c);
            assert!(text.chars().filter(|c| curve(*c)).count() > 20, "{text}");
            assert_eq!(rows.len(), usize::from(size.1));
        }
    }

    #[test]
    fn a_small_terminal_has_what_matters() {
        let rows = drawn(&state(), (40, 10));
        let text = rows.join("\n");
        assert!(rows[0].starts_with("[2/4] fc seed 1  epoch 2/4"), "{text}");
        assert!(rows[2].starts_with("step 25/100  loss 1.2500"), "{text}");
        assert!(text.contains("test accuracy, %"), "{text}");
        assert!(rows[9].starts_with("q or Ctrl-C"), "{text}");
        let rows = drawn(&state(), (5, 2));
        assert_eq!(rows, ["[2/4…", "step…"]);
    }

    #[test]
    fn any_state_fits_any_size() {
        let mut over = state();
        over.current = over.runs.len();
        over.now = Now::default();
        let mut odd = state();
        odd.runs[0].rows[1].train_loss = f64::NAN;
        odd.runs[0].rows[2].test_accuracy = None;
        odd.runs[1].rows[0].train_loss = 1e300;
        odd.runs[1].variant = "名前\u{1b}[31m".repeat(40);
        odd.now.loss = f64::NAN;
        odd.now.epochs = 1;
        odd.losses = Default::default();
        for state in [state(), over, odd, State::default()] {
            for width in [0, 1, 2, 5, 8, 20, 40, 59, 60, 80, 120, 300] {
                for height in [0, 1, 2, 3, 4, 5, 6, 9, 10, 11, 12, 17, 24, 40, 100] {
                    let rows = drawn(&state, (width, height));
                    let escapes = rows.iter().any(|row| row.contains('\u{1b}'));
                    assert!(!escapes, "{width} x {height}");
                }
            }
        }
    }

    #[test]
    fn without_colours_there_are_none() {
        let state = state();
        let mut scene = Scene {
            state: &state,
            lines: &[],
            stopping: true,
            second_ends: true,
            coloured: false,
        };
        let mut coloured = |on| {
            scene.coloured = on;
            let mut terminal = Terminal::new(TestBackend::new(80, 24)).unwrap();
            terminal.draw(|frame| draw(frame, &scene)).unwrap();
            let buffer = terminal.backend().buffer();
            let text: String = buffer.content().iter().map(|c| c.symbol()).collect();
            assert!(text.contains("stopping after this batch"));
            buffer.content().iter().any(|cell| cell.fg != Color::Reset)
        };
        assert!(coloured(true));
        assert!(!coloured(false));
    }

    #[test]
    fn a_second_request_is_offered_where_it_ends_the_process() {
        let state = state();
        let offered = |second_ends| {
            let scene = Scene {
                state: &state,
                lines: &[],
                stopping: true,
                second_ends,
                coloured: false,
            };
            let mut terminal = Terminal::new(TestBackend::new(80, 24)).unwrap();
            terminal.draw(|frame| draw(frame, &scene)).unwrap();
            let buffer = terminal.backend().buffer();
            let text: String = buffer.content().iter().map(|c| c.symbol()).collect();
            text.contains("again stops at once")
        };
        assert!(offered(true));
        assert!(!offered(false));
    }
}
