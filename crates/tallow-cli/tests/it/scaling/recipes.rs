//! Recipes of the project on 1, 2 and 4 processes, on one machine and on two: the same weights, to the bit.

use super::jobs::{LONGEST, assert_same_weights, json, program, records, together, within};
use super::{EXPERIMENT, sandbox};
use crate::common::{Sandbox, skipped, stderr};
use crate::launcher::{Launcher, run};
use crate::network::Network;

/// Speed of the links between the machines, in Mbit/s.
const SLOW: u32 = 200;

/// Settings for all: a short training whose last batch is cut into chunks of two and three images, with mixup and an average of the weights.
const SETTINGS: [&str; 6] = [
    "train.chunks=4",
    "train.epochs=2",
    "data.train_samples=650",
    "data.test_samples=200",
    "train.mix={ mixup_alpha = 0.4 }",
    "train.ema={ decay = 0.9 }",
];

/// Recipe with the variants that are trained, and settings of its own.
struct Case {
    recipe: &'static str,
    only: &'static [&'static str],
    settings: &'static [&'static str],
}

const CASES: [Case; 3] = [
    Case {
        recipe: "mnist-pixel-order",
        only: &["cnn", "cnn-permuted"],
        settings: &[],
    },
    Case {
        recipe: "mnist-pixel-order",
        only: &["fc", "fc-permuted"],
        settings: &["model.dropout=0.2"],
    },
    Case {
        recipe: "cifar10-cnn",
        only: &["cnn"],
        settings: &[],
    },
];

impl Case {
    /// Arguments of the program; `None` where the data is missing. Digits are replaced by the built-in sample then: pictures of the same form.
    fn arguments(&self, out: &str) -> Option<Vec<String>> {
        let mut args: Vec<&str> = vec!["run", self.recipe, "--tier", "smoke", "--threads", "1"];
        args.extend(["--out", out]);
        for variant in self.only {
            args.extend(["--only", *variant]);
        }
        for setting in SETTINGS.iter().chain(self.settings) {
            args.extend(["--set", *setting]);
        }
        let mut args: Vec<String> = args.into_iter().map(String::from).collect();
        match std::env::var("TALLOW_DATA") {
            Ok(data) => args.extend(["--data".to_string(), data]),
            Err(_) if self.recipe.starts_with("mnist") => {
                let sample = "data.dataset=fashion-mnist-sample";
                args.extend(["--set".to_string(), sample.to_string()]);
            }
            Err(_) => {
                skipped(&format!("{} needs TALLOW_DATA", self.recipe));
                return None;
            }
        }
        Some(args)
    }
}

/// Calls `check` with the sandbox of each recipe, in which a single process has trained it with the folder `alone`, and with a function that makes
/// arguments for another folder.
fn each_recipe(check: impl Fn(&Sandbox, &dyn Fn(&str) -> Vec<String>)) {
    for case in &CASES {
        let Some(args) = case.arguments("alone") else {
            continue;
        };
        let sandbox = Sandbox::new();
        let output = sandbox.tallow().args(&args).output().unwrap();
        // So short a training need not satisfy the claims.
        let code = output.status.code();
        assert!(matches!(code, Some(0 | 1)), "{}", stderr(&output));
        check(&sandbox, &|out: &str| case.arguments(out).unwrap());
    }
}

fn borrowed(args: &[String]) -> Vec<&str> {
    args.iter().map(String::as_str).collect()
}

#[test]
fn recipes_have_the_weights_of_one_process() {
    let launchers = Launcher::all();
    if launchers.is_empty() {
        return;
    }
    each_recipe(|sandbox, arguments| {
        for launcher in &launchers {
            for processes in [2, 4] {
                let out = format!("{}-{processes}", launcher.name());
                let args = arguments(&out);
                let Some(ended) = together(launcher, processes, sandbox, &borrowed(&args)) else {
                    break;
                };
                assert!(matches!(ended.code, Some(0 | 1)), "{out}: {}", ended.text);
                assert_same_weights(sandbox, ("alone", &out));
            }
        }
    });
}

