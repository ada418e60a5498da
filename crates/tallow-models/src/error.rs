/// What can go wrong when a model is built or run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No model of that name.
    #[error("there is no model `{name}`{}; the models are {}", suggestion(nearest), known.join(", "))]
    UnknownModel {
        /// The name asked for.
        name: String,
        /// The model whose name is most like it, if one is.
        nearest: Option<&'static str>,
        /// All models.
        known: Vec<&'static str>,
    },
    /// A setting that the model cannot take.
    #[error("{model}: {message}")]
    Config {
        /// The model.
        model: &'static str,
        /// What is wrong with the setting.
        message: String,
    },
    /// An input that does not fit the model.
    #[error("{model}: takes {expected}, got {found}")]
    Input {
        /// The model.
        model: &'static str,
        /// What the model takes.
        expected: String,
        /// What it got.
        found: String,
    },
    /// A layer of a state dict that is not what is asked of it.
    #[error("`{layer}`: {message}")]
    State {
        /// The layer.
        layer: String,
        /// What is wrong with it.
        message: String,
    },
    /// A layer that has no feature map, or is not there.
    #[error(
        "{model}: {problem}{}; the layers with a feature map are {}",
        suggestion(nearest),
        listed(maps)
    )]
    NoMap {
        /// The model.
        model: &'static str,
        /// What is wrong.
        problem: String,
        /// The layer with a map whose name is most like it, if one is.
        nearest: Option<String>,
        /// The layers that have a map.
        maps: Vec<String>,
    },
    /// A file of weights that cannot be read, or does not fit.
    #[error("{}: {problem}", path.display())]
    Weights {
        /// The file.
        path: std::path::PathBuf,
        /// What was expected and what was found.
        problem: crate::WeightsProblem,
    },
    /// An operator or the parameter store refused.
    #[error(transparent)]
    Ops(#[from] tallow_ops::Error),
    /// candle refused.
    #[error(transparent)]
    Candle(#[from] candle_core::Error),
}

/// The result of this crate's functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl From<Error> for candle_core::Error {
    fn from(error: Error) -> Self {
        match error {
            Error::Candle(inner) => inner,
            Error::Ops(inner) => inner.into(),
            other => candle_core::Error::wrap(other),
        }
    }
}

fn suggestion(nearest: &Option<impl std::fmt::Display>) -> String {
    nearest
        .as_ref()
        .map(|name| format!(" (did you mean `{name}`?)"))
        .unwrap_or_default()
}

fn listed(names: &[String]) -> String {
    match names {
        [] => "none".into(),
        names => names.join(", "),
    }
}
