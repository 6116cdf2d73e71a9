//! What a start may be told, read and checked. Flags and variables are the same; what was written is said again in every
//! sentence about it.

use std::net::SocketAddr;
use std::path::PathBuf;

use echo_bus::id::NodeId;
use echo_bus::process::BadConfig;
use reqwest::Url;

use super::address::{Address, engine_url};
use super::engines::facts::{Mode, Wish};

/// Where the first engine and the first agent of `--nodes` are; the others follow.
const FIRST_ENGINE: u16 = 11434;
const FIRST_AGENT: u16 = 9001;
/// As many as an agent takes.
const MOST_SLOTS: u32 = 16_384;

/// What `up` may be told.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Settings {
    /// N nodes with one model, node-a, node-b, …, each with an engine of its own (ECHO_ENGINE_A_URL, …) and an agent
    /// (ECHO_AGENT_A_LISTEN, …); without it, a node for each engine that answers on this machine
    #[arg(long, env = "ECHO_NODES", value_name = "N", value_parser = clap::value_parser!(u8).range(1..=26))]
    pub nodes: Option<u8>,
    #[command(flatten)]
    pub engines: EngineSettings,
    /// Where the edge listens: the page and the API [default: 127.0.0.1:8080]
    #[arg(long, env = "ECHO_EDGE_LISTEN", value_name = "HOST:PORT")]
    pub edge_listen: Option<String>,
    /// Let other machines use the edge without a key: everybody on the network may ask, and manage the mesh
    #[arg(long, env = "ECHO_OPEN_LAN")]
    pub open_lan: bool,
    /// The edge serves HTTPS with this certificate, in PEM, the ones between it and its authority behind it
    #[arg(long, env = "ECHO_TLS_CERT", requires = "tls_key", value_name = "FILE")]
    pub tls_cert: Option<PathBuf>,
    /// The certificate's private key, in PEM, in a file that only its owner can read
    #[arg(long, env = "ECHO_TLS_KEY", requires = "tls_cert", value_name = "FILE")]
    pub tls_key: Option<PathBuf>,
    /// Where clients of the bus connect [default: as the broker's configuration says, else 127.0.0.1:4222]
    #[arg(long, env = "ECHO_NATS_LISTEN", value_name = "HOST:PORT")]
    pub nats_listen: Option<String>,
    /// The broker's own pages [default: as its configuration says, else 127.0.0.1:8222]
    #[arg(long, env = "ECHO_NATS_MONITOR", value_name = "[HOST:]PORT")]
    pub nats_monitor: Option<String>,
    /// A configuration of the broker, a nats.conf, instead of the one that is built in
    #[arg(long, env = "ECHO_NATS_CONF", value_name = "FILE")]
    pub nats_conf: Option<PathBuf>,
    /// Let other machines of this network join: the broker listens there, over TLS and for keys that are listed in DIR/trust
    /// of the run directory, and a code for the first machine is shown
    #[arg(long)]
    pub lan: bool,
    /// Where other machines reach the broker [default: this machine's address on its network]
    #[arg(long, env = "ECHO_ADVERTISE", value_name = "HOST[:PORT]")]
    pub advertise: Option<String>,
}

/// What `up` and `join` may be told of this machine's engines.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct EngineSettings {
    /// The first node's id, without --nodes; the default is the host name
    #[arg(long, env = "ECHO_NODE_ID", value_name = "ID", allow_hyphen_values = true)]
    pub node: Option<NodeId>,
    /// An engine; may be given several times. Without it they are looked for where they usually listen
    #[arg(long = "engine-url", env = "ECHO_ENGINE_URL", value_name = "URL", value_delimiter = ',')]
    pub engine_urls: Vec<String>,
    /// Which engines: auto, ollama, openai or embedded (a small model that needs nothing else) [default: auto]
    #[arg(long, env = "ECHO_ENGINE_MODE", value_name = "KIND")]
    pub engines: Option<String>,
    /// The model of tasks that name none; pulled into Ollama where it is missing and you agree
    #[arg(long, env = "ECHO_MODEL", value_name = "MODEL")]
    pub model: Option<String>,
    /// How many answers a node gives at a time; the default is what its engine says
    #[arg(long, env = "ECHO_SLOTS", value_name = "N")]
    pub slots: Option<String>,
    /// Pull a missing model without asking; with 0, never ask
    #[arg(long, env = "ECHO_PULL", value_name = "0|1", num_args = 0..=1, require_equals = true, default_missing_value = "1")]
    pub pull: Option<String>,
    /// Where the agents listen, one after the other [default: 127.0.0.1:9001 and on]
    #[arg(long, env = "ECHO_AGENT_LISTEN", value_name = "HOST:PORT", value_delimiter = ',')]
    pub agent_listen: Vec<String>,
    /// A file with the key of those engines that you have named, for OpenAI APIs that want a bearer token
    #[arg(long, env = "ECHO_ENGINE_KEY_FILE", value_name = "FILE")]
    pub engine_key_file: Option<PathBuf>,
    /// Say what would be started, and start nothing
    #[arg(long)]
    pub dry_run: bool,
}

