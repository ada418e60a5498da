//! A folder of image files.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use tallow_datasets::{
    DataLoader, Dataset, Error, ImageFolder, LoaderConfig, PictureOptions, Split, Subset,
};
use tallow_transforms::{Compose, TransformConfig};

use crate::sets::make::*;

fn copy(dir: &Dir, fixture_name: &str, to: &str) {
    dir.write(to, fixture_bytes(&format!("folder/{fixture_name}")));
}

/// Classes `ant` and `bee`, with nesting, capitals, hidden and foreign files.
fn insects() -> Dir {
    let dir = Dir::new();
    copy(&dir, "rgb.png", "root/bee/2.png");
    copy(&dir, "rgb.bmp", "root/bee/10.BMP");
    copy(&dir, "lossless.webp", "root/ant/a/x.webp");
    copy(&dir, "quality95.jpg", "root/ant/b.jpg");
    copy(&dir, "grey.png", "root/ant/a-z/y.png");
    copy(&dir, "rgba.png", "root/ant/a/sub/w.png");
    copy(&dir, "rgb.png", "root/.hidden/z.png");
    dir.write("root/ant/.DS_Store.png", "")
        .write("root/ant/notes.txt", "")
        .write("root/list.png", "");
    dir
}

#[test]
fn classes_and_images_are_numbered_as_torchvision_does() {
    let dir = insects();
    let set = ImageFolder::open(dir.path("root"), Split::Train).unwrap();
    assert_eq!(set.info().classes, ["ant", "bee"]);
    assert_eq!(set.info().name, "root");
    assert_eq!(
        set.info().provenance,
        "root (image folder; decoded by tallow-jpeg and image, EXIF orientation applied, alpha dropped; \
         left out 2 files: list.png, ant/notes.txt, and 2 hidden)"
    );
    assert_eq!(set.left_out().len(), 2);
    // What torchvision 0.29's `ImageFolder(root).samples` gives for these names.
    let expected = [
        "ant/b.jpg",
        "ant/a/x.webp",
        "ant/a-z/y.png",
        "ant/a/sub/w.png",
        "bee/10.BMP",
        "bee/2.png",
    ];
    let found: Vec<_> = (0..set.len()).map(|i| set.path(i).unwrap()).collect();
    assert_eq!(found, expected.map(|e| dir.path("root").join(e)));
    assert_eq!(labels(&set), [0, 0, 0, 0, 1, 1]);
    let names: Vec<_> = (0..set.len()).map(|i| set.name(i).unwrap()).collect();
    assert_eq!(names, expected);
    assert_eq!(set.name(6), None);
    assert!(matches!(
        set.path(6),
        Err(Error::Index { index: 6, len: 6 })
    ));
    assert!(matches!(set.label(6), Err(Error::Index { .. })));
    assert!(matches!(
        set.image(6, &mut Vec::new()),
        Err(Error::Index { .. })
    ));
}

#[test]
fn every_format_becomes_rgb_as_with_pillow() {
    let mut scratch = Vec::new();
    for name in [
        "rgb.png",
        "rgba.png",
        "grey.png",
        "palette.png",
        "rgb.bmp",
        "lossless.webp",
        "quality95.jpg",
    ] {
        let dir = Dir::new();
        copy(&dir, name, &format!("root/only/{name}"));
        let set = ImageFolder::open(dir.path("root"), Split::Train).unwrap();
        let image = set.image(0, &mut scratch).unwrap();
        assert_eq!(
            (image.channels, image.height, image.width),
            (3, 9, 14),
            "{name}"
        );
        assert_eq!(
            image.data,
            fixture_bytes(&format!("folder/{name}.bin")),
            "{name}"
        );
    }
}

#[test]
fn the_shape_is_known_when_all_images_share_it() {
    let dir = insects();
    let open = || ImageFolder::open(dir.path("root"), Split::Train).unwrap();
    assert_eq!(open().shape(), None);
    assert_eq!(
        open().with_uniform_shape().unwrap().shape(),
        Some((3, 9, 14))
    );
    let square = image::RgbImage::new(5, 5);
    square.save(dir.path("root/bee/square.png")).unwrap();
    assert_eq!(open().with_uniform_shape().unwrap().shape(), None);
}

