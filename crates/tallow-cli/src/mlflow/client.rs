//! Requests to an MLflow server, and its answers.

use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use ureq::http::{Response, Uri};
use ureq::tls::{RootCerts, TlsConfig};
use ureq::{Agent, Body};

use super::error::{Error, Result};

/// Time without an answer after which a server counts as gone.
const PATIENCE: Duration = Duration::from_secs(60);

/// Most characters of a message that is not MLflow's, such as that of a proxy.
const MESSAGE: usize = 300;

/// User or token of a server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Credentials {
    /// Value of `MLFLOW_TRACKING_USERNAME`.
    pub user: Option<String>,
    /// Value of `MLFLOW_TRACKING_PASSWORD`.
    pub password: Option<String>,
    /// Value of `MLFLOW_TRACKING_TOKEN`.
    pub token: Option<String>,
}

/// Client of one server. Proxies are those of the environment, certificates those of the system.
pub struct Client {
    agent: Agent,
    /// Address without a slash at its end.
    base: String,
    authorization: Option<String>,
}

/// Body of MLflow's errors.
#[derive(Deserialize, Default)]
#[serde(default)]
struct Refusal {
    error_code: String,
    message: String,
}

impl Credentials {
    /// Credentials of the environment, by the names that MLflow's own client reads.
    pub fn of_environment() -> Self {
        Self {
            user: variable("MLFLOW_TRACKING_USERNAME"),
            password: variable("MLFLOW_TRACKING_PASSWORD"),
            token: variable("MLFLOW_TRACKING_TOKEN"),
        }
    }

    /// Value of the header `Authorization`: user and password before the token, as MLflow's own client.
    fn header(&self) -> Option<String> {
        match (&self.user, &self.password, &self.token) {
            (Some(user), Some(password), _) => {
                let text = BASE64_STANDARD.encode(format!("{user}:{password}"));
                Some(format!("Basic {text}"))
            }
            (_, _, Some(token)) => Some(format!("Bearer {token}")),
            _ => None,
        }
    }
}

impl Client {
    /// Client of the server at this address.
    ///
    /// # Errors
    /// When the address is no `http` or `https` one, or contains a password.
    pub fn new(address: &str, credentials: &Credentials) -> Result<Self> {
        let base = address.trim().trim_end_matches('/');
        let bad = |why: &str| Error::Address {
            // A password is not printed.
            address: base.rsplit('@').next().unwrap_or(base).to_string(),
            why: why.to_string(),
        };
        let uri: Uri = base.parse().map_err(|_| bad("it cannot be read"))?;
        match uri.scheme_str() {
            Some("http" | "https") => {}
            Some("databricks") => return Err(bad("the scheme of Databricks is not supported")),
            _ => {
                return Err(bad(
                    "folders and databases are not written directly; `mlflow server` serves them",
                ));
            }
        }
        let authority = uri.authority().map_or("", |a| a.as_str());
        if authority.contains('@') {
            return Err(bad(
                "it contains a user; set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD instead",
            ));
        }
        let certificates = TlsConfig::builder().root_certs(RootCerts::PlatformVerifier);
        let config = Agent::config_builder()
            .user_agent(concat!("tallow/", env!("CARGO_PKG_VERSION")))
            .tls_config(certificates.build())
            .timeout_connect(Some(PATIENCE))
            .timeout_recv_response(Some(PATIENCE))
            // A redirect turns POST into GET, and may lead to a server that must not see the credentials.
            .max_redirects(0)
            .max_redirects_will_error(false)
            .http_status_as_error(false);
        Ok(Self {
            agent: config.build().into(),
            base: base.to_string(),
            authorization: credentials.header(),
        })
    }

    /// Address of the server.
    pub fn base(&self) -> &str {
        &self.base
    }

    /// Answer to a GET of `path` below `/api/2.0/mlflow/`.
    pub fn get(&self, path: &str, query: &[(&str, &str)]) -> Result<Value> {
        let url = self.url(path);
        let mut request = self.agent.get(&url);
        for (key, value) in query {
            request = request.query(key, value);
        }
        if let Some(value) = &self.authorization {
            request = request.header("authorization", value);
        }
        self.answer(format!("GET {url}"), request.call())
    }

