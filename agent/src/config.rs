//! The agent's flags, checked before anything is started.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;
use echo_bus::id::{NodeId, SiteName};
use echo_bus::process::{BadConfig, BusArgs, LogArgs};
use echo_bus::threads::Threads;
use echo_bus::time;
use reqwest::Url;

use crate::engine::{Address, Kind};
use crate::owner::{OwnerArgs, Rules};

/// The agent of one node: it takes tasks from the bus, runs them on the node's engine and streams the answers back.
#[derive(Debug, Parser)]
#[command(name = "agent")]
pub struct Args {
    /// The node's id: 1 to 63 of a-z 0-9 _ -; the default is the host name
    #[arg(long, env = "ECHO_NODE_ID", value_name = "ID", allow_hyphen_values = true)]
    node: Option<NodeId>,

    /// Which API the engine speaks: Ollama's own, or OpenAI's (llama.cpp's server, vLLM, LM Studio)
    #[arg(long, env = "ECHO_ENGINE", value_enum, default_value = "ollama")]
    engine: Kind,

    /// Where the engine is
    #[arg(long, env = "ECHO_ENGINE_URL", value_name = "URL", default_value = "http://127.0.0.1:11434")]
    engine_url: String,

    /// A file with the engine's key, for OpenAI APIs that want a bearer token
    #[arg(long, env = "ECHO_ENGINE_KEY_FILE", value_name = "FILE")]
    engine_key_file: Option<PathBuf>,

    /// Slots of the engine: tasks that it can run at once; the default is what the engine says, else 1
    #[arg(long, env = "ECHO_SLOTS", value_name = "N", value_parser = clap::value_parser!(u32).range(1..=16384))]
    slots: Option<u32>,

    /// Where /health, /metrics, /drain and /resume are served
    #[arg(long, env = "ECHO_AGENT_LISTEN", value_name = "HOST:PORT", default_value = "127.0.0.1:9001")]
    listen: SocketAddr,

    /// The time between two heartbeats
    #[arg(long, env = "ECHO_HEARTBEAT", value_name = "TIME", default_value = "1s", value_parser = time::between(Duration::from_millis(50), Duration::from_secs(60)))]
    heartbeat: Duration,

    /// The longest time that the engine may take to load a model
    #[arg(long, env = "ECHO_LOAD_TIMEOUT", value_name = "TIME", default_value = "5m", value_parser = time::between(Duration::from_secs(1), time::DAY))]
    load_timeout: Duration,

    /// How long a stopping agent lets its tasks go on; those left then continue on other nodes
    #[arg(long, env = "ECHO_DRAIN_TIMEOUT", value_name = "TIME", default_value = "30s", value_parser = time::between(Duration::ZERO, time::DAY))]
    drain_timeout: Duration,

    /// Where this node stands, as you call it: tasks that come to an edge of the same --site go to near nodes first
    #[arg(long, env = "ECHO_SITE", value_name = "NAME")]
    site: Option<SiteName>,

    /// Threads that work: a number, or `auto` for one of four cores; one carries hundreds of streams and is the thriftiest
    #[arg(long, env = "ECHO_AGENT_THREADS", default_value = "auto", value_name = "N")]
    pub threads: Threads,

    /// Let the mesh's users pull and delete models on this node
    #[arg(long, env = "ECHO_ALLOW_MODEL_MANAGEMENT")]
    allow_model_management: bool,

    /// Do not try the speed of a model in memory, with one short request for each start of the engine
    #[arg(long, env = "ECHO_NO_CALIBRATION")]
    no_calibration: bool,

    #[command(flatten)]
    owner: OwnerArgs,

    #[command(flatten)]
    pub bus: BusArgs,

    #[command(flatten)]
    pub log: LogArgs,

    #[command(flatten)]
    pub telemetry: echo_telemetry::OtlpArgs,
}

/// A checked configuration.
#[derive(Debug, Clone)]
pub struct Config {
    pub node: NodeId,
    pub engine: Address,
    /// Absent: the engine's word.
    pub slots: Option<u32>,
    pub listen: SocketAddr,
    pub heartbeat: Duration,
    pub drain_timeout: Duration,
    pub model_management: bool,
    pub site: Option<SiteName>,
    pub calibrate: bool,
    pub owner: Rules,
}

