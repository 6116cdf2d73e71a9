//! The edge's flags; each has an environment variable and a default that suits one machine.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use echo_bus::id::SiteName;
use echo_bus::process::{BadConfig, BusArgs, LogArgs};
use echo_bus::threads::Threads;
use echo_bus::time;

use crate::keys::Keys;
use crate::limits::{Limits, ROOM_FOR_CONTINUATION};
use crate::serve::{Patience, REFUSED_AT_ONCE, Tls, TlsError};

/// Open files that are no client's: the bus, the listener, the logs, the system's own.
const OTHER_FILES: usize = 64;

/// The HTTP API of an Echo-System mesh: takes tasks, has them run on the nodes, and streams the answers.
#[derive(Debug, Clone, Parser)]
#[command(name = "edge")]
pub struct Config {
    /// Where to serve HTTP; port 0 lets the system choose
    #[arg(long, env = "ECHO_EDGE_LISTEN", default_value = "127.0.0.1:8080", value_name = "HOST:PORT")]
    pub listen: SocketAddr,

    /// Serve HTTPS with this certificate, in PEM, the ones between it and its authority behind it; a new one is seen
    #[arg(long, env = "ECHO_TLS_CERT", requires = "tls_key", value_name = "FILE")]
    pub tls_cert: Option<PathBuf>,

    /// The certificate's private key, in PEM, in a file that only its owner can read
    #[arg(long, env = "ECHO_TLS_KEY", requires = "tls_cert", value_name = "FILE")]
    pub tls_key: Option<PathBuf>,

    /// Threads that serve: a number, or `auto` for one of four cores; one streams to hundreds of clients and is the thriftiest
    #[arg(long, env = "ECHO_EDGE_THREADS", default_value = "auto", value_name = "N")]
    pub threads: Threads,

    /// How many nodes may fail a task that they had accepted
    #[arg(long, env = "ECHO_ATTEMPTS", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub attempts: u32,

    /// How long a task may take in all
    #[arg(long, env = "ECHO_TASK_TIMEOUT", default_value = "10m", value_parser = time::some, value_name = "TIME")]
    pub task_timeout: Duration,

    /// How long an engine with its model loaded may take to the first token
    #[arg(long, env = "ECHO_FIRST_TOKEN_TIMEOUT", default_value = "2m", value_parser = time::some, value_name = "TIME")]
    pub first_token_timeout: Duration,

    /// How long an engine may take between two tokens
    #[arg(long, env = "ECHO_TOKEN_TIMEOUT", default_value = "30s", value_parser = time::some, value_name = "TIME")]
    pub token_timeout: Duration,

    /// How long a task is kept while no orchestrator is there
    // The old flag is the orchestrator's too, and means something else there.
    #[arg(long, alias = "queue-wait", env = "ECHO_ORCHESTRATOR_WAIT", default_value = "60s", value_parser = time::some, value_name = "TIME")]
    pub orchestrator_wait: Duration,

    /// How long a client may take nothing of an answer that waits for it; then it counts as gone
    #[arg(long, env = "ECHO_CLIENT_TIMEOUT", default_value = "60s", value_parser = time::some, value_name = "TIME")]
    pub client_timeout: Duration,

    /// How long the head of a request may take, from its first byte to its last
    #[arg(long, env = "ECHO_HEAD_TIMEOUT", default_value = "10s", value_parser = time::some, value_name = "TIME")]
    pub head_timeout: Duration,

    /// How long the body of a request may stand still, and come more slowly than 4 KiB/s
    #[arg(long, env = "ECHO_BODY_TIMEOUT", default_value = "20s", value_parser = time::some, value_name = "TIME")]
    pub body_timeout: Duration,

    /// How long a connection may be open without a request; one that waits for an answer may do so for ever
    #[arg(long, env = "ECHO_IDLE_TIMEOUT", default_value = "2m", value_parser = time::some, value_name = "TIME")]
    pub idle_timeout: Duration,

