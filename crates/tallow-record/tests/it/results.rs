//! Results files: what is written reads back, and errors name file and key.

use std::fs;

use tallow_record::{ClaimResult, Difference, Error, GradientRow, Results, Statement, Verdict};

/// Results file with the required keys alone.
const LEAST: &str = r#"{
    "experiment": "small", "tier": "standard", "question": "Is it?", "command": "cargo xtask run small --tier standard",
    "dataset": {"name": "d", "provenance": "made up", "digest": "00", "test_digest": "01"},
    "environment": {"tallow": "0.1.0", "commit": null, "rustc": "1", "platform": "p", "cpu": "c", "threads": 2, "device": "cpu"},
    "seconds": 1.5,
    "variants": [{"name": "fc", "model": "mlp", "parameters": 3, "seeds": [0], "metrics": {}, "recipe": {},
        "runs": [{"seed": 0, "epochs": []}]}]
}"#;

fn parse(text: &str) -> Result<Results, Error> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("small.json");
    fs::write(&path, text).unwrap();
    Results::read(path)
}

#[test]
fn what_is_written_reads_back() {
    let mut results = parse(LEAST).unwrap();
    assert_eq!(results.dataset.test_digest.as_deref(), Some("01"));
    let checks = vec![ClaimResult {
        text: "fc > 0.1".to_string(),
        holds: Some(true),
        figures: "0.3000 > 0.1000".to_string(),
        differences: vec![Difference {
            mean: 0.2,
            interval: Some([0.1, 0.3]),
            seeds: 2,
        }],
    }];
    results.claims = checks.clone();
    results.statements.push(Statement {
        text: "It is.".to_string(),
        zh: "是的。".to_string(),
        verdict: Verdict::of(&checks),
        checks,
    });
    results.facts.insert("third".to_string(), 1.0 / 3.0);
    results.variants[0].recipe =
        serde_json::json!({"train": {"optimizer": {"name": "sgd", "lr": 0.1f32}}});
    results.variants[0].runs[0].gradients = Some(vec![GradientRow {
        epoch: 0,
        step: 0,
        steps: None,
        total: 0.1 + 0.2,
        norms: vec![
            ("fc1.weight".to_string(), f64::NAN),
            ("fc1.bias".to_string(), f64::MIN_POSITIVE),
        ],
    }]);

    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("results").join("small.json");
    results.write(&path).unwrap();
    assert_eq!(Results::read(&path).unwrap(), results);
    let text = fs::read_to_string(&path).unwrap();
    assert!(
        text.starts_with("{\n  \"experiment\": \"small\",\n"),
        "{text}"
    );
    assert!(text.contains("\"verdict\": \"holds\""), "{text}");
    assert!(
        text.contains("\"norms\": [[\"fc1.weight\", null], "),
        "{text}"
    );
    // Keys without a value are left out, and no temporary file remains.
    for key in ["confusion", "steps", "command\": []", "split"] {
        assert!(!text.contains(key), "{key} in {text}");
    }
    assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
}

#[test]
fn unknown_keys_are_refused_and_the_file_is_named() {
    let error = parse(&LEAST.replace("\"tier\"", "\"teir\"")).unwrap_err();
    let text = error.to_string();
    assert!(
        text.contains("small.json, line 2: unknown field `teir`"),
        "{text}"
    );
    assert!(text.contains("`tier`"), "{text}");
    let error = parse(&LEAST.replace("\"seed\": 0", "\"sede\": 0")).unwrap_err();
    assert!(
        error.to_string().contains("unknown field `sede`"),
        "{error}"
    );
    let error = Results::read("nowhere/small.json").unwrap_err();
    assert!(matches!(error, Error::NoResults { .. }), "{error}");
}

#[test]
fn verdicts() {
    let check = |holds, judged| ClaimResult {
        text: "a > b".to_string(),
        holds,
        figures: "0.3 > 0.2".to_string(),
        differences: match judged {
            true => vec![Difference {
                mean: 0.1,
                interval: None,
                seeds: 1,
            }],
            false => Vec::new(),
        },
    };
    let (holds, fails) = (check(Some(true), true), check(Some(false), true));
    let (undecided, not_run) = (check(None, true), check(None, false));
    for (checks, verdict) in [
        (vec![&holds, &holds], Verdict::Holds),
        (vec![&holds, &fails], Verdict::HoldsPartly),
        (vec![&holds, &fails, &undecided], Verdict::HoldsPartly),
        (vec![&holds, &undecided], Verdict::Undecided),
        (vec![&fails, &undecided], Verdict::Undecided),
        (vec![&undecided], Verdict::Undecided),
        (vec![&fails], Verdict::DoesNotHold),
        (vec![&holds, &undecided, &not_run], Verdict::NotJudged),
        (vec![], Verdict::NotJudged),
    ] {
        let checks: Vec<ClaimResult> = checks.into_iter().cloned().collect();
        assert_eq!(Verdict::of(&checks), verdict, "{checks:?}");
    }
}
