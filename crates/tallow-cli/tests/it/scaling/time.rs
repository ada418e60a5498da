//! Time of a step against the number of processes and the speed of their links, and how far a model of it is off.
//!
//! It tests that the model is no worse than docs/scaling.md says, and prints the tables of that page:
//!
//! ```sh
//! TALLOW_DATA=DIR TALLOW_MPIRUN=/path/mpirun cargo test --release -p tallow-cli --test it -- --ignored --nocapture time_of_a_step
//! TALLOW_DATA=DIR TALLOW_MPIRUN=/path/mpirun cargo test --release -p tallow-cli --test it -- --ignored --nocapture gradients_that_are_sent
//! ```

mod model;

use std::fmt::Write;
use std::fs;
use std::time::Duration;

use serde_json::Value;

use self::model::{Fit, Step, errors, errors_left_out, fit, share_of_computing};
use super::jobs::{json, program, records, within};
use crate::common::{Sandbox, skipped};
use crate::launcher::{Launcher, run};
use crate::network::Network;

/// Networks whose gradients are large beside their computing, and less so.
const MODELS: [&str; 2] = ["vgg11-bn-cifar", "resnet18-cifar"];
/// Numbers of hosts, of one process of one thread each.
const HOSTS: [usize; 2] = [2, 4];
/// Speeds of the links in Mbit/s; at the first one, as fast as the machine, a step is taken to compute alone.
const LINKS: [Option<u32>; 5] = [None, Some(2000), Some(1000), Some(500), Some(200)];
/// Steps of a run, and those at its start that do not count.
const STEPS: usize = 10;
const WARM_UP: usize = 2;
/// Images of a step, of all processes together.
const EXPERIMENT: &str = r#"
    question = "How long does a step take?"
    seeds = [0]

    [data]
    dataset = "cifar10"
    train_samples = 400
    test_samples = 40
    transforms = [{ name = "to-tensor" }, { name = "normalize", mean = [0.5, 0.5, 0.5], std = [0.5, 0.5, 0.5] }]

    [train]
    epochs = 1
    batch_size = 40
    optimizer = { name = "sgd", lr = 0.01, momentum = 0.9 }

    [[variants]]
    name = "net"
    model.name = "resnet18-cifar"
"#;
/// Time after which a run is taken to hang.
const LONGEST: Duration = Duration::from_secs(1200);

/// Largest mean error of the model in percent at points that it was not fitted to; docs/scaling.md has the measured one.
const ERROR: f64 = 10.0;

/// Machines that the model is extended to on paper: a node computes as fast as so many of the measured cores.
const CORES: f64 = 16.0;
const NODES: [usize; 5] = [2, 4, 8, 16, 64];
/// Rates of networks, in Gbit/s.
const RATES: [f64; 4] = [1.0, 10.0, 25.0, 100.0];
/// Node of eight GPUs: seconds of a step, bits a second of a link within a node, and of a GPU's own link between nodes. Assumptions, not
/// measurements.
const GPUS: usize = 8;
const GPU_STEP: f64 = 0.005;
const WITHIN: f64 = 0.8 * 450e9 * 8.0;
const BETWEEN: f64 = 0.9 * 400e9;

/// Measured step.
struct Point {
    model: &'static str,
    megabits: Option<u32>,
    step: Step,
    seconds: f64,
}

