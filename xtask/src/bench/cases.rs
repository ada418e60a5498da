//! The benchmarks.

use std::path::PathBuf;

use anyhow::{Result, bail};
use tallow_experiment::suggest;
use tallow_train::OptimizerConfig;

use super::worker::case::{Case, Function, Kind, Operator, Work};

const KINDS: [Kind; 5] = [
    Kind::Step,
    Kind::Inference,
    Kind::Operator,
    Kind::Loader,
    Kind::Epoch,
];

const MNIST: (usize, usize, usize) = (1, 28, 28);
const CIFAR: (usize, usize, usize) = (3, 32, 32);

/// Loader workers of Tallow.
const WORKERS: usize = 2;

/// Every benchmark, in the order worth reading.
pub fn all() -> Vec<Case> {
    let mut cases: Vec<Case> = [Kind::Step, Kind::Inference]
        .into_iter()
        .flat_map(networks)
        .collect();
    cases.extend(operators());
    cases.push(Case {
        name: "cifar10-augment".to_string(),
        kind: Kind::Loader,
        batch: 128,
        work: Work::Loader {
            images: 50_000,
            workers: WORKERS,
        },
    });
    cases.push(Case {
        name: "mnist-cnn".to_string(),
        kind: Kind::Epoch,
        batch: 64,
        work: Work::Epoch {
            data: PathBuf::new(), // Found when it is wanted.
            workers: WORKERS,
            optimizer: OptimizerConfig::sgd_momentum(0.01, 0.5),
        },
    });
    cases
}

fn networks(kind: Kind) -> impl Iterator<Item = Case> {
    let sgd = || OptimizerConfig::sgd_momentum(0.01, 0.9);
    let adam = || OptimizerConfig::adam(1e-3);
    [
        ("fc", "mlp", MNIST, 64, sgd()),
        ("cnn", "cnn", MNIST, 64, sgd()),
        ("cifar-cnn", "cifar-cnn", CIFAR, 64, adam()),
        ("lenet", "lenet", CIFAR, 64, adam()),
        ("vgg16-slim", "vgg16-slim", CIFAR, 128, adam()),
        ("vgg16-bn", "vgg16-bn-cifar", CIFAR, 128, adam()),
        ("resnet18", "resnet18-cifar", CIFAR, 128, sgd()),
        ("resnet20", "resnet20", CIFAR, 128, sgd()),
    ]
    .into_iter()
    .map(move |(name, model, input, batch, optimizer)| Case {
        name: name.to_string(),
        kind,
        batch,
        work: Work::Network {
            model: model.to_string(),
            input,
            optimizer,
        },
    })
}

fn operators() -> Vec<Case> {
    let conv = |input, output, side, kernel, stride, groups, backward| Operator::Conv {
        input,
        output,
        side,
        kernel,
        stride,
        padding: kernel / 2,
        groups,
        backward,
    };
    let mut ops = Vec::new();
    for (maps, side) in [(64, 32), (128, 16), (256, 8), (512, 4)] {
        for (suffix, backward) in [("-forward", false), ("", true)] {
            let op = conv(maps, maps, side, 3, 1, 1, backward);
            ops.push((format!("conv3x3-{maps}{suffix}"), op));
        }
    }
    let activation = |function| Operator::Activation {
        function,
        maps: 64,
        side: 32,
        backward: true,
    };
    let network = "vgg16-slim".to_string();
    #[rustfmt::skip]
    let others = [
        ("conv3x3-stride2", conv(64, 128, 32, 3, 2, 1, true)),
        ("conv1x1", conv(256, 64, 16, 1, 1, 1, true)),
        ("conv5x5-grey", conv(1, 6, 28, 5, 1, 1, true)),
        ("depthwise3x3", conv(128, 128, 16, 3, 1, 128, true)),
        ("depthwise3x3-stride2", conv(96, 96, 32, 3, 2, 96, true)),
        ("depthwise5x5", conv(240, 240, 14, 5, 1, 240, true)),
        ("depthwise7x7", conv(96, 96, 32, 7, 1, 96, true)),
        ("squeeze-excite", Operator::SqueezeExcite { maps: 240, squeezed: 64, side: 14, backward: true }),
        ("max-pool", Operator::MaxPool { maps: 64, side: 32, backward: true }),
        ("batch-norm", Operator::BatchNorm { maps: 64, side: 32, backward: true }),
        ("layer-norm", Operator::LayerNorm { maps: 96, side: 32, backward: true }),
        ("gelu", activation(Function::Gelu)),
        ("silu", activation(Function::Silu)),
        ("hard-swish", activation(Function::HardSwish)),
        ("linear", Operator::Linear { inputs: 512, outputs: 512, backward: true }),
        ("cross-entropy", Operator::CrossEntropy { classes: 1000, backward: true }),
        ("adam-vgg16-slim", Operator::Adam { network }),
    ];
    ops.extend(others.map(|(name, op)| (name.to_string(), op)));
    ops.into_iter()
        .map(|(name, op)| Case {
            name,
            kind: Kind::Operator,
            batch: 128,
            work: Work::Operator { op },
        })
        .collect()
}

