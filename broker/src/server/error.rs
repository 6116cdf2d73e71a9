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
        "{0} can be reached from other machines, and there is no secret: add --secret-file FILE (it is made on first \
         use), or listen on 127.0.0.1, or let everybody in with --insecure-lan"
    )]
    Exposed(String),
    #[error(
        "the configuration {} lets {stranger} in without the secret: give every user `password: $ECHO_SECRET` and write \
         `no_auth_user: $ECHO_ANYONE`, as the nats.conf of this project does", config.display()
    )]
    LetsIn { config: PathBuf, stranger: Stranger },
    #[error(
        "the configuration {} lets the user join do more than ask to join, and that user needs no secret: give it the \
         permissions that the nats.conf of this project does, or remove it", .0.display()
    )]
    GuestMayMore(PathBuf),
    #[error("{address} is taken by {by}{}", cure(address, by, *.monitor))]
    Taken { address: String, by: Occupant, monitor: bool },
    #[error("cannot run {}", binary.display())]
    Run {
        binary: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("cannot make a directory for the server's ports file")]
    PortsDirectory(#[source] io::Error),
    #[error("nats-server ended before it was ready ({status}); its last words:\n{last_words}")]
    EndedEarly { status: ExitStatus, last_words: String },
    #[error("nats-server was not ready within {} s; its last words:\n{last_words}", within.as_secs())]
    NotReady { within: Duration, last_words: String },
    #[error("nats-server is up and the user mesh cannot use it; does the configuration have that user?")]
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
