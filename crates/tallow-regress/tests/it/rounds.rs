//! Rounds of an experiment, with a trainer whose runs are made up.

use std::collections::BTreeMap;
use std::fs;

use serde_json::{Value, json};
use tallow_record::{Dataset, Environment, EpochRow, Run, RunInfo, Summary, Tier};
use tallow_regress::baseline::Data;
use tallow_regress::{
    Baseline, Bits, Claim, Comparison, Judgement, Plan, PlannedVariant, Rounds, Trace, Train,
    TrainError, Trained, record,
};

/// Trains nothing: the accuracy of a run is a function of its variant and seed.
pub(super) struct Fake {
    pub(super) dir: tempfile::TempDir,
    pub(super) accuracy: fn(&str, u64) -> Option<f64>,
    pub(super) others_cpus: f64,
    pub(super) instruction_set: &'static str,
    /// Variants and seeds of each training.
    pub(super) trained: Vec<(Vec<String>, Vec<u64>)>,
    pub(super) messages: Vec<String>,
    /// Number of trainings after which the user interrupts.
    pub(super) interrupt_after: usize,
    /// Traces that it makes, if any.
    pub(super) trace: Option<fn(&str, u64) -> Trace>,
}

impl Fake {
    pub(super) fn new(accuracy: fn(&str, u64) -> Option<f64>) -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
            accuracy,
            others_cpus: 0.0,
            instruction_set: "avx512",
            trained: Vec::new(),
            messages: Vec::new(),
            interrupt_after: usize::MAX,
            trace: None,
        }
    }

    fn run(&self, variant: &str, seed: u64) -> Run {
        let dir = self.dir.path().join(format!("{variant}-{seed}"));
        fs::create_dir_all(&dir).unwrap();
        let accuracy = (self.accuracy)(variant, seed);
        fs::write(
            dir.join("model.safetensors"),
            format!("{accuracy:?} {seed}"),
        )
        .unwrap();
        let info = RunInfo {
            experiment: "small".to_string(),
            variant: variant.to_string(),
            seed,
            model: "cnn".to_string(),
            parameters: 10,
            dataset: Dataset::default(),
        };
        let metrics = |accuracy: f64| {
            let all = [
                ("test_accuracy", accuracy),
                ("best_test_accuracy", accuracy),
                ("test_loss", 1.0 - accuracy),
                ("train_loss", 1.1 - accuracy),
                ("images_per_second", 1000.0),
                ("multiply_adds", 1e6),
                ("parameters", 10.0),
                ("steps", 100.0),
            ];
            all.map(|(name, value)| (name.to_string(), Some(value)))
        };
        let epoch = |accuracy: f64| EpochRow {
            epoch: 0,
            train_loss: 1.1 - accuracy,
            train_accuracy: accuracy,
            test_loss: None,
            test_accuracy: Some(accuracy),
            test_top5: None,
            lr: 0.1,
            seconds: 1.0,
            images_per_second: 1000.0,
            metrics: Default::default(),
            ..EpochRow::default()
        };
        Run {
            environment: Environment {
                tallow: "0.1.0".to_string(),
                commit: Some("abc".to_string()),
                rustc: "rustc".to_string(),
                platform: "linux x86_64".to_string(),
                cpu: "cpu".to_string(),
                threads: 2,
                device: "cpu".to_string(),
                gpu: None,
                command: vec!["tallow".to_string()],
                world: None,
            },
            config: Default::default(),
            epochs: accuracy.map(epoch).into_iter().collect(),
            summary: accuracy.map(|accuracy| Summary {
                run: info.clone(),
                epochs: 1,
                stopped: None,
                seconds: 1.0,
                metrics: metrics(accuracy).into(),
                confusion: None,
                per_class: None,
            }),
            info,
            dir,
        }
    }
}

