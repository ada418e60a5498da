//! Pictures of one's own, from the folder to the answer.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use image::{GrayImage, Luma, Rgb, RgbImage};
use serde_json::Value;

use crate::common::{Sandbox, stderr, stdout};

/// Runs the program, which must end well.
fn tallow(sandbox: &Sandbox, args: &[&str]) -> Output {
    let output = sandbox.tallow().args(args).output().unwrap();
    assert!(output.status.success(), "{args:?}: {}", stderr(&output));
    output
}

/// Writes `count` pictures of `(width, height)` for each of three classes, of different colour, below `folder`.
fn stripes(folder: &Path, count: u32, (w, h): (u32, u32)) {
    for (class, colour) in [
        ("blue", [20, 30, 200]),
        ("green", [30, 180, 40]),
        ("red", [220, 20, 30]),
    ] {
        let dir = folder.join(class);
        fs::create_dir_all(&dir).unwrap();
        for number in 0..count {
            let picture = RgbImage::from_fn(w, h, |x, y| {
                let noise = ((x * 7 + y * 13 + number * 29) % 32) as u8;
                Rgb(colour.map(|c: u8| c.saturating_add(noise)))
            });
            picture
                .save(dir.join(format!("{class} {number}.png")))
                .unwrap();
        }
    }
}

/// The only folder of a run of this experiment.
fn only_run(sandbox: &Sandbox, experiment: &str) -> PathBuf {
    let entries = fs::read_dir(sandbox.out().join(experiment)).unwrap();
    let mut runs: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    runs.retain(|path| path.join("environment.json").is_file());
    assert_eq!(runs.len(), 1, "{runs:?}");
    runs.remove(0)
}

fn weights(run: &Path) -> Vec<u8> {
    fs::read(run.join("model.safetensors")).unwrap()
}

/// Class folders alone: a test and a validation set are drawn, the reasons are told, and the recipe repeats the run to the bit.
#[test]
fn a_folder_of_classes_is_trained_on_and_its_recipe_repeats_the_run() {
    let sandbox = Sandbox::new();
    stripes(&sandbox.path().join("my stripes"), 20, (24, 20));
    let train = [
        "train",
        "my stripes",
        "--epochs",
        "8",
        "--threads",
        "2",
        "--json",
    ];
    let output = tallow(&sandbox, &train);
    let told = stderr(&output);
    for words in [
        "data.test = 0.2: there is no test folder: 12 of the 60 pictures",
        "data.validation = 0.1: the best epoch is chosen by 5 of the training pictures",
        "43 pictures to train with, 5 for validation, 12 for the test; 3 classes of",
        "model.name = \"convnet-fc\"",
        "the median of the shorter sides is 20 pixels",
        "mirror images",
        "recipe: runs/my-stripes/my-stripes.toml",
    ] {
        assert!(told.contains(words), "{words}: {told}");
    }
    let result: Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!(result["experiment"], "my-stripes");
    assert!(
        result["dataset"]["name"]
            .as_str()
            .unwrap()
            .starts_with("my stripes"),
        "{result}"
    );
    let accuracy = result["variants"][0]["metrics"]["test_accuracy"]["mean"].as_f64();
    assert!(accuracy.unwrap() > 0.5, "{accuracy:?}");
    let first = only_run(&sandbox, "my-stripes");

    // The file is an experiment as any other.
    let recipe = "runs/my-stripes/my-stripes.toml";
    tallow(
        &sandbox,
        &["run", recipe, "--threads", "2", "--out", "again"],
    );
    let again = fs::read_dir(sandbox.path().join("again/my-stripes")).unwrap();
    let mut again = again.map(|entry| entry.unwrap().path());
    let again = again.find(|path| path.is_dir()).unwrap();
    assert!(weights(&first) == weights(&again), "other weights");

    // The same command has the same recipe; another one does not replace it.
    let before = fs::read(sandbox.path().join(recipe)).unwrap();
    let init = ["init", "my stripes", "--epochs", "3", "-o", "three.toml"];
    let output = tallow(&sandbox, &init);
    assert_eq!(stdout(&output), "three.toml\n");
    assert!(stderr(&output).contains("to train: tallow run three.toml"));
    let text = fs::read_to_string(sandbox.path().join("three.toml")).unwrap();
    assert!(text.contains("# --epochs 3.\nepochs = 3\n"), "{text}");
    let output = sandbox.tallow().args(init).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("three.toml exists already"));
    assert_eq!(fs::read(sandbox.path().join(recipe)).unwrap(), before);
}

