//! Downloads from a server on this machine.

use std::collections::HashMap;
use std::io::{BufRead, BufReader};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use super::*;
use crate::catalog::{Files, Format};
use crate::classes::DIGITS;
use crate::error::Error;

/// What the server says to a path: status, body, and the length it claims.
#[derive(Clone)]
struct Answer {
    status: &'static str,
    body: Vec<u8>,
    length: usize,
    etag: String,
}

fn ok(body: Vec<u8>) -> Answer {
    let etag = hex(&Sha256::digest(&body));
    Answer {
        status: "200 OK",
        length: body.len(),
        body,
        etag,
    }
}

struct Server {
    address: String,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Server {
    /// Answers until the test ends; a path it does not know is not found.
    fn start(answers: HashMap<String, Answer>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let log = asked.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let _ = answer(stream.unwrap(), &answers, &log);
            }
        });
        Self { address, asked }
    }

    fn asked(&self) -> usize {
        self.asked.lock().unwrap().len()
    }
}

fn answer(
    mut stream: TcpStream,
    answers: &HashMap<String, Answer>,
    log: &Mutex<Vec<String>>,
) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let request = lines.next().unwrap()?;
    for line in lines {
        if line?.is_empty() {
            break;
        }
    }
    log.lock().unwrap().push(request.clone());
    let mut words = request.split(' ');
    let (method, path) = (words.next().unwrap(), words.next().unwrap());
    let missing = Answer {
        status: "404 Not Found",
        ..ok(Vec::new())
    };
    let answer = answers.get(path).unwrap_or(&missing);
    write!(
        stream,
        "HTTP/1.1 {}\r\nContent-Length: {}\r\nETag: \"{}\"\r\nX-Repo-Commit: {}\r\nConnection: close\r\n\r\n",
        answer.status,
        answer.length,
        answer.etag,
        "0123456789".repeat(4)
    )?;
    if method == "GET" {
        stream.write_all(&answer.body)?;
    }
    Ok(())
}

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
        formats: &[Format::Idx],
        source: "nowhere",
        licence: "",
        digests: None,
        folder: "tiny",
        inner: &[],
        files: Files::Mnist,
        published: published.collect::<Vec<_>>().leak(),
        hub: Some(Hub {
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
        let network = Network {
            endpoint: self.server.address.clone(),
            hub_cache: Some(self.root.path().join("hub-cache")),
        };
        download(self.entry, &options, &network)
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
        assert_eq!(
            crate::Dataset::info(&set).provenance,
            "tiny (IDX, original)"
        );
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
    let asked = setting.server.asked();
    setting.download().unwrap().unwrap();
    assert_eq!(setting.server.asked(), asked);
}

#[test]
fn the_hubs_own_cache_is_used() {
    let setting = Setting::new(answers(AT_HUB));
    for file in NAMES {
        let client = HFClient::builder()
            .endpoint(&setting.server.address)
            .cache_dir(setting.root.path().join("hub-cache"));
        ask_hub(
            client,
            setting.entry.hub.as_ref().unwrap(),
            file,
            Some(None),
        )
        .unwrap();
    }
    let asked = setting.server.asked();
    setting.download().unwrap().unwrap();
    setting.assert_complete();
    assert_eq!(
        setting.server.asked(),
        asked + 1,
        "only whether the hub is there"
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
        hub: setting.entry.hub.as_ref().map(copy),
        ..copy_entry(setting.entry)
    };
    setting.entry = Box::leak(Box::new(entry));
    let failures = setting.failures();
    assert!(failures[0].contains("label 40 at sample 1"), "{failures:?}");

    // Fewer images than there should be.
    let entry = Entry {
        test_len: 2,
        hub: setting.entry.hub.as_ref().map(copy),
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

fn copy(hub: &Hub) -> Hub {
    Hub { ..*hub }
}

fn copy_entry(entry: &'static Entry) -> Entry {
    Entry {
        files: Files::Mnist,
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
    let network = Network {
        endpoint: format!("http://{closed}"),
        hub_cache: None,
    };
    let options = LoadOptions {
        cache_dir: Some(setting.cache()),
        ..Default::default()
    };
    let failures = download(setting.entry, &options, &network)
        .unwrap()
        .unwrap_err();
    assert!(
        failures[0].starts_with(&network.endpoint) && failures[0].contains("refused"),
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
    let network = Network {
        endpoint: "http://127.0.0.1:1".into(),
        hub_cache: None,
    };
    let error = download(tiny("http://127.0.0.1:1"), &options, &network).unwrap_err();
    assert!(matches!(error, Error::Io { .. }), "{error}");
}
