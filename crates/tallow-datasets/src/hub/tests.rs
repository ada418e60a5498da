//! Files of models from a server on this machine.

use std::collections::HashMap;

use super::*;
use crate::server::{COMMIT, Server, ok};

const PATH: &str = "/us/tiny/resolve/main/onnx/model%201.bin";
const FILE: &str = "onnx/model 1.bin";

fn hub(server: &Server, root: &Path) -> Hub {
    Hub {
        endpoint: server.address.clone(),
        cache: Some(root.join("cache")),
        token: None,
    }
}

fn fetch(hub: &Hub, file: &str) -> Result<PathBuf> {
    fetch_model_file_from(hub, "us/tiny", file, None)
}

#[test]
fn a_model_file_is_fetched_once_into_the_cache() {
    let root = tempfile::tempdir().unwrap();
    let server = Server::start(HashMap::from([(PATH.into(), ok(b"weights".into()))]));
    let hub = hub(&server, root.path());
    let path = fetch(&hub, FILE).unwrap();
    let folder = root.path().join("cache/models--us--tiny");
    assert_eq!(path, folder.join("snapshots").join(COMMIT).join(FILE));
    assert_eq!(fs::read(&path).unwrap(), b"weights");
    assert_eq!(
        fs::read_to_string(folder.join("refs/main")).unwrap(),
        COMMIT
    );
    assert_eq!(fetch(&hub, FILE).unwrap(), path);
    assert_eq!(server.asked().len(), 1, "the second time from the cache");
    #[cfg(unix)]
    {
        let blob = fs::canonicalize(&path).unwrap();
        assert!(is_sha256(blob.file_name().unwrap().to_str().unwrap()));
        let blobs = fs::read_dir(folder.join("blobs")).unwrap();
        assert_eq!(blobs.count(), 1, "no temporary file is left");
    }
}

#[test]
fn a_wrong_digest_leaves_nothing() {
    let root = tempfile::tempdir().unwrap();
    let mut answer = ok(b"weights".into());
    answer.etag = "0".repeat(64);
    let server = Server::start(HashMap::from([(PATH.into(), answer)]));
    let hub = hub(&server, root.path());
    let error = fetch(&hub, FILE).unwrap_err();
    assert!(matches!(error, Error::Download { .. }), "{error:?}");
    let text = error.to_string();
    for part in ["hf:us/tiny/onnx/model 1.bin", "expected SHA-256 0000"] {
        assert!(text.contains(part), "{text}");
    }
    let folder = root.path().join("cache/models--us--tiny");
    assert_eq!(fs::read_dir(folder.join("blobs")).unwrap().count(), 0);
    assert!(!folder.join("snapshots").exists());
}

#[test]
fn wrong_names_are_refused() {
    let root = tempfile::tempdir().unwrap();
    let server = Server::start(HashMap::new());
    let hub = hub(&server, root.path());
    for (repository, file) in [
        ("tiny", "model.bin"),
        ("us/../tiny", "model.bin"),
        ("us/..", "model.bin"),
        ("us/tiny", "../model.bin"),
        ("us/tiny", "/model.bin"),
        ("us/tiny", "c:\\model.bin"),
        ("us/tiny", ""),
    ] {
        let error = fetch_model_file_from(&hub, repository, file, None).unwrap_err();
        assert!(matches!(error, Error::Argument(_)), "{error:?}");
    }
    assert!(server.asked().is_empty());
    let error = fetch(&hub, "other.bin").unwrap_err().to_string();
    assert!(error.contains("other.bin: not found (HTTP 404)"), "{error}");
}