#[test]
fn the_digest_follows_names_sizes_and_labels() {
    let digest = |dir: &Dir| {
        ImageFolder::open(dir.path("root"), Split::Train)
            .unwrap()
            .info()
            .digest
            .clone()
    };
    let dir = insects();
    let first = digest(&dir);
    assert_eq!(first, digest(&insects()));
    fs::rename(dir.path("root/bee/2.png"), dir.path("root/bee/3.png")).unwrap();
    let renamed = digest(&dir);
    copy(&dir, "grey.png", "root/bee/3.png");
    let other = digest(&dir);
    assert!(first != renamed && renamed != other && first != other);
}

#[test]
fn load_opens_train_and_test() {
    let dir = Dir::new();
    copy(&dir, "rgb.png", "set/train/a/1.png");
    copy(&dir, "rgb.png", "set/val/a/1.png");
    let name = format!("folder:{}", dir.path("set").display());
    assert_eq!(dir.train(&name).len(), 1);
    assert_eq!(
        dir.load(&name, Split::Test).unwrap().info().split,
        Split::Test
    );
    let name = format!("folder:{}", dir.path("set/train").display());
    assert_eq!(dir.train(&name).len(), 1);
    let error = dir.load(&name, Split::Test).err().unwrap().to_string();
    assert!(error.contains("a subfolder called test"), "{error}");
}

#[test]
fn what_is_no_folder_of_classes_is_described() {
    let dir = Dir::new();
    copy(&dir, "rgb.png", "flat/1.png");
    copy(&dir, "rgb.png", "flat/2.png");
    dir.write("one/notes.txt", "notes");
    dir.write("none/.hidden", "nothing");
    dir.write("set/other/1.txt", "nothing");
    fs::create_dir(dir.path("set/test")).unwrap();
    for (name, expected) in [
        (
            "nowhere",
            "expected a folder of pictures, found no such folder",
        ),
        ("flat/1.png", "expected a folder of pictures, found a file"),
        ("flat", "right below, found 2 files and no folder"),
        ("one", "right below, found one file and no folder"),
        ("none", "right below, found an empty folder"),
        ("set", "expected a subfolder called train, found none"),
    ] {
        let path = dir.path(name).display().to_string();
        let error = dir.load(&format!("folder:{path}"), Split::Train);
        let error = error.err().unwrap().to_string();
        assert!(error.starts_with(&path), "{error}");
        assert!(error.contains(expected), "{error}");
    }
    let error = dir.load("folder:no/such/folder", Split::Train);
    let error = error.err().unwrap().to_string();
    let current = std::env::current_dir().unwrap();
    let expected = format!("no such folder in {}", current.display());
    assert!(error.ends_with(&expected), "{error}");
}

#[test]
fn a_class_without_pictures_names_its_other_files() {
    let dir = Dir::new();
    copy(&dir, "rgb.png", "set/cat/1.png");
    dir.write("set/dog/IMG_1.heic", "a picture of another kind");
    let error = ImageFolder::open(dir.path("set"), Split::Train).unwrap_err();
    let error = error.to_string();
    let file = Path::new("dog").join("IMG_1.heic");
    let expected = format!("of class `dog`, found none but 1 file: {}", file.display());
    assert!(error.ends_with(&expected), "{error}");
}

