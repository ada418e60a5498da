//! Reports as a user gets them: made by a run, opened in a browser.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::common::{Sandbox, skipped, stderr, stdout};
use serde_json::Value;

const SMALL: &str = r#"
    question = "Does it report?"
    claims = ["cnn.test_accuracy > 0.3", "fc.test_accuracy > 0.999"]

    [data]
    dataset = "fashion-mnist-sample"
    transforms = [{ name = "to-tensor" }, { name = "normalize", mean = [0.286], std = [0.353] }]
    train_samples = 2000
    test_samples = 500

    [train]
    epochs = 2
    batch_size = 50
    optimizer = { name = "adam", lr = 0.005 }

    [[variants]]
    name = "cnn"
    model.name = "cnn"
    published = [{ test_accuracy = 0.75, source = "nowhere" }]

    [[variants]]
    name = "fc"
    model.name = "mlp"
"#;

/// Runs the experiment; the folder with its records.
fn run(sandbox: &Sandbox) -> PathBuf {
    fs::write(sandbox.path().join("small.toml"), SMALL).unwrap();
    let args = ["run", "small.toml", "--seeds", "0,1"];
    let output = sandbox.tallow().args(args).output().unwrap();
    // The second claim fails.
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    assert!(
        stderr(&output).contains("report.html"),
        "{}",
        stderr(&output)
    );
    sandbox.path().join("runs/small")
}

#[test]
fn a_run_writes_its_report_and_it_can_be_made_again() {
    let sandbox = Sandbox::new();
    let folder = run(&sandbox);
    let text = fs::read_to_string(folder.join("report.html")).unwrap();
    for expected in [
        "fc: confusion matrix",
        "expected calibration error",
        "cnn: network inputs",
        "The filters of the first convolution",
        "Most confident mistakes",
        "tallow run small.toml --seeds 0,1",
        // The claims of a file that is the user's own, and what it says was published.
        "Does it report?",
        "fc.test_accuracy &gt; 0.999",
        "nowhere",
    ] {
        assert!(text.contains(expected), "no {expected}");
    }
    // cnn has six pictures, fc, which has no convolution, two.
    assert_eq!(text.matches("<img").count(), 8);
    // Heat maps, whose alternative text names the classes.
    let heat = "alt=\"Grad-CAM heat maps of the predicted classes, for ";
    let told: Vec<&str> = text.split(heat).skip(1).collect();
    assert_eq!(told.len(), 2);
    assert!(told[0].starts_with("test images taken evenly from the classes. "));
    assert!(told[1].starts_with("the mistakes with the highest confidence. "));
    let mistakes = told[1].split('"').next().unwrap();
    assert_eq!(mistakes.matches("(it is ").count(), 8, "{mistakes}");

    // A network is that of one run: of several variants one has to be named.
    let output = (sandbox.tallow().args(["evaluate", "--run", "runs/small"])).output();
    let output = output.unwrap();
    assert_eq!(output.status.code(), Some(2));
    for words in ["of several variants", "cnn: runs", "fc: runs"] {
        assert!(stderr(&output).contains(words), "{}", stderr(&output));
    }

    // By the experiment's name, by its folder, by a run's; without a name, what was run last.
    let one = fs::read_dir(&folder)
        .unwrap()
        .map(|e| e.unwrap().path())
        .find(|p| p.is_dir());
    let one = one.unwrap().display().to_string();
    for args in [&["small"][..], &["runs/small"], &[&one], &[]] {
        let command = [&["report", "-o", "again.html"], args].concat();
        let output = sandbox.tallow().args(command).output().unwrap();
        assert!(output.status.success(), "{args:?}: {}", stderr(&output));
        assert_eq!(stdout(&output).trim(), "again.html");
        assert!(
            fs::read_to_string(sandbox.path().join("again.html"))
                .unwrap()
                .contains("</html>")
        );
    }
}