impl Train for Fake {
    fn data(&mut self) -> Result<Data, TrainError> {
        Ok(Data {
            name: "mnist".to_string(),
            digest: "1".repeat(64),
            test_digest: "2".repeat(64),
        })
    }

    fn train(&mut self, variants: &[String], seeds: &[u64]) -> Result<Option<Trained>, TrainError> {
        if self.trained.len() >= self.interrupt_after {
            return Ok(None);
        }
        self.trained.push((variants.to_vec(), seeds.to_vec()));
        let runs: Vec<Run> = (variants.iter())
            .flat_map(|variant| seeds.iter().map(|&seed| self.run(variant, seed)))
            .collect();
        let diverged = runs.iter().filter(|run| run.summary.is_none());
        let diverged = diverged.map(|run| format!("{}: the loss is NaN", run.info.seed));
        Ok(Some(Trained {
            diverged: diverged.collect(),
            runs,
            facts: BTreeMap::new(),
            instruction_set: Some(self.instruction_set.to_string()),
            gemm_peak_gflops: 60.0,
            others_cpus: Some(self.others_cpus),
        }))
    }

    fn trace(&mut self, variant: &str, seed: u64) -> Result<Option<Trace>, TrainError> {
        Ok(self.trace.map(|of| of(variant, seed)))
    }

    /// A recipe type whose keys have defaults.
    fn normalize_recipe(&self, recipe: &Value) -> Value {
        #[derive(serde::Serialize, serde::Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Recipe {
            lr: f64,
            #[serde(default = "one")]
            accumulation: usize,
            #[serde(default, skip_serializing_if = "Option::is_none")]
            clip: Option<f64>,
        }
        fn one() -> usize {
            1
        }
        match serde_json::from_value::<Recipe>(recipe.clone()) {
            Ok(recipe) => json!(recipe),
            Err(_) => recipe.clone(),
        }
    }

    fn notify(&mut self, message: &str) {
        self.messages.push(message.to_string());
    }
}

pub(super) fn plan(seeds: &[u64]) -> Plan {
    let variant = |name: &str| PlannedVariant {
        name: name.to_string(),
        model: "cnn".to_string(),
        recipe: json!({"lr": 0.1}),
    };
    Plan {
        experiment: "small".to_string(),
        tier: Tier::Smoke,
        seeds: seeds.to_vec(),
        variants: vec![variant("cnn"), variant("fc")],
        claims: vec![Claim::parse("cnn > 0.5").unwrap()],
        update_command: "tallow regress --update".to_string(),
    }
}

/// About 0.9, and different for every seed.
pub(super) fn usual(_: &str, seed: u64) -> Option<f64> {
    Some(0.9 + 0.001 * (seed * 7 % 11) as f64)
}

fn baseline() -> Baseline {
    let seeds: Vec<u64> = (0..20).collect();
    let plan = plan(&seeds);
    let made = record(&plan, &mut Fake::new(usual)).unwrap().unwrap();
    let baseline = Baseline::new(&plan, made, None, "first");
    baseline.check_complete().unwrap();
    assert_eq!(baseline.environment.command, Vec::<String>::new());
    baseline
}

pub(super) fn rounds() -> Rounds {
    Rounds {
        exact: false,
        speed: true,
        traces_alone: false,
        machine: None,
    }
}

fn judge(fake: &mut Fake, seeds: &[u64]) -> Comparison {
    rounds().judge(&plan(seeds), &[baseline()], fake).unwrap()
}

