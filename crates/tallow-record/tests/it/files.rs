//! Atomic writes.

use std::fs;

use tallow_record::{Error, error_message, sha256_file, write_atomic, write_json};

#[test]
fn replaces_and_leaves_nothing_beside() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    for text in ["one", "another"] {
        write_atomic(&path, text).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), text);
    }
    // A folder cannot be replaced by a file.
    let folder = dir.path().join("folder");
    fs::create_dir_all(folder.join("full")).unwrap();
    let message = write_atomic(&folder, b"").unwrap_err().to_string();
    assert!(message.contains("folder"), "{message}");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
}

/// Expected values from `sha256sum`.
#[test]
fn digests() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    fs::write(&path, "abc").unwrap();
    assert_eq!(
        sha256_file(&path).unwrap(),
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    );
    // More than one buffer.
    fs::write(&path, vec![b'a'; 1_000_000]).unwrap();
    assert_eq!(
        sha256_file(&path).unwrap(),
        "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"
    );
    let error = sha256_file(dir.path().join("none")).unwrap_err();
    assert!(matches!(error, Error::Io { .. }), "{error}");
    // The cause is in the message of the error already.
    assert_eq!(error_message(&error), error.to_string());
}

#[test]
fn makes_folders() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a").join("b.json");
    write_json(&path, &[1, 2]).unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), "[1, 2]\n");
    // A file cannot hold another.
    let error = write_json(path.join("c.json"), &1).unwrap_err();
    assert!(matches!(error, Error::Io { .. }), "{error}");
}

/// Others may read the file, as with any new file under the usual umask.
#[cfg(unix)]
#[test]
fn has_the_permissions_of_a_new_file() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let (atomic, plain) = (dir.path().join("atomic"), dir.path().join("plain"));
    write_atomic(&atomic, b"").unwrap();
    fs::write(&plain, b"").unwrap();
    let mode = |path| fs::metadata(path).unwrap().permissions().mode();
    assert_eq!(mode(&atomic), mode(&plain));
}