/// The report of an experiment takes the place of the one that its run wrote, also where there is one run.
#[test]
fn the_report_of_an_experiment_lies_beside_its_runs() {
    let sandbox = Sandbox::new();
    fs::write(sandbox.path().join("small.toml"), SMALL).unwrap();
    let args = [
        "run",
        "small.toml",
        "--only",
        "fc",
        "--set",
        "train.epochs=1",
    ];
    let output = sandbox.tallow().args(args).output().unwrap();
    assert!(output.status.code() != Some(2), "{}", stderr(&output));
    let folder = Path::new("runs").join("small");
    let records = fs::read_dir(sandbox.path().join(&folder)).unwrap();
    let mut records = records.map(|entry| entry.unwrap().path());
    let record = records.find(|path| path.is_dir()).unwrap();
    let record = folder.join(record.file_name().unwrap());
    for (args, beside) in [
        (&["report"][..], &folder),
        (&["report", "small"], &folder),
        (&["report", record.to_str().unwrap()], &record),
    ] {
        let output = sandbox.tallow().args(args).output().unwrap();
        assert!(output.status.success(), "{args:?}: {}", stderr(&output));
        let expected = beside.join("report.html").display().to_string();
        assert_eq!(stdout(&output).trim(), expected, "{args:?}");
    }
}

#[test]
fn means_are_of_runs_that_differ_in_their_seeds_alone() {
    let sandbox = Sandbox::new();
    let folder = run(&sandbox);
    let run = |args: &[&str]| {
        let args = [&["run"], args].concat();
        let output = sandbox.tallow().args(args).output().unwrap();
        assert!(output.status.code() != Some(2), "{}", stderr(&output));
    };
    let again = |args: &[&str]| {
        let args = [&["report", "-o", "again.html"], args].concat();
        let output = sandbox.tallow().args(args).output().unwrap();
        assert!(output.status.success(), "{}", stderr(&output));
        fs::read_to_string(sandbox.path().join("again.html")).unwrap()
    };
    let one_seed = "One seed each";
    assert!(!again(&["small"]).contains(one_seed));

    // Another recipe takes the place of the variant's runs before it.
    let set = ["--set", "train.optimizer={name=\"sgd\",lr=0.1}"];
    run(&[&["small.toml", "--seeds", "0"], &set[..]].concat());
    let text = fs::read_to_string(folder.join("report.html")).unwrap();
    assert_eq!(
        again(&["small"]).matches("<img").count(),
        text.matches("<img").count()
    );
    assert!(again(&["small"]).contains(one_seed));
    assert!(
        text.contains("--set &#39;train.optimizer={") || text.contains("--set 'train.optimizer={")
    );

    // Two experiments have a variant of one name.
    fs::write(sandbox.path().join("other.toml"), SMALL).unwrap();
    run(&["other.toml", "--seeds", "0"]);
    let text = again(&["small", "other"]);
    assert!(text.contains("small: cnn") && text.contains("other: cnn"));
}

#[test]
fn what_is_no_run_is_told() {
    let sandbox = Sandbox::new();
    fs::create_dir_all(sandbox.path().join("empty")).unwrap();
    for (args, expected) in [
        (&["report"][..], "tallow run"),
        (&["report", "nowhere"], "no such folder"),
        (&["report", "empty"], "no run records"),
        // Pages of the docs are a chore of the repository.
        (&["report", "--docs"], "unexpected argument '--docs'"),
    ] {
        let output = sandbox.tallow().args(args).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert!(
            stderr(&output).contains(expected),
            "{args:?}: {}",
            stderr(&output)
        );
    }
}

/// No console message, no sideways scrolling, every picture there, nothing fetched: at the width of a desk and of a phone.
#[test]
fn opens_in_a_browser() {
    let Some(browser) = browser() else {
        skipped("no Chromium; TALLOW_CHROMIUM names one");
        return;
    };
    let sandbox = Sandbox::new();
    let folder = run(&sandbox);
    check(&browser, &folder.join("report.html"), sandbox.path());
    // Those of real data too, where the data is.
    let Ok(data) = std::env::var("TALLOW_DATA") else {
        skipped("the reports of mnist-pixel-order and cifar10-cnn need TALLOW_DATA");
        return;
    };
    for (experiment, tier) in [("mnist-pixel-order", "full"), ("cifar10-cnn", "smoke")] {
        // Few images, with which claims may fail: the page has the same parts.
        let args = ["run", experiment, "--tier", tier, "--data", &data];
        let few = ["--set", "data.train_samples=3000"];
        let few = [&few[..], &["--set", "data.test_samples=1000"]].concat();
        let output = sandbox.tallow().args([&args[..], &few].concat()).output();
        let output = output.unwrap();
        assert!(
            matches!(output.status.code(), Some(0 | 1)),
            "{}",
            stderr(&output)
        );
        let report = sandbox
            .path()
            .join(format!("runs/{experiment}/report.html"));
        check(&browser, &report, sandbox.path());
    }
}

