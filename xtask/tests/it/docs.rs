//! `docs`: a page and a results file, made up in a temporary folder.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use crate::common::{Sandbox, stderr, stdout};
use serde_json::{Value, json};

const PAGE: &str = "# Which is better?

The small network reaches <!-- tallow: value small fc percent -->—<!-- /tallow --> and the other is
ahead by <!-- tallow: value small cnn - fc.test_accuracy points --><!-- /tallow --> points; of <!-- tallow: value small cnn.parameters count --><!-- /tallow -->
parameters, <!-- tallow: value small facts.difference number:2 --><!-- /tallow --> apart, in <!-- tallow: value small cnn.seconds minutes --><!-- /tallow -->.

<!-- tallow: setup small -->
<!-- /tallow -->

<!-- tallow: results small -->
old figures
<!-- /tallow -->
<!-- tallow: metrics small test_loss,test_accuracy variants cnn -->
<!-- /tallow -->
<!-- tallow: statements small -->
<!-- /tallow -->
<!-- tallow: claims small -->
<!-- /tallow -->
<!-- tallow: facts small -->
<!-- /tallow -->
<!-- tallow: per-class small cnn -->
<!-- /tallow -->
<!-- tallow: predictions small cnn -->
<!-- /tallow -->
<!-- tallow: curves small test_accuracy -->
<!-- /tallow -->
<!-- tallow: curves small test_accuracy variants cnn -->
<!-- /tallow -->
<!-- tallow: bars small test_accuracy -->
<!-- /tallow -->
<!-- tallow: waterfall small -->
<!-- /tallow -->
<!-- tallow: confusion small cnn -->
<!-- /tallow -->
<!-- tallow: gradients small variants cnn -->
<!-- /tallow -->
<!-- tallow: inputs small variants cnn -->
<!-- /tallow -->
<!-- tallow: samples small cnn -->
<!-- /tallow -->
<!-- tallow: results quickstart -->
<!-- /tallow -->

Not run: <!-- tallow: value quickstart cnn percent -->87 %<!-- /tallow -->. Written `<!-- tallow: value small fc percent -->`.
";

