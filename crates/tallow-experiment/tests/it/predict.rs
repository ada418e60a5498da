//! Predictions for files are those of the run.

use std::fs;
use std::io::Cursor;
use std::path::Path;

use candle_core::{Device, IndexOp, ModuleT, Tensor};
use image::{DynamicImage, GrayImage, ImageFormat, RgbImage};
use tallow_datasets::{LoadOptions, PictureOptions, Split, load};
use tallow_experiment::predictor::WeightsRequest;
use tallow_experiment::{Predictor, Registry, heat_map};
use tallow_models::LoadWeights;
use tallow_record::{Extras, Run};
use tallow_transforms::{Compose, TransformConfig};

use crate::support::{SMALL, experiment, train};

fn png(image: DynamicImage) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    image.write_to(&mut bytes, ImageFormat::Png).unwrap();
    bytes.into_inner()
}

#[test]
fn a_run_predicts_files_as_it_predicted_test_images() {
    let dir = tempfile::tempdir().unwrap();
    let outcome = train(&experiment(SMALL, &["train.epochs=1"]), dir.path());
    let test = load("fashion-mnist-sample", Split::Test, &LoadOptions::default()).unwrap();
    for folder in &outcome.runs {
        let predictor = Predictor::from_run(folder, &Device::Cpu, &Registry::default()).unwrap();
        assert_eq!(predictor.classes().len(), 10);
        assert_eq!(predictor.dataset(), "fashion-mnist-sample");
        let run = Run::read(folder).unwrap();
        assert_eq!(predictor.model_name(), run.info.model);
        let expected = Extras::read(&run).unwrap().predictions.unwrap();
        let mut scratch = Vec::new();
        let images = expected.iter().map(|prediction| {
            let pixels = test.image(prediction.index, &mut scratch).unwrap();
            let image = GrayImage::from_raw(28, 28, pixels.data.to_vec()).unwrap();
            predictor.prepare_bytes(&png(image.into())).unwrap()
        });
        let images: Vec<_> = images.collect();
        assert!(images[0].steps.last().unwrap().contains("config.toml"));
        let found = predictor.predict(&images, 3).unwrap();
        for (found, expected) in found.iter().zip(&expected) {
            let top = found.iter().zip(&expected.top);
            for (found, (class, probability)) in top {
                assert_eq!(found.index, *class);
                assert!((found.probability - probability).abs() < 1e-5);
            }
        }
        if predictor.model_name() == "cnn" {
            let layer = predictor.last_feature_map().unwrap();
            let map = predictor.heat_map(&images[0], 2, &layer, 100).unwrap();
            assert_eq!(map.dimensions(), (112, 112));
            let file = dir.path().join("map.png");
            heat_map::write_png(&file, &map).unwrap();
            assert_eq!(image::open(&file).unwrap().into_rgb8(), map);
        } else {
            assert!(predictor.last_feature_map().is_err());
        }
    }

    // The same by the file of weights.
    let weights = outcome.runs[1].join("model.safetensors");
    let request = WeightsRequest {
        weights: weights.clone().into(),
        model: "cnn".to_string(),
        dataset: None,
        data: None,
        given: None,
        sets: Vec::new(),
        device: Device::Cpu,
        registry: Registry::default(),
        load: LoadWeights::default(),
    };
    let predictor = Predictor::from_weights(&request).unwrap();
    assert_eq!(predictor.weights(), Some(weights.as_path()));
    let wrong = WeightsRequest {
        model: "mlp".to_string(),
        ..request
    };
    let message = Predictor::from_weights(&wrong).err().unwrap().message();
    assert!(message.contains("not those of `mlp`"), "{message}");

    let message = Predictor::from_run(dir.path(), &Device::Cpu, &Registry::default());
    let message = message.err().unwrap().message();
    assert!(message.contains("config.toml is missing"), "{message}");
}

/// Folder of red and blue images, `side` pixels high and wide.
fn folder(dir: &Path, side: u32) {
    for (split, count) in [("train", 12), ("test", 4)] {
        for (class, channel) in [("blue", 2), ("red", 0)] {
            let folder = dir.join(split).join(class);
            fs::create_dir_all(&folder).unwrap();
            for number in 0..count {
                let image = RgbImage::from_fn(side, side, |x, y| {
                    let mut pixel = [((x * 7 + y * 3 + number * 11) % 60) as u8; 3];
                    pixel[channel] += 150;
                    pixel.into()
                });
                image.save(folder.join(format!("{number}.png"))).unwrap();
            }
        }
    }
}

