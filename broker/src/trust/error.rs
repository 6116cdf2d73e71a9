//! Why the list of keys cannot be used. Each is said to a person, with what to do about it.

use std::io;
use std::path::PathBuf;

use echo_bus::client::AccessError;
use echo_bus::key;

/// Why nothing can be read or changed there. Each is for a person to put right.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot use the folder {}", .0.display())]
    Folder(PathBuf, #[source] io::Error),
    #[error("{} cannot be understood: put back an older copy, or remove it and let every machine join anew", .0.display())]
    Malformed(PathBuf, #[source] serde_json::Error),
    #[error("{} lacks the broker's own key: put back an older copy, or start the broker again", .0.display())]
    NoBroker(PathBuf),
    #[error("others can read {}; close it with: chmod 600 '{}'", .0.display(), .0.display())]
    Open(PathBuf),
    #[error(
        "{} holds no private key in PEM: put back an older copy, or remove it together with ca.pem and let every machine join anew", .0.display()
    )]
    NoKey(PathBuf),
    #[error("cannot make a certificate")]
    Certificate(#[from] rcgen::Error),
    #[error(transparent)]
    Key(#[from] key::Error),
    #[error(transparent)]
    Access(#[from] AccessError),
    /// The list was not changed.
    #[error("{0}")]
    Refused(String),
}