/// Two classes, two variants, two seeds of one and one of the other.
fn results() -> Value {
    let epoch = |epoch: usize, accuracy: f64| {
        json!({
            "epoch": epoch, "train_loss": 0.5, "train_accuracy": 0.8, "test_loss": null, "test_accuracy": accuracy,
            "test_top5": null, "lr": 0.01, "seconds": 1.0, "images_per_second": 1000.0
        })
    };
    let recipe = json!({
        "data": {
            "dataset": "fashion-mnist-sample",
            "transforms": [{"name": "to-tensor"}, {"name": "normalize", "mean": [0.286], "std": [0.353]}]
        },
        "model": {"name": "cnn"},
        "train": {"epochs": 2, "batch_size": 64, "optimizer": {"name": "adam", "lr": 0.005}}
    });
    let one = |value: f64| json!({"mean": value, "std": null, "values": [value]});
    json!({
        "experiment": "small", "tier": "standard", "question": "Which is better?",
        "command": "cargo xtask run small --tier standard",
        "dataset": {
            "name": "fashion-mnist-sample", "provenance": "fashion-mnist-sample (embedded)",
            "digest": "0123456789abcdef", "test_digest": "fedcba9876543210", "classes": ["shoe", "shirt | top"]
        },
        "environment": {
            "tallow": "0.1.0", "commit": "0123456789abcdef-dirty", "rustc": "rustc 1.95.0", "platform": "linux x86_64",
            "cpu": "A processor", "threads": 2, "device": "cpu"
        },
        "seconds": 90.0,
        "claims": [{"text": "cnn > fc", "holds": true, "figures": "0.9000 > 0.8000"}],
        "statements": [{
            "text": "The other is better.", "zh": "另一个更好。", "verdict": "holds partly",
            "checks": [
                {"text": "cnn > fc", "holds": true, "figures": "0.9000 > 0.8000"},
                {"text": "cnn > 0.95", "holds": false, "figures": "0.9000 > 0.9500"}
            ]
        }],
        "facts": {"difference": 1.2e-7},
        "variants": [
            {
                "name": "fc", "model": "mlp", "parameters": 6442, "seeds": [0],
                "metrics": {"test_accuracy": one(0.8), "seconds": one(3.21)},
                "published": [{"test_accuracy": 0.81, "source": "a course"}],
                "recipe": recipe, "runs": [{"seed": 0, "epochs": [epoch(0, 0.7), epoch(1, 0.8)]}]
            },
            {
                "name": "cnn", "model": "cnn", "parameters": 12345, "seeds": [0, 1],
                "metrics": {
                    "test_accuracy": {"mean": 0.9, "std": 0.01414, "values": [0.89, 0.91]},
                    "test_loss": one(0.25), "parameters": one(12345.0),
                    "seconds": {"mean": 90.0, "std": 2.0, "values": [89.0, 91.0]}
                },
                "published": [], "recipe": recipe,
                "runs": [
                    {
                        "seed": 0, "epochs": [epoch(0, 0.7), epoch(1, 0.89)],
                        "confusion": [[90, 10], [12, 88]],
                        "per_class": [{"class": 0, "precision": 0.9, "recall": 0.88, "f1": 0.89, "support": 1000}],
                        "gradients": [
                            {"epoch": 0, "step": 0, "total": 1.5, "norms": [["conv1.weight", 0.5], ["fc1.weight", null]]},
                            {"epoch": 1, "step": 9, "total": 0.5, "norms": [["conv1.weight", 0.1], ["fc1.weight", 0.2]]}
                        ],
                        "inputs": {"mean": [0.01], "std": [0.99], "histogram": {"from": -1.0, "to": 1.0, "counts": [1, 3]}},
                        "predictions": [{"index": 0, "label": 1, "top": [[0, 0.6], [1, 0.4]]}]
                    },
                    {"seed": 1, "epochs": [epoch(0, 0.75), epoch(1, 0.91)]}
                ]
            }
        ]
    })
}

/// A folder of pages in a sandbox: `docs/page.md` and `docs/zh/page.md`, both alike, and `docs/results/small.json`.
struct Docs(Sandbox);

impl Docs {
    fn new(page: &str) -> Self {
        let docs = Self(Sandbox::new());
        for folder in ["results", "zh"] {
            fs::create_dir_all(docs.dir().join(folder)).unwrap();
        }
        docs.write("page.md", page);
        docs.write("zh/page.md", page);
        docs.write("results/small.json", &results().to_string());
        docs
    }

    fn dir(&self) -> PathBuf {
        self.0.path().join("docs")
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.dir().join(name)).unwrap()
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.dir().join(name), text).unwrap();
    }

    fn report(&self, args: &[&str]) -> Output {
        let command = ["docs", "--dir", "docs"];
        self.0
            .xtask()
            .args([&command, args].concat())
            .output()
            .unwrap()
    }

    /// Everything in the folder.
    fn files(&self) -> Vec<(PathBuf, Vec<u8>)> {
        fn walk(dir: &Path, found: &mut Vec<(PathBuf, Vec<u8>)>) {
            for entry in fs::read_dir(dir).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    walk(&path, found);
                } else {
                    found.push((path.clone(), fs::read(&path).unwrap()));
                }
            }
        }
        let mut found = Vec::new();
        walk(&self.dir(), &mut found);
        found.sort();
        found
    }

    /// Writes the pages; they must be sound.
    fn made(page: &str) -> Self {
        let docs = Self::new(page);
        let output = docs.report(&[]);
        assert!(output.status.success(), "{}", stderr(&output));
        docs
    }

    /// Message about an invalid page; checks that no file was changed.
    fn refused(page: &str) -> String {
        let docs = Self::new(page);
        let before = docs.files();
        let output = docs.report(&[]);
        assert_eq!(output.status.code(), Some(2), "{}", stdout(&output));
        assert!(docs.files() == before, "something was written");
        stderr(&output)
    }
}

fn assert_has(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "no {part:?} in\n{text}");
    }
}