#[test]
fn wrong_folders_and_files_are_named() {
    let dir = insects();
    let open = |name: &str| {
        let opened = ImageFolder::open(dir.path(name), Split::Train);
        opened.map(|set| set.len()).unwrap_err().to_string()
    };
    assert!(open("nowhere").contains("nowhere"));
    assert!(open("root/bee").contains("a subfolder for every class"));
    fs::create_dir(dir.path("root/cow")).unwrap();
    let error = open("root");
    assert!(
        error.contains("cow") && error.contains("of class `cow`"),
        "{error}"
    );
    fs::remove_dir(dir.path("root/cow")).unwrap();

    let whole = fixture_bytes("folder/quality95.jpg");
    let png = fixture_bytes("folder/rgb.png");
    // A header that promises a picture of 60,000 x 60,000, three bytes a pixel.
    let mut huge = png.clone();
    huge[16..24].copy_from_slice(&[0, 0, 0xea, 0x60, 0, 0, 0xea, 0x60]);
    let sum = crc32(&huge[12..29]);
    huge[29..33].copy_from_slice(&sum.to_be_bytes());
    let bad: [(&str, &[u8]); 5] = [
        ("empty.png", b""),
        ("text.png", b"this is no picture"),
        ("half.jpg", &whole[..100]),
        ("half.png", &png[..60]),
        ("huge.png", &huge),
    ];
    for (name, bytes) in bad {
        let dir = Dir::new();
        dir.write(&format!("root/only/{name}"), bytes);
        let set = ImageFolder::open(dir.path("root"), Split::Train).unwrap();
        let error = set
            .image(0, &mut Vec::new())
            .map(|i| i.data.len())
            .unwrap_err();
        assert!(matches!(error, Error::Picture { .. }), "{name}: {error:?}");
        assert!(error.to_string().contains(name), "{error}");
    }
}

#[cfg(unix)]
#[test]
fn a_loop_of_links_ends() {
    let dir = insects();
    std::os::unix::fs::symlink(dir.path("root/ant"), dir.path("root/ant/again")).unwrap();
    let error = ImageFolder::open(dir.path("root"), Split::Train)
        .unwrap_err()
        .to_string();
    assert!(error.contains("is a link pointing upwards?"), "{error}");
}

/// One picture each at these paths.
fn pictures(paths: &[&str]) -> Dir {
    let dir = Dir::new();
    for path in paths {
        copy(&dir, "rgb.png", &format!("set/{path}"));
    }
    dir
}

fn split(dir: &Dir, split: Split) -> tallow_datasets::Result<ImageFolder> {
    ImageFolder::open_split(dir.path("set"), split, PictureOptions::default())
}

#[test]
fn a_label_means_the_same_class_in_both_splits() {
    for test in ["test", "val", "valid", "validation"] {
        let other = [format!("{test}/a/1.png"), format!("{test}/c/1.png")];
        let dir = pictures(&["train/a/1.png", "train/b/1.png", "train/c/1.png"]);
        for path in &other {
            copy(&dir, "rgb.png", &format!("set/{path}"));
        }
        let (train, test) = (split(&dir, Split::Train), split(&dir, Split::Test));
        let (train, test) = (train.unwrap(), test.unwrap());
        assert_eq!(train.info().classes, ["a", "b", "c"]);
        assert_eq!(test.info().classes, train.info().classes);
        assert_eq!(labels(&train), [0, 1, 2]);
        assert_eq!(labels(&test), [0, 2]);
        // Both are named after the folder, and what is missing is told.
        assert_eq!(
            (&train.info().name[..], &test.info().name[..]),
            ("set", "set")
        );
        let told = &test.info().provenance;
        assert!(told.contains("no test pictures of b"), "{told}");
        assert!(!train.info().provenance.contains("no train"));
    }
    // An empty folder is a class too.
    let dir = pictures(&["train/a/1.png", "test/a/1.png", "test/b/1.png"]);
    fs::create_dir(dir.path("set/train/b")).unwrap();
    assert_eq!(labels(&split(&dir, Split::Test).unwrap()), [0, 1]);
    let train = split(&dir, Split::Train).unwrap();
    assert!(train.info().provenance.contains("no train pictures of b"));
    // Without a training split, the test split has classes of its own.
    let dir = pictures(&["test/b/1.png"]);
    assert_eq!(split(&dir, Split::Test).unwrap().info().classes, ["b"]);
}

