//! Errors of sending runs to an MLflow server.

/// Error of sending runs to an MLflow server.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address is not that of a server.
    #[error(
        "`{address}` is no address of an MLflow server: {why}; expected http://HOST:PORT or https://HOST"
    )]
    Address {
        /// Address that was given.
        address: String,
        /// Reason.
        why: String,
    },
    /// The server gave no answer.
    #[error(
        "no answer from the MLflow server at {base}: {why}; check the address, or start a server: `mlflow server --port 5000`"
    )]
    Unreachable {
        /// Address of the server.
        base: String,
        /// Reason.
        why: String,
    },
    /// The server refused a request.
    #[error("{request}: HTTP {status}{}{}{}", before(": ", code), before(": ", message), advice(*status, code))]
    Refused {
        /// Method and address of the request.
        request: String,
        /// HTTP status.
        status: u16,
        /// MLflow's code of the error; empty where the answer has none.
        code: String,
        /// Message of the server.
        message: String,
    },
    /// The server sends requests elsewhere.
    #[error("{request}: the server redirects to {target}; give the address it redirects to")]
    Redirect {
        /// Method and address of the request.
        request: String,
        /// Address in the answer.
        target: String,
    },
    /// The answer is not what MLflow's documentation describes.
    #[error("{request}: the answer is not that of an MLflow server: {why}; check the address")]
    Answer {
        /// Method and address of the request.
        request: String,
        /// Missing part.
        why: String,
    },
    /// The experiment was deleted on the server.
    #[error(
        "experiment `{name}` was deleted on {base}; restore it there (`mlflow experiments restore`), or name another with --experiment"
    )]
    Deleted {
        /// Name of the experiment.
        name: String,
        /// Address of the server.
        base: String,
    },
    /// The server has another run of this name.
    #[error(
        "the server has a run `{id}` with another `{key}`: there it is `{theirs}`, here `{ours}`. MLflow cannot change a parameter; \
         delete the run there, or name another experiment with --experiment"
    )]
    OtherRun {
        /// Name of the run.
        id: String,
        /// Parameter that differs.
        key: String,
        /// Value on the server.
        theirs: String,
        /// Value of the record.
        ours: String,
    },
}

/// Result of this module's functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// Whether the error concerns one run alone, so that others may be sent.
    pub fn is_of_one_run(&self) -> bool {
        match self {
            Self::OtherRun { .. } => true,
            Self::Refused { status, .. } => *status == 400,
            _ => false,
        }
    }
}

fn before(separator: &str, text: &str) -> String {
    match text {
        "" => String::new(),
        text => format!("{separator}{text}"),
    }
}

/// Advice to the user about an answer.
fn advice(status: u16, code: &str) -> &'static str {
    match (status, code) {
        (401, _) => {
            "; set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN"
        }
        (403, _) => {
            "; check the credentials (MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN), the rights of the \
             user, and the hosts that the server allows"
        }
        (404, "") => "; check the address: nothing there answers as MLflow",
        (408 | 429 | 500.., _) => "; try again later: what has arrived is not sent twice",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_say_what_to_do() {
        let refused = |status, code: &str, message: &str| {
            let error = Error::Refused {
                request: "POST http://h/api/2.0/mlflow/runs/create".to_string(),
                status,
                code: code.to_string(),
                message: message.to_string(),
            };
            error.to_string()
        };
        assert_eq!(
            refused(400, "INVALID_PARAMETER_VALUE", "too long"),
            "POST http://h/api/2.0/mlflow/runs/create: HTTP 400: INVALID_PARAMETER_VALUE: too long"
        );
        assert!(refused(401, "", "").ends_with("MLFLOW_TRACKING_TOKEN"));
        assert!(refused(404, "", "").contains("check the address"));
        assert!(!refused(404, "RESOURCE_DOES_NOT_EXIST", "no run").contains("address"));
        assert!(refused(503, "", "busy").contains(": busy; try again later"));
    }
}
