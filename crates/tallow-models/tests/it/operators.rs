//! The operators that every network of the registry runs, by `fixtures/operators.txt`.
//!
//! A line of it has the network, the mode, the number of operators by the layers they cover, and a digest of all of them with the
//! layers' names in the order in which they run.

use std::fmt::Write;

use candle_core::DType;
use tallow_models::{Context, Operator, registry};

use crate::common::{digest, images, small};

fn line(operators: &[Operator]) -> String {
    let mut counts: Vec<(String, usize)> = Vec::new();
    let mut all = String::new();
    for operator in operators {
        writeln!(all, "{operator}").unwrap();
        let kinds = operator.kinds.join(" + ");
        match counts.iter_mut().find(|(known, _)| *known == kinds) {
            Some((_, count)) => *count += 1,
            None => counts.push((kinds, 1)),
        }
    }
    let counts: Vec<String> = counts
        .iter()
        .map(|(kinds, count)| format!("{count} {kinds}"))
        .collect();
    format!("{}; {}", counts.join(", "), digest(all.as_bytes()))
}

#[test]
fn every_network_runs_its_fused_operators() {
    let mut expected = include_str!("../fixtures/operators.txt").lines();
    for entry in registry() {
        let model = entry.build(&small(entry)).unwrap();
        let x = images(&model, 4, 0, DType::F32);
        for train in [true, false] {
            let mut operators = Vec::new();
            let cx = &mut Context::recording(train, model.layout(), &mut operators);
            model.forward_with(&x, cx).unwrap();
            let mode = if train { "train" } else { "eval" };
            let found = format!("{} {mode}: {}", entry.name(), line(&operators));
            assert_eq!(Some(found.as_str()), expected.next(), "{operators:#?}");
        }
    }
    assert_eq!(expected.next(), None);
}
