//! Augmentations in recipes: defaults, the written form, and errors that name the key.

use tallow_transforms::{Compose, ImageRef, SampleRng, TransformConfig};

fn parse(entry: &str) -> Result<TransformConfig, String> {
    #[derive(serde::Deserialize)]
    struct Recipe {
        transform: TransformConfig,
    }
    let recipe: Result<Recipe, _> = toml::from_str(&format!("transform = {entry}"));
    recipe
        .map(|recipe| recipe.transform)
        .map_err(|error| error.to_string())
}

/// Least text of a recipe, and all settings with torchvision's defaults.
#[test]
fn the_written_form_is_fixed() {
    let forms = [
        ("random-vertical-flip", "", r#""p":0.5"#),
        ("alternating-flip", "", ""),
        (
            "random-resized-crop",
            "size = 224",
            r#""size":224,"scale":[0.08,1.0],"ratio":[0.75,1.3333333333333333],"interpolation":"bilinear""#,
        ),
        (
            "random-rotation",
            "degrees = 15",
            r#""degrees":15.0,"interpolation":"nearest","fill":0.0"#,
        ),
        (
            "random-affine",
            "degrees = [-5, 10]",
            r#""degrees":[-5.0,10.0],"interpolation":"nearest","fill":0.0"#,
        ),
        (
            "random-affine",
            "degrees = 0, translate = [0.1, 0.2], scale = [0.9, 1.1], shear = [1, 2, 3, 4], center = [3, 4]",
            r#""degrees":0.0,"translate":[0.1,0.2],"scale":[0.9,1.1],"shear":[1.0,2.0,3.0,4.0],"interpolation":"nearest","center":[3.0,4.0],"fill":0.0"#,
        ),
        (
            "random-perspective",
            "",
            r#""distortion_scale":0.5,"p":0.5,"interpolation":"bilinear","fill":0.0"#,
        ),
        (
            "color-jitter",
            "brightness = 0.4, hue = [-0.1, 0.2]",
            r#""brightness":0.4,"contrast":0.0,"saturation":0.0,"hue":[-0.1,0.2]"#,
        ),
        ("random-grayscale", "", r#""p":0.1"#),
        ("random-invert", "", r#""p":0.5"#),
        ("random-posterize", "bits = 4", r#""bits":4,"p":0.5"#),
        (
            "random-solarize",
            "threshold = 128",
            r#""threshold":128.0,"p":0.5"#,
        ),
        (
            "random-adjust-sharpness",
            "sharpness_factor = 2",
            r#""sharpness_factor":2.0,"p":0.5"#,
        ),
        ("random-autocontrast", "", r#""p":0.5"#),
        ("random-equalize", "p = 1", r#""p":1.0"#),
        (
            "gaussian-blur",
            "kernel_size = 3",
            r#""kernel_size":3,"sigma":[0.1,2.0]"#,
        ),
        (
            "random-erasing",
            "",
            r#""p":0.5,"scale":[0.02,0.33],"ratio":[0.3,3.3],"value":0.0"#,
        ),
        (
            "random-erasing",
            r#"value = "random""#,
            r#""p":0.5,"scale":[0.02,0.33],"ratio":[0.3,3.3],"value":"random""#,
        ),
        (
            "random-erasing",
            "value = [1, 2, 3]",
            r#""p":0.5,"scale":[0.02,0.33],"ratio":[0.3,3.3],"value":[1.0,2.0,3.0]"#,
        ),
        ("cutout", "size = 8", r#""size":8,"fill":0.0,"p":1.0"#),
        (
            "auto-augment",
            "",
            r#""policy":"imagenet","interpolation":"nearest","fill":0.0"#,
        ),
        (
            "rand-augment",
            "",
            r#""num_ops":2,"magnitude":9,"num_magnitude_bins":31,"interpolation":"nearest","fill":0.0"#,
        ),
        (
            "trivial-augment-wide",
            "",
            r#""num_magnitude_bins":31,"interpolation":"nearest","fill":0.0"#,
        ),
        (
            "aug-mix",
            "",
            r#""severity":3,"mixture_width":3,"chain_depth":-1,"alpha":1.0,"all_ops":true,"interpolation":"bilinear","fill":0.0"#,
        ),
    ];
    for (name, settings, written) in forms {
        let comma = |rest: &str| if rest.is_empty() { "" } else { "," };
        let entry = format!(r#"{{ name = "{name}"{} {settings} }}"#, comma(settings));
        let transform = parse(&entry).unwrap();
        assert_eq!(transform.name(), name);
        assert!(transform.is_random());
        let json = serde_json::to_string(&transform).unwrap();
        assert_eq!(
            json,
            format!(r#"{{"name":"{name}"{}{written}}}"#, comma(written))
        );
        let back: TransformConfig = serde_json::from_str(&json).unwrap();
        assert_eq!(back, transform);
    }
}

/// The message for `entry` before to-tensor, or after it, when the pipeline is built or meets an image.
fn message(entry: &str, after: bool, shape: (usize, usize, usize)) -> String {
    let transform = match parse(entry) {
        Ok(transform) => transform,
        Err(message) => return message,
    };
    let mut steps = vec![transform, TransformConfig::to_tensor()];
    if after {
        steps.reverse();
    }
    match Compose::new(steps) {
        Err(error) => error.to_string(),
        Ok(pipeline) => {
            let error = pipeline.output_shape(shape).unwrap_err();
            let data = vec![0; shape.0 * shape.1 * shape.2];
            let image = ImageRef::new(&data, shape.0, shape.1, shape.2).unwrap();
            let mut out = vec![0.0; data.len()];
            let rng = &mut SampleRng::new(0, 0, 0);
            assert_eq!(pipeline.apply(image, rng, &mut out), Err(error.clone()));
            error.to_string()
        }
    }
}

#[test]
fn settings_out_of_range_name_their_key() {
    for (entry, expected) in [
        (
            r#"{ name = "random-vertical-flip", p = 1.5 }"#,
            "probability 1.5 is outside [0, 1]",
        ),
        (
            r#"{ name = "random-posterize", bits = 9 }"#,
            "bits is 9, expected a whole number in 0..=8",
        ),
        (
            r#"{ name = "random-solarize", threshold = 256 }"#,
            "threshold is 256, expected 0 to 255 before to-tensor",
        ),
        (
            r#"{ name = "random-solarize", threshold = nan }"#,
            "threshold is NaN",
        ),
        (
            r#"{ name = "random-adjust-sharpness", sharpness_factor = -1 }"#,
            "sharpness_factor is -1, expected",
        ),
        (
            r#"{ name = "color-jitter", brightness = -0.1 }"#,
            "brightness is [1.1, 0.9], expected",
        ),
        (
            r#"{ name = "color-jitter", contrast = [0.5, 0.4] }"#,
            "contrast is [0.5, 0.4], expected",
        ),
        (
            r#"{ name = "color-jitter", saturation = [-1, 0.4] }"#,
            "saturation is [-1, 0.4], expected",
        ),
        (
            r#"{ name = "color-jitter", hue = 0.6 }"#,
            "hue is [-0.6, 0.6], expected",
        ),
        (
            r#"{ name = "color-jitter", hue = "much" }"#,
            "expected a number or [min, max]",
        ),
        (
            r#"{ name = "gaussian-blur", kernel_size = 4 }"#,
            "kernel_size is 4, expected an odd number",
        ),
        (
            r#"{ name = "gaussian-blur", kernel_size = 3, sigma = 0 }"#,
            "sigma is 0, expected a number above 0",
        ),
        (
            r#"{ name = "gaussian-blur", kernel_size = 3, sigma = [2, 1] }"#,
            "sigma is [2, 1], expected",
        ),
        (
            r#"{ name = "random-rotation", degrees = -3 }"#,
            "degrees is [3, -3], expected",
        ),
        (
            r#"{ name = "random-rotation", degrees = [0, inf] }"#,
            "degrees is [0, inf], expected",
        ),
        (
            r#"{ name = "random-rotation", degrees = 3, center = [0, nan] }"#,
            "center is [0, NaN], expected",
        ),
        (
            r#"{ name = "random-rotation", degrees = 3, fill = 300 }"#,
            "fill 300",
        ),
        (
            r#"{ name = "random-rotation", degrees = 3, expand = true }"#,
            "unknown field `expand`",
        ),
        (
            r#"{ name = "random-affine", degrees = 3, translate = [0.1, 1.1] }"#,
            "translate is 1.1, expected",
        ),
        (
            r#"{ name = "random-affine", degrees = 3, scale = [0, 1] }"#,
            "scale is [0, 1], expected",
        ),
        (
            r#"{ name = "random-affine", degrees = 3, shear = [0, 1, 2] }"#,
            "shear is a number, [min, max] or",
        ),
        (
            r#"{ name = "random-affine", degrees = 3, shear = [3, 1] }"#,
            "shear is [3, 1], expected",
        ),
        (
            r#"{ name = "random-perspective", distortion_scale = 2 }"#,
            "distortion_scale is 2, expected",
        ),
        (
            r#"{ name = "random-resized-crop", size = 0 }"#,
            "size 0 is outside 1..=65535",
        ),
        (
            r#"{ name = "random-resized-crop", size = 8, scale = [0.5, 1.1] }"#,
            "scale is [0.5, 1.1], expected",
        ),
        (
            r#"{ name = "random-resized-crop", size = 8, ratio = [0, 1] }"#,
            "ratio is [0, 1], expected",
        ),
        (
            r#"{ name = "random-erasing", scale = [-1, 1] }"#,
            "scale is [-1, 1], expected",
        ),
        (
            r#"{ name = "random-erasing", value = "random" }"#,
            "move it after to-tensor, or give a number",
        ),
        (
            r#"{ name = "random-erasing", value = "noise" }"#,
            r#"value is a number, a list of one number per channel, or "random""#,
        ),
        (
            r#"{ name = "random-erasing", value = [1, 2] }"#,
            "value has 2 values and the image 3 channels",
        ),
        (
            r#"{ name = "random-erasing", value = [] }"#,
            "value is [], expected one number per channel",
        ),
        (r#"{ name = "cutout", size = 0 }"#, "size 0 is outside"),
        (
            r#"{ name = "auto-augment", policy = "cifar100" }"#,
            "unknown variant `cifar100`, expected one of `imagenet`, `cifar10`, `svhn`",
        ),
        (
            r#"{ name = "rand-augment", magnitude = 31 }"#,
            "magnitude is 31, expected a whole number below num_magnitude_bins",
        ),
        (
            r#"{ name = "rand-augment", num_ops = 1001 }"#,
            "num_ops is 1001, expected",
        ),
        (
            r#"{ name = "trivial-augment-wide", num_magnitude_bins = 1 }"#,
            "num_magnitude_bins is 1, expected",
        ),
        (
            r#"{ name = "aug-mix", severity = 11 }"#,
            "severity is 11, expected a whole number in 1..=10",
        ),
        (
            r#"{ name = "aug-mix", mixture_width = 0 }"#,
            "mixture_width is 0, expected",
        ),
        (r#"{ name = "aug-mix", alpha = 0 }"#, "alpha is 0, expected"),
    ] {
        let message = message(entry, false, (3, 8, 8));
        assert!(message.contains(expected), "{entry}: {message}");
    }
}

#[test]
fn the_side_of_to_tensor_counts() {
    for (entry, expected) in [
        (
            r#"{ name = "random-resized-crop", size = 8 }"#,
            "move it before to-tensor",
        ),
        (r#"{ name = "rand-augment" }"#, "move it before to-tensor"),
        (
            r#"{ name = "trivial-augment-wide" }"#,
            "move it before to-tensor",
        ),
        (r#"{ name = "auto-augment" }"#, "move it before to-tensor"),
        (r#"{ name = "aug-mix" }"#, "move it before to-tensor"),
        (
            r#"{ name = "random-rotation", degrees = 3, interpolation = "bicubic" }"#,
            "bicubic interpolation works on the u8 image",
        ),
        (
            r#"{ name = "random-solarize", threshold = 128 }"#,
            "threshold is 128, expected 0 to 1 after to-tensor",
        ),
    ] {
        let message = message(entry, true, (3, 8, 8));
        assert!(message.contains(expected), "{entry}: {message}");
    }
}

#[test]
fn images_that_a_transform_does_not_take() {
    for (entry, shape, expected) in [
        (
            r#"{ name = "color-jitter", hue = 0.1 }"#,
            (2, 4, 4),
            "expected 3 channels, the image has 2",
        ),
        (
            r#"{ name = "random-grayscale" }"#,
            (4, 4, 4),
            "expected 3 channels, the image has 4",
        ),
        (
            r#"{ name = "rand-augment" }"#,
            (2, 4, 4),
            "expected 3 channels, the image has 2",
        ),
        (
            r#"{ name = "gaussian-blur", kernel_size = [3, 9] }"#,
            (1, 4, 4),
            "reflect padding of 4 is too wide for a side of 4",
        ),
    ] {
        let message = message(entry, false, shape);
        assert!(message.contains(expected), "{entry}: {message}");
    }
}