#[test]
fn figures_stand_between_the_marks() {
    let docs = Docs::made(PAGE);
    let page = docs.read("page.md");
    assert_has(
        &page,
        &[
            "percent -->80.00 %<!-- /tallow --> and",
            "points -->+10.0<!-- /tallow --> points",
            "count -->12,345<!-- /tallow -->\n",
            "number:2 -->1.2 × 10⁻⁷<!-- /tallow -->",
            "minutes -->1.5 min<!-- /tallow -->.",
            "Run with `cargo xtask run small --tier standard` on fashion-mnist-sample (embedded) (SHA-256 of the training \
             data `0123456789ab`, of the test data `fedcba987654`), by Tallow 0.1.0 at commit `0123456789ab-dirty` on \
             A processor, 2 threads, seeds 0, 1; 90.0 s in all.",
            "| `fc` | `mlp` | 6,442 | 80.00 % (1 seed) | 81.00 % <sup>1</sup> | 3.2 s |",
            "| `cnn` | `cnn` | 12,345 | 90.00 ± 1.41 % (2 seeds) | — | 90.0 ± 2.0 s |",
            "\n<sup>1</sup> a course\n",
            "| `cnn` | 0.2500 (1 of 2 seeds) | 90.00 ± 1.41 % |",
            "| The other is better. | **holds partly** | ✓ `cnn > fc`: 0.9000 > 0.8000<br>✗ `cnn > 0.95`: 0.9000 > 0.9500 |",
            "| `cnn > fc` | 0.9000 > 0.8000 | holds |",
            "| `difference` | 1.2 × 10⁻⁷ |",
            "| shoe | 90.00 % | 88.00 % | 89.00 % | 1,000 |",
            "| 0 | shirt \\| top | shoe 60.00 % | **shirt \\| top** 40.00 % |",
            "![Curves of the test accuracy by epoch. At the end: fc 80.00 %, cnn 90.00 %.](images/small-curves-test_accuracy.svg)",
            "(images/small-curves-test_accuracy-2.svg)",
            "(images/small-bars-test_accuracy.svg)",
            "![The test accuracy after each step: fc 80.00 %, cnn 90.00 %.](images/small-waterfall-test_accuracy.svg)",
            "The most frequent mistake: shirt | top taken for shoe, 12 times.](images/small-confusion-cnn.svg)",
            "Of all layers together: cnn from 1.50 to 0.500.](images/small-gradients.svg)",
            "cnn mean 0.01, deviation 0.99.](images/small-inputs.svg)",
            "(images/small-samples-cnn.png)",
            "(images/small-predictions-cnn.png)",
            "<!-- tallow: results quickstart -->\n\n*(not run yet)*\n\n<!-- /tallow -->",
            "Not run: <!-- tallow: value quickstart cnn percent -->—<!-- /tallow -->. Written `<!-- tallow: value small fc percent -->`.",
        ],
    );
    assert!(!page.contains("old figures"));
    let svg = docs.read("images/small-curves-test_accuracy.svg");
    assert_has(
        &svg,
        &[
            "small: test accuracy by epoch",
            "epoch",
            "test accuracy (%)",
            "fc",
            "cnn",
        ],
    );
    for name in ["samples", "predictions"] {
        let png = fs::read(docs.dir().join(format!("images/small-{name}-cnn.png"))).unwrap();
        assert!(png.starts_with(b"\x89PNG"));
    }
}

#[test]
fn pages_below_zh_are_chinese() {
    let page = Docs::made(PAGE).read("zh/page.md");
    assert_has(
        &page,
        &[
            "minutes -->1.5 分钟<!-- /tallow -->",
            "运行命令：`cargo xtask run small --tier standard`；",
            "| 变体 | 模型 | 参数量 | 测试准确率 |",
            "80.00 %（1 个种子）",
            "| 另一个更好。 | **部分成立** | ✓ `cnn > fc`：0.9000 > 0.8000<br>✗",
            "| `cnn > fc` | 0.9000 > 0.8000 | 成立 |",
            "![测试准确率随轮次变化的曲线。最后：fc 80.00 %、cnn 90.00 %。](../images/small-curves-test_accuracy.svg)",
            "*（尚未运行）*",
        ],
    );
    assert!(!page.contains("The other is better"));
}

