//! Errors of a build that leaves features out.

#[cfg(not(feature = "pictures"))]
#[test]
fn an_image_folder_names_the_missing_feature() {
    use tallow_datasets::{Error, LoadOptions, Split, load};
    let result = load("folder:somewhere", Split::Train, &LoadOptions::default());
    let error = result.map(|_| ()).unwrap_err();
    assert!(
        matches!(
            error,
            Error::Feature {
                feature: "pictures",
                ..
            }
        ),
        "{error:?}"
    );
    assert!(error.to_string().contains("folder somewhere"), "{error}");
}

#[cfg(not(feature = "parquet"))]
#[test]
fn a_parquet_file_names_the_missing_feature() {
    let dir = crate::sets::make::Dir::new();
    dir.write("cifar10/train.parquet", "PAR1").fails(
        "cifar10",
        "cifar10/train.parquet",
        &["the feature `parquet`"],
    );
}

#[cfg(not(feature = "parquet"))]
#[test]
fn parquet_files_of_ones_own_name_the_missing_feature() {
    let options = tallow_datasets::LoadOptions::default();
    let result = tallow_datasets::load("parquet:birds", tallow_datasets::Split::Train, &options);
    let error = result.map(|_| ()).unwrap_err().to_string();
    assert!(
        error.contains("reading birds needs the feature `parquet`"),
        "{error}"
    );
}

#[cfg(not(feature = "download"))]
#[test]
fn a_download_names_the_missing_feature() {
    let dir = crate::sets::make::Dir::new();
    let mut options = dir.options();
    options.download = true;
    let result = tallow_datasets::load("kmnist", tallow_datasets::Split::Train, &options);
    let error = result.map(|_| ()).unwrap_err().to_string();
    assert!(error.contains("without the feature `download`"), "{error}");
}
