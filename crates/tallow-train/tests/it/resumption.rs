//! Runs that are continued.

use tallow_train::{
    Curve, EarlyStopping, History, Monitor, OptimizerConfig, Per, ScheduleConfig, TrainConfig,
    Trainer,
};

use crate::common::{StopIn, bytes, loaders, net, recipe};

/// Optimizers and schedules that leave state behind.
fn recipes(epochs: usize) -> Vec<TrainConfig> {
    let mut cosine = TrainConfig::new(epochs, OptimizerConfig::adam(0.01));
    cosine.schedule = ScheduleConfig {
        curve: Curve::Cosine {
            t_max: None,
            eta_min: 0.0,
        },
        per: Per::Step,
        warmup: None,
    };
    vec![
        recipe(epochs),
        cosine,
        TrainConfig::new(epochs, OptimizerConfig::adamw(0.01)),
    ]
}

fn without_times(mut history: History) -> History {
    for row in &mut history.rows {
        (row.seconds, row.images_per_second) = (0.0, 0.0);
    }
    history
}

#[test]
fn resumed_runs_end_with_the_same_bits() {
    let dir = tempfile::tempdir().unwrap();
    for (index, config) in recipes(4).into_iter().enumerate() {
        let (straight, store) = net(5);
        let (train, test) = loaders(5, 1);
        let mut trainer = Trainer::new(config.clone());
        let whole = trainer.fit(&straight, &store, &train, Some(&test)).unwrap();
        let expected = bytes(&store, dir.path());

        for at_end in [true, false] {
            let checkpoints = dir.path().join(format!("{index}-{at_end}"));
            let (first, store) = net(5);
            // Two whole epochs, and either nothing or three steps of the third.
            let stop = StopIn {
                epoch: if at_end { 1 } else { 2 },
                at_end,
            };
            let mut trainer = Trainer::new(config.clone())
                .with_checkpoints(&checkpoints)
                .with_callback(stop);
            let part = trainer.fit(&first, &store, &train, Some(&test)).unwrap();
            assert_eq!(
                (part.rows.len(), part.stopped.as_deref()),
                (2, Some("asked to"))
            );

            // Other initial weights: everything must come from the checkpoint.
            let (second, store) = net(6);
            let mut trainer = Trainer::new(config.clone()).with_checkpoints(&checkpoints);
            let rest = trainer.fit(&second, &store, &train, Some(&test)).unwrap();
            assert!(
                bytes(&store, dir.path()) == expected,
                "{config:?}, at end: {at_end}"
            );
            assert_eq!(without_times(rest), without_times(whole.clone()));
        }
    }
}

/// A graph does not change the weights, and a device without them trains as it is.
#[test]
fn a_run_is_resumed_with_a_cuda_graph_or_without() {
    let dir = tempfile::tempdir().unwrap();
    let run = |graphs: [bool; 2], checkpoints: &str| {
        let (train, test) = loaders(2, 0);
        let checkpoints = dir.path().join(checkpoints);
        let mut weights = Vec::new();
        for (epochs, cuda_graph) in [2, 3].into_iter().zip(graphs) {
            let (net, store) = net(2);
            let config = TrainConfig {
                cuda_graph,
                ..recipe(epochs)
            };
            let mut trainer = Trainer::new(config).with_checkpoints(&checkpoints);
            let history = trainer.fit(&net, &store, &train, Some(&test)).unwrap();
            assert_eq!(history.rows.len(), epochs);
            let profile = trainer.profile();
            let steps = if epochs == 2 { 38 } else { 19 };
            assert_eq!((profile.steps, profile.graph_steps), (steps, 0));
            weights = bytes(&store, dir.path());
        }
        weights
    };
    let expected = run([false, false], "plain");
    assert!(run([false, true], "later") == expected);
    assert!(run([true, false], "first") == expected);
}

#[test]
fn two_epochs_and_two_more_are_four() {
    let dir = tempfile::tempdir().unwrap();
    let (train, test) = loaders(1, 0);
    let run = |epochs: usize, checkpoints: &str| {
        let (net, store) = net(1);
        let mut trainer =
            Trainer::new(recipe(epochs)).with_checkpoints(dir.path().join(checkpoints));
        let history = trainer.fit(&net, &store, &train, Some(&test)).unwrap();
        (history.rows.len(), bytes(&store, dir.path()))
    };
    let (_, straight) = run(4, "straight");
    assert_eq!(run(2, "stopped").0, 2);
    let (epochs, resumed) = run(4, "stopped");
    assert_eq!(epochs, 4);
    assert!(straight == resumed);
}

#[test]
fn a_finished_run_is_not_trained_again_but_judged() {
    let dir = tempfile::tempdir().unwrap();
    let (train, test) = loaders(1, 0);
    let mut last = None;
    for _ in 0..2 {
        let (net, store) = net(1);
        let mut trainer = Trainer::new(recipe(2)).with_checkpoints(dir.path());
        let history = trainer.fit(&net, &store, &train, Some(&test)).unwrap();
        let expected = last.get_or_insert_with(|| history.clone());
        assert_eq!(history, *expected);
    }
}

#[test]
fn early_stopping_survives_a_resumption() {
    let dir = tempfile::tempdir().unwrap();
    let (train, test) = loaders(2, 0);
    // Nothing gets better at a rate of 0: the first epoch sets the mark, two more confirm it.
    let config = TrainConfig::new(9, OptimizerConfig::sgd(0.0));
    let fit = |stop_in: usize, checkpoints: &str| {
        let (net, store) = net(2);
        let mut trainer = Trainer::new(config.clone())
            .with_checkpoints(dir.path().join(checkpoints))
            .with_callback(EarlyStopping::new(Monitor::TestAccuracy, 3).min_delta(0.5))
            .with_callback(StopIn {
                epoch: stop_in,
                at_end: true,
            });
        trainer.fit(&net, &store, &train, Some(&test)).unwrap()
    };
    let straight = fit(99, "straight");
    assert_eq!(straight.rows.len(), 4);
    let reason = "test_accuracy has not improved for 3 epochs";
    assert_eq!(straight.stopped.as_deref(), Some(reason));
    assert_eq!(fit(1, "stopped").rows.len(), 2);
    let resumed = fit(99, "stopped");
    assert_eq!(
        (resumed.rows.len(), resumed.stopped.as_deref()),
        (4, Some(reason))
    );
    // And it stays stopped.
    let again = fit(99, "stopped");
    assert_eq!(
        (again.rows.len(), again.stopped.as_deref()),
        (4, Some(reason))
    );
}