#[test]
#[ignore = "minutes, on a quiet machine: run it with --ignored --nocapture"]
fn time_of_a_step_is_that_of_the_model() {
    let Some(launcher) = Launcher::all().into_iter().next() else {
        return;
    };
    let Ok(data) = std::env::var("TALLOW_DATA") else {
        skipped("CIFAR-10 needs TALLOW_DATA");
        return;
    };
    let cores = std::thread::available_parallelism().unwrap().get() as f64;
    let mut points = Vec::new();
    for model in MODELS {
        for hosts in HOSTS {
            let mut compute = 0.0;
            for megabits in LINKS {
                let Some(network) = Network::new(hosts, megabits) else {
                    return;
                };
                let run = (model, hosts);
                let Some((seconds, bytes)) = measure(&launcher, &network, run, &data, &[]) else {
                    return;
                };
                if megabits.is_none() {
                    compute = seconds;
                }
                let step = Step {
                    world: hosts,
                    bytes,
                    compute,
                    crowd: hosts as f64 / cores,
                    rate: f64::from(megabits.unwrap_or(0)) * 1e6,
                };
                points.push(Point {
                    model,
                    megabits,
                    step,
                    seconds,
                });
            }
        }
    }
    let measured: Vec<(Step, f64)> = (points.iter())
        .filter(|point| point.megabits.is_some())
        .map(|point| (point.step, point.seconds))
        .collect();
    let found = fit(&measured);
    println!("{}", table(&points, &found));
    println!("{}", nodes(&points, &found));
    println!("{}", gpus(&points, &found));
    let (mean, largest) = errors(&measured, &found);
    let (mean_out, largest_out) = errors_left_out(&measured);
    println!(
        "{}: overlap {:.2}, latency {:.2} ms, work {:.1} ns a byte; error {mean:.1} %, at most {largest:.1} %; of a point by the fit to the others {mean_out:.1} %, at \
         most {largest_out:.1} %",
        launcher.name(),
        found.overlap,
        1e3 * found.latency,
        1e9 * found.work
    );
    assert!(mean_out < ERROR, "{mean_out} %");
}

/// Share of a step that sending gradients during the backward pass must save at least: that of the prototype of this design, on other
/// processors.
const SAVED: f64 = 0.10;
const ROUNDS: usize = 3;

/// With a bucket for all gradients they are sent after the backward pass, else during it. Both take turns.
#[test]
#[ignore = "minutes, on a quiet machine: run it with --ignored --nocapture"]
fn gradients_that_are_sent_during_the_backward_pass_shorten_a_step() {
    let Some(launcher) = Launcher::all().into_iter().next() else {
        return;
    };
    let Ok(data) = std::env::var("TALLOW_DATA") else {
        skipped("CIFAR-10 needs TALLOW_DATA");
        return;
    };
    let Some(network) = Network::new(2, Some(200)) else {
        return;
    };
    let batch = [
        "--set",
        "train.batch_size=64",
        "--set",
        "data.train_samples=640",
    ];
    let (mut during, mut after) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        for (bucket, times) in [("4", &mut during), ("1024", &mut after)] {
            let more = [&batch[..], &["--bucket-mb", bucket]].concat();
            let run = ("resnet18-cifar", 2);
            let Some((seconds, _)) = measure(&launcher, &network, run, &data, &more) else {
                return;
            };
            println!("round {round}, buckets of {bucket} MB: {seconds:.3} s a step");
            times.push(seconds);
        }
    }
    let median = |times: &mut Vec<f64>| {
        times.sort_by(f64::total_cmp);
        times[times.len() / 2]
    };
    let (during, after) = (median(&mut during), median(&mut after));
    let saved = 1.0 - during / after;
    println!(
        "{during:.3} s during the backward pass, {after:.3} s after it: {:.1} % less",
        100.0 * saved
    );
    assert!(saved >= SAVED, "{saved}");
}