/// The benchmarks that any of the filters means: those of that name or kind; failing that, those whose names contain it. All
/// without a filter.
pub fn select(filters: &[String]) -> Result<Vec<Case>> {
    let cases = all();
    if filters.is_empty() {
        return Ok(cases);
    }
    let mut wanted = vec![false; cases.len()];
    for filter in filters {
        let exactly = |case: &Case| case.name == *filter || case.kind.to_string() == *filter;
        let roughly = |case: &Case| !filter.is_empty() && case.name.contains(filter.as_str());
        let hits = |what: &dyn Fn(&Case) -> bool| -> Vec<bool> { cases.iter().map(what).collect() };
        let mut found = hits(&exactly);
        if !found.contains(&true) {
            found = hits(&roughly);
        }
        if !found.contains(&true) {
            let mut known: Vec<&str> = Vec::new();
            for case in &cases {
                if !known.contains(&case.name.as_str()) {
                    known.push(&case.name);
                }
            }
            let kinds = KINDS.map(|kind| kind.to_string()).join(", ");
            bail!(
                "{}\nor a kind: {kinds}",
                suggest::unknown("benchmark", filter, &known)
            );
        }
        for (wanted, found) in wanted.iter_mut().zip(found) {
            *wanted |= found;
        }
    }
    let chosen = cases.into_iter().zip(wanted);
    Ok(chosen
        .filter_map(|(case, wanted)| wanted.then_some(case))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(filters: &[&str]) -> Vec<(String, Kind)> {
        let filters: Vec<String> = filters.iter().map(|f| f.to_string()).collect();
        let cases = select(&filters).unwrap();
        cases.into_iter().map(|c| (c.name, c.kind)).collect()
    }

    #[test]
    fn a_name_means_itself_before_it_means_a_part() {
        let cnn = |kind| ("cnn".to_string(), kind);
        assert_eq!(names(&["cnn"]), [cnn(Kind::Step), cnn(Kind::Inference)]);
        assert_eq!(names(&["resnet"]).len(), 4);
        assert_eq!(names(&["step"]).len(), 8);
        assert_eq!(names(&["fc", "fc", "epoch"]).len(), 3);
        assert_eq!(names(&[]).len(), all().len());
    }

    #[test]
    fn what_is_not_there_is_refused_with_what_is() {
        for filter in ["resnet19", ""] {
            let message = select(&[filter.to_string()]).unwrap_err().to_string();
            assert!(message.contains("vgg16-bn"), "{message}");
            assert!(message.contains("inference"), "{message}");
        }
    }

    #[test]
    fn names_are_unique_within_a_kind() {
        let mut keys: Vec<String> = all()
            .iter()
            .map(|c| format!("{} {}", c.kind, c.name))
            .collect();
        keys.sort();
        let all = keys.len();
        keys.dedup();
        assert_eq!(keys.len(), all);
    }

    #[test]
    fn a_case_survives_the_wire() {
        for case in all() {
            let json = serde_json::to_string(&case).unwrap();
            assert_eq!(serde_json::from_str::<Case>(&json).unwrap(), case);
        }
    }
}