#[test]
fn a_model_is_rebuilt_for_the_images_of_its_run() {
    // `cnn` is made for one channel, `resnet20` for 32x32.
    for (model, layer, assumed) in [
        ("cnn", "conv2", "28x28"),
        ("resnet20", "layer3.2.conv2", "32x32"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("pictures");
        folder(&data, 28);
        let text = format!(
            r#"
            question = "Which colour?"
            [data]
            dataset = 'folder:{}'
            transforms = [{{ name = "to-tensor" }}]
            [train]
            epochs = 2
            batch_size = 4
            optimizer = {{ name = "adam", lr = 0.01 }}
            [[variants]]
            name = "colours"
            model.name = "{model}"
            "#,
            data.display()
        );
        let outcome = train(&experiment(&text, &[]), &dir.path().join("runs"));
        let run = &outcome.runs[0];
        let predict = || {
            let predictor = Predictor::from_run(run, &Device::Cpu, &Registry::default()).unwrap();
            let file = data.join("test/red/0.png");
            let image = predictor.prepare_file(&file).unwrap();
            assert_eq!(image.image.dims(), [1, 3, 28, 28], "{:?}", image.steps);
            let own = image.steps.iter().any(|step| step.contains("own size"));
            assert!(own, "{:?}", image.steps);
            assert!(predictor.heat_map(&image, 1, layer, 28).is_ok());
            let top = predictor.predict(&[image], 1).unwrap();
            (top[0][0].class.clone(), top[0][0].probability)
        };
        let found = predict();
        let expected = Extras::read(&Run::read(run).unwrap()).unwrap();
        let file = std::path::Path::new("red").join("0.png");
        let shown = expected.predictions.unwrap();
        let expected = shown
            .iter()
            .find(|image| image.name.as_deref() == file.to_str())
            .unwrap();
        let class = ["blue", "red"][expected.top[0].0];
        assert_eq!(found.0, class);
        assert!((found.1 - expected.top[0].1).abs() < 1e-5);
        // A record of an earlier version does not say the shape; the data does.
        fs::remove_file(run.join("shapes.json")).unwrap();
        assert_eq!(predict(), found);
        // Without both, the size that the model was made for is assumed, and every prediction says so.
        fs::remove_dir_all(data.join("train")).unwrap();
        let predictor = Predictor::from_run(run, &Device::Cpu, &Registry::default());
        let image = predictor
            .unwrap()
            .prepare_file(&data.join("test/red/0.png"));
        let steps = image.unwrap().steps.join("\n");
        assert!(steps.contains(&format!("{assumed} is assumed")), "{steps}");
    }
}

/// JPEG of 8 x 8 pixels whose left half is light, with an EXIF orientation that turns it a quarter clockwise.
fn turned_jpeg() -> Vec<u8> {
    let image = RgbImage::from_fn(8, 8, |x, _| image::Rgb([if x < 4 { 240 } else { 16 }; 3]));
    let mut bytes = Cursor::new(Vec::new());
    image.write_to(&mut bytes, ImageFormat::Jpeg).unwrap();
    let mut bytes = bytes.into_inner();
    // Big-endian TIFF with one entry: tag 0x0112, a short of value 6.
    let exif = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0";
    let length = (exif.len() + 2) as u8;
    bytes.splice(2..2, [&[0xff, 0xe1, 0, length][..], exif].concat());
    bytes
}

#[test]
fn prediction_sees_the_pixels_of_training() {
    let dir = tempfile::tempdir().unwrap();
    let transparent = image::RgbaImage::from_fn(8, 8, |x, y| {
        image::Rgba([
            (x * 30) as u8,
            (y * 30) as u8,
            99,
            if x > 3 { 0 } else { 255 },
        ])
    });
    let files = [
        ("turned.jpg", turned_jpeg()),
        ("transparent.png", png(transparent.into())),
        (
            "wide.png",
            png(RgbImage::from_fn(8, 8, |x, y| [x as u8, y as u8, 7].into()).into()),
        ),
    ];
    for (name, bytes) in &files {
        fs::create_dir_all(dir.path().join("train/all")).unwrap();
        fs::write(dir.path().join("train/all").join(name), bytes).unwrap();
    }
    let name = format!("folder:{}", dir.path().display());
    for exif in [true, false] {
        let pictures = PictureOptions {
            exif,
            ..PictureOptions::default()
        };
        let options = LoadOptions {
            pictures,
            ..LoadOptions::default()
        };
        let set = load(&name, Split::Train, &options).unwrap();
        let to_tensor = || Compose::new(vec![TransformConfig::to_tensor()]).unwrap();
        let classes = ["r", "g", "b"];
        let new = Predictor::new(Means, &Device::Cpu, to_tensor(), classes, Some((3, 8, 8)));
        let predictor = new.unwrap().with_pictures(pictures);
        let mut scratch = Vec::new();
        // By name: transparent, turned, wide.
        for (index, file) in [1, 0, 2].into_iter().enumerate() {
            let trained = set.image(index, &mut scratch).unwrap();
            let trained: Vec<f32> = trained.data.iter().map(|&v| f32::from(v) / 255.0).collect();
            let prepared = predictor.prepare_bytes(&files[file].1).unwrap();
            let seen: Vec<f32> = prepared.image.flatten_all().unwrap().to_vec1().unwrap();
            assert_eq!(seen, trained, "{}", files[file].0);
        }
        let turned = predictor.prepare_bytes(&files[0].1).unwrap();
        let at = |y: usize, x: usize| {
            let pixel = turned.image.i((0, 0, y, x)).unwrap();
            pixel.to_scalar::<f32>().unwrap()
        };
        // The light half is at the top once the picture is turned, and at the left as stored.
        assert_eq!(at(0, 7) > 0.8, exif);
        assert_eq!(at(7, 0) > 0.8, !exif);
    }
}

/// Logits: means of the channels.
struct Means;

impl ModuleT for Means {
    fn forward_t(&self, images: &Tensor, _train: bool) -> candle_core::Result<Tensor> {
        images.mean(3)?.mean(2)
    }
}

#[test]
fn any_module_predicts() {
    let resize = TransformConfig::resize(8);
    let to_tensor = TransformConfig::to_tensor();
    let classes: Vec<String> = ["red", "green", "blue"].map(String::from).to_vec();
    let new = |transforms: Vec<TransformConfig>, classes: &[String], shape| {
        let transforms = Compose::new(transforms).unwrap();
        Predictor::new(Means, &Device::Cpu, transforms, classes.to_vec(), shape)
    };
    let error = new(vec![to_tensor.clone()], &classes, None).err().unwrap();
    assert!(error.message().contains("one size"), "{error}");
    assert!(new(vec![to_tensor.clone()], &classes, Some((3, 8, 8))).is_ok());
    let sizes = TransformConfig::center_crop(8);
    let transforms = vec![resize, sizes, to_tensor];
    let predictor = new(transforms.clone(), &classes, None).unwrap();
    let image = |size: (u32, u32), pixel: [u8; 3]| {
        let image = RgbImage::from_pixel(size.0, size.1, pixel.into());
        predictor.prepare_bytes(&png(image.into())).unwrap()
    };
    let images = [
        image((20, 10), [0, 200, 10]),
        image((9, 30), [10, 0, 200]),
        image((8, 8), [90, 0, 0]),
    ];
    let found = predictor.predict(&images, 2).unwrap();
    let names: Vec<&str> = found.iter().map(|top| top[0].class.as_str()).collect();
    assert_eq!(names, ["green", "blue", "red"]);
    assert!(
        found
            .iter()
            .all(|top| top.len() == 2 && top[0].probability > top[1].probability)
    );

    let two = new(transforms, &classes[..2], None).unwrap();
    let error = two.predict(&images, 1).unwrap_err();
    assert!(
        error.message().contains("3 outputs for 2 classes"),
        "{error}"
    );
}

/// Logits: the first is not finite, the others are means of the channels.
struct Diverged(f64);

impl ModuleT for Diverged {
    fn forward_t(&self, images: &Tensor, _train: bool) -> candle_core::Result<Tensor> {
        let first = Tensor::new(&[[self.0 as f32]], images.device())?;
        let rest = images.mean(3)?.mean(2)?.narrow(1, 1, 2)?;
        Tensor::cat(&[&first, &rest], 1)
    }
}

#[test]
fn outputs_that_are_not_finite_have_no_class() {
    for (value, is_finite) in [
        (0.5, true),
        (f64::NAN, false),
        (f64::INFINITY, false),
        (f64::NEG_INFINITY, false),
    ] {
        let transforms = Compose::new(vec![TransformConfig::to_tensor()]).unwrap();
        let classes = ["red", "green", "blue"];
        let predictor = Predictor::new(
            Diverged(value),
            &Device::Cpu,
            transforms,
            classes,
            Some((3, 8, 8)),
        )
        .unwrap();
        let image = RgbImage::from_pixel(8, 8, [10, 20, 30].into());
        let image = predictor.prepare_bytes(&png(image.into())).unwrap();
        let found = predictor.predict(&[image], 1);
        assert_eq!(found.is_ok(), is_finite, "{value}");
        if let Err(error) = found {
            assert!(error.message().contains("not finite"), "{error}");
        }
    }
}