/// Median seconds of a step, and bytes of the gradients; `None` where the library is missing.
fn measure(
    launcher: &Launcher,
    network: &Network,
    (model, chunks): (&str, usize),
    data: &str,
    more: &[&str],
) -> Option<(f64, f64)> {
    let sandbox = Sandbox::new();
    fs::write(sandbox.path().join("exp.toml"), EXPERIMENT).unwrap();
    let model = format!("model.name={model}");
    let chunks = format!("train.chunks={chunks}");
    let args = ["run", "exp.toml", "--threads", "1", "--data", data];
    let args = [&args[..], &["--set", &model, "--set", &chunks], more].concat();
    let args = [&args[..], &["--workers", "0"]].concat();
    let args = [
        &args[..],
        &["--events", "events.jsonl", "--events-every", "1"],
    ]
    .concat();
    let command = within(launcher.start_on(network, 1, program()), &sandbox, &args);
    let ended = run(command, LONGEST)?;
    assert_eq!(ended.code, Some(0), "{}", ended.text);
    let text = fs::read_to_string(sandbox.path().join("events.jsonl")).unwrap();
    let times: Vec<f64> = text
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .filter(|event| event["event"] == "batch")
        .map(|event| event["time"].as_f64().unwrap())
        .collect();
    assert_eq!(times.len(), STEPS, "{text}");
    let mut seconds: Vec<f64> = (times[WARM_UP - 1..].windows(2))
        .map(|pair| pair[1] - pair[0])
        .collect();
    seconds.sort_by(f64::total_cmp);
    let record = records(&sandbox, "runs").pop().unwrap();
    let parameters = json(&record, "environment.json")["run"]["parameters"]
        .as_u64()
        .unwrap();
    Some((seconds[seconds.len() / 2], 4.0 * parameters as f64))
}

/// The measured steps beside the model's.
fn table(points: &[Point], fit: &Fit) -> String {
    let mut text = String::from(
        "| network | processes | Mbit/s | measured, s | model, s |\n| --- | --- | --- | --- | --- |\n",
    );
    for point in points {
        let (link, model) = match point.megabits {
            None => ("none".to_string(), "-".to_string()),
            Some(megabits) => (megabits.to_string(), format!("{:.3}", point.step.time(fit))),
        };
        let (name, world, seconds) = (point.model, point.step.world, point.seconds);
        writeln!(
            text,
            "| `{name}` | {world} | {link} | {seconds:.3} | {model} |"
        )
        .unwrap();
    }
    text
}

/// A step of each network on as many hosts as cores, without a sum.
fn steps(points: &[Point]) -> impl Iterator<Item = &Point> {
    let alone = |point: &&Point| point.megabits.is_none() && point.step.world == HOSTS[0];
    points.iter().filter(alone)
}

/// Speed of nodes by the model, in units of one.
fn nodes(points: &[Point], fit: &Fit) -> String {
    let rates = RATES.map(|rate| format!("{rate} Gbit/s")).join(" | ");
    let mut text =
        format!("| network | nodes | {rates} |\n| --- | --- | --- | --- | --- | --- |\n");
    for point in steps(points) {
        for world in NODES {
            let speeds = RATES.map(|rate| {
                let step = Step {
                    world,
                    compute: point.step.compute / CORES,
                    rate: rate * 1e9,
                    crowd: 1.0 / CORES,
                    ..point.step
                };
                format!("{:.1}", world as f64 * step.compute / step.time(fit))
            });
            writeln!(
                text,
                "| `{}` | {world} | {} |",
                point.model,
                speeds.join(" | ")
            )
            .unwrap();
        }
    }
    text
}

/// Share of computing in a step on nodes of eight GPUs, by the model, without and with the overlap of the fit.
fn gpus(points: &[Point], fit: &Fit) -> String {
    let mut text = String::from(
        "| network | nodes of 8 GPUs | after the backward pass, % | behind it, % |\n| --- | --- | --- | --- |\n",
    );
    let after = Fit {
        overlap: 0.0,
        latency: 2e-5,
        work: 0.0,
    };
    let behind = Fit {
        overlap: fit.overlap,
        ..after
    };
    for point in steps(points) {
        for nodes in [1, 8, 64] {
            let within = Step {
                world: GPUS,
                compute: GPU_STEP,
                rate: WITHIN,
                crowd: 0.0,
                ..point.step
            };
            let [after, behind] =
                [after, behind].map(|fit| 100.0 * share_of_computing(nodes, within, BETWEEN, &fit));
            writeln!(
                text,
                "| `{}` | {nodes} | {after:.0} | {behind:.0} |",
                point.model
            )
            .unwrap();
        }
    }
    text
}
