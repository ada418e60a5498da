//! Downloads from a server on this machine.

use std::collections::HashMap;
use std::net::TcpListener;
use std::sync::{Arc, Mutex};

use sha2::{Digest, Sha256};

use super::*;
use crate::digest::hex;
use crate::entry::Published;
use crate::formats::idx;
use crate::options::Progress;
use crate::server::{Answer, COMMIT, Server, ok};
use crate::storage::{Labels, Storage};

const DIGITS: &[&str] = &["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"];

const STORAGE: &[Storage] = &[idx::files(
    &["train-images-idx3-ubyte", "train-labels-idx1-ubyte"],
    &["t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"],
)];

const NAMES: [&str; 4] = [
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
];

/// The four files of a set of three training images and one test image.
fn bodies() -> [Vec<u8>; 4] {
    let images = |n: u32| {
        let header = [0x803, n, 28, 28].map(u32::to_be_bytes).concat();
        [header, vec![n as u8; n as usize * 784]].concat()
    };
    let labels = |n: u32| {
        [
            [0x801, n].map(u32::to_be_bytes).concat(),
            vec![4; n as usize],
        ]
        .concat()
    };
    [images(3), labels(3), images(1), labels(1)]
}

/// A dataset whose files are at `host` and, as a hub repository `us/tiny`, at the hub.
fn tiny(host: &str) -> &'static Entry {
    let published = NAMES.iter().zip(bodies()).map(|(name, body)| Published {
        name,
        size: body.len() as u64,
        sha256: hex(&Sha256::digest(&body)).leak(),
    });
    Box::leak(Box::new(Entry {
        name: "tiny",
        description: "",
        shape: (1, 28, 28),
        classes: DIGITS,
        train_len: 3,
        test_len: 1,
        storage: STORAGE,
        source: "nowhere",
        licence: "",
        digests: None,
        folder: "tiny",
        inner: &[],
        elsewhere: &[],
        labels: Labels::PLAIN,
        transposed: false,
        published: published.collect::<Vec<_>>().leak(),
        hub: Some(HubFiles {
            owner: "us",
            name: "tiny",
            files: &NAMES,
        }),
        hosts: vec![Host {
            base: format!("{host}/files/").leak(),
            files: &NAMES,
        }]
        .leak(),
    }))
}

/// The server's answers when all is well: at the hub or at the host.
fn answers(prefix: &str) -> HashMap<String, Answer> {
    let paths = NAMES.iter().map(|name| format!("{prefix}{name}"));
    paths.zip(bodies().map(ok)).collect()
}

const AT_HOST: &str = "/files/";
const AT_HUB: &str = "/datasets/us/tiny/resolve/main/";

struct Setting {
    server: Server,
    entry: &'static Entry,
    root: tempfile::TempDir,
}

impl Setting {
    fn new(answers: HashMap<String, Answer>) -> Self {
        let server = Server::start(answers);
        let entry = tiny(&server.address);
        Self {
            server,
            entry,
            root: tempfile::tempdir().unwrap(),
        }
    }

    fn hub(&self) -> Hub {
        Hub {
            endpoint: self.server.address.clone(),
            cache: Some(self.root.path().join("hub-cache")),
            token: None,
        }
    }

    fn cache(&self) -> PathBuf {
        self.root.path().join("cache")
    }

    fn download(&self) -> Result<std::result::Result<PathBuf, Vec<String>>> {
        self.download_telling(None)
    }

    fn download_telling(
        &self,
        progress: Option<ProgressFn>,
    ) -> Result<std::result::Result<PathBuf, Vec<String>>> {
        let options = LoadOptions {
            cache_dir: Some(self.cache()),
            progress,
            ..Default::default()
        };
        download(self.entry, &options, &self.hub())
    }

    /// The failures of a download that leaves nothing behind.
    fn failures(&self) -> Vec<String> {
        let failures = self.download().unwrap().unwrap_err();
        let left: Vec<_> = fs::read_dir(self.cache())
            .unwrap()
            .map(|e| e.unwrap().file_name())
            .collect();
        assert_eq!(left, [".tiny.lock"], "something was left behind");
        failures
    }

    fn assert_complete(&self) {
        let dir = self.cache().join("tiny");
        let mut names: Vec<_> = fs::read_dir(&dir)
            .unwrap()
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        assert_eq!(names[0], SUMS);
        assert_eq!(names.len(), 5, "{names:?}");
        let places = Places {
            cache: Some(self.cache()),
            ..Default::default()
        };
        let found = places.find(self.entry, Split::Train).unwrap();
        let set = read(self.entry, Split::Train, &found, false).unwrap();
        assert_eq!(set.labels(), [4, 4, 4]);
        assert_eq!(set.info().provenance, "tiny (IDX, original)");
        let sums = fs::read_to_string(dir.join(SUMS)).unwrap();
        assert!(sums.contains(&format!("{}  {}", self.entry.published[2].sha256, NAMES[2])));
    }
}

