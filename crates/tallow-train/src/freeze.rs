//! Frozen parameters, and those that are trained from some epoch on.

use candle_core::Var;
use candle_core::backprop::GradStore;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// Frozen parameters that are trained from an epoch on, as in gradual unfreezing (Howard and Ruder 2018).
///
/// In TOML: `unfreeze = [{ epoch = 2, params = ["layer4"] }]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Unfreeze {
    /// Epoch from which they are trained, counted from 0: the number of epochs for which they stay frozen. At least 1.
    pub epoch: usize,
    /// The parameters, as patterns like those of [`TrainConfig::freeze`](crate::TrainConfig::freeze), each of which matches a frozen one.
    pub params: Vec<String>,
}

/// Parameters that the optimizer has and that are frozen at first.
#[derive(Default)]
pub(crate) struct Thawing(Vec<(usize, Var)>);

impl Thawing {
    /// Removes the gradients of the parameters that are still frozen in `epoch`, so that the optimizer changes neither them nor their
    /// state.
    pub fn mask(&self, epoch: usize, grads: &mut GradStore) {
        for (_, var) in self.0.iter().filter(|(from, _)| *from > epoch) {
            grads.remove(var);
        }
    }
}

/// Parameters of the optimizer: those that are not frozen, or only until some epoch. Checks the patterns, as [`trained`].
pub(crate) fn trained_at_last(
    params: Vec<(String, Var)>,
    freeze: &[String],
    unfreeze: &[Unfreeze],
) -> Result<(Vec<(String, Var)>, Thawing)> {
    if unfreeze.is_empty() {
        return Ok((trained(params, freeze)?, Thawing::default()));
    }
    let refuse = |message: String| Err(Error::config("unfreeze", message));
    let is_frozen = |name: &str| freeze.iter().any(|pattern| freezes(pattern, name));
    for entry in unfreeze {
        if entry.epoch == 0 {
            let list = entry.params.join("`, `");
            return refuse(format!(
                "`{list}` at epoch 0, from the beginning: leave them out of `freeze` instead"
            ));
        }
        let unknown = |pattern: &&String| {
            !(params.iter()).any(|(name, _)| is_frozen(name) && freezes(pattern, name))
        };
        if let Some(pattern) = entry.params.iter().find(unknown) {
            return refuse(format!("`{pattern}` matches no parameter of `freeze`"));
        }
    }
    let from = |name: &str| {
        let matching = (unfreeze.iter())
            .filter(|entry| entry.params.iter().any(|pattern| freezes(pattern, name)));
        matching.map(|entry| entry.epoch).min()
    };
    // Checks the patterns of `freeze`, and that there is something to train in the first epoch.
    trained(params.clone(), freeze)?;
    let mut thawing = Vec::new();
    let mut at_last = Vec::new();
    for (name, var) in params {
        if is_frozen(&name) {
            let Some(epoch) = from(&name) else {
                continue;
            };
            thawing.push((epoch, var.clone()));
        }
        at_last.push((name, var));
    }
    Ok((at_last, Thawing(thawing)))
}

/// Parameters whose names match none of the patterns.
///
/// Fails when there is no parameter, when a pattern matches none, or when none is left to train.
pub(crate) fn trained(
    params: Vec<(String, Var)>,
    patterns: &[String],
) -> Result<Vec<(String, Var)>> {
    if params.is_empty() {
        return Err(Error::NoParameters);
    }
    for pattern in patterns {
        if !params.iter().any(|(name, _)| freezes(pattern, name)) {
            return Err(Error::config(
                "freeze",
                format!("`{pattern}` matches no parameter"),
            ));
        }
    }
    let left: Vec<_> = params
        .into_iter()
        .filter(|(name, _)| !patterns.iter().any(|pattern| freezes(pattern, name)))
        .collect();
    if left.is_empty() {
        return Err(Error::config("freeze", "leaves no parameter to train"));
    }
    Ok(left)
}

/// Whether `pattern` matches the name, or that of a layer that contains the parameter.
pub(crate) fn freezes(pattern: &str, name: &str) -> bool {
    let dots = name.match_indices('.').map(|(at, _)| at);
    dots.chain([name.len()])
        .any(|end| matches(pattern.as_bytes(), &name.as_bytes()[..end]))
}