#[test]
fn the_same_bits_need_no_further_round() {
    let mut fake = Fake::new(usual);
    let mut exact = Rounds {
        exact: true,
        ..rounds()
    };
    let report = exact.judge(&plan(&[3]), &[baseline()], &mut fake).unwrap();
    assert_eq!(report.verdict, Judgement::Pass);
    assert!(
        report
            .variants
            .iter()
            .all(|v| v.bits == Bits::Same && v.exact)
    );
    assert_eq!(fake.trained.len(), 1);
    assert_eq!(
        exact.machine.unwrap(),
        "linux x86_64, cpu, avx512, 2 threads, cpu"
    );

    // Seeds without weights in the baseline, and another machine.
    let report = exact_report(&mut fake, &[40]);
    assert_eq!(report.verdict, Judgement::Refused);
    let reason = report.reason.unwrap();
    assert!(
        reason.starts_with("--exact: the baseline has no weights of the seeds 40"),
        "{reason}"
    );
    fake.instruction_set = "avx2";
    let reason = exact_report(&mut fake, &[3]).reason.unwrap();
    assert!(
        reason.starts_with("--exact: the baseline is of another machine"),
        "{reason}"
    );

    // Other weights with the figures of the baseline.
    let mut other = Fake::new(|_, seed| Some(0.9 + 0.001 * (seed * 7 % 11) as f64 + 1e-9));
    let report = exact_report(&mut other, &[3]);
    assert_eq!(report.verdict, Judgement::Regression);
    assert_eq!(report.variants[0].bits, Bits::Differ);
    assert!(report.reason.unwrap().contains("bit for bit"));
}

fn exact_report(fake: &mut Fake, seeds: &[u64]) -> Comparison {
    let mut exact = Rounds {
        exact: true,
        ..rounds()
    };
    exact.judge(&plan(seeds), &[baseline()], fake).unwrap()
}

#[test]
fn a_fault_is_confirmed_by_two_further_rounds() {
    let mut fake = Fake::new(|variant, seed| match variant {
        "cnn" => Some(usual(variant, seed)? - 0.2),
        _ => usual(variant, seed),
    });
    let report = judge(&mut fake, &[0]);
    assert_eq!(report.verdict, Judgement::Regression);
    let cnn = vec!["cnn".to_string()];
    assert_eq!(
        fake.trained[1..],
        [(cnn.clone(), vec![20, 21, 22]), (cnn, vec![23, 24, 25])]
    );
    assert_eq!(
        fake.messages[0],
        "suspicious: cnn; training again with the seeds 20, 21, 22"
    );
    assert_eq!(report.variants[0].fresh_seeds, [20, 21, 22, 23, 24, 25]);
    assert!(report.variants[1].fresh_seeds.is_empty());
}

#[test]
fn chance_is_not_confirmed() {
    let mut fake = Fake::new(|variant, seed| match (variant, seed) {
        ("cnn", 0) => Some(0.85),
        _ => usual(variant, seed),
    });
    let report = judge(&mut fake, &[0]);
    assert_eq!(report.verdict, Judgement::Pass);
    assert_eq!(fake.trained.len(), 2);
    let row = &report.variants[0].rows[0];
    assert!(
        row.p.unwrap() < 0.02 && row.p_again.unwrap() > 0.02,
        "{row:?}"
    );
}

#[test]
fn runs_that_diverge_are_a_regression_with_a_reason() {
    let mut fake = Fake::new(|variant, seed| usual(variant, seed).filter(|_| variant == "fc"));
    let report = judge(&mut fake, &[0]);
    assert_eq!(report.verdict, Judgement::Regression);
    assert_eq!(report.claims[0].holds, Some(false));
    assert_eq!(report.reason.unwrap().matches("the loss is NaN").count(), 7);
    for row in &report.variants[0].rows {
        let of_network = row.p_again == Some(0.0);
        let expected = match of_network {
            true => Judgement::Regression,
            false => Judgement::Skipped,
        };
        assert_eq!(row.verdict, expected, "{}", row.metric);
    }
}