#[test]
fn a_class_of_the_test_split_alone_is_refused_by_name() {
    let dir = pictures(&["train/a/1.png", "test/a/1.png", "test/crow/1.png"]);
    for which in [Split::Train, Split::Test] {
        let error = split(&dir, which).unwrap_err().to_string();
        assert!(
            error.contains("`crow` of the test split, which the training split lacks"),
            "{error}"
        );
    }
    let dir = pictures(&["train/a/1.png", "test/a/1.png"]);
    for part in ["train", "test"] {
        fs::create_dir(dir.path(&format!("set/{part}/none"))).unwrap();
    }
    let error = split(&dir, Split::Train).unwrap_err().to_string();
    assert!(error.contains("of class `none`"), "{error}");
}

#[test]
fn val_beside_test_is_the_validation_split() {
    for name in ["val", "valid", "validation"] {
        let dir = pictures(&[
            "train/a/1.png",
            "train/b/1.png",
            "train/c/1.png",
            "test/a/1.png",
            "test/c/1.png",
        ]);
        for path in ["b/1.png", "b/2.png", "c/1.png"] {
            copy(&dir, "rgb.png", &format!("set/{name}/{path}"));
        }
        let of = |which| split(&dir, which).unwrap();
        let (validation, test) = (of(Split::Validation), of(Split::Test));
        assert_eq!(validation.info().classes, of(Split::Train).info().classes);
        assert_eq!(validation.info().split, Split::Validation);
        assert_eq!(labels(&validation), [1, 1, 2]);
        assert_eq!(labels(&test), [0, 2]);
        let told = &validation.info().provenance;
        assert!(told.contains("no validation pictures of a"), "{told}");

        let folder = format!("folder:{}", dir.path("set").display());
        let loaded = dir.validation(&folder).unwrap();
        assert_eq!(labels(&*loaded), [1, 1, 2]);

        // A class that it alone has cannot be learned.
        copy(&dir, "rgb.png", &format!("set/{name}/crow/1.png"));
        for which in [Split::Train, Split::Validation, Split::Test] {
            let error = split(&dir, which).unwrap_err().to_string();
            let expected = "`crow` of the validation split, which the training split lacks";
            assert!(error.contains(expected), "{error}");
        }
    }
    // One of several.
    let dir = pictures(&["train/a/1.png", "valid/a/1.png", "test/a/1.png"]);
    copy(&dir, "rgb.png", "set/val/a/2.png");
    let validation = split(&dir, Split::Validation).unwrap();
    assert_eq!(validation.name(0).as_deref(), Some("a/2.png"));
    let test = split(&dir, Split::Test).unwrap();
    let told = &test.info().provenance;
    assert!(told.contains("not used: valid"), "{told}");
}

/// As the folders of ImageNet.
#[test]
fn val_without_test_is_the_test_split() {
    let dir = pictures(&["train/a/1.png", "val/a/1.png"]);
    let test = split(&dir, Split::Test).unwrap();
    let told = &test.info().provenance;
    assert!(told.contains("`val` is the test split"), "{told}");
    let error = split(&dir, Split::Validation).unwrap_err().to_string();
    assert!(error.contains("beside one called test"), "{error}");
    let folder = format!("folder:{}", dir.path("set").display());
    assert!(dir.validation(&folder).is_none());
}

#[test]
fn the_catalogue_has_no_validation_splits() {
    let dir = Dir::new();
    assert!(dir.validation("fashion-mnist-sample").is_none());
    let error = dir.load("fashion-mnist-sample", Split::Validation);
    let error = error.map(|set| set.len()).unwrap_err().to_string();
    assert!(error.contains("has no validation split"), "{error}");
}