#[test]
fn the_hub_comes_first() {
    let setting = Setting::new(answers(AT_HUB));
    let told = Arc::new(Mutex::new(Vec::new()));
    let log = told.clone();
    let tell: ProgressFn = Arc::new(move |p| log.lock().unwrap().push(p));
    assert_eq!(
        setting.download_telling(Some(tell)).unwrap().unwrap(),
        setting.cache().join("tiny")
    );
    setting.assert_complete();
    let told = told.lock().unwrap();
    let size = bodies()[0].len() as u64;
    let end = Progress {
        file: NAMES[0].into(),
        done: size,
        total: Some(size),
    };
    assert!(told.contains(&end), "{told:?}");
}

#[test]
fn the_host_comes_next() {
    let setting = Setting::new(answers(AT_HOST));
    let told = Arc::new(Mutex::new(Vec::new()));
    let log = told.clone();
    let tell: ProgressFn = Arc::new(move |p| log.lock().unwrap().push(p));
    setting.download_telling(Some(tell)).unwrap().unwrap();
    setting.assert_complete();
    let size = bodies()[3].len() as u64;
    let end = Progress {
        file: NAMES[3].into(),
        done: size,
        total: Some(size),
    };
    assert_eq!(told.lock().unwrap().last(), Some(&end));
}

#[test]
fn what_is_there_is_not_fetched_again() {
    let setting = Setting::new(answers(AT_HOST));
    setting.download().unwrap().unwrap();
    let asked = setting.server.asked().len();
    setting.download().unwrap().unwrap();
    assert_eq!(setting.server.asked().len(), asked);
}

#[test]
fn the_hubs_own_cache_is_used() {
    let setting = Setting::new(HashMap::new());
    let hub_cache = setting.root.path().join("hub-cache/datasets--us--tiny");
    let write = |path: String, bytes: &[u8]| {
        let path = hub_cache.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    };
    write("refs/main".into(), COMMIT.as_bytes());
    for (name, body) in NAMES.iter().zip(bodies()) {
        write(format!("snapshots/{COMMIT}/{name}"), &body);
    }
    setting.download().unwrap().unwrap();
    setting.assert_complete();
    assert!(setting.server.asked().is_empty(), "no request is needed");
}

#[cfg(unix)]
#[test]
fn damage_in_the_hubs_cache_is_found() {
    let setting = Setting::new(HashMap::new());
    let hub_cache = setting.root.path().join("hub-cache/datasets--us--tiny");
    let snapshot = hub_cache.join("snapshots").join(COMMIT);
    for folder in [&hub_cache.join("refs"), &hub_cache.join("blobs"), &snapshot] {
        fs::create_dir_all(folder).unwrap();
    }
    fs::write(hub_cache.join("refs/main"), COMMIT).unwrap();
    let digest = "0".repeat(64);
    fs::write(hub_cache.join("blobs").join(&digest), &bodies()[0]).unwrap();
    let target = format!("../../blobs/{digest}");
    std::os::unix::fs::symlink(target, snapshot.join(NAMES[0])).unwrap();
    let failures = setting.failures();
    assert!(
        failures[0].contains("expected SHA-256 0000"),
        "{failures:?}"
    );
}

#[test]
fn redirects_are_followed_and_their_digest_counts() {
    // As the hub does with a large file: it states the digest, and another server has the file.
    let files = Server::start(answers("/cdn/"));
    let redirect = |name: &str, body: &[u8]| Answer {
        status: "302 Found",
        headers: format!(
            "Location: {}/cdn/{name}\r\nX-Linked-ETag: \"{}\"\r\n",
            files.address,
            hex(&Sha256::digest(body))
        ),
        ..ok(Vec::new())
    };
    let all = || {
        NAMES
            .iter()
            .zip(bodies())
            .map(|(name, body)| (format!("{AT_HUB}{name}"), redirect(name, &body)))
            .collect::<HashMap<_, _>>()
    };
    let setting = Setting::new(all());
    let hub = Hub {
        token: Some("secret".into()),
        ..setting.hub()
    };
    let options = LoadOptions {
        cache_dir: Some(setting.cache()),
        ..Default::default()
    };
    download(setting.entry, &options, &hub).unwrap().unwrap();
    setting.assert_complete();
    // The token goes to the hub, and no further.
    let sent = |server: &Server| {
        let with = |r: &&String| r.to_lowercase().contains("authorization: bearer secret");
        server.asked().iter().filter(with).count()
    };
    assert_eq!((sent(&setting.server), sent(&files)), (4, 0));
    assert_eq!(files.asked().len(), 4);

    let mut wrong = all();
    let path = format!("{AT_HUB}{}", NAMES[1]);
    let answer = redirect(NAMES[1], b"something else");
    wrong.insert(path, answer);
    let failures = Setting::new(wrong).failures();
    assert!(
        failures[0].contains("train-labels-idx1-ubyte: expected SHA-256"),
        "{failures:?}"
    );

    let loop_path = format!("{AT_HUB}{}", NAMES[0]);
    let around = Answer {
        status: "302 Found",
        headers: format!("Location: {loop_path}\r\n"),
        ..ok(Vec::new())
    };
    let failures = Setting::new(HashMap::from([(loop_path, around)])).failures();
    assert!(
        failures[0].contains("more than 10 redirects"),
        "{failures:?}"
    );
}