impl Args {
    /// Checks the flags.
    ///
    /// # Errors
    /// A sentence that says what to write instead.
    pub fn check(&self) -> Result<Config, BadConfig> {
        let node = self.node.clone().map_or_else(host_name, Ok)?;
        if self.engine_key_file.is_some() && self.engine == Kind::Ollama {
            return Err(BadConfig("--engine-key-file is for --engine openai: Ollama has no keys".to_owned()));
        }
        Ok(Config {
            node,
            engine: Address {
                kind: self.engine,
                url: engine_url(&self.engine_url, self.engine)?,
                key_file: self.engine_key_file.clone(),
                load_timeout: self.load_timeout,
            },
            slots: self.slots,
            listen: self.listen,
            heartbeat: self.heartbeat,
            drain_timeout: self.drain_timeout,
            model_management: self.allow_model_management,
            site: self.site.clone(),
            calibrate: !self.no_calibration,
            owner: self.owner.check()?,
        })
    }
}

fn host_name() -> Result<NodeId, BadConfig> {
    let host = sysinfo::System::host_name().unwrap_or_default();
    NodeId::from_host_name(&host)
        .map_err(|_| BadConfig(format!("the host name {host:?} makes no node id: choose one with --node")))
}

fn engine_url(text: &str, kind: Kind) -> Result<Url, BadConfig> {
    let bad = |why: &str| BadConfig(format!("--engine-url {text:?} {why}: write http://HOST:PORT"));
    let mut url = Url::parse(text).map_err(|error| bad(&format!("is no URL ({error})")))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(bad("is neither http nor https"));
    }
    if url.host_str().is_none_or(str::is_empty) {
        return Err(bad("names no host"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(BadConfig("--engine-url holds a password: put a key into --engine-key-file".to_owned()));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(bad("has a query or a fragment"));
    }
    // People copy the base URL of OpenAI's clients, which ends so.
    let path = url.path().trim_end_matches('/');
    let path = if kind == Kind::Openai { path.strip_suffix("/v1").unwrap_or(path) } else { path };
    let path = path.to_owned();
    url.set_path(&path);
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(flags: &[&str]) -> Result<Config, String> {
        let node: &[&str] = if flags.contains(&"--node") { &[] } else { &["--node", "n"] };
        let args = Args::try_parse_from(["echo-agent"].iter().chain(node).chain(flags))
            .map_err(|error| error.to_string())?;
        args.check().map_err(|error| error.to_string())
    }

    #[test]
    fn a_laptop_needs_no_flags() {
        let config = check(&[]).unwrap();
        assert_eq!(config.engine.url.as_str(), "http://127.0.0.1:11434/");
        assert_eq!((config.slots, config.heartbeat), (None, Duration::from_secs(1)));
    }

    #[test]
    fn bad_flags_are_refused_with_a_sentence() {
        for (flags, word) in [
            (["--node", "*"], "not a valid node id"),
            (["--engine-url", "127.0.0.1:11434"], "http://HOST:PORT"),
            (["--engine-url", "ftp://x"], "neither http nor https"),
            (["--engine-url", "http://me:pw@x"], "--engine-key-file"),
            (["--engine-url", "http://x?a=b"], "query"),
            (["--slots", "0"], "1..=16384"),
            (["--heartbeat", "0s"], "out of bounds"),
            (["--heartbeat", "1 week"], "such as 30s"),
            (["--engine-key-file", "x"], "--engine openai"),
            (["--engine", "other"], "possible values"),
            (["--listen", "9001"], "invalid socket address"),
            (["--hours", "22-7"], "22:00-07:00"),
        ] {
            let error = check(&flags).expect_err(flags[1]);
            assert!(error.contains(word), "{flags:?}: {error}");
        }
    }

    #[test]
    fn the_base_url_of_openai_clients_works() {
        let config = check(&["--engine", "openai", "--engine-url", "https://host:1/api/v1/"]).unwrap();
        assert_eq!(config.engine.url.as_str(), "https://host:1/api");
    }

    proptest! {
        #[test]
        fn no_text_makes_the_checks_panic(text in ".{0,40}") {
            let _ = engine_url(&text, Kind::Openai);
        }
    }
}
