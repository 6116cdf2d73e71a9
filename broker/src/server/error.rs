//! Why there is no server. Each is said to a person, with what to do about it.

use std::io;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

use super::login::Stranger;
use super::occupant::Occupant;

/// Why the server did not start, or did not stay.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("there is no configuration at {}; name one with --nats-conf FILE (ECHO_NATS_CONF)", .0.display())]
    NoConfig(PathBuf),
    #[error("nats-server refuses the configuration {}: {said}", config.display())]
    Config { config: PathBuf, said: String },
    #[error(
        "{0} can be reached from other machines, and nothing says whom to let in: add --trust DIR (keys and a certificate, \
         made on first use), or listen on 127.0.0.1, or let everybody in and read along with --insecure-lan"
    )]
    Exposed(String),
    #[error(
        "the configuration {} lets {stranger} in without a key: with --trust, users, no_auth_user and tls stand between the \
         marked lines only, as in the nats.conf of this project, and only the user join has no key", config.display()
    )]
    LetsIn { config: PathBuf, stranger: Stranger },
    #[error(
        "the configuration {} lets the user join do more than ask to join, and that user needs no key: give it the \
         permissions that the nats.conf of this project does, or remove it", .0.display()
    )]
    GuestMayMore(PathBuf),
    #[error(
        "the configuration {} does not say where the keys of --trust belong: put the lines `{mark} begin` and `{mark} end` \
         around what they replace, as the nats.conf of this project does", config.display()
    )]
    NoMarks { config: PathBuf, mark: &'static str },
    #[error(transparent)]
    Trust(#[from] crate::trust::Error),
    #[error("nats-server does not take the new list of keys: {0}")]
    Reload(String),
    #[error("nats-server does not run")]
    NotRunning,
    #[error("{address} is taken by {by}{}", cure(address, by, *.monitor))]
    Taken { address: String, by: Occupant, monitor: bool },
    #[error("cannot run {}", binary.display())]
    Run {
        binary: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("cannot make a directory for the server's own files")]
    Folder(#[source] io::Error),
    #[error("nats-server ended before it was ready ({status}); its last words:\n{last_words}")]
    EndedEarly { status: ExitStatus, last_words: String },
    #[error("nats-server was not ready within {} s; its last words:\n{last_words}", within.as_secs())]
    NotReady { within: Duration, last_words: String },
    #[error(
        "nats-server is up and cannot be used; does its configuration have the user mesh, or with --trust the marked lines?"
    )]
    Login(#[source] super::login::Error),
    #[error(
        "nats-server ended {crashes} times within {} s, the last time: {last}", within.as_secs()
    )]
    GaveUp { crashes: usize, within: Duration, last: String },
    #[error("the supervisor of nats-server itself has failed")]
    Supervisor(#[source] tokio::task::JoinError),
}

impl Error {
    /// Whether the configuration is to blame, and trying again is of no use.
    pub fn is_configuration(&self) -> bool {
        matches!(
            self,
            Self::NoConfig(_)
                | Self::Config { .. }
                | Self::Exposed(_)
                | Self::LetsIn { .. }
                | Self::GuestMayMore(_)
                | Self::NoMarks { .. }
                | Self::Trust(_)
        )
    }
}

fn cure(address: &str, by: &Occupant, monitor: bool) -> String {
    let port = address.rsplit(':').next().unwrap_or(address);
    let other = if monitor {
        "choose another port with --monitor PORT (ECHO_NATS_MONITOR)"
    } else {
        "choose another port with --listen HOST:PORT (ECHO_NATS_LISTEN)"
    };
    match by {
        Occupant::Ours { .. } => format!(": use that one, or stop it, or {other}"),
        Occupant::Nats { .. } => format!(": stop it, or {other}"),
        Occupant::Other => format!(" (`lsof -i :{port}` says which): stop it, or {other}"),
    }
}