#[test]
fn check_finds_what_differs_and_writes_nothing() {
    let docs = Docs::made(PAGE);
    let files = docs.files();
    let sound = |args: &[&str]| {
        let output = docs.report(args);
        assert!(output.status.success(), "{}", stderr(&output));
    };
    sound(&["--check"]);
    // Writing again changes nothing.
    sound(&[]);
    assert!(docs.files() == files, "a second time made something else");

    let differs = |name: &str| {
        let before = docs.files();
        let output = docs.report(&["--check"]);
        assert_eq!(output.status.code(), Some(1), "{name}: {}", stderr(&output));
        assert_has(&stderr(&output), &[name, "cargo xtask docs"]);
        assert_eq!(
            stderr(&output).matches("docs/").count(),
            1,
            "{}",
            stderr(&output)
        );
        assert!(docs.files() == before, "--check wrote");
        sound(&[]);
        assert!(docs.files() == files, "{name} was not put right");
    };
    docs.write(
        "page.md",
        &docs.read("page.md").replace("-->80.00 %<", "-->81.00 %<"),
    );
    differs("docs/page.md");
    let chart = "images/small-bars-test_accuracy.svg";
    docs.write(chart, &docs.read(chart).replace("80.00", "81.00"));
    differs("docs/images/small-bars-test_accuracy.svg");
    fs::remove_file(docs.dir().join(chart)).unwrap();
    differs("docs/images/small-bars-test_accuracy.svg");
    docs.write("images/small-bars-gone.svg", &docs.read(chart));
    differs("docs/images/small-bars-gone.svg");
    // What a person drew, and pictures of the data, are nobody's business.
    docs.write("images/drawn.svg", "<svg></svg>\n");
    docs.write("images/small-samples-cnn.png", "another");
    sound(&["--check"]);
}

#[test]
fn new_results_make_new_pages() {
    let docs = Docs::made(PAGE);
    let changed = docs
        .read("results/small.json")
        .replace("\"mean\":0.9,", "\"mean\":0.95,");
    docs.write("results/small.json", &changed);
    let output = docs.report(&["--check"]);
    assert_eq!(output.status.code(), Some(1));
    let said = stderr(&output);
    assert_has(
        &said,
        &[
            "docs/page.md",
            "docs/zh/page.md",
            "small-bars-test_accuracy.svg",
        ],
    );
    assert!(!said.contains("small-confusion"), "{said}");
}

#[test]
fn other_tiers_are_named_behind_a_point() {
    let docs = Docs::new("Full: <!-- tallow: value small.full fc percent --><!-- /tallow -->\n");
    let full = docs
        .read("results/small.json")
        .replace("\"tier\":\"standard\"", "\"tier\":\"full\"");
    docs.write("results/small.full.json", &full);
    assert!(docs.report(&[]).status.success());
    assert_has(&docs.read("page.md"), &["percent -->80.00 %<"]);

    docs.write("results/other.json", &full);
    let output = docs.report(&[]);
    assert_eq!(output.status.code(), Some(2));
    assert_has(
        &stderr(&output),
        &["other.json: contains results of the full tier of `small`; rename it accordingly"],
    );
}