#[test]
fn the_length_is_planned_from_the_time() {
    let sandbox = Sandbox::new();
    for split in ["train", "test"] {
        stripes(&sandbox.path().join("stripes").join(split), 20, (16, 16));
    }
    let minutes = ["train", "stripes", "--minutes", "0.3", "--json"];
    let started = std::time::Instant::now();
    let output = tallow(&sandbox, &minutes);
    // Generous: the machine may be busy with other tests.
    assert!(started.elapsed().as_secs() < 120);
    let told = stderr(&output);
    assert!(told.contains("train.max_steps = "), "{told}");
    assert!(!told.contains("data.test"), "{told}");
    let run = only_run(&sandbox, "stripes");
    let text = fs::read_to_string(sandbox.path().join("runs/stripes/stripes.toml")).unwrap();
    let recipe: toml::Table = toml::from_str(&text).unwrap();
    let planned = recipe["train"]["max_steps"].as_integer().unwrap();
    let summary: Value =
        serde_json::from_slice(&fs::read(run.join("summary.json")).unwrap()).unwrap();
    assert_eq!(summary["metrics"]["steps"].as_f64(), Some(planned as f64));
    // The schedule ends at zero.
    let rows = fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    let last: Value = serde_json::from_str(rows.lines().last().unwrap()).unwrap();
    assert!(last["lr"].as_f64().unwrap() < 1e-3, "{last}");

    let output = sandbox
        .tallow()
        .args(["train", "stripes", "--minutes", "0.0001"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(
        stderr(&output).contains("minutes are too short"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn what_cannot_be_trained_on_is_refused_with_the_next_step() {
    let sandbox = Sandbox::new();
    stripes(&sandbox.path().join("stripes"), 4, (16, 16));
    fs::create_dir(sandbox.path().join("empty")).unwrap();
    fs::create_dir_all(sandbox.path().join("no-pictures/cat")).unwrap();
    fs::write(sandbox.path().join("a-file"), "no folder").unwrap();
    let squares = |folder: &str, count: u8| {
        let folder = sandbox.path().join(folder);
        fs::create_dir_all(&folder).unwrap();
        for number in 0..count {
            GrayImage::from_pixel(8, 8, Luma([number]))
                .save(folder.join(format!("a{number}.png")))
                .unwrap();
        }
    };
    squares("broken/cat", 9);
    squares("broken/dog", 9);
    squares("flat", 3);
    squares("alone/cat", 9);
    squares("few/cat", 1);
    squares("few/dog", 1);
    for number in 0..5 {
        let file = sandbox.path().join(format!("broken/cat/b{number}.png"));
        fs::write(file, "not a picture").unwrap();
    }
    for (args, words) in [
        (
            &["train", "cifra10"][..],
            &["unknown dataset", "cifar10"][..],
        ),
        (
            &["train", "stirpes"],
            &["no folder or file", "did you mean `stripes`?"],
        ),
        (&["train", "./none"], &["none", "no such folder in "]),
        (&["train", "a-file"], &["folder of pictures, found a file"]),
        (&["train", "empty"], &["empty", "found an empty folder"]),
        (&["train", "flat"], &["flat", "3 files and no folder"]),
        (&["train", "alone"], &["two or more classes", "`cat`"]),
        (&["train", "few"], &["2 pictures are too few", "a fifth"]),
        (&["train", "no-pictures"], &["cat", "none"]),
        (
            &["train", "broken"],
            &["cat/b", "is no image", "tallow data verify folder:broken"],
        ),
        (
            &["train", "stripes", "--device", "gpu"],
            &["unknown device `gpu`", "cuda:N"],
        ),
        (
            &["train", "stripes", "--out", "a-file"],
            &["--out a-file: is a file"],
        ),
        (&["run", "stripes"], &["`tallow train stripes`"]),
        (
            &["train", "stripes", "--set", "train.epochs=many"],
            &["expected a whole number", "tallow recipe train.epochs"],
        ),
        (&["train", "stripes", "--model", "resnet17"], &["resnet1"]),
        (
            &["train", "stripes", "--set", "train.epoch=3"],
            &["epoch", "did you mean"],
        ),
        (
            &["train", "stripes", "--set", "seeds=[3]"],
            &["data, model or train"],
        ),
        (
            &["train", "stripes", "--augment", "more"],
            &["light, standard or strong"],
        ),
        (&["train", "stripes", "--val", "2.5"], &["--val"]),
        (
            &["train", "stripes", "--epochs", "2", "--minutes", "1"],
            &["--minutes"],
        ),
        (
            &["train", "stripes", "--model", "cnn", "--pretrained"],
            &["no pretrained weights `cnn`"],
        ),
        (&["train"], &["DIR"]),
    ] {
        let output = sandbox.tallow().args(args).output().unwrap();
        let message = stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {message}");
        assert!(
            words.iter().all(|word| message.contains(word)),
            "{args:?}: {message}"
        );
        assert!(!message.contains("panicked"), "{message}");
        // What is wrong is told before what was chosen.
        assert!(!message.contains("pictures to train with"), "{message}");
        // Nothing is left of what was not begun.
        let left = fs::read_dir(sandbox.out()).into_iter().flatten().count();
        assert_eq!(left, 0, "{args:?}");
    }
}

/// Files that are left out are told once, although the folder is opened for the recipe and for the run.
#[test]
fn what_is_left_out_is_told_once() {
    let sandbox = Sandbox::new();
    stripes(&sandbox.path().join("stripes"), 10, (16, 16));
    fs::write(sandbox.path().join("stripes/red/IMG_1.heic"), "").unwrap();
    let output = tallow(&sandbox, &["train", "stripes", "--epochs", "1"]);
    let told = stderr(&output);
    let file = Path::new("red").join("IMG_1.heic");
    let line = format!("warning: stripes: left out 1 file: {}\n", file.display());
    assert_eq!(told.matches(&line).count(), 1, "{told}");
    assert_eq!(told.matches("left out").count(), 1, "{told}");
}

/// Pictures that the program writes are those that it has.
#[test]
fn a_dataset_is_exported_as_folders_and_read_again() {
    let sandbox = Sandbox::new();
    let output = tallow(
        &sandbox,
        &["data", "export", "fashion-mnist-sample", "clothes"],
    );
    assert!(stdout(&output).contains(
        "10,000 images in train and 2,000 images in test, 10 classes: T-shirt-top, Trouser"
    ));
    let clothes = sandbox.path().join("clothes");
    for (split, count) in [("train", 10_000), ("test", 2_000)] {
        let classes = fs::read_dir(clothes.join(split)).unwrap();
        let files = classes.flat_map(|class| fs::read_dir(class.unwrap().path()).unwrap());
        assert_eq!(files.count(), count);
    }
    let info = stdout(&tallow(&sandbox, &["data", "info", "folder:clothes"]));
    assert!(info.contains("train: 10,000 images of 3x28x28"), "{info}");
    assert!(info.contains("test: 2,000 images of 3x28x28"), "{info}");
    assert!(info.contains("Ankle boot"), "{info}");
    let verdict = stdout(&tallow(&sandbox, &["data", "verify", "folder:clothes"]));
    assert!(verdict.contains("train: 10,000 images"), "{verdict}");

    // Every test picture has the pixels of the sample.
    let options = tallow_datasets::LoadOptions::default();
    let load =
        |name: &str| tallow_datasets::load(name, tallow_datasets::Split::Test, &options).unwrap();
    let (sample, folder) = (
        load("fashion-mnist-sample"),
        load(&format!("folder:{}", clothes.display())),
    );
    let classes = &sample.info().classes;
    let (mut one, mut other) = (Vec::new(), Vec::new());
    for index in 0..folder.len() {
        let name = folder.name(index).unwrap().into_owned();
        let number: usize = Path::new(&name)
            .file_stem()
            .unwrap()
            .to_str()
            .unwrap()
            .parse()
            .unwrap();
        let label = sample.label(number).unwrap() as usize;
        assert!(
            name.starts_with(&classes[label].replace('/', "-")),
            "{name}"
        );
        let pixels = sample.image(number, &mut one).unwrap().data.to_vec();
        let planes = folder.image(index, &mut other).unwrap().data;
        assert!(
            planes.chunks_exact(28 * 28).all(|plane| plane == pixels),
            "{name}"
        );
    }

    let output = sandbox
        .tallow()
        .args(["data", "export", "fashion-mnist-sample", "clothes"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(
        stderr(&output).contains("name another one"),
        "{}",
        stderr(&output)
    );
    // A picture that is damaged later is found.
    let file = clothes.join("test/Bag/00018.png");
    let file = match file.is_file() {
        true => file,
        false => fs::read_dir(clothes.join("test/Bag"))
            .unwrap()
            .next()
            .unwrap()
            .unwrap()
            .path(),
    };
    fs::write(&file, "not a picture").unwrap();
    let output = sandbox
        .tallow()
        .args(["data", "verify", "folder:clothes"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    let name = file.file_name().unwrap().to_str().unwrap();
    assert!(
        stdout(&output).contains("BROKEN") && stdout(&output).contains(name),
        "{}",
        stdout(&output)
    );
    assert!(
        stderr(&output).contains("1 pictures cannot be decoded"),
        "{}",
        stderr(&output)
    );
}

/// The commands of the page, in its order, with a shorter training. What `predict` finds in the test pictures is what the run recorded.
#[cfg(unix)]
#[test]
fn the_walk_of_the_page_goes_from_a_folder_to_an_answer() {
    let page = include_str!("../../../../docs/own-pictures.md");
    let zh = include_str!("../../../../docs/zh/own-pictures.md");
    let block = |page: &str| {
        let walk = page.split("tallow data export").nth(1).unwrap();
        let rest = walk.split("```").next().unwrap();
        format!("tallow data export{rest}")
    };
    let commands = block(page);
    assert_eq!(commands, block(zh), "the pages have other commands");
    assert!(
        commands.contains("tallow train clothes --minutes 2\n"),
        "{commands}"
    );
    // The time that --minutes leaves depends on the load of the machine.
    let commands = commands.replace("--minutes 2", "--epochs 1 --set data.train_samples=1000");
    assert_eq!(commands.lines().count(), 6);

    let sandbox = Sandbox::new();
    let program = assert_cmd::cargo::cargo_bin!("tallow");
    let path = std::env::var("PATH").unwrap();
    let path = format!("{}:{path}", program.parent().unwrap().display());
    for command in commands.lines() {
        let mut shell = assert_cmd::Command::new("sh");
        shell.args(["-c", command]);
        let output = sandbox.enclose(shell).env("PATH", &path).output().unwrap();
        assert!(output.status.success(), "{command}: {}", stderr(&output));
    }
    assert!(sandbox.out().join("clothes/report.html").is_file());
    let run = only_run(&sandbox, "clothes");
    let summary: Value =
        serde_json::from_slice(&fs::read(run.join("summary.json")).unwrap()).unwrap();
    let accuracy = summary["metrics"]["test_accuracy"].as_f64().unwrap();
    let text = fs::read_to_string(sandbox.path().join("predictions.csv")).unwrap();
    let mut lines = text.lines();
    assert!(
        lines
            .next()
            .unwrap()
            .starts_with("image,class,probability,class_2,")
    );
    let right = |line: &str| {
        let fields: Vec<&str> = line.split(',').collect();
        fields[0].split('/').nth(2) == Some(fields[1])
    };
    let (mut all, mut correct) = (0, 0);
    for line in lines {
        all += 1;
        correct += usize::from(right(line));
    }
    assert_eq!(all, 2000);
    // Exactly: prediction prepares the pictures as the run did.
    assert!(
        (accuracy - correct as f64 / 2000.0).abs() < 1e-9,
        "{accuracy} {correct}"
    );
}

/// `evaluate --run` gives the figures of the run, and those of other pictures whose classes are a part of the run's.
#[test]
fn a_run_is_evaluated_on_its_own_test_pictures_and_on_others() {
    let sandbox = Sandbox::new();
    stripes(&sandbox.path().join("stripes"), 20, (24, 20));
    tallow(&sandbox, &["train", "stripes", "--epochs", "3"]);
    let run = only_run(&sandbox, "stripes");
    let run = run.to_str().unwrap();
    let evaluate = |args: &[&str]| -> Value {
        let output = tallow(
            &sandbox,
            &[&["evaluate", "--run", run, "--json"], args].concat(),
        );
        serde_json::from_str(&stdout(&output)).unwrap()
    };
    let own = evaluate(&[]);
    let summary = fs::read(Path::new(run).join("summary.json")).unwrap();
    let summary: Value = serde_json::from_slice(&summary).unwrap();
    assert_eq!(own["total"], 12);
    assert_eq!(own["accuracy"], summary["metrics"]["test_accuracy"]);
    assert_eq!(own["loss"], summary["metrics"]["test_loss"]);

    // The folder of the experiment stands for its newest run, which is told.
    let folder = ["evaluate", "--run", "runs/stripes", "--json"];
    let output = tallow(&sandbox, &folder);
    let newest: Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!(newest["weights_digest"], own["weights_digest"]);
    assert!(stderr(&output).contains("run: runs"), "{}", stderr(&output));
    // A pattern that matches two runs gives one of them as an image.
    let two = ["predict", "--run", run, run];
    let output = sandbox.tallow().args(two).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(
        stderr(&output).contains("is a run record and no folder of pictures"),
        "{}",
        stderr(&output)
    );

    // Two of the three classes, right below the folder.
    stripes(&sandbox.path().join("new"), 5, (30, 20));
    fs::remove_dir_all(sandbox.path().join("new/green")).unwrap();
    let new = evaluate(&["--data", "new"]);
    assert_eq!(new["total"], 10);
    assert_eq!(new["per_class"][1]["name"], "green");
    assert_eq!(new["per_class"][1]["images"], 0);
    assert_eq!(new["per_class"][2]["images"], 5);
    fs::rename(
        sandbox.path().join("new/red"),
        sandbox.path().join("new/rot"),
    )
    .unwrap();
    let output = sandbox
        .tallow()
        .args(["evaluate", "--run", run, "--data", "new"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(
        stderr(&output).contains("the class `rot`"),
        "{}",
        stderr(&output)
    );
    for (args, words) in [
        (&["evaluate", "--run", run, "--model", "cnn"][..], "--run"),
        (&["evaluate", "--run", "nowhere"], "nowhere"),
        (&["evaluate"], "pass --run DIR, or --model NAME"),
    ] {
        let output = sandbox.tallow().args(args).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert!(
            stderr(&output).contains(words),
            "{args:?}: {}",
            stderr(&output)
        );
    }

    // A folder of pictures: one line each, the files that are none are named.
    fs::write(sandbox.path().join("stripes/red/notes.txt"), "").unwrap();
    let output = tallow(&sandbox, &["predict", "--run", run, "stripes"]);
    assert_eq!(stdout(&output).lines().count(), 60);
    assert!(stderr(&output).contains("notes.txt"), "{}", stderr(&output));
}

/// Class folders alone in an experiment without `data.test` are refused, and with a test folder `data.test` is.
#[test]
fn test_pictures_are_asked_for_where_there_are_none() {
    let sandbox = Sandbox::new();
    stripes(&sandbox.path().join("flat"), 10, (16, 16));
    for split in ["train", "test"] {
        stripes(&sandbox.path().join("split").join(split), 10, (16, 16));
    }
    let experiment = r#"
        question = "?"
        [data]
        dataset = "folder:flat"
        transforms = [{ name = "to-tensor" }]
        [train]
        epochs = 1
        batch_size = 8
        optimizer = { name = "adam", lr = 0.005 }
        [[variants]]
        name = "mlp"
        model.name = "mlp"
    "#;
    fs::write(sandbox.path().join("e.toml"), experiment).unwrap();
    let run = |sets: &[&str]| {
        let sets = sets.iter().flat_map(|set| ["--set", set]);
        let args: Vec<&str> = ["run", "e.toml", "--json"]
            .into_iter()
            .chain(sets)
            .collect();
        sandbox.tallow().args(args).output().unwrap()
    };
    let output = run(&[]);
    assert_eq!(output.status.code(), Some(2));
    assert!(
        stderr(&output).contains("set data.test = 0.2"),
        "{}",
        stderr(&output)
    );
    let output = run(&["data.test=6"]);
    assert!(output.status.success(), "{}", stderr(&output));
    let result: Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!(result["dataset"]["name"], "flat");
    assert!(
        result["dataset"]["provenance"]
            .as_str()
            .unwrap()
            .contains("part 1 of 2: 24 of 30"),
        "{result}"
    );
    let output = run(&["data.test=0.2", "data.dataset=folder:split"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(
        stderr(&output).contains("has a test split: remove data.test"),
        "{}",
        stderr(&output)
    );
}
