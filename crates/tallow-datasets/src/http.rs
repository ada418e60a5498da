//! HTTP client: one request at a time, without an async runtime.

use std::fs::File;
use std::io::{Read, Write};
use std::time::Duration;

use sha2::{Digest, Sha256};
use ureq::http::{HeaderMap, Uri};
use ureq::tls::{RootCerts, TlsConfig};

use crate::digest::hex;
use crate::options::{Progress, ProgressFn};

/// Time without an answer or a byte after which a server counts as gone.
const PATIENCE: Duration = Duration::from_secs(30);

/// Largest number of redirects of one request.
const REDIRECTS: usize = 10;

/// HTTP client. Time limits are for connecting, for the headers, and for each read, not for a whole file. Proxies are those of the
/// environment (`HTTPS_PROXY` and so on), certificates those of the system.
pub(crate) struct Client(ureq::Agent);

/// Response with its body still to be read.
pub(crate) struct Response {
    /// Headers that the first server gave, over all its redirects; the last value of each name counts.
    pub headers: HeaderMap,
    /// Size of the body, when the server states it.
    pub size: Option<u64>,
    body: Box<dyn Read + Send>,
}

impl Client {
    pub fn new() -> Self {
        let certificates = TlsConfig::builder().root_certs(RootCerts::PlatformVerifier);
        let config = ureq::Agent::config_builder()
            .user_agent(concat!("tallow-datasets/", env!("CARGO_PKG_VERSION")))
            .tls_config(certificates.build())
            .timeout_connect(Some(PATIENCE))
            .timeout_recv_response(Some(PATIENCE))
            .timeout_per_read(Some(PATIENCE))
            // Redirects are followed here: their headers count, and the token must not leave the first server.
            .max_redirects(0)
            .max_redirects_will_error(false)
            .http_status_as_error(false);
        Self(config.build().into())
    }

    /// Requests a file. `token` goes to the server of `url` alone, not to those it redirects to.
    ///
    /// # Errors
    /// A description without the address.
    pub fn get(&self, url: &str, token: Option<&str>) -> Result<Response, String> {
        let first = parse(url)?;
        let mut uri = first.clone();
        let mut headers = HeaderMap::new();
        for _ in 0..=REDIRECTS {
            let own = same_server(&uri, &first);
            let mut request = self.0.get(&uri);
            if let Some(token) = token.filter(|_| own) {
                request = request.header("authorization", format!("Bearer {token}"));
            }
            let response = request.call().map_err(|e| chain(&e))?;
            if own {
                for (name, value) in response.headers() {
                    headers.insert(name.clone(), value.clone());
                }
            }
            let status = response.status();
            if status.is_redirection() {
                let target = response.headers().get("location");
                let target = target.and_then(|v| v.to_str().ok());
                uri = redirected(&uri, target.ok_or("a redirect without a location")?)?;
                continue;
            }
            return match status.as_u16() {
                200 => {
                    let body = response.into_body();
                    Ok(Response {
                        headers,
                        size: body.content_length(),
                        body: Box::new(body.into_reader()),
                    })
                }
                404 => Err("not found (HTTP 404)".into()),
                code @ (401 | 403) => Err(format!(
                    "access denied (HTTP {code}); a private or gated repository of the hub needs HF_TOKEN"
                )),
                code => Err(format!("expected HTTP status 200, found {code}")),
            };
        }
        Err(format!("more than {REDIRECTS} redirects"))
    }
}

impl Response {
    /// Header of the first server.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// Writes the body to a file, and to the disk. Returns its SHA-256.
    pub fn save(
        self,
        file: &mut File,
        name: &str,
        size: Option<u64>,
        progress: Option<&ProgressFn>,
    ) -> Result<String, String> {
        copy(self.body, file, name, size, progress)
    }
}

/// Writes the bytes of `from` to a file, and to the disk. Returns their SHA-256. Reads no more than `size` bytes, all of which must
/// be there.
pub(crate) fn copy(
    mut from: impl Read,
    file: &mut File,
    name: &str,
    size: Option<u64>,
    progress: Option<&ProgressFn>,
) -> Result<String, String> {
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 17];
    let mut done = 0;
    let expected = size.unwrap_or(u64::MAX);
    loop {
        let n = from
            .read(&mut buffer)
            .map_err(|e| format!("{name}: {}", chain(&e)))?;
        if n == 0 {
            break;
        }
        done += n as u64;
        if done > expected {
            return Err(format!("{name}: expected {expected} bytes, found more"));
        }
        hash.update(&buffer[..n]);
        file.write_all(&buffer[..n])
            .map_err(|e| format!("cannot write {name}: {e}"))?;
        if let Some(tell) = progress {
            tell(Progress {
                file: name.to_string(),
                done,
                total: size,
            });
        }
    }
    if size.is_some_and(|size| done != size) {
        return Err(format!("{name}: expected {expected} bytes, found {done}"));
    }
    // By the handle that wrote: Windows lets no other.
    file.sync_all()
        .map_err(|e| format!("cannot write {name}: {e}"))?;
    Ok(hex(&hash.finalize()))
}

fn parse(url: &str) -> Result<Uri, String> {
    let uri: Uri = url
        .parse()
        .map_err(|e| format!("`{url}` is no address: {e}"))?;
    match (uri.scheme(), uri.host()) {
        (Some(_), Some(_)) => Ok(uri),
        _ => Err(format!("`{url}` is no address: expected https://HOST/...")),
    }
}

fn same_server(a: &Uri, b: &Uri) -> bool {
    a.scheme() == b.scheme() && a.authority() == b.authority()
}

/// Address that `location` means in a response of `from` (RFC 3986, 5.2, without `..`).
fn redirected(from: &Uri, location: &str) -> Result<Uri, String> {
    let scheme = from.scheme_str().unwrap_or("https");
    let server = from.authority().map_or("", |a| a.as_str());
    let location = location.split('#').next().unwrap_or_default();
    if location.contains("://") {
        let uri = parse(location)?;
        if scheme == "https" && uri.scheme_str() != Some("https") {
            return Err("a redirect from https to an unencrypted address".into());
        }
        Ok(uri)
    } else if location.starts_with("//") {
        parse(&format!("{scheme}:{location}"))
    } else if location.starts_with('/') {
        parse(&format!("{scheme}://{server}{location}"))
    } else {
        let folder = from
            .path()
            .rsplit_once('/')
            .map_or("", |(folder, _)| folder);
        parse(&format!("{scheme}://{server}{folder}/{location}"))
    }
}

/// Text of an error and its causes.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        next = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirects_are_resolved() {
        let from = parse("https://hub.example/datasets/a/b/resolve/main/x.bin").unwrap();
        for (location, expected) in [
            ("https://cdn.example/y?z=1", "https://cdn.example/y?z=1"),
            ("//cdn.example/y", "https://cdn.example/y"),
            ("/api/y#part", "https://hub.example/api/y"),
            ("y", "https://hub.example/datasets/a/b/resolve/main/y"),
        ] {
            assert_eq!(redirected(&from, location).unwrap().to_string(), expected);
        }
        assert!(redirected(&from, "http://cdn.example/y").is_err());
        assert!(parse("nowhere").is_err());
    }
}
