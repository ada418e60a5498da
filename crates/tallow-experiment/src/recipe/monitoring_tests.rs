//! Validation, early stopping and checkpoints of a recipe.

use super::*;

fn recipe(data: &str, train: &str) -> Recipe {
    let text = format!(
        "data = {{ dataset = \"mnist\", transforms = [{{ name = \"to-tensor\" }}]{data} }}
         model = {{ name = \"mlp\" }}
         [train]
         epochs = 3
         batch_size = 8
         optimizer = {{ name = \"sgd\", lr = 0.1 }}
         {train}"
    );
    crate::keys::to_recipe(toml::from_str(&text).unwrap()).unwrap()
}

#[test]
fn validation_is_a_share_or_a_number() {
    let validation = |value: &str| {
        let recipe = recipe(&format!(", validation = {value}"), "");
        recipe.check()?;
        recipe
            .data
            .validation
            .unwrap()
            .images(50, "data.validation")
    };
    assert_eq!(validation("0.1").unwrap(), 5);
    assert_eq!(validation("7").unwrap(), 7);
    for wrong in ["0", "0.0", "1.0", "-0.5", "nan", "inf"] {
        let message = validation(wrong).unwrap_err().to_string();
        assert!(message.contains("data.validation is"), "{message}");
    }
    for wrong in ["50", "0.001", "0.999"] {
        let message = validation(wrong).unwrap_err().to_string();
        assert!(message.contains("of 50 training images"), "{message}");
    }
}

#[test]
fn monitors_are_of_data_that_the_run_has() {
    let refused = |data: &str, train: &str| recipe(data, train).check().unwrap_err().to_string();
    let with = ", validation = 0.1";
    let message = refused("", "monitor = \"validation_loss\"");
    assert!(
        message.contains("train.monitor is validation_loss, but there is no validation data"),
        "{message}"
    );
    let message = refused(with, "early_stopping = { monitor = \"test_accuracy\" }");
    assert!(
        message.contains("monitor validation_accuracy instead"),
        "{message}"
    );
    let message = refused(
        with,
        "early_stopping = { monitor = \"validation_loss\", mode = \"max\" }",
    );
    assert!(message.contains("of which lower is better"), "{message}");
    assert!(refused(with, "early_stopping = { patience = 0 }").contains("patience is 0"));
    assert!(refused(with, "early_stopping = { min_delta = -1.0 }").contains("min_delta is -1"));
    assert!(refused("", "max_minutes = 0.0").contains("max_minutes"));
    assert!(refused("", "checkpoint = { every_steps = 0 }").contains("every_steps: is 0"));

    let fine = recipe(with, "early_stopping = { mode = \"max\" }");
    fine.check().unwrap();
    assert_eq!(fine.monitor(true), Monitor::ValidationAccuracy);
    assert!(fine.chosen_on_test(true).is_empty());
    let on_test = recipe("", "early_stopping = {}\nrestore_best = true");
    on_test.check().unwrap();
    assert_eq!(on_test.monitor(false), Monitor::TestAccuracy);
    assert_eq!(on_test.chosen_on_test(false).len(), 2);
}

/// Only the folder tells whether there is a validation split.
#[test]
fn monitors_of_a_dataset_of_ones_own_are_checked_when_it_is_read() {
    for monitor in ["validation_loss", "test_loss"] {
        let train = format!("monitor = \"{monitor}\"\nearly_stopping = {{}}");
        let mut own = recipe("", &train);
        own.data.dataset = "folder:pictures".into();
        own.check().unwrap();
        let of_validation = monitor == "validation_loss";
        assert!(own.check_monitors(Some(of_validation)).is_ok());
        let error = own.check_monitors(Some(!of_validation)).unwrap_err();
        assert!(error.to_string().contains("train.monitor is"), "{error}");
    }
    let mut own = recipe("", "early_stopping = { patience = 0 }");
    own.data.dataset = "npz:arrays".into();
    assert!(own.check().is_err());
}

#[test]
fn checkpoints_are_every_minute_unless_the_recipe_says_when() {
    let config = |text: &str| {
        recipe("", text)
            .train
            .checkpoint
            .unwrap_or_default()
            .config()
    };
    assert_eq!(config("").every_minutes, Some(1.0));
    assert_eq!(
        config("checkpoint = { keep_last = 2 }").every_minutes,
        Some(1.0)
    );
    let steps = config("checkpoint = { every_steps = 10 }");
    assert_eq!((steps.every_steps, steps.every_minutes), (Some(10), None));
}
