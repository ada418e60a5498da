//! Parameters that receive no gradient.

use candle_core::Var;
use candle_core::backprop::GradStore;

use crate::error::{Error, Result};
use crate::freeze::freezes;

/// Checks that each pattern of `allow_unused` matches one of the parameters to train.
pub(crate) fn check_patterns(trained: &[(String, Var)], allow_unused: &[String]) -> Result<()> {
    let unknown = |pattern: &&String| !trained.iter().any(|(name, _)| freezes(pattern, name));
    match allow_unused.iter().find(unknown) {
        None => Ok(()),
        Some(pattern) => Err(Error::config(
            "allow_unused",
            format!("`{pattern}` matches no parameter that is trained"),
        )),
    }
}

/// Checks that each parameter to train has a gradient, or a name that matches `allow_unused`.
pub(crate) fn check_used(
    trained: &[(String, Var)],
    grads: &GradStore,
    allow_unused: &[String],
) -> Result<()> {
    let unused = trained.iter().filter(|(_, var)| grads.get(var).is_none());
    let unused: Vec<&String> = unused.map(|(name, _)| name).collect();
    let allowed = |name: &String| allow_unused.iter().any(|pattern| freezes(pattern, name));
    let names: Vec<String> = (unused.iter().copied())
        .filter(|name| !allowed(name))
        .cloned()
        .collect();
    if names.is_empty() {
        Ok(())
    } else if unused.len() == trained.len() {
        Err(Error::NoGradients)
    } else {
        Err(Error::NoGradient { names })
    }
}