/// Whether `pattern` matches all of `text`; `*` stands for any characters, or none.
fn matches(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    // Position of the last star, and the end of the text that it matches so far.
    let mut star = None;
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(byte) if *byte == text[t] => {
                p += 1;
                t += 1;
            }
            _ => match star {
                Some((at, taken)) => {
                    star = Some((at, taken + 1));
                    (p, t) = (at + 1, taken + 1);
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use candle_core::{DType, Device};

    use super::*;

    #[test]
    fn patterns_match_names_and_layers() {
        for (pattern, name, expected) in [
            ("conv1.weight", "conv1.weight", true),
            ("conv1", "conv1.weight", true),
            ("conv", "conv1.weight", false),
            ("conv*", "conv1.weight", true),
            ("layer1", "layer10.0.weight", false),
            ("layer1", "layer1.0.conv1.weight", true),
            ("layer1.0", "layer1.0.conv1.weight", true),
            ("*.bias", "layer1.0.bn1.bias", true),
            ("*.bias", "bias", false),
            ("*bn?", "layer1.0.bn1.bias", false),
            ("*.bn1", "layer1.0.bn1.bias", true),
            ("*.bn1", "bn1.bias", false),
            ("*bn*", "layer1.0.bn1.bias", true),
            ("l*1*w*t", "layer1.0.conv1.weight", true),
            ("", "weight", false),
            ("*", "weight", true),
        ] {
            assert_eq!(freezes(pattern, name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn keeps_the_rest_and_refuses_slips() {
        let names = ["conv.weight", "bn.weight", "bn.bias", "fc.weight"];
        let var = || Var::zeros(1, DType::F32, &Device::Cpu).unwrap();
        let params = || {
            names
                .iter()
                .map(|name| (name.to_string(), var()))
                .collect::<Vec<_>>()
        };
        let left = |patterns: &[&str]| {
            let patterns: Vec<String> = patterns.iter().map(|p| p.to_string()).collect();
            let left = trained(params(), &patterns).map_err(|e| e.to_string())?;
            Ok::<_, String>(left.into_iter().map(|(name, _)| name).collect::<Vec<_>>())
        };
        assert_eq!(left(&[]).unwrap(), names);
        assert_eq!(left(&["conv", "bn"]).unwrap(), ["fc.weight"]);
        assert_eq!(left(&["*.weight"]).unwrap(), ["bn.bias"]);
        assert_eq!(
            left(&["conv", "cnv"]).unwrap_err(),
            "freeze: `cnv` matches no parameter"
        );
        assert_eq!(
            left(&["*"]).unwrap_err(),
            "freeze: leaves no parameter to train"
        );
        assert!(matches!(
            trained(Vec::new(), &["conv".into()]),
            Err(Error::NoParameters)
        ));
    }

    #[test]
    fn parameters_thaw_by_epoch() {
        let names = ["conv.weight", "bn.weight", "fc.weight"];
        let vars = names.map(|_| Var::zeros(1, DType::F32, &Device::Cpu).unwrap());
        let params = || -> Vec<(String, Var)> {
            let names = names.iter().map(|name| name.to_string());
            names.zip(vars.iter().cloned()).collect()
        };
        let plan = |freeze: &[&str], unfreeze: &[(usize, &str)]| {
            let freeze: Vec<String> = freeze.iter().map(|p| p.to_string()).collect();
            let unfreeze: Vec<Unfreeze> = (unfreeze.iter())
                .map(|(epoch, pattern)| Unfreeze {
                    epoch: *epoch,
                    params: vec![pattern.to_string()],
                })
                .collect();
            trained_at_last(params(), &freeze, &unfreeze).map_err(|error| error.to_string())
        };
        let (left, thawing) = plan(
            &["conv", "bn"],
            &[(3, "conv"), (2, "*.weight"), (5, "conv")],
        )
        .unwrap();
        assert_eq!(left.len(), 3);
        let with_gradient = |epoch| {
            let loss = vars.iter().fold(vars[0].sum_all().unwrap(), |sum, var| {
                (sum + var.sum_all().unwrap()).unwrap()
            });
            let mut grads = loss.backward().unwrap();
            thawing.mask(epoch, &mut grads);
            vars.each_ref().map(|var| grads.get(var).is_some())
        };
        assert_eq!(with_gradient(0), [false, false, true]);
        assert_eq!(with_gradient(1), [false, false, true]);
        assert_eq!(with_gradient(2), [true, true, true]);
        // What is named in no entry stays frozen, and is not in the optimizer.
        let (left, _) = plan(&["conv", "bn"], &[(1, "bn")]).unwrap();
        let left: Vec<String> = left.into_iter().map(|(name, _)| name).collect();
        assert_eq!(left, ["bn.weight", "fc.weight"]);
        for (freeze, unfreeze, expected) in [
            (
                &["conv"][..],
                (1, "fc"),
                "`fc` matches no parameter of `freeze`",
            ),
            (&["conv"], (0, "conv"), "leave them out of `freeze`"),
            (&["*"], (1, "conv"), "leaves no parameter to train"),
            (&["cnv"], (1, "conv"), "matches no parameter"),
        ] {
            let error = plan(freeze, &[unfreeze]).err().unwrap();
            assert!(error.contains(expected), "{error}");
        }
    }
}
