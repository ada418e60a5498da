//! Small experiments and their runs.

use std::path::Path;

use tallow_experiment::{Experiment, NoProgress, Outcome, Runner, RunnerOptions, Tier};

/// Two small variants on the embedded sample.
pub const SMALL: &str = r#"
    question = "Is a convolution of any help?"
    claims = ["mlp.parameters > 5", "cnn.parameters < 5"]
    seeds = [3]

    [data]
    dataset = "fashion-mnist-sample"
    transforms = [{ name = "to-tensor" }, { name = "normalize", mean = [0.286], std = [0.353] }]
    train_samples = 300

    [train]
    epochs = 2
    batch_size = 32
    optimizer = { name = "adam", lr = 0.005 }

    [[variants]]
    name = "mlp"
    model = { name = "mlp", hidden = [24, 16], dropout = 0.25 }

    [[variants]]
    name = "cnn"
    model.name = "cnn"

    [[statements]]
    text = "A convolution helps."
    zh = "卷积有帮助。"
    checks = ["cnn > mlp"]
"#;

/// Experiment of this TOML.
pub fn experiment(text: &str, sets: &[&str]) -> Experiment {
    let sets: Vec<String> = sets.iter().map(|set| set.to_string()).collect();
    Experiment::parse("small", text, Tier::Full, &sets).unwrap()
}

/// Runner that writes records to `out`.
pub fn runner(out: &Path) -> Runner {
    Runner::new(RunnerOptions {
        out: out.to_path_buf(),
        ..RunnerOptions::default()
    })
}

/// Trains an experiment to its end.
pub fn train(experiment: &Experiment, out: &Path) -> Outcome {
    let outcome = runner(out).run(experiment, "test", &mut NoProgress);
    outcome.unwrap().unwrap()
}
