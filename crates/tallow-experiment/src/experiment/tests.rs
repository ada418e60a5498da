use super::*;

const SMALL: &str = r#"
        question = "Which is better?"
        claims = ["cnn > fc"]

        [data]
        dataset = "mnist"
        transforms = [{ name = "to-tensor" }, { name = "normalize", mean = [0.1307], std = [0.3081] }]

        [train]
        epochs = 1
        batch_size = 64
        optimizer = { name = "sgd", lr = 0.01, momentum = 0.5 }

        [[variants]]
        name = "fc"
        model.name = "mlp"
        published = [{ test_accuracy = 0.8735, source = "course" }]

        [[variants]]
        name = "cnn"
        model.name = "cnn"
        train.epochs = 2
    "#;

fn load_small(sets: &[&str]) -> Result<Experiment> {
    let sets: Vec<String> = sets.iter().map(|s| s.to_string()).collect();
    Experiment::parse("small", SMALL, Tier::Full, &sets)
}

fn error(text: &str, sets: &[&str]) -> String {
    let sets: Vec<String> = sets.iter().map(|s| s.to_string()).collect();
    Experiment::parse("small", text, Tier::Full, &sets)
        .unwrap_err()
        .message()
}

const TIERS: &str = r#"
        [[statements]]
        text = "The convolutional one is better."
        zh = "卷积网络更好。"
        checks = ["cnn > fc"]

        [tiers.smoke]
        seconds = 2
        seeds = [5]
        only = ["cnn"]
        claims = ["cnn > 0.1"]
        train.epochs = 7
        data.train_samples = 100

        [tiers.full]
        seconds = 600
    "#;

#[test]
fn a_tier_changes_every_variant() {
    let text = format!("{SMALL}{TIERS}");
    let smoke = Experiment::parse("small", &text, Tier::Smoke, &[]).unwrap();
    assert_eq!((smoke.tier, smoke.seeds), (Tier::Smoke, vec![5]));
    assert_eq!(smoke.variants.len(), 1);
    let recipe = &smoke.variants[0].recipe;
    assert_eq!(
        (recipe.train.epochs, recipe.data.train_samples),
        (7, Some(100))
    );
    assert_eq!(smoke.claims[0].text, "cnn > 0.1");
    let full = Experiment::parse("small", &text, Tier::Full, &[]).unwrap();
    assert_eq!(full.variants[1].recipe.train.epochs, 2);
    assert_eq!(full.claims[0].text, "cnn > fc");
    let tiers = [(Tier::Smoke, Some(2.0)), (Tier::Full, Some(600.0))];
    assert_eq!(full.tiers, tiers);
    // What the command line says comes last.
    let sets = ["train.epochs=3".to_string()];
    let smoke = Experiment::parse("small", &text, Tier::Smoke, &sets).unwrap();
    assert_eq!(smoke.variants[0].recipe.train.epochs, 3);
}

#[test]
fn a_tier_that_is_not_there_is_refused() {
    let text = format!("{SMALL}{TIERS}");
    let error = Experiment::parse("small", &text, Tier::Standard, &[]).unwrap_err();
    assert!(error.to_string().contains("no standard tier"), "{error}");
    let wrong = text.replace("only = [\"cnn\"]", "only = [\"cnm\"]");
    let error = Experiment::parse("small", &wrong, Tier::Smoke, &[]).unwrap_err();
    assert!(error.message().contains("did you mean `cnn`?"), "{error}");
}

#[test]
fn statements_are_checked_as_claims_are() {
    let text = format!("{SMALL}{TIERS}");
    assert_eq!(
        Experiment::parse("small", &text, Tier::Full, &[])
            .unwrap()
            .statements
            .len(),
        1
    );
    // A tier that is too short to decide them does not judge them, and the smoke tier is.
    let short = text.replace("seconds = 600", "seconds = 600\nstatements = false");
    for (tier, text) in [(Tier::Smoke, &text), (Tier::Full, &short)] {
        let experiment = Experiment::parse("small", text, tier, &[]).unwrap();
        assert!(experiment.statements.is_empty(), "{tier}");
    }
    let message = error(&text.replace("checks = [\"cnn > fc\"]", "checks = []"), &[]);
    assert!(message.contains("checks"), "{message}");
    let message = error(
        &text.replace(
            "[\"cnn > fc\"]\n\n        [tiers",
            "[\"cnn > gc\"]\n\n        [tiers",
        ),
        &[],
    );
    assert!(message.contains("unknown variant `gc`"), "{message}");
}

#[test]
fn variants_change_the_base() {
    let experiment = load_small(&[]).unwrap();
    let [fc, cnn] = &experiment.variants[..] else {
        panic!("two variants")
    };
    assert_eq!((fc.name.as_str(), cnn.name.as_str()), ("fc", "cnn"));
    assert_eq!((fc.recipe.train.epochs, cnn.recipe.train.epochs), (1, 2));
    assert_eq!(fc.recipe.train.batch_size, 64);
    assert_eq!(cnn.recipe.model.name, "cnn");
    assert_eq!(fc.published[0].test_accuracy, 0.8735);
    assert_eq!(experiment.seeds, [0]);
}