    /// Answer to a POST of JSON to `path` below `/api/2.0/mlflow/`.
    pub fn post(&self, path: &str, body: &impl Serialize) -> Result<Value> {
        let url = self.url(path);
        let name = format!("POST {url}");
        let text = serde_json::to_vec(body).map_err(|error| Error::Answer {
            request: name.clone(),
            why: error.to_string(),
        })?;
        let mut request = self.agent.post(&url).content_type("application/json");
        if let Some(value) = &self.authorization {
            request = request.header("authorization", value);
        }
        self.answer(name, request.send(&text))
    }

    fn url(&self, path: &str) -> String {
        format!("{}/api/2.0/mlflow/{path}", self.base)
    }

    fn answer(
        &self,
        request: String,
        answer: Result<Response<Body>, ureq::Error>,
    ) -> Result<Value> {
        let unreachable = |error: ureq::Error| Error::Unreachable {
            base: self.base.clone(),
            why: tallow_record::error_message(&error),
        };
        let mut answer = answer.map_err(unreachable)?;
        let status = answer.status();
        if status.is_redirection() {
            let target = answer.headers().get("location");
            let target = target.and_then(|value| value.to_str().ok());
            return Err(Error::Redirect {
                request,
                target: target.unwrap_or("another address").to_string(),
            });
        }
        let text = answer.body_mut().read_to_string().map_err(unreachable)?;
        if !status.is_success() {
            let refusal = serde_json::from_str::<Refusal>(&text);
            let refusal = refusal.unwrap_or_else(|_| Refusal {
                message: plain(&text),
                ..Refusal::default()
            });
            return Err(Error::Refused {
                request,
                status: status.as_u16(),
                code: refusal.error_code,
                message: refusal.message,
            });
        }
        serde_json::from_str(&text).map_err(|error| Error::Answer {
            request,
            why: error.to_string(),
        })
    }
}

/// Value of a variable of the environment, unless it is empty.
pub fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// The beginning of a text on one line; nothing of a page in HTML.
fn plain(text: &str) -> String {
    match text.trim_start().starts_with('<') {
        true => String::new(),
        false => {
            let words: Vec<&str> = text.split_whitespace().collect();
            words.join(" ").chars().take(MESSAGE).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_checked_and_passwords_not_printed() {
        let client = |address: &str| Client::new(address, &Credentials::default());
        let known = client("http://127.0.0.1:5000/").unwrap();
        assert_eq!(
            known.url("runs/create"),
            "http://127.0.0.1:5000/api/2.0/mlflow/runs/create"
        );
        let known = client("https://host/mlflow").unwrap();
        assert_eq!(known.base(), "https://host/mlflow");
        for (address, part) in [
            ("mlruns", "`mlflow server` serves them"),
            ("sqlite:///mlflow.db", "http://HOST:PORT"),
            ("databricks://profile", "Databricks"),
            ("http://me:secret@host", "MLFLOW_TRACKING_USERNAME"),
        ] {
            let message = client(address).err().map(|e| e.to_string());
            let message = message.unwrap_or_default();
            assert!(message.contains(part), "{address}: {message}");
            assert!(!message.contains("secret"), "{message}");
        }
    }

    #[test]
    fn a_user_comes_before_a_token() {
        let some = |text: &str| Some(text.to_string());
        let mut credentials = Credentials {
            user: some("Aladdin"),
            password: some("open sesame"),
            token: some("t"),
        };
        // The example of RFC 7617.
        assert_eq!(
            credentials.header(),
            some("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==")
        );
        credentials.password = None;
        assert_eq!(credentials.header(), some("Bearer t"));
        assert_eq!(Credentials::default().header(), None);
    }

    #[test]
    fn pages_of_proxies_are_left_out() {
        assert_eq!(plain("<html>no</html>"), "");
        assert_eq!(plain("Invalid\n Host header"), "Invalid Host header");
    }
}