/// The settings, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Set {
    pub engines: EngineSet,
    pub mesh: MeshSet,
}

/// What was said of the mesh's own parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MeshSet {
    pub edge: SocketAddr,
    pub nats: Address,
    pub monitor: Address,
    pub conf: Option<PathBuf>,
}

/// What was said of engines and their agents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineSet {
    pub layout: Layout,
    pub wish: Wish,
    /// The key of engines that the user has named.
    pub key_file: Option<PathBuf>,
    /// Where agents listen; those beyond take the next ports.
    pub agents: Vec<Named<Address>>,
}

/// What the nodes are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Layout {
    /// `--nodes`: these engines.
    PerNode(Vec<Named<Url>>),
    /// One for each engine on this machine; these, if there are any.
    Local(Vec<Named<Url>>),
}

/// A value with the setting that names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named<T> {
    pub name: String,
    pub value: T,
}

/// What the environment holds.
pub type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

impl Settings {
    /// Checks everything that can be checked without a look at the machine.
    ///
    /// # Errors
    /// The sentence that says how to write it.
    pub fn read(&self, env: Environment) -> Result<Set, BadConfig> {
        let reader = Reader { env };
        let conf = self.nats_conf.as_deref().filter(|path| !path.as_os_str().is_empty());
        let conf_text = conf.map(|path| {
            std::fs::read_to_string(path).map_err(|error| {
                BadConfig(format!("ECHO_NATS_CONF={} cannot be read: {error}.", path.display()))
            })
        });
        let conf_text = conf_text.transpose()?.unwrap_or_default();
        let (host, port) = (value(&conf_text, "host", "127.0.0.1"), value(&conf_text, "port", "4222"));
        let http = value(&conf_text, "http", "127.0.0.1:8222");
        let http = if http.contains(':') { http } else { format!("{host}:{http}") };
        let listen = |flag, variable: &str, value: &Option<String>, default: &str| {
            let value = set(value).unwrap_or(default);
            Address::read(&reader.said(flag, variable, value), value)
        };
        let edge = listen("--edge-listen", "ECHO_EDGE_LISTEN", &self.edge_listen, "127.0.0.1:8080")?;
        let monitor = set(&self.nats_monitor).map(|text| {
            if text.bytes().all(|byte| byte.is_ascii_digit()) {
                format!("127.0.0.1:{text}")
            } else {
                text.to_owned()
            }
        });
        let nats = match set(&self.nats_listen) {
            None if self.lan => Address::read("", &format!("0.0.0.0:{port}")),
            _ => listen("--nats-listen", "ECHO_NATS_LISTEN", &self.nats_listen, &format!("{host}:{port}")),
        }?;
        if self.lan && nats.is_loopback() {
            let said = reader.said("--nats-listen", "ECHO_NATS_LISTEN", &nats.to_string());
            let port = nats.port;
            return Err(BadConfig(format!(
                "--lan is for other machines, and with {said} only this one reaches the broker: leave that out, or \
                 write 0.0.0.0:{port}."
            )));
        }
        let mesh = MeshSet {
            edge: edge.socket("ECHO_EDGE_LISTEN")?,
            nats,
            monitor: listen("--nats-monitor", "ECHO_NATS_MONITOR", &monitor, &http)?,
            conf: conf.map(|path| std::path::absolute(path).unwrap_or_else(|_| path.to_owned())),
        };
        Ok(Set { engines: self.engines.read(self.nodes, env)?, mesh })
    }
}

impl EngineSettings {
    /// The same for engines; `nodes` as for `up --nodes`.
    ///
    /// # Errors
    /// As above.
    pub fn read(&self, nodes: Option<u8>, env: Environment) -> Result<EngineSet, BadConfig> {
        let reader = Reader { env };
        Ok(EngineSet {
            layout: self.layout(&reader, nodes)?,
            wish: self.wish(&reader)?,
            key_file: self.engine_key_file.clone().filter(|path| !path.as_os_str().is_empty()),
            agents: self.agents(&reader, nodes)?,
        })
    }

    fn wish(&self, reader: &Reader) -> Result<Wish, BadConfig> {
        let mode_said = |mode: &str| reader.said("--engines", "ECHO_ENGINE_MODE", mode);
        let mode = set(&self.engines).unwrap_or("auto");
        let mode_said = mode_said(mode);
        let mode = match mode {
            "auto" => Mode::Auto,
            "ollama" => Mode::Ollama,
            "openai" => Mode::Openai,
            "embedded" => Mode::Embedded,
            _ => {
                return Err(BadConfig(format!(
                    "{mode_said} is not known: use auto, ollama, openai or embedded."
                )));
            }
        };
        let slots = set(&self.slots).map(|text| {
            text.parse().ok().filter(|slots| (1..=MOST_SLOTS).contains(slots)).ok_or_else(|| {
                let said = reader.said("--slots", "ECHO_SLOTS", text);
                BadConfig(format!("{said}: the number of answers that a node gives at a time is at least 1, and at most {MOST_SLOTS}."))
            })
        });
        let model = set(&self.model).map(str::to_owned);
        let model_said =
            model.as_deref().map(|model| reader.said("--model", "ECHO_MODEL", model)).unwrap_or_default();
        let pull = match set(&self.pull) {
            Some("1") => Some(true),
            Some("0") => Some(false),
            _ => None,
        };
        Ok(Wish { mode, mode_said, model, model_said, slots: slots.transpose()?, pull })
    }