    /// How many connections may be open at once, as far as the limit of open files allows; more get 503
    #[arg(long, env = "ECHO_CONNECTIONS", default_value_t = 16_384, value_parser = clap::value_parser!(u32).range(1..=1_000_000), value_name = "NUMBER")]
    pub connections: u32,

    /// How many of them one address may have open (of IPv6, one /64); more get 429. This machine's own have no limit
    #[arg(long, env = "ECHO_CONNECTIONS_PER_ADDRESS", default_value_t = 1_024, value_parser = clap::value_parser!(u32).range(1..=1_000_000), value_name = "NUMBER")]
    pub connections_per_address: u32,

    /// How often a stream with nothing new says something that its client's idle timer counts
    #[arg(long, env = "ECHO_IDLE_SIGN", default_value = "10s", value_parser = time::some, value_name = "TIME")]
    pub idle_sign: Duration,

    /// The longest time that a client may have its task go on, and its answer kept, while it does not listen ("keep"); a
    /// stored response stays for so long, an hour at most
    #[arg(long, env = "ECHO_KEEP_LIMIT", default_value = "10m", value_parser = time::some, value_name = "TIME")]
    pub keep_limit: Duration,

    /// Memory for all kept answers together; the oldest that nobody reads make room for others
    #[arg(long, env = "ECHO_KEEP_MEMORY", default_value = "64MiB", value_parser = size, value_name = "SIZE")]
    pub keep_memory: usize,

    /// Whether an answer whose node has died goes on from another node
    #[arg(long = "continue", env = "ECHO_CONTINUE", default_value = "auto", value_enum, value_name = "WHEN")]
    pub continues: Continue,

    /// Where this edge stands, as you call it: its tasks go to nodes of the same --site first
    #[arg(long, env = "ECHO_SITE", value_name = "NAME")]
    pub site: Option<SiteName>,

    /// How long running tasks have to finish after SIGTERM
    #[arg(long, env = "ECHO_DRAIN_TIMEOUT", default_value = "30s", value_parser = time::between(Duration::ZERO, time::DAY), value_name = "TIME")]
    pub drain_timeout: Duration,

    /// A further host name that clients may use for this edge (several with commas)
    #[arg(long, env = "ECHO_ALLOW_HOST", value_delimiter = ',', value_name = "NAME")]
    pub allow_host: Vec<String>,

    /// A further web origin that may call this edge, such as <https://chat.example.org> (several with commas)
    #[arg(long, env = "ECHO_ALLOW_ORIGIN", value_delimiter = ',', value_name = "ORIGIN")]
    pub allow_origin: Vec<String>,

    /// The API keys of clients (`echo-mesh keys` makes them); with this, whoever asks needs one
    #[arg(long, env = "ECHO_KEYS", value_name = "FILE")]
    pub keys: Option<PathBuf>,

    /// Let other machines in without a key: everybody on the network may ask, and see and manage the mesh
    #[arg(long, env = "ECHO_OPEN_LAN")]
    pub open_lan: bool,

    #[command(flatten)]
    pub bus: BusArgs,

    #[command(flatten)]
    pub log: LogArgs,

    #[command(flatten)]
    pub telemetry: echo_telemetry::OtlpArgs,
}

/// When an answer goes on from another node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Continue {
    /// Wherever it is honest: not under a JSON format, not after a tool call
    Auto,
    /// Never: the client gets an error with the partial answer
    Never,
}

impl Config {
    /// The API keys; none where everybody may come.
    ///
    /// # Errors
    /// They cannot be read, or other machines reach this edge and nobody has said by what they get in.
    pub fn read_keys(&self) -> Result<Option<Arc<Keys>>, BadConfig> {
        match &self.keys {
            Some(_) if self.open_lan => Err(BadConfig(
                "--keys wants a key of everybody, and --open-lan of nobody: leave one of them out".to_owned(),
            )),
            Some(path) => Keys::open(path).map(Some).map_err(BadConfig::because),
            None if self.listen.ip().is_loopback() || self.open_lan => Ok(None),
            None => Err(BadConfig(format!(
                "other machines reach an edge at {}: make a key with `echo-mesh keys add NAME --keys FILE` and start the \
                 edge with --keys FILE; or let everybody in with --open-lan",
                self.listen
            ))),
        }
    }

