//! Settings with which a run is allowed, but pointless.

use crate::config::TrainConfig;
use crate::loss::LossConfig;
use crate::schedule::{Curve, Per, ScheduleConfig};

impl TrainConfig {
    /// Settings that do not do what they seem to in a run of `steps_per_epoch` steps per epoch, one sentence each: a schedule that
    /// keeps its first learning rate, milestones after the end, a warmup longer than the run, a learning rate of 0, targets that are
    /// the same for every class.
    ///
    /// [`Trainer::fit`](crate::Trainer::fit) logs them as warnings, for the built-in parts in use.
    pub fn warnings(&self, steps_per_epoch: usize) -> Vec<String> {
        self.warnings_except(steps_per_epoch, &[])
    }

    /// Warnings for the parts that are not the caller's own: `loss`, `optimizer`, `schedule`.
    pub(crate) fn warnings_except(&self, steps_per_epoch: usize, own: &[String]) -> Vec<String> {
        let is_own = |part: &str| own.iter().any(|own| own == part);
        let all = self.epochs.saturating_mul(steps_per_epoch);
        let steps = self.max_steps.map_or(all, |most| most.min(all));
        let mut found = Vec::new();
        if !is_own("optimizer") {
            let lr = self.optimizer.lr();
            found.extend(of_learning_rate(lr));
            if !is_own("schedule") {
                found.extend(of_schedule(&self.schedule, lr, steps, steps_per_epoch));
            }
        }
        if !is_own("loss") {
            found.extend(of_loss(&self.loss));
        }
        found
    }
}

fn of_learning_rate(lr: f64) -> Option<String> {
    (lr == 0.0).then(|| "optimizer.lr is 0: the parameters do not change".to_string())
}

/// Warning for a schedule in a run of so many `steps` in all.
fn of_schedule(
    config: &ScheduleConfig,
    lr: f64,
    steps: usize,
    steps_per_epoch: usize,
) -> Option<String> {
    let schedule = config.build(steps_per_epoch);
    let epochs = steps.div_ceil(steps_per_epoch.max(1));
    let in_unit = |per| match per {
        Per::Epoch => epochs as u64,
        Per::Step => steps as u64,
    };
    let total = in_unit(schedule.per());
    if total == 0 || lr == 0.0 {
        return None;
    }
    let length = |per| match (per, in_unit(per)) {
        (Per::Epoch, 1) => "1 epoch".to_string(),
        (Per::Epoch, total) => format!("{total} epochs"),
        (Per::Step, 1) => "1 step".to_string(),
        (Per::Step, total) => format!("{total} steps"),
    };
    let mut warmup_here = 0;
    if let Some(warmup) = &config.warmup {
        let unit = warmup.unit.unwrap_or(config.per);
        if warmup.length >= in_unit(unit) {
            return Some(format!(
                "{} is {}, but the run has {}: the learning rate of the optimizer is never reached",
                warmup.setting(),
                warmup.length,
                length(unit)
            ));
        }
        if unit == config.per {
            warmup_here = warmup.length;
        }
    }
    let total_here = in_unit(config.per);
    let length_here = length(config.per);
    if let Curve::MultiStep { milestones, .. } | Curve::Sequence { milestones, .. } = &config.curve
    {
        let late = milestones
            .iter()
            .filter(|&&m| m >= total_here - warmup_here);
        let late: Vec<String> = late.map(u64::to_string).collect();
        if !late.is_empty() {
            return Some(format!(
                "schedule.milestones: {} {} after the end of the run, which has {length_here}{}",
                late.join(", "),
                if late.len() == 1 { "is" } else { "are" },
                match warmup_here {
                    0 => String::new(),
                    warmup => format!(", {warmup} of them warmup"),
                },
            ));
        }
    }
    let changes = (1..total).any(|time| schedule.lr(lr, time, total) != schedule.lr(lr, 0, total));
    // A plateau shows only in the run.
    if changes || matches!(config.curve, Curve::Constant {} | Curve::ReduceOnPlateau(_)) {
        return None;
    }
    let remedy = match config.per {
        Per::Epoch => "; with `per = \"step\"` it can change at every step",
        Per::Step => "",
    };
    Some(format!(
        "schedule: the learning rate is {} throughout the run, which has {length_here}{remedy}",
        schedule.lr(lr, 0, total)
    ))
}

