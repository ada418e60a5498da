//! Time of a training run by what it was spent on.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Layers in the text of a profile.
const SLOWEST: usize = 8;

/// Wall time of a training run by what it was spent on, in seconds: `profile.json`.
///
/// On the CPU these are the times of the work itself. On other devices, which work in the background, a phase has the time until its
/// work was handed over, and the one that reads a result waits for all before it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Profile {
    /// Number of steps.
    pub steps: u64,
    /// Number of steps whose forward and backward pass were launched as a CUDA graph; their time is in `backward`.
    #[serde(default)]
    pub graph_steps: u64,
    /// Waiting for batches and moving them to the device; what loader workers do meanwhile is not in it.
    pub data: f64,
    /// Forward passes of training steps.
    pub forward: f64,
    /// Losses, backward passes and all else of training steps.
    pub backward: f64,
    /// Waiting for other ranks in training steps: for what is left of the sums of gradients when the backward pass has ended, and at the start
    /// of a step for the slowest rank. 0 for a process that trains alone.
    #[serde(default)]
    pub exchange: f64,
    /// Clipping, optimizer and averages.
    pub step: f64,
    /// Evaluations.
    pub evaluation: f64,
    /// Callbacks, with what they measure and write.
    pub callbacks: f64,
    /// Checkpoints.
    pub checkpoints: f64,
    /// All else: metrics of training batches, set-up.
    pub other: f64,
    /// Forward pass in evaluation mode of one batch by layer, in the order in which they run, if it was asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub layers: Vec<LayerTime>,
}

/// Time of one layer in a forward pass, as part of a [`Profile`]. Layers are run one by one here, while training fuses some of them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LayerTime {
    /// Dotted name.
    pub name: String,
    /// Kind, as PyTorch's name of the layer.
    pub kind: String,
    /// Seconds a batch.
    pub seconds: f64,
}

impl Profile {
    /// Names and seconds of the phases, in the order of a step.
    pub fn phases(&self) -> [(&'static str, f64); 9] {
        [
            ("data", self.data),
            ("forward", self.forward),
            ("backward", self.backward),
            ("exchange", self.exchange),
            ("step", self.step),
            ("evaluation", self.evaluation),
            ("callbacks", self.callbacks),
            ("checkpoints", self.checkpoints),
            ("other", self.other),
        ]
    }

    /// Sum of all phases, in seconds.
    pub fn total(&self) -> f64 {
        self.phases().iter().map(|(_, seconds)| seconds).sum()
    }
}

impl fmt::Display for Profile {
    /// Shares of the time, and the slowest layers.
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let total = self.total();
        write!(f, "time of {total:.1} s in {} steps", self.steps)?;
        if self.graph_steps > 0 {
            write!(f, ", {} of them by a CUDA graph", self.graph_steps)?;
        }
        write!(f, ":")?;
        for (phase, seconds) in self.phases() {
            if phase == "exchange" && seconds == 0.0 {
                continue;
            }
            let share = 100.0 * seconds / total.max(f64::MIN_POSITIVE);
            write!(f, "\n  {phase:<12}{share:>5.1} %{seconds:>10.2} s")?;
        }
        let mut layers: Vec<&LayerTime> = self.layers.iter().collect();
        layers.sort_by(|a, b| b.seconds.total_cmp(&a.seconds));
        if let Some(longest) = layers.iter().take(SLOWEST).map(|l| l.name.len()).max() {
            write!(f, "\nforward pass of one batch, slowest layers:")?;
            for layer in layers.iter().take(SLOWEST) {
                let (name, ms) = (&layer.name, layer.seconds * 1e3);
                write!(f, "\n  {name:<longest$}{ms:>10.2} ms  {}", layer.kind)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_phases_are_all_of_the_time() {
        let profile = Profile {
            steps: 3,
            data: 1.0,
            forward: 2.0,
            backward: 4.0,
            step: 8.0,
            evaluation: 16.0,
            callbacks: 32.0,
            checkpoints: 64.0,
            other: 128.0,
            ..Profile::default()
        };
        assert_eq!(profile.total(), 255.0);
        let text = serde_json::to_string(&profile).unwrap();
        assert!(!text.contains("layers"));
        let table = profile.to_string();
        assert!(table.contains("time of 255.0 s in 3 steps"), "{table}");
        assert!(table.contains("other        50.2 %    128.00 s"), "{table}");
        assert!(!table.contains("layers"), "{table}");
        assert!(!table.contains("exchange"), "{table}");
        assert_eq!(serde_json::from_str::<Profile>(&text).unwrap(), profile);
        for later in [r#""exchange":0.0,"#, r#""graph_steps":0,"#] {
            let old = text.replace(later, "");
            assert_ne!(old, text);
            assert_eq!(serde_json::from_str::<Profile>(&old).unwrap(), profile);
        }
        let waited = Profile {
            exchange: 256.0,
            ..profile
        };
        assert_eq!(waited.total(), 511.0);
        let table = waited.to_string();
        assert!(table.contains("exchange     50.1 %    256.00 s"), "{table}");
    }
}