#[test]
fn set_changes_every_variant() {
    let experiment = load_small(&[
        "train.epochs=5",
        "data.dataset=kmnist",
        "train.shuffle=false",
    ])
    .unwrap();
    for variant in &experiment.variants {
        assert_eq!(variant.recipe.train.epochs, 5);
        assert_eq!(variant.recipe.data.dataset, "kmnist");
        assert!(!variant.recipe.train.shuffle);
    }
}

#[test]
fn naming_another_optimizer_drops_the_settings_of_the_first() {
    let sets = ["train.optimizer.name=adam", "train.optimizer.lr=0.002"];
    let experiment = load_small(&sets).unwrap();
    let again = load_small(&[r#"train.optimizer={name="adam",lr=0.002}"#]).unwrap();
    assert_eq!(experiment.variants[0].recipe, again.variants[0].recipe);
}

#[test]
fn set_suggests_the_nearest_key() {
    for (set, near) in [
        ("train.epoch=1", "train.epochs"),
        ("trian.epochs=1", "train.epochs"),
        ("epochs=1", "train.epochs"),
        ("train.optimizer.momentun=0.9", "train.optimizer.momentum"),
    ] {
        let message = error(SMALL, &[set]);
        let key = set.split('=').next().unwrap();
        assert!(
            message.contains(&format!("unknown key `{key}`")),
            "{message}"
        );
        assert!(
            message.contains(&format!("did you mean `{near}`?")),
            "{message}"
        );
    }
}

/// Names of other libraries, in `--set` and in a file.
#[test]
fn names_of_other_libraries_are_explained() {
    for (set, expected) in [
        ("train.max_epochs=3", "did you mean `train.epochs`?"),
        ("data.num_workers=3", "did you mean `train.workers`?"),
        ("train.patience=3", "here it is `train.early_stopping`"),
        ("train.lr=0.1", "did you mean `train.optimizer.lr`?"),
        (
            "train.precision=16",
            "`train.precision`: expected a text, found another kind of value",
        ),
        (
            "train.augment=[{name=\"RandomResizedCrop\",size=8}]",
            "unknown name `RandomResizedCrop`",
        ),
        (
            "train.augment=[{name=\"RandomResizedCrop\",size=8}]",
            "did you mean `random-resized-crop`?",
        ),
        ("train.optimizer.name=Adagrad", "there is no such optimizer"),
        (
            "train.loss.name=CrossEntropyLoss",
            "did you mean `cross-entropy`?",
        ),
    ] {
        let message = error(SMALL, &[set]);
        assert!(message.contains(expected), "{set}: {message}");
    }
    let text = SMALL.replace(
        "epochs = 1",
        "epochs = 1\n        accumulate_grad_batches = 4",
    );
    let message = error(&text, &[]);
    assert!(
        message.contains("unknown key `accumulate_grad_batches`"),
        "{message}"
    );
    assert!(message.contains("here it is `train.chunks`"), "{message}");
    // Nothing is near.
    let message = error(SMALL, &["train.zebra=1"]);
    assert!(!message.contains("did you mean"), "{message}");
}

#[test]
fn set_refuses_what_does_not_fit() {
    assert!(error(SMALL, &["train.epochs"]).contains("key=value"));
    let message = error(SMALL, &["train.epochs=many"]);
    assert!(
        message.contains("train.epochs") && message.contains("many"),
        "{message}"
    );
    assert!(error(SMALL, &["train.epochs.x=1"]).contains("train.epochs"));
    assert!(error(SMALL, &["train.epochs=0"]).contains("epochs"));
}

#[test]
fn refuses_unknown_keys() {
    let message = error(&SMALL.replace("[data]", "sed = 1\n[data]"), &[]);
    assert!(
        message.contains("sed") && message.contains("did you mean `seeds`?"),
        "{message}"
    );
    let message = error(&SMALL.replace("train.epochs = 2", "train.epoch = 2"), &[]);
    assert!(message.contains("variant `cnn`"), "{message}");
    assert!(message.contains("did you mean `epochs`?"), "{message}");
    let message = error(&SMALL.replace("\"sgd\"", "\"sgdd\""), &[]);
    assert!(message.contains("did you mean `sgd`?"), "{message}");
}

#[test]
fn refuses_seeds_that_come_twice_or_not_at_all() {
    for (seeds, expected) in [
        ("[]", "`seeds` is empty"),
        ("[0, 2, 0]", "`seeds` has 0 twice"),
    ] {
        let text = SMALL.replace("[data]", &format!("seeds = {seeds}\n[data]"));
        let message = error(&text, &[]);
        assert!(message.contains(expected), "{message}");
    }
}

#[test]
fn refuses_claims_about_what_is_not_there() {
    let message = error(&SMALL.replace("cnn > fc", "cnnn > fc"), &[]);
    assert!(message.contains("did you mean `cnn`?"), "{message}");
    let message = error(&SMALL.replace("cnn > fc", "cnn.test_acuracy > 0.5"), &[]);
    assert!(
        message.contains("did you mean `test_accuracy`?"),
        "{message}"
    );
}

#[test]
fn keeps_only_what_is_asked_for() {
    let mut experiment = load_small(&[]).unwrap();
    assert!(experiment.keep_only(&["cnnn".to_string()]).is_err());
    experiment.keep_only(&["cnn".to_string()]).unwrap();
    assert_eq!(experiment.variants.len(), 1);
    assert_eq!(experiment.variants[0].name, "cnn");
}

#[test]
fn every_experiment_reads() {
    for name in builtin::names() {
        for (tier, _) in Experiment::load(name, Tier::Full, &[]).unwrap().tiers {
            let experiment = Experiment::load(name, tier, &[]).unwrap();
            assert_eq!(experiment.source, Source::BuiltIn);
        }
    }
}

#[test]
fn another_model_keeps_its_weights_and_what_it_takes() {
    let text = SMALL.replace(
        "model.name = \"mlp\"",
        "model = { name = \"vgg16-slim\", width_divisor = 2, weights = \"w.th\", new_head = true }",
    );
    let model = |name: &str| {
        let sets = [format!("model.name={name}")];
        let experiment = Experiment::parse("small", &text, Tier::Full, &sets).unwrap();
        experiment.variants[0].recipe.model.clone()
    };
    let mlp = model("mlp");
    assert_eq!((mlp.name.as_str(), mlp.width_divisor), ("mlp", 1));
    assert_eq!((mlp.weights.as_deref(), mlp.new_head), (Some("w.th"), true));
    assert_eq!(model("vgg16-slim").width_divisor, 2);
    // Settings of a model that is not built in are known to the caller's registry alone.
    assert_eq!(model("my-net").width_divisor, 2);
    // A whole table says all of it.
    let sets = ["model={name=\"mlp\"}".to_string()];
    let experiment = Experiment::parse("small", &text, Tier::Full, &sets).unwrap();
    assert_eq!(experiment.variants[0].recipe.model.weights, None);
}

#[test]
fn a_setting_of_the_default_loss_needs_no_name() {
    let experiment = load_small(&["train.loss.label_smoothing=0.1"]).unwrap();
    let named = [r#"train.loss={name="cross-entropy",label_smoothing=0.1}"#];
    let named = load_small(&named).unwrap();
    assert_eq!(experiment.variants[0].recipe, named.variants[0].recipe);
    let message = error(SMALL, &["train.loss.label_smothing=0.1"]);
    assert!(
        message.contains("did you mean `train.loss.label_smoothing`?"),
        "{message}"
    );
}

#[test]
fn files_and_names_are_loaded() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("my-own.toml");
    fs::write(&path, SMALL).unwrap();
    let name = path.display().to_string();
    let experiment = Experiment::load(&name, Tier::Full, &[]).unwrap();
    assert_eq!(experiment.name, "my-own");
    assert_eq!(experiment.source, Source::File(path.clone()));
    assert_eq!(experiment.text, SMALL);
    let only = [name, "quickstart".to_string()];
    let names: Vec<String> = (Experiment::of_tier(Tier::Full, &only, &[]).unwrap())
        .into_iter()
        .map(|experiment| experiment.name)
        .collect();
    assert_eq!(names, ["quickstart", "my-own"]);
    fs::write(&path, SMALL.replace("[data]", "sed = 1\n[data]")).unwrap();
    let message = Experiment::read(&path, Tier::Full, &[]).unwrap_err();
    assert!(message.message().contains("my-own.toml"), "{message}");
}

#[test]
fn names_of_experiments_are_checked() {
    let only = ["mnist-pixel-ordr".to_string()];
    let error = Experiment::of_tier(Tier::Full, &only, &[]).unwrap_err();
    assert!(
        error
            .message()
            .contains("did you mean `mnist-pixel-order`?"),
        "{error}"
    );
}

#[test]
fn a_folder_and_a_file_of_another_kind_are_no_experiments() {
    let dir = tempfile::tempdir().unwrap();
    let picture = dir.path().join("cat.png");
    fs::write(&picture, "not read").unwrap();
    for (path, expected) in [
        (dir.path(), "`tallow train "),
        (picture.as_path(), "a file whose name ends in .toml"),
    ] {
        let name = path.display().to_string();
        let error = Experiment::load(&name, Tier::Full, &[]).unwrap_err();
        let message = error.message();
        assert!(message.starts_with(&name), "{message}");
        assert!(message.contains(expected), "{message}");
    }
}
