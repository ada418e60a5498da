//! Pipelines as configurations.

use serde::Deserialize;
use tallow_transforms::{
    Compose, Interpolation, Normalize, Pad, PadMode, Padding, RandomCrop, Resize, TransformConfig,
};

#[derive(Debug, Deserialize)]
struct Config {
    train: Compose,
}

fn parse(list: &str) -> Result<Vec<TransformConfig>, String> {
    let config: Config =
        toml::from_str(&format!("train = [{list}]")).map_err(|error| error.to_string())?;
    Ok(config.train.configs())
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
        TransformConfig::Resize(Resize {
            size: 40.into(),
            interpolation: Interpolation::Bilinear,
        }),
        TransformConfig::Resize(Resize::new((36, 38)).with_interpolation(Interpolation::Nearest)),
        TransformConfig::grayscale(1),
        TransformConfig::Pad(Pad {
            padding: pad(1, 2, 1, 2),
            fill: 0.0,
            padding_mode: PadMode::Constant,
        }),
        TransformConfig::Pad(Pad {
            padding: pad(1, 2, 3, 4),
            fill: 7.0,
            padding_mode: PadMode::Edge,
        }),
        TransformConfig::random_crop(32, 4),
        TransformConfig::random_horizontal_flip(0.5),
        TransformConfig::center_crop((28, 30)),
        TransformConfig::to_tensor(),
        TransformConfig::normalize([0.5], [0.25]),
        TransformConfig::permute_pixels(3),
    ];
    assert_eq!(transforms, Ok(expected));
}

#[test]
fn what_is_written_reads_back() {
    let transforms = vec![
        TransformConfig::Pad(Pad {
            padding: [1, 2, 3, 4].into(),
            fill: 9.0,
            padding_mode: PadMode::Symmetric,
        }),
        TransformConfig::RandomCrop(RandomCrop {
            size: (30, 31).into(),
            padding: 2.into(),
            pad_if_needed: true,
            fill: 1.0,
            padding_mode: PadMode::Reflect,
        }),
        TransformConfig::random_horizontal_flip(0.25),
        TransformConfig::to_tensor(),
        TransformConfig::normalize([0.4914, 0.4822, 0.4465], [0.247, 0.2435, 0.2616]),
        TransformConfig::permute_pixels(u64::MAX),
    ];
    let text = serde_json::to_string(&transforms).unwrap();
    let back: Compose = serde_json::from_str(&text).unwrap();
    assert_eq!(back.configs(), transforms);
    let pipeline = Compose::new(transforms).unwrap();
    assert_eq!(serde_json::to_string(&pipeline).unwrap(), text);
    assert_eq!(serde_json::to_string(&pipeline.configs()).unwrap(), text);
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
    let unknown = error(r#"{ name = "elastic-transform" }"#);
    assert!(
        unknown.contains("unknown variant `elastic-transform`")
            && unknown.contains("`random-crop`"),
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
        message
            .contains("transform 1 (normalize): it works on f32 values: move it after to-tensor"),
        "{message}"
    );
}

/// Recipes in baselines hold this JSON: fields, their order and how numbers are written must stay.
#[test]
fn the_written_form_is_fixed() {
    let transforms = vec![
        TransformConfig::resize(40),
        TransformConfig::grayscale(1),
        TransformConfig::pad([1, 2]),
        TransformConfig::random_crop(32, 4),
        TransformConfig::random_horizontal_flip(0.5),
        TransformConfig::center_crop((28, 30)),
        TransformConfig::to_tensor(),
        TransformConfig::normalize([0.5], [0.25]),
        TransformConfig::permute_pixels(3),
    ];
    let expected = [
        r#"{"name":"resize","size":40,"interpolation":"bilinear"}"#,
        r#"{"name":"grayscale","num_output_channels":1}"#,
        r#"{"name":"pad","padding":[1,2,1,2],"fill":0.0,"padding_mode":"constant"}"#,
        r#"{"name":"random-crop","size":32,"padding":4,"pad_if_needed":false,"fill":0.0,"padding_mode":"constant"}"#,
        r#"{"name":"random-horizontal-flip","p":0.5}"#,
        r#"{"name":"center-crop","size":[28,30]}"#,
        r#"{"name":"to-tensor"}"#,
        r#"{"name":"normalize","mean":[0.5],"std":[0.25]}"#,
        r#"{"name":"permute-pixels","seed":3}"#,
    ];
    for (transform, expected) in transforms.iter().zip(expected) {
        assert_eq!(serde_json::to_string(transform).unwrap(), expected);
        // The name in a recipe and the name in an error message are one.
        assert!(expected.contains(&format!(r#""name":"{}""#, transform.name())));
    }
    assert_eq!(
        serde_json::to_string(&transforms).unwrap(),
        format!("[{}]", expected.join(","))
    );
}

#[test]
fn mean_and_std_in_any_form() {
    let expected = TransformConfig::normalize(vec![0.8, 0.2], vec![0.5, 0.5]);
    let (mean, std): (&[f32], &[f32]) = (&[0.8, 0.2], &[0.5; 2]);
    assert_eq!(TransformConfig::normalize([0.8, 0.2], [0.5; 2]), expected);
    assert_eq!(TransformConfig::normalize([0.8, 0.2], [0.5; 2]), expected);
    assert_eq!(TransformConfig::normalize(mean, std), expected);
    assert_eq!(TransformConfig::normalize(mean, std), expected);
    assert_eq!(TransformConfig::from(Normalize::new(mean, std)), expected);
}
