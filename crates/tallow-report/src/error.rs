/// Error of making a report or a chart.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A run record could not be read.
    #[error(transparent)]
    Record(#[from] tallow_record::Error),
    /// A report without runs.
    #[error("there are no runs to report")]
    NoRuns,
    /// A chart without a finite value.
    #[error("{chart}: there is no finite value to draw")]
    NothingToDraw {
        /// Title of the chart.
        chart: String,
    },
    /// A chart could not be drawn.
    #[error("cannot draw a chart: {0}")]
    Chart(String),
}

impl<E: std::error::Error + Send + Sync> From<plotters::drawing::DrawingAreaErrorKind<E>>
    for Error
{
    fn from(error: plotters::drawing::DrawingAreaErrorKind<E>) -> Self {
        Self::Chart(error.to_string())
    }
}

/// Result of this crate's functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;