#[test]
fn every_extension_of_torchvision_is_taken_and_the_contents_tell_the_format() {
    let names = [
        "a.jpg", "b.jpeg", "c.png", "d.ppm", "e.bmp", "f.pgm", "g.tif", "h.tiff", "i.webp", "j.JPG",
    ];
    let dir = Dir::new();
    for name in names {
        // All of them hold a PNG.
        copy(&dir, "rgb.png", &format!("root/only/{name}"));
    }
    for name in ["k.gif", "l.heic", "m", "n.png.txt"] {
        copy(&dir, "rgb.png", &format!("root/only/{name}"));
    }
    let set = ImageFolder::open(dir.path("root"), Split::Train).unwrap();
    assert_eq!(set.len(), names.len());
    let mut scratch = Vec::new();
    for index in 0..set.len() {
        let image = set.image(index, &mut scratch).unwrap();
        assert_eq!(image.data, fixture_bytes("folder/rgb.png.bin"));
    }
    let told = &set.info().provenance;
    let expected = ["k.gif", "l.heic", "m"].map(|n| fixture_name("only", n));
    let expected = format!("left out 4 files: {} and 1 more", expected.join(", "));
    assert!(told.contains(&expected), "{told}");
}

fn fixture_name(folder: &str, name: &str) -> String {
    std::path::Path::new(folder)
        .join(name)
        .display()
        .to_string()
}

#[test]
fn orientation_is_applied_unless_it_is_switched_off() {
    let dir = Dir::new();
    dir.write("root/only/x.jpg", fixture_bytes("pictures/exif-6.jpg"));
    let mut scratch = Vec::new();
    for (exif, size, words) in [
        (true, (14, 9), "EXIF orientation applied"),
        (false, (9, 14), "EXIF orientation ignored"),
    ] {
        let options = PictureOptions {
            exif,
            ..PictureOptions::default()
        };
        let set = ImageFolder::open_with(dir.path("root"), Split::Train, options).unwrap();
        assert!(set.info().provenance.contains(words));
        let image = set.image(0, &mut scratch).unwrap();
        assert_eq!((image.height, image.width), size);
        let set = set.with_uniform_shape().unwrap();
        assert_eq!(set.shape(), Some((3, size.0, size.1)));
    }
}

#[cfg(unix)]
#[test]
fn pipes_and_dangling_links_are_left_out_or_named() {
    use std::os::unix::fs::symlink;

    let dir = pictures(&["train/a/1.png", "test/a/1.png"]);
    symlink("nowhere", dir.path("set/train/a/notes")).unwrap();
    symlink("self", dir.path("set/train/a/self")).unwrap();
    assert_eq!(split(&dir, Split::Train).unwrap().left_out().len(), 2);
    symlink("nowhere", dir.path("set/train/a/2.png")).unwrap();
    let error = split(&dir, Split::Train).unwrap_err();
    assert!(matches!(error, Error::Io { .. }), "{error:?}");
    assert!(error.to_string().contains("2.png"), "{error}");
}

/// PNG's checksum.
fn crc32(bytes: &[u8]) -> u32 {
    let mut sum = flate2::Crc::new();
    sum.update(bytes);
    sum.sum()
}

#[test]
fn errors_of_a_batch_name_the_picture() {
    let dir = insects();
    let small = image::RgbImage::new(5, 5);
    small.save(dir.path("root/bee/small.png")).unwrap();
    let set = ImageFolder::open(dir.path("root"), Split::Train).unwrap();
    // Their order in the subset is not that of the folder.
    let set = Subset::new(Arc::new(set), vec![5, 6]).unwrap();
    assert_eq!(set.name(0).as_deref(), Some("bee/2.png"));
    assert_eq!(set.name(2), None);
    let set: Arc<dyn Dataset> = Arc::new(set);
    let error = |transforms: Vec<TransformConfig>| {
        let transforms = Compose::new(transforms).unwrap();
        let loader = DataLoader::new(set.clone(), transforms, LoaderConfig::default()).unwrap();
        loader.epoch(0).next().unwrap().unwrap_err().to_string()
    };
    let message = error(vec![TransformConfig::to_tensor()]);
    let name = fixture_name("bee", "small.png");
    assert!(
        message.contains(&format!("sample 1 ({name}) is (3, 5, 5)")),
        "{message}"
    );
    let crop = r#"[{"name": "random-crop", "size": 9}, {"name": "to-tensor"}]"#;
    let message = error(serde_json::from_str(crop).unwrap());
    assert!(
        message.contains(&format!("sample 1 ({name}): ")),
        "{message}"
    );
}
