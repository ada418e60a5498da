//! HTTP server on this machine, for tests.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use sha2::{Digest, Sha256};

use crate::digest::hex;

/// Answer to a path: status, body, further headers, and the length it claims.
#[derive(Clone)]
pub(crate) struct Answer {
    pub status: &'static str,
    pub body: Vec<u8>,
    pub length: usize,
    pub etag: String,
    pub headers: String,
}

pub(crate) fn ok(body: Vec<u8>) -> Answer {
    let etag = hex(&Sha256::digest(&body));
    Answer {
        status: "200 OK",
        length: body.len(),
        body,
        etag,
        headers: String::new(),
    }
}

/// Server that logs the requests it gets, with their headers.
pub(crate) struct Server {
    pub address: String,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Server {
    /// Answers until the test ends; a path it does not know is not found.
    pub fn start(answers: HashMap<String, Answer>) -> Self {
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

    /// All requests so far.
    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

fn answer(
    mut stream: TcpStream,
    answers: &HashMap<String, Answer>,
    log: &Mutex<Vec<String>>,
) -> std::io::Result<()> {
    let mut request = String::new();
    for line in BufReader::new(stream.try_clone()?).lines() {
        let line = line?;
        if line.is_empty() {
            break;
        }
        request.push_str(&line);
        request.push('\n');
    }
    log.lock().unwrap().push(request.clone());
    let mut words = request.split([' ', '\n']);
    let (method, path) = (words.next().unwrap(), words.next().unwrap());
    let missing = Answer {
        status: "404 Not Found",
        ..ok(Vec::new())
    };
    let answer = answers.get(path).unwrap_or(&missing);
    write!(
        stream,
        "HTTP/1.1 {}\r\nContent-Length: {}\r\nETag: \"{}\"\r\nX-Repo-Commit: {}\r\n{}Connection: close\r\n\r\n",
        answer.status, answer.length, answer.etag, COMMIT, answer.headers,
    )?;
    if method == "GET" {
        stream.write_all(&answer.body)?;
    }
    Ok(())
}

/// Commit of every answer.
pub(crate) const COMMIT: &str = "0123456789012345678901234567890123456789";