    /// How long a connection may stand still.
    pub fn patience(&self) -> Patience {
        // How long a client may take nothing of a task's answer is decided where that is made.
        let stuck = self.idle_timeout.max(self.client_timeout);
        Patience { head: self.head_timeout, idle: self.idle_timeout, stuck }
    }

    /// The certificate that clients see; `None` for plain HTTP.
    ///
    /// # Errors
    /// A file cannot be read, is open to others, or holds something else.
    pub fn tls(&self) -> Result<Option<Arc<Tls>>, TlsError> {
        let files = self.tls_cert.as_ref().zip(self.tls_key.as_ref());
        files.map(|(certificate, key)| Tls::read(certificate, key).map(Arc::new)).transpose()
    }

    /// How many connections there are places for where a process may have so many files open.
    pub fn places(&self, open_files: usize) -> usize {
        let left = open_files.saturating_sub(REFUSED_AT_ONCE + OTHER_FILES);
        usize::try_from(self.connections).unwrap_or(usize::MAX).min(left).max(1)
    }

    /// The limits of each task, on a broker that takes messages of `max_payload` bytes.
    pub fn limits(&self, max_payload: usize) -> Limits {
        Limits {
            attempts: self.attempts,
            total: self.task_timeout,
            untaken: self.orchestrator_wait,
            first_token: self.first_token_timeout,
            token: self.token_timeout,
            client: self.client_timeout,
            idle_sign: self.idle_sign,
            continues: self.continues == Continue::Auto,
            site: self.site.clone(),
            longest: ROOM_FOR_CONTINUATION.min(max_payload / 2) / 2,
        }
    }
}

/// Reads `64MiB`, `500KiB`, `1GiB` or a number of bytes.
fn size(text: &str) -> Result<usize, String> {
    let wrong = || format!("{text:?} is no size: write it like 64MiB, 500KiB, 1GiB or as bytes");
    let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let unit = match unit {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return Err(wrong()),
    };
    number.parse::<usize>().ok().and_then(|number| number.checked_mul(unit)).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_of_open_files_leaves_room_for_more_than_clients() {
        let config = Config::parse_from(["echo-edge"]);
        assert!(config.places(1 << 20) >= 10_000, "so many idle connections are promised");
        assert_eq!(config.places(1_024), 1_024 - REFUSED_AT_ONCE - OTHER_FILES);
        assert_eq!(config.places(100), 1, "it serves somebody");
    }

    #[test]
    fn sizes_are_read_with_their_unit() {
        assert_eq!(size("64MiB"), Ok(64 << 20));
        assert_eq!(size("1000"), Ok(1000));
        for bad in ["", "MiB", "-1", "1 MiB", "1MB", "99999999999999999999GiB"] {
            assert!(size(bad).is_err(), "{bad:?} was taken");
        }
    }

    #[test]
    fn a_time_without_a_unit_is_seconds_here_too() {
        let config =
            Config::try_parse_from(["echo-edge", "--drain-timeout", "30", "--token-timeout", "500ms"])
                .unwrap();
        assert_eq!(
            (config.drain_timeout, config.token_timeout),
            (Duration::from_secs(30), Duration::from_millis(500))
        );
        assert!(Config::try_parse_from(["echo-edge", "--token-timeout", "0s"]).is_err());
        assert!(Config::try_parse_from(["echo-edge", "--drain-timeout", "0"]).is_ok(), "as for the agent");
    }

    #[test]
    fn the_wait_for_an_orchestrator_has_a_name_of_its_own_and_its_old_flag() {
        for flag in ["--orchestrator-wait", "--queue-wait"] {
            let config = Config::try_parse_from(["echo-edge", flag, "5s"]).unwrap();
            assert_eq!(config.orchestrator_wait, Duration::from_secs(5));
        }
    }
}
