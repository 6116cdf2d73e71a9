//! What every program of the mesh does the same way: logs, common flags, signals, limits, and how it ends.

mod os;

use std::os::fd::AsFd as _;
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use serde::{Deserialize, Serialize};
use tokio::io::AsyncReadExt as _;
use tokio::net::unix::pipe;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};
use tracing_subscriber::EnvFilter;

use crate::client::AccessArgs;

/// What a line of the log looks like.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}

/// The flags about logs; every program flattens them.
#[derive(Debug, Clone, Args)]
pub struct LogArgs {
    /// What a line of the log looks like; RUST_LOG says how much is logged
    #[arg(long, env = "ECHO_LOG_FORMAT", value_enum, default_value_t)]
    pub log_format: LogFormat,
}

/// The flags about the bus; every program but the broker flattens them.
#[derive(Debug, Clone, Args)]
pub struct BusArgs {
    /// Where the bus is, several servers with commas; `auto` finds the broker that is announced on this network
    #[arg(long, env = "ECHO_NATS_URL", value_name = "URL", default_value = "nats://127.0.0.1:4222")]
    pub nats: String,

    #[command(flatten)]
    pub access: AccessArgs,
}

/// The configuration is wrong: the program says so in a sentence and ends with exit code 2.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct BadConfig(pub String);

impl BadConfig {
    /// The sentence out of an error, its sources included.
    pub fn because(error: impl Into<anyhow::Error>) -> Self {
        Self(format!("{:#}", error.into()))
    }
}

/// Sends the logs to stderr. `directives` (as in RUST_LOG, say `info`) hold where RUST_LOG is not set.
pub fn logs(format: LogFormat, directives: &str) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(directives));
    let colors = std::io::IsTerminal::is_terminal(&std::io::stderr());
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // A second call (two parts in one test process) changes nothing.
    let _ = match format {
        LogFormat::Text => lines.with_ansi(colors).try_init(),
        LogFormat::Json => lines.json().flatten_event(true).try_init(),
    };
}

/// Set for a program whose stdin is a pipe that its supervisor holds open: the pipe's end means that the supervisor has
/// died, and stops the program as SIGTERM does.
pub const SUPERVISED: &str = "ECHO_SUPERVISED";

/// A token that SIGTERM or SIGINT cancels, and the end of a supervisor (see [`SUPERVISED`]). A second signal ends the
/// process at once.
///
/// # Panics
/// Outside of a tokio runtime.
pub fn shutdown() -> CancellationToken {
    let token = CancellationToken::new();
    let asked = token.clone();
    let terminate = signal(SignalKind::terminate()).expect("SIGTERM may be caught, inside a runtime");
    let interrupt = signal(SignalKind::interrupt()).expect("SIGINT may be caught, inside a runtime");
    if std::env::var_os(SUPERVISED).is_some() {
        end_with_supervisor(token.clone());
    }
    tokio::spawn(async move {
        let mut signals = [(terminate, SignalKind::terminate()), (interrupt, SignalKind::interrupt())];
        next(&mut signals).await;
        info!("stopping; a second signal ends it at once");
        asked.cancel();
        let second = next(&mut signals).await;
        // What a shell reports for a process that a signal has killed.
        std::process::exit(128 + second.as_raw_value());
    });
    token
}

/// Cancels the token once nobody holds the other end of stdin any more.
fn end_with_supervisor(token: CancellationToken) {
    let stdin = std::io::stdin().as_fd().try_clone_to_owned().and_then(pipe::Receiver::from_owned_fd);
    let mut stdin = match stdin {
        Ok(stdin) => stdin,
        Err(error) => {
            warn!(
                error = &error as &dyn std::error::Error,
                "stdin is no pipe: the end of a supervisor is not noticed"
            );
            return;
        }
    };
    tokio::spawn(async move {
        let mut said = [0; 512];
        // What comes is for nobody; only the end counts.
        while matches!(stdin.read(&mut said).await, Ok(count) if count > 0) {}
        info!("the supervisor has ended; stopping");
        token.cancel();
    });
}

async fn next(signals: &mut [(Signal, SignalKind); 2]) -> SignalKind {
    let [(first, first_kind), (second, second_kind)] = signals;
    tokio::select! {
        _ = first.recv() => *first_kind,
        _ = second.recv() => *second_kind,
    }
}

/// Raises the soft limit of open files to the hard one: every client is a connection.
pub fn raise_open_files() {
    if let Err(error) = os::raise_open_files() {
        warn!(error = &error as &dyn std::error::Error, "the limit of open files stays as it is");
    }
}

/// How many files this process may have open; without a known limit, as many as it wants.
pub fn open_files() -> usize {
    let soft = os::open_files().map(|(soft, _)| soft).ok();
    soft.and_then(|soft| usize::try_from(soft).ok()).unwrap_or(usize::MAX)
}

/// The exit code of a program: 0, or 2 for a bad configuration, or 1; failures are said on stderr.
pub fn ended(result: anyhow::Result<()>) -> ExitCode {
    let Err(error) = result else {
        return ExitCode::SUCCESS;
    };
    if let Some(bad) = error.downcast_ref::<BadConfig>() {
        eprintln!("error: {bad}");
        return ExitCode::from(2);
    }
    eprintln!("error: {error:#}");
    ExitCode::FAILURE
}

#[cfg(test)]
mod tests {
    use anyhow::Context as _;

    use super::*;

    #[test]
    fn a_bad_configuration_exits_2_even_with_context_around_it() {
        let bad = Err::<(), _>(BadConfig("no such file".into())).context("cannot start");
        assert_eq!(format!("{:?}", ended(bad)), format!("{:?}", ExitCode::from(2)));
        let other = Err::<(), _>(std::io::Error::other("x")).context("cannot start");
        assert_eq!(format!("{:?}", ended(other)), format!("{:?}", ExitCode::FAILURE));
        assert_eq!(format!("{:?}", ended(Ok(()))), format!("{:?}", ExitCode::SUCCESS));
    }

    #[test]
    fn the_limit_of_open_files_is_the_hard_one_afterwards() {
        os::raise_open_files().unwrap();
        let (soft, hard) = os::open_files().unwrap();
        assert!(soft == hard || cfg!(target_os = "macos"), "{soft} of {hard}");
    }
}
