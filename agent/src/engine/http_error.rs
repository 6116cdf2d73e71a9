//! What goes wrong on the way to an engine.

use std::error::Error;

use reqwest::StatusCode;

/// Why an engine cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    #[error("cannot make an HTTP client")]
    Client(#[source] reqwest::Error),
    #[error("cannot read the engine's key from {path}")]
    Key {
        path: String,
        #[source]
        source: std::io::Error,
    },
    #[error("the engine's key in {0} is empty or holds line breaks or other control characters")]
    BadKey(String),
}

/// An answer that is no success.
#[derive(Debug)]
pub struct Rejection {
    pub status: StatusCode,
    /// The engine's own words, shortened.
    pub reason: String,
}

/// Why there is no answer.
#[derive(Debug)]
pub enum HttpError {
    Rejected(Rejection),
    /// No connection.
    Unreachable(String),
    /// The connection ended before the answer did.
    Lost(String),
    /// It is nonsense.
    Broken(String),
    Slow,
}

/// The innermost cause: the outer ones repeat the address.
pub fn why(error: &(dyn Error + 'static)) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}