fn browser() -> Option<PathBuf> {
    if let Some(path) = std::env::var_os("TALLOW_CHROMIUM") {
        return Some(path.into());
    }
    let names = ["chromium", "chromium-browser", "google-chrome", "chrome"];
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .flat_map(|folder| names.map(|name| folder.join(name)))
        .find(|path| path.is_file())
}

/// The page has no script; this one, which the copy gets, says what a browser makes of it once everything is loaded.
const PROBE: &str = r#"<script>addEventListener("load", () => {
    document.querySelectorAll("details").forEach(d => d.open = true);
    const images = [...document.images];
    const found = {
        width: innerWidth,
        scroll: document.documentElement.scrollWidth,
        images: images.length,
        good: images.filter(i => i.complete && i.naturalWidth > 0).length,
        charts: [...document.querySelectorAll("figure > svg")].filter(s => s.getBoundingClientRect().width > 100).length,
        untold: images.filter(i => !i.alt).length,
        fetched: performance.getEntriesByType("resource").map(e => e.name).filter(n => !n.startsWith("data:")),
    };
    const pre = document.createElement("pre");
    pre.id = "probe";
    pre.textContent = JSON.stringify(found);
    document.body.append(pre);
});</script>"#;

fn check(browser: &Path, report: &Path, dir: &Path) {
    let text = fs::read_to_string(report).unwrap();
    let probed = dir.join("probed.html");
    // Pictures out of sight are not loaded before the page is, unless they are told to.
    let eager = text.replace("loading=\"lazy\"", "");
    fs::write(
        &probed,
        eager.replace("</body>", &format!("{PROBE}</body>")),
    )
    .unwrap();
    for width in [1280, 390] {
        // A browser on a busy machine may give up before it has the page; what it says of a page that it has counts.
        let (found, log) = (0..5)
            .map(|_| probe(browser, &probed, width, dir))
            .find(|(found, _)| found.is_some())
            .unwrap_or_else(|| panic!("five times no page came of {report:?}"));
        assert!(!log.contains("CONSOLE"), "{log}");
        let found = found.unwrap_or_default();
        let found: Value = serde_json::from_str(&found.replace("&amp;", "&")).unwrap();
        assert!(
            found["scroll"].as_u64() <= found["width"].as_u64(),
            "{report:?} {found}"
        );
        assert!(found["images"].as_u64().unwrap() >= 4, "{found}");
        assert_eq!(found["images"], found["good"], "{found}");
        assert_eq!(found["untold"], 0, "{found}");
        assert!(found["charts"].as_u64().unwrap() >= 10, "{found}");
        assert_eq!(found["fetched"], serde_json::json!([]), "{found}");
    }
}

/// Result of the probe in the page at this width, if the browser ran it, and the log of the browser.
fn probe(browser: &Path, page: &Path, width: u32, dir: &Path) -> (Option<String>, String) {
    let profile = tempfile::tempdir_in(dir).unwrap();
    let output = assert_cmd::Command::new(browser)
        .timeout(Duration::from_secs(120))
        .args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--enable-logging=stderr",
            "--dump-dom",
        ])
        // Whatever it would fetch would fail, and say so.
        .arg("--proxy-server=127.0.0.1:9")
        .arg(format!("--window-size={width},900"))
        .arg(format!("--user-data-dir={}", profile.path().display()))
        .arg(format!("file://{}", page.display()))
        .output()
        .unwrap();
    let dom = String::from_utf8_lossy(&output.stdout);
    let found = dom
        .split("<pre id=\"probe\">")
        .nth(1)
        .and_then(|t| t.split("</pre>").next());
    (
        found.map(str::to_string),
        String::from_utf8_lossy(&output.stderr).into_owned(),
    )
}