/// On two machines, which have one process each, and two.
#[test]
fn recipes_have_the_weights_of_one_process_over_a_slow_network() {
    let launchers = Launcher::all();
    if launchers.is_empty() {
        return;
    }
    let Some(network) = Network::new(2, Some(SLOW)) else {
        return;
    };
    each_recipe(|sandbox, arguments| {
        for launcher in &launchers {
            for each in [1, 2] {
                let out = format!("{}-network-{each}", launcher.name());
                let args = arguments(&out);
                let before = network.sent(0);
                let command = launcher.start_on(&network, each, program());
                let command = within(command, sandbox, &borrowed(&args));
                let Some(ended) = run(command, LONGEST) else {
                    break;
                };
                assert!(matches!(ended.code, Some(0 | 1)), "{out}: {}", ended.text);
                assert_same_weights(sandbox, ("alone", &out));
                let (sent, least) = (network.sent(0) - before, least(sandbox, &out, each));
                assert!(
                    sent >= least,
                    "{out}: {sent} bytes sent, at least {least} expected"
                );
            }
        }
    });
}

/// Bytes that the gradients of the runs below `out` send from one of two machines to the other one, with so many processes each: a process sends
/// a part of its values to each other one, and its part of the sums.
fn least(sandbox: &Sandbox, out: &str, each: usize) -> u64 {
    let found = records(sandbox, out);
    let bytes = found.iter().map(|record| {
        let environment = json(record, "environment.json");
        let world = &environment["environment"]["world"];
        assert_eq!(world["hosts"].as_array().unwrap().len(), 2, "{world}");
        assert_eq!(world["ranks"], 2 * each);
        let parameters = environment["run"]["parameters"].as_u64().unwrap();
        let steps = json(record, "profile.json")["steps"].as_u64().unwrap();
        // Two parts, of 1 / (2 each) of four bytes a parameter, from each process here to each one there.
        4 * parameters * steps * each as u64
    });
    bytes.sum()
}

/// The experiment of the other tests, whose networks have batch norm and dropout.
#[test]
fn processes_train_the_weights_of_one() {
    assert!(EXPERIMENT.contains("cifar-cnn-bn") && EXPERIMENT.contains("dropout"));
    let launchers = Launcher::all();
    if launchers.is_empty() {
        return;
    }
    let sandbox = sandbox();
    let arguments = |out: &'static str| ["run", "exp.toml", "--threads", "1", "--out", out];
    let output = sandbox.tallow().args(arguments("alone")).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    for launcher in &launchers {
        for (processes, out) in [(2, "two"), (4, "four")] {
            let Some(ended) = together(launcher, processes, &sandbox, &arguments(out)) else {
                break;
            };
            assert_eq!(ended.code, Some(0), "{}", ended.text);
            assert_same_weights(&sandbox, ("alone", out));
            let record = records(&sandbox, out).pop().unwrap();
            let environment = json(&record, "environment.json");
            assert_eq!(environment["environment"]["world"]["ranks"], processes);
            std::fs::remove_dir_all(sandbox.path().join(out)).unwrap();
        }
    }
}

#[test]
fn an_error_of_all_processes_is_told_once_with_its_exit_code() {
    let sandbox = sandbox();
    let args = [
        "run",
        "exp.toml",
        "--threads",
        "1",
        "--set",
        "train.chunks=3",
    ];
    for launcher in Launcher::all() {
        let Some(ended) = together(&launcher, 2, &sandbox, &args) else {
            continue;
        };
        let text = &ended.text;
        assert_eq!(ended.code, Some(2), "{text}");
        let told = text.matches("2 ranks cannot share 3 chunks").count();
        assert_eq!(told, 1, "{text}");
        // It is no process that has died.
        assert!(!text.contains("to continue"), "{text}");
    }
}

#[test]
fn each_process_has_a_log_of_its_own() {
    for launcher in Launcher::all() {
        let sandbox = sandbox();
        let args = [
            "run",
            "exp.toml",
            "--threads",
            "1",
            "--set",
            "train.epochs=1",
        ];
        let args = [&args[..], &["--rank-logs", "logs"]].concat();
        let Some(ended) = together(&launcher, 2, &sandbox, &args) else {
            continue;
        };
        assert_eq!(ended.code, Some(0), "{}", ended.text);
        for rank in 0..2 {
            let path = sandbox.path().join(format!("logs/rank-{rank}.log"));
            let log = std::fs::read_to_string(path).unwrap();
            let first = format!("rank {rank} of 2: process ");
            assert!(log.starts_with(&first), "{log}");
            assert!(log.contains("2 processes on one machine"), "{log}");
            // Progress is the first one's.
            assert_eq!(log.contains("epoch 1/1"), rank == 0, "{log}");
        }
    }
}