#[test]
fn an_incomplete_folder_is_completed() {
    let setting = Setting::new(answers(AT_HOST));
    let dir = setting.cache().join("tiny");
    fs::create_dir_all(&dir).unwrap();
    fs::write(dir.join(NAMES[0]), "old").unwrap();
    fs::create_dir_all(setting.cache().join(".tiny.partial/rest")).unwrap();
    setting.download().unwrap().unwrap();
    setting.assert_complete();
    assert!(!setting.cache().join(".tiny.partial").exists());
}

#[test]
fn a_wrong_digest_is_refused() {
    let mut host = answers(AT_HOST);
    host.get_mut("/files/t10k-labels-idx1-ubyte").unwrap().body[8] ^= 1;
    let failures = Setting::new(host).failures();
    assert_eq!(failures.len(), 2);
    assert!(
        failures[0].contains("/datasets/us/tiny: ") && failures[0].contains("not found"),
        "{failures:?}"
    );
    assert!(
        failures[1].contains("t10k-labels-idx1-ubyte: expected SHA-256"),
        "{failures:?}"
    );

    // The hub states a digest of its own, in the ETag; here also of a file with no published digest.
    let mut hub = answers(AT_HUB);
    hub.get_mut(&format!("{AT_HUB}{}", NAMES[1])).unwrap().etag = "0".repeat(64);
    let failures = Setting::new(hub).failures();
    assert!(
        failures[0].contains("expected SHA-256 0000"),
        "{failures:?}"
    );
}

#[test]
fn a_wrong_size_is_refused() {
    let name = "/files/train-images-idx3-ubyte";
    let size = bodies()[0].len();
    // The connection ends early, a shorter file, a longer one.
    for (length, body, part) in [
        (size, size / 2, "train-images"),
        (100, 100, "found 100"),
        (5000, 5000, "found more"),
    ] {
        let mut host = answers(AT_HOST);
        let answer = host.get_mut(name).unwrap();
        answer.body.resize(body, 0);
        answer.length = length;
        let failures = Setting::new(host).failures();
        assert!(failures[1].contains(part), "{failures:?}");
    }
}

#[test]
fn contents_are_checked_before_they_are_kept() {
    // Files without a published digest: labels that are none.
    let mut hub = answers(AT_HUB);
    let labels = [&bodies()[1][..8], &[4, 40, 4]].concat();
    hub.insert(format!("{AT_HUB}{}", NAMES[1]), ok(labels));
    let mut setting = Setting::new(hub);
    let entry = Entry {
        published: &[],
        hosts: &[],
        hub: setting.entry.hub,
        ..copy_entry(setting.entry)
    };
    setting.entry = Box::leak(Box::new(entry));
    let failures = setting.failures();
    assert!(failures[0].contains("label 40 at sample 1"), "{failures:?}");

    // Fewer images than there should be.
    let entry = Entry {
        test_len: 2,
        hub: setting.entry.hub,
        ..copy_entry(setting.entry)
    };
    let mut setting = Setting::new(answers(AT_HUB));
    setting.entry = Box::leak(Box::new(entry));
    let failures = setting.failures();
    assert!(
        failures[0].contains("2 images in the test split, found 1"),
        "{failures:?}"
    );
}

fn copy_entry(entry: &'static Entry) -> Entry {
    Entry {
        hub: None,
        published: &[],
        hosts: &[],
        ..*entry
    }
}

#[test]
fn nobody_there_is_said_at_once() {
    let setting = Setting::new(HashMap::new());
    let closed = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let hub = Hub {
        endpoint: format!("http://{closed}"),
        cache: None,
        token: None,
    };
    let options = LoadOptions {
        cache_dir: Some(setting.cache()),
        ..Default::default()
    };
    let failures = download(setting.entry, &options, &hub)
        .unwrap()
        .unwrap_err();
    assert!(
        failures[0].starts_with(&hub.endpoint) && failures[0].contains("refused"),
        "{failures:?}"
    );
    assert!(failures[1].contains("404"), "{failures:?}");
}

#[test]
fn a_cache_that_cannot_be_written_is_an_error() {
    let root = tempfile::tempdir().unwrap();
    fs::write(root.path().join("file"), "").unwrap();
    let options = LoadOptions {
        cache_dir: Some(root.path().join("file/cache")),
        ..Default::default()
    };
    let hub = Hub {
        endpoint: "http://127.0.0.1:1".into(),
        cache: None,
        token: None,
    };
    let error = download(tiny("http://127.0.0.1:1"), &options, &hub).unwrap_err();
    assert!(matches!(error, Error::Io { .. }), "{error}");
}