fn of_loss(loss: &LossConfig) -> Option<String> {
    match loss {
        LossConfig::CrossEntropy {
            label_smoothing, ..
        }
        | LossConfig::SoftmaxCrossEntropy { label_smoothing }
            if *label_smoothing == 1.0 =>
        {
            Some("loss.label_smoothing is 1: the target is the same for every class".to_string())
        }
        LossConfig::SquaredError { on, off } if on == off => Some(format!(
            "loss.on and loss.off are both {on}: the target is the same for every class"
        )),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::optimizer::OptimizerConfig;

    /// Warnings of a run of 10 epochs of 5 steps.
    fn warnings(schedule: &str) -> Vec<String> {
        let config = TrainConfig {
            schedule: serde_json::from_str(schedule).unwrap(),
            ..TrainConfig::new(10, OptimizerConfig::sgd(0.5))
        };
        config.warnings(5)
    }

    #[test]
    fn schedules_that_change_something_are_silent() {
        for schedule in [
            "{}",
            r#"{"curve": {"name": "step", "size": 9}}"#,
            r#"{"curve": {"name": "multi-step", "milestones": [3, 9]}}"#,
            r#"{"curve": {"name": "multi-step", "milestones": [40]}, "per": "step"}"#,
            r#"{"curve": {"name": "cosine"}, "per": "step", "warmup": {"length": 5}}"#,
            r#"{"curve": {"name": "one-cycle"}}"#,
            r#"{"warmup": {"length": 9}}"#,
            r#"{"warmup": {"steps": 49}}"#,
            r#"{"curve": {"name": "multi-step", "milestones": [7]}, "warmup": {"steps": 10}}"#,
            r#"{"curve": {"name": "reduce-on-plateau"}}"#,
        ] {
            assert_eq!(warnings(schedule), [""; 0], "{schedule}");
        }
    }

    #[test]
    fn schedules_without_effect_are_named() {
        let throughout = "schedule: the learning rate is 0.5 throughout the run, which has ";
        let by_step = "; with `per = \"step\"` it can change at every step";
        for (schedule, expected) in [
            (
                r#"{"curve": {"name": "step", "size": 10}}"#,
                format!("{throughout}10 epochs{by_step}"),
            ),
            (
                r#"{"curve": {"name": "step", "size": 50}, "per": "step"}"#,
                format!("{throughout}50 steps"),
            ),
            (
                r#"{"curve": {"name": "step", "size": 2, "gamma": 1.0}}"#,
                format!("{throughout}10 epochs{by_step}"),
            ),
            (
                r#"{"curve": {"name": "multi-step", "milestones": [5, 10, 30]}}"#,
                "schedule.milestones: 10, 30 are after the end of the run, which has 10 epochs".into(),
            ),
            (
                r#"{"curve": {"name": "multi-step", "milestones": [8]}, "warmup": {"length": 2}}"#,
                "schedule.milestones: 8 is after the end of the run, which has 10 epochs, 2 of them warmup".into(),
            ),
            (
                r#"{"warmup": {"steps": 50}}"#,
                "schedule.warmup.steps is 50, but the run has 50 steps: the learning rate of the optimizer is never reached".into(),
            ),
            (
                r#"{"warmup": {"length": 10}}"#,
                "schedule.warmup.length is 10, but the run has 10 epochs: the learning rate of the optimizer is never reached".into(),
            ),
        ] {
            assert_eq!(warnings(schedule), [expected], "{schedule}");
        }
        // One epoch has one learning rate, unless the schedule goes by steps.
        let mut config = TrainConfig::new(1, OptimizerConfig::sgd(0.5));
        config.schedule.curve = Curve::Cosine {
            t_max: None,
            eta_min: 0.0,
        };
        let expected = format!("{throughout}1 epoch{by_step}");
        assert_eq!(config.warnings(5), [expected.as_str()]);
        config.schedule.per = Per::Step;
        assert_eq!(config.warnings(5), [""; 0]);
        config.max_steps = Some(1);
        let expected = format!("{throughout}1 step");
        assert_eq!(config.warnings(5), [expected]);
    }

    #[test]
    fn nothing_to_learn_is_named() {
        let mut config = TrainConfig::new(2, OptimizerConfig::sgd(0.0));
        config.loss = LossConfig::SquaredError { on: 1.0, off: 1.0 };
        let expected = [
            "optimizer.lr is 0: the parameters do not change",
            "loss.on and loss.off are both 1: the target is the same for every class",
        ];
        assert_eq!(config.warnings(5), expected);
        config.loss = LossConfig::SoftmaxCrossEntropy {
            label_smoothing: 1.0,
        };
        assert!(config.warnings(5)[1].starts_with("loss.label_smoothing is 1"));
    }
}
