//! Pipelines as configurations.

use serde::Deserialize;
use tallow_transforms::{Compose, Interpolation, PadMode, Padding, Size, Transform};

#[derive(Debug, Deserialize)]
struct Config {
    train: Compose,
}

fn parse(list: &str) -> Result<Vec<Transform>, String> {
    let config: Config =
        toml::from_str(&format!("train = [{list}]")).map_err(|error| error.to_string())?;
    Ok(config.train.transforms().to_vec())
}

fn error(list: &str) -> String {
    parse(list).unwrap_err()
}

#[test]
fn every_transform_with_its_defaults() {
    let transforms = parse(
        r#"
        { name = "resize", size = 40 },
        { name = "resize", size = [36, 38], interpolation = "nearest" },
        { name = "grayscale" },
        { name = "pad", padding = [1, 2] },
        { name = "pad", padding = [1, 2, 3, 4], fill = 7, padding_mode = "edge" },
        { name = "random-crop", size = 32, padding = 4 },
        { name = "random-horizontal-flip" },
        { name = "center-crop", size = [28, 30] },
        { name = "to-tensor" },
        { name = "normalize", mean = [0.5], std = [0.25] },
        { name = "permute-pixels", seed = 3 },
        "#,
    );
    let pad = |left, top, right, bottom| Padding {
        left,
        top,
        right,
        bottom,
    };
    let expected = vec![
        Transform::Resize {
            size: 40.into(),
            interpolation: Interpolation::Bilinear,
        },
        Transform::Resize {
            size: Size::Both([36, 38]),
            interpolation: Interpolation::Nearest,
        },
        Transform::Grayscale {
            num_output_channels: 1,
        },
        Transform::Pad {
            padding: pad(1, 2, 1, 2),
            fill: 0.0,
            padding_mode: PadMode::Constant,
        },
        Transform::Pad {
            padding: pad(1, 2, 3, 4),
            fill: 7.0,
            padding_mode: PadMode::Edge,
        },
        Transform::random_crop(32, 4),
        Transform::RandomHorizontalFlip { p: 0.5 },
        Transform::CenterCrop {
            size: (28, 30).into(),
        },
        Transform::ToTensor,
        Transform::normalize([0.5], [0.25]),
        Transform::PermutePixels { seed: 3 },
    ];
    assert_eq!(transforms, Ok(expected));
}

#[test]
fn what_is_written_reads_back() {
    let pipeline = Compose::new(vec![
        Transform::Pad {
            padding: [1, 2, 3, 4].into(),
            fill: 9.0,
            padding_mode: PadMode::Symmetric,
        },
        Transform::RandomCrop {
            size: (30, 31).into(),
            padding: 2.into(),
            pad_if_needed: true,
            fill: 1.0,
            padding_mode: PadMode::Reflect,
        },
        Transform::RandomHorizontalFlip { p: 0.25 },
        Transform::ToTensor,
        Transform::normalize([0.4914, 0.4822, 0.4465], [0.247, 0.2435, 0.2616]),
        Transform::PermutePixels { seed: u64::MAX },
    ])
    .unwrap();
    let text = serde_json::to_string(&pipeline).unwrap();
    let back: Compose = serde_json::from_str(&text).unwrap();
    assert_eq!(back.transforms(), pipeline.transforms());
}

#[test]
fn unknown_fields_and_names_are_refused() {
    for list in [
        r#"{ name = "to-tensor", scale = true }"#,
        r#"{ name = "to-tensor" }, { name = "normalize", mean = [0.5], std = [0.5], inplace = true }"#,
        r#"{ name = "random-crop", size = 3, pading = 1 }"#,
        r#"{ name = "random-horizontal-flip", prob = 0.5 }"#,
        r#"{ name = "permute-pixels", seed = 0, extra = 1 }"#,
    ] {
        assert!(
            error(list).contains("unknown field"),
            "{list}: {}",
            error(list)
        );
    }
    let unknown = error(r#"{ name = "random-rotation" }"#);
    assert!(
        unknown.contains("unknown variant `random-rotation`") && unknown.contains("`random-crop`"),
        "{unknown}"
    );
    assert!(error(r#"{ name = "permute-pixels" }"#).contains("missing field `seed`"));
}

#[test]
fn sizes_and_paddings_say_what_they_may_be() {
    let size = error(r#"{ name = "random-crop", size = [1, 2, 3] }"#);
    assert!(
        size.contains("a size is a whole number or [height, width]"),
        "{size}"
    );
    let padding = error(r#"{ name = "pad", padding = -1 }"#);
    assert!(
        padding.contains("padding is a whole number, [left and right, top and bottom] or"),
        "{padding}"
    );
}

#[test]
fn a_pipeline_is_checked_as_it_is_read() {
    let message =
        error(r#"{ name = "normalize", mean = [0.5], std = [0.5] }, { name = "to-tensor" }"#);
    assert!(
        message.contains("transform 1 (normalize): it works on floats: put it after to-tensor"),
        "{message}"
    );
}