#[test]
fn unknown_names_get_the_nearest_one() {
    let block = |words: &str| {
        Docs::refused(&format!(
            "# A\n\n<!-- tallow: {words} -->\n<!-- /tallow -->\n"
        ))
    };
    let value = |words: &str| {
        Docs::refused(&format!(
            "It is <!-- tallow: {words} -->1<!-- /tallow -->.\n"
        ))
    };
    let suggested = |said: String, what: &str, near: &str| {
        assert_has(
            &said,
            &[
                what,
                &format!("did you mean `{near}`?"),
                "docs/page.md, line ",
            ],
        );
    };
    suggested(block("result small"), "unknown block `result`", "results");
    suggested(block("results smal"), "unknown experiment `smal`", "small");
    suggested(
        block("results quikstart"),
        "unknown experiment `quikstart`",
        "quickstart",
    );
    suggested(
        block("confusion small cnnn"),
        "unknown variant of small `cnnn`",
        "cnn",
    );
    suggested(
        block("bars small test_acuracy"),
        "unknown metric `test_acuracy`",
        "test_accuracy",
    );
    suggested(
        block("results small variants fcc"),
        "unknown variant of small `fcc`",
        "fc",
    );
    suggested(
        value("value small cnnn percent"),
        "unknown variant of small `cnnn`",
        "cnn",
    );
    suggested(
        value("value small cnn.test_los percent"),
        "unknown metric `test_los`",
        "test_loss",
    );
    suggested(
        value("value small facts.diference number:1"),
        "unknown fact `diference`",
        "difference",
    );
    suggested(
        value("value small cnn percents"),
        "unknown format `percents`",
        "percent",
    );
    suggested(
        value("value quickstart cnnn percent"),
        "unknown variant of quickstart `cnnn`",
        "cnn",
    );
    suggested(
        value("valu small cnn percent"),
        "unknown figure `valu`",
        "value",
    );
    assert_has(
        &value("value small fc.test_loss number:2"),
        &["has no figure for `fc.test_loss`"],
    );
    assert_has(
        &value("value small cnn - percent"),
        &["`cnn -`: expected a number"],
    );
    assert_has(
        &block("curves small parameters"),
        &["is not a metric of every epoch"],
    );
    assert_has(
        &block("confusion small fc"),
        &["no run of `fc` has a confusion matrix"],
    );
    assert_has(&block("curves small"), &["expected one metric"]);
    // All that is wrong is said at once.
    let said = Docs::refused(
        "# A\n\n<!-- tallow: resul small -->\n<!-- /tallow -->\n<!-- tallow: claims smal -->\n<!-- /tallow -->\n",
    );
    assert_has(
        &said,
        &[
            "page.md, line 3: unknown block",
            "page.md, line 5: unknown experiment",
            "zh/page.md, line 5",
        ],
    );
}