#[test]
fn speed_is_judged_on_a_quiet_machine_of_the_same_class() {
    let verdict = |report: &Comparison| {
        let row = report.variants[0]
            .rows
            .iter()
            .find(|r| r.metric == "share_of_gemm_peak");
        row.unwrap().verdict
    };
    let mut fake = Fake::new(usual);
    assert_eq!(verdict(&judge(&mut fake, &[0])), Judgement::Pass);
    fake.others_cpus = 0.5;
    assert_eq!(verdict(&judge(&mut fake, &[0])), Judgement::Skipped);
    fake.others_cpus = 0.0;
    fake.instruction_set = "avx2";
    assert_eq!(verdict(&judge(&mut fake, &[0])), Judgement::Skipped);

    fake.others_cpus = 0.5;
    let made = record(&plan(&[0, 1]), &mut fake).unwrap().unwrap();
    let loud = Baseline::new(&plan(&[0, 1]), made, None, "loud");
    assert!(!loud.variants[0].metrics.contains_key("share_of_gemm_peak"));
    loud.check_complete().unwrap();
    assert_eq!(
        fake.messages,
        ["other programs used 0.5 processors: the baseline has no speed"]
    );
}

#[test]
fn an_interrupt_ends_it() {
    let mut fake = Fake::new(|_, _| Some(0.1));
    for after in [0, 1, 2] {
        fake.interrupt_after = after;
        fake.trained.clear();
        assert!(
            rounds()
                .judge(&plan(&[0]), &[baseline()], &mut fake)
                .is_none()
        );
        assert_eq!(fake.trained.len(), after);
    }
}

#[test]
fn other_data_and_other_recipes_are_refused_before_training() {
    let mut fake = Fake::new(usual);
    let mut other = baseline();
    other.data.digest = "0".repeat(64);
    other.variants[1].recipe["lr"] = json!(0.5);
    let report = rounds().judge(&plan(&[0]), &[other], &mut fake).unwrap();
    assert_eq!(report.verdict, Judgement::Refused);
    let reason = report.reason.unwrap();
    assert!(
        reason.starts_with("the training data's digest is 1111"),
        "{reason}"
    );
    assert!(
        reason.contains("the recipe of `fc` differs in lr: 0.1, not 0.5"),
        "{reason}"
    );
    assert!(reason.contains("tallow regress --update"), "{reason}");
    assert!(fake.trained.is_empty());

    let none = rounds().judge(&plan(&[0]), &[], &mut fake).unwrap();
    assert!(
        none.reason
            .unwrap()
            .contains("there is no baseline of small.smoke")
    );
    // Of several baselines, that of the same data.
    let mut other = baseline();
    other.data.digest = "0".repeat(64);
    let report = rounds().judge(&plan(&[0]), &[other, baseline()], &mut fake);
    assert_eq!(report.unwrap().verdict, Judgement::Pass);
}

/// A new key with a default must not invalidate the baselines that were made before it.
#[test]
fn keys_at_their_default_are_no_difference() {
    let judged = |baseline: Value, now: Value| {
        let mut old = self::baseline();
        old.variants[0].recipe = baseline;
        let mut plan = plan(&[0]);
        plan.variants[0].recipe = now;
        let report = rounds()
            .judge(&plan, &[old], &mut Fake::new(usual))
            .unwrap();
        report.reason
    };
    let old = json!({"lr": 0.1});
    let new = json!({"lr": 0.1, "accumulation": 1, "clip": null});
    assert_eq!(judged(old.clone(), new.clone()), None);
    assert_eq!(judged(new.clone(), old.clone()), None);
    let other = json!({"lr": 0.1, "accumulation": 2});
    let reason = judged(old, other.clone()).unwrap();
    assert!(
        reason.contains("differs in accumulation: 2, not 1"),
        "{reason}"
    );
    let reason = judged(other, new.clone()).unwrap();
    assert!(
        reason.contains("differs in accumulation: 1, not 2"),
        "{reason}"
    );
    // A key that was removed since is a difference: the recipe can no longer be read.
    let reason = judged(json!({"lr": 0.1, "gone": 3}), new).unwrap();
    assert!(reason.contains("differs in gone: null, not 3"), "{reason}");
}
