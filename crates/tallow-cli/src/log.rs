//! Log of the libraries on standard error.

use std::fmt;

use tracing::{Event, Level, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use crate::console;

/// Messages that are shown without `RUST_LOG`: errors, and what is unusual about the data, the processes that train together, the
/// processor, the GPU and the steps. What is unusual about a recipe is told before a run, and not by the libraries.
const USUAL: &str = "error,tallow_datasets=warn,tallow_mpi=warn,tallow_train::ranks=warn,tallow_train::input=warn,\
    tallow_train::graph=warn,tallow_train::finite=warn,tallow_train::environment=warn,tallow_cuda=warn,tallow_ops=warn";

/// Selection of messages: `RUST_LOG`, else the usual ones.
fn filter() -> EnvFilter {
    EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(USUAL))
}

/// Shows the log from now on: with time and module where `RUST_LOG` asks for messages, else as a program's own words, each once.
pub fn show(colours: bool) {
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter())
        .with_ansi(colours)
        .with_writer(|| console::Log);
    match console::is_detailed() {
        true => log.init(),
        false => log.event_format(Plain).init(),
    }
}

/// Message with its level, as in `warning: letters: left out 2 files`.
struct Plain;

impl<S, N> FormatEvent<S, N> for Plain
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let level = match *event.metadata().level() {
            Level::ERROR => "error",
            Level::WARN => "warning",
            _ => "note",
        };
        write!(writer, "{level}: ")?;
        let fields = context.field_format();
        fields.format_fields(writer.by_ref(), event)?;
        writeln!(writer)
    }
}

#[cfg(test)]
mod tests {
    use tracing::subscriber::with_default;

    use super::*;

    #[test]
    fn a_cuda_graph_that_is_given_up_and_a_skipped_step_are_told() {
        let log = tracing_subscriber::fmt()
            .with_env_filter(EnvFilter::new(USUAL))
            .with_writer(std::io::sink)
            .finish();
        with_default(log, || {
            assert!(tracing::enabled!(target: "tallow_train::graph", Level::WARN));
            assert!(!tracing::enabled!(target: "tallow_train::graph", Level::DEBUG));
            assert!(tracing::enabled!(target: "tallow_train::finite", Level::WARN));
            assert!(tracing::enabled!(target: "tallow_ops::kernels::simd", Level::WARN));
        });
    }
}