#[test]
fn a_results_file_that_is_not_one() {
    let docs = Docs::new(PAGE);
    docs.write(
        "results/small.json",
        &results().to_string().replace("\"tier\"", "\"teir\""),
    );
    let output = docs.report(&[]);
    assert_eq!(output.status.code(), Some(2));
    assert_has(
        &stderr(&output),
        &["small.json, line 1", "unknown field `teir`"],
    );
    let output = docs
        .0
        .xtask()
        .args(["docs", "--dir", "nowhere"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert_has(&stderr(&output), &["nowhere: no such folder"]);
}

#[test]
fn runs_of_bench_become_tables() {
    let blocks = ["runs", "step", "step cuda", "loader"];
    let marks = blocks.map(|words| format!("<!-- tallow: bench {words} -->\n<!-- /tallow -->\n"));
    let docs = Docs::made(&format!("# Speed\n\n{}", marks.join("\n")));
    let empty = docs.read("page.md");
    assert_eq!(empty.matches("*(not run yet)*").count(), blocks.len());

    let run = include_str!("../fixtures/bench-run.json");
    fs::create_dir_all(docs.dir().join("results/bench")).unwrap();
    docs.write("results/bench/a.json", run);
    docs.write(
        "results/bench/b.json",
        &run.replace("20260131T", "20260201T"),
    );
    assert!(docs.report(&[]).status.success());
    assert_has(
        &docs.read("page.md"),
        &[
            "| [2026-01-31 12:00:00](results/bench/a.json) |",
            "| [2026-02-01 12:00:00](results/bench/b.json) |",
            "| `cnn` | 64 | 0.500 ms | 0.625 ms | 2.50 ms | 5.00 |",
            "<!-- tallow: bench step cuda -->\n\n*(not run yet)*\n",
            "<!-- tallow: bench loader -->\n\n*(not run yet)*\n",
        ],
    );
    assert_has(
        &docs.read("zh/page.md"),
        &["(../results/bench/a.json)", "*（尚未运行）*"],
    );
    assert!(docs.report(&["--check"]).status.success());

    docs.write("results/bench/b.json", &run[..run.len() / 2]);
    let output = docs.report(&[]);
    assert_eq!(output.status.code(), Some(2));
    assert_has(
        &stderr(&output),
        &["b.json: expected a run that `cargo xtask bench --json` wrote"],
    );
    for (words, part) in [
        ("bench stp", "did you mean `step`?"),
        ("bench", "expected `runs` or a kind of benchmark"),
        ("bench step cpu 2", "expected `runs` or a kind of benchmark"),
    ] {
        let said = Docs::refused(&format!("<!-- tallow: {words} -->\n<!-- /tallow -->\n"));
        assert_has(&said, &[part]);
    }
}

#[test]
fn pictures_of_data_that_is_not_here_are_kept() {
    let docs = Docs::new(PAGE);
    let elsewhere = results()
        .to_string()
        .replace("(embedded)", "(IDX, original)");
    docs.write("results/small.json", &elsewhere);
    let output = docs.report(&[]);
    assert!(output.status.success(), "{}", stderr(&output));
    assert_has(&stderr(&output), &["small-samples-cnn.png stays as it is"]);
    assert_has(
        &docs.read("page.md"),
        &["*(no picture yet: the data was not at hand)*"],
    );

    docs.write("images/small-samples-cnn.png", "from another machine");
    assert!(docs.report(&[]).status.success());
    assert_has(&docs.read("page.md"), &["(images/small-samples-cnn.png)"]);
    assert_eq!(
        docs.read("images/small-samples-cnn.png"),
        "from another machine"
    );
    assert!(docs.report(&["--check"]).status.success());
}

#[test]
fn the_summary_lists_every_experiment_in_the_order_of_the_book() {
    let docs = Docs::new("# All\n\n<!-- tallow: summary -->\n<!-- /tallow -->\n");
    docs.write("SUMMARY.md", "- [Q](quickstart.md)\n- [S](small.md)\n");
    docs.write("quickstart.md", "# Quick\n");
    docs.write("small.md", "# Small\n");
    docs.write("zh/small.md", "# 小实验\n");
    assert!(docs.report(&[]).status.success());
    let page = docs.read("page.md");
    assert_has(
        &page,
        &[
            "| [small](small.md) | Which is better? | standard | 1 holds partly | 1 holds |",
            "| `mnist-pixel-order` |",
        ],
    );
    assert!(page.find("[quickstart]").unwrap() < page.find("[small]").unwrap());
    assert!(page.find("[small]").unwrap() < page.find("`mnist-pixel-order`").unwrap());
    assert_has(
        &docs.read("zh/page.md"),
        &["| [small](small.md) | 小实验 | 标准 | 部分成立 1 条 | 成立 1 条 |"],
    );
}

/// CPU minutes are those of all threads.
#[test]
fn the_recipes_stand_beside_their_cost() {
    let docs = Docs::new("# Recipes\n\n<!-- tallow: recipes -->\n<!-- /tallow -->\n");
    let mut results = results();
    results["experiment"] = json!("mnist-99");
    docs.write("results/mnist-99.json", &results.to_string());
    assert!(docs.report(&[]).status.success());
    let page = docs.read("page.md");
    let file = "[`mnist-99`](../crates/tallow-experiment/experiments/mnist-99.toml)";
    let data = "fashion-mnist-sample (embedded)";
    let rows = [
        format!(
            "| {file} | `mlp` | {data} | 2 | 6,442 | 1 | 80.00 % | 0.1 min | 0.1 | A processor, 2 |"
        ),
        format!(
            "| {file} | `cnn` | {data} | 2 | 12,345 | 2 | 90.00 ± 1.41 % | 1.5 ± 0.0 min | 3.0 | A processor, 2 |"
        ),
    ];
    assert_has(&page, &[&rows[0], &rows[1]]);
    assert_has(
        &page,
        &["Not run yet: `fashion-mnist-best`, `cifar10-speedrun`,"],
    );
    assert_has(
        &docs.read("zh/page.md"),
        &["尚未运行：`fashion-mnist-best`、"],
    );
}
