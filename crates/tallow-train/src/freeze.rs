//! Frozen parameters.

use candle_core::Var;

use crate::error::{Error, Result};

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
}