    fn layout(&self, reader: &Reader, nodes: Option<u8>) -> Result<Layout, BadConfig> {
        let read = |said: String, name: String, text: &str| {
            engine_url(&said, text).map(|value| Named { name, value })
        };
        let given = given(reader, &self.engine_urls, "ECHO_ENGINE_URL", nodes.is_some()).map(|url| {
            read(reader.said("--engine-url", "ECHO_ENGINE_URL", url), "ECHO_ENGINE_URL".to_owned(), url)
        });
        let given = given.collect::<Result<Vec<_>, _>>()?;
        let Some(count) = nodes else { return Ok(Layout::Local(given)) };
        let per_node = (0..count).map(|at| {
            if let Some(given) = given.get(usize::from(at)) {
                return Ok(given.clone());
            }
            let name = format!("ECHO_ENGINE_{}_URL", letter(at).to_ascii_uppercase());
            let default = format!("http://127.0.0.1:{}", FIRST_ENGINE + u16::from(at));
            let text = reader.variable(&name).unwrap_or(default);
            read(format!("{name}={text}"), name, &text)
        });
        Ok(Layout::PerNode(per_node.collect::<Result<_, _>>()?))
    }

    fn agents(&self, reader: &Reader, nodes: Option<u8>) -> Result<Vec<Named<Address>>, BadConfig> {
        let given = given(reader, &self.agent_listen, "ECHO_AGENT_LISTEN", nodes.is_some()).map(|text| {
            let name = "ECHO_AGENT_LISTEN".to_owned();
            let value = Address::read(&reader.said("--agent-listen", &name, text), text)?;
            Ok(Named { name, value })
        });
        let given: Vec<Named<Address>> = given.collect::<Result<_, _>>()?;
        let Some(count) = nodes else { return Ok(given) };
        let per_node = (0..count).map(|at| {
            if let Some(given) = given.get(usize::from(at)) {
                return Ok(given.clone());
            }
            let name = format!("ECHO_AGENT_{}_LISTEN", letter(at).to_ascii_uppercase());
            let text = reader.variable(&name).unwrap_or_else(|| agent(at.into()).to_string());
            let value = Address::read(&format!("{name}={text}"), &text)?;
            Ok(Named { name, value })
        });
        per_node.collect()
    }
}

/// The values of a flag. Those of its variable are an agent's own, which `--nodes` has letters for.
fn given<'a>(
    reader: &'a Reader,
    values: &'a [String],
    variable: &'a str,
    is_per_node: bool,
) -> impl Iterator<Item = &'a String> {
    values
        .iter()
        .filter(move |value| !(value.is_empty() || (is_per_node && reader.is_variable(variable, value))))
}

/// Where the agent of a node listens unless it is told otherwise.
pub fn agent(at: usize) -> Address {
    let port = FIRST_AGENT.saturating_add(u16::try_from(at).unwrap_or(u16::MAX));
    Address { host: "127.0.0.1".to_owned(), port }
}

/// `a` for the first node of `--nodes`.
pub fn letter(at: u8) -> char {
    char::from(b'a' + at % 26)
}

/// An empty setting is an unset one.
fn set(value: &Option<String>) -> Option<&str> {
    value.as_deref().filter(|value| !value.is_empty())
}

struct Reader<'a> {
    env: Environment<'a>,
}

impl Reader<'_> {
    fn variable(&self, name: &str) -> Option<String> {
        (self.env)(name).filter(|value| !value.is_empty())
    }

    fn is_variable(&self, name: &str, value: &str) -> bool {
        self.variable(name).is_some_and(|all| all.split(',').any(|one| one == value))
    }

    /// How the user has written it: as the variable, or as the flag.
    fn said(&self, flag: &str, variable: &str, value: &str) -> String {
        if self.is_variable(variable, value) {
            format!("{variable}={value}")
        } else {
            format!("{flag} {value}")
        }
    }
}

/// The value of a top-level `key: value` of a nats.conf, so that an edited file is obeyed.
fn value(conf: &str, key: &str, default: &str) -> String {
    let found = conf.lines().find_map(|line| {
        let rest = line.strip_prefix(key)?.trim_start();
        let rest = rest.strip_prefix([':', '='])?.trim_start();
        let rest = rest.strip_prefix('"').unwrap_or(rest);
        let end = rest.find(|c: char| c == '"' || c == '#' || c.is_whitespace()).unwrap_or(rest.len());
        Some(rest[..end].to_owned()).filter(|value| !value.is_empty())
    });
    found.unwrap_or_else(|| default.to_owned())
}

#[cfg(test)]
mod tests;
