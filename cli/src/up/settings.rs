//! What a start may be told.

use std::net::SocketAddr;
use std::path::PathBuf;

use echo_bus::process::BadConfig;
use reqwest::Url;

use super::plan::{Api, Broker, Engine, From, Node, Plan};
use crate::edge::Edge;

/// What `up` may be told.
#[derive(Debug, Clone, clap::Args)]
pub struct Settings {
    /// Where the edge listens
    #[arg(long, env = "ECHO_EDGE_LISTEN", value_name = "HOST:PORT", default_value = "127.0.0.1:8080")]
    edge_listen: SocketAddr,
    /// Where clients of the bus connect
    #[arg(long, env = "ECHO_NATS_LISTEN", value_name = "HOST:PORT")]
    nats_listen: Option<String>,
    /// The port of the broker's own pages
    #[arg(long, env = "ECHO_NATS_MONITOR", value_name = "[HOST:]PORT")]
    nats_monitor: Option<String>,
    /// The configuration of the broker
    #[arg(long, env = "ECHO_NATS_CONF", value_name = "FILE")]
    nats_conf: Option<PathBuf>,
    /// The secret of the mesh
    #[arg(long, env = "ECHO_SECRET_FILE", value_name = "FILE")]
    secret_file: Option<PathBuf>,
    #[arg(long, env = "ECHO_AGENT_A_LISTEN", value_name = "HOST:PORT", default_value = "127.0.0.1:9001")]
    agent_a_listen: SocketAddr,
    #[arg(long, env = "ECHO_AGENT_B_LISTEN", value_name = "HOST:PORT", default_value = "127.0.0.1:9002")]
    agent_b_listen: SocketAddr,
    #[arg(long, env = "ECHO_ENGINE_A_URL", value_name = "URL", default_value = "http://127.0.0.1:11434")]
    engine_a_url: Url,
    #[arg(long, env = "ECHO_ENGINE_B_URL", value_name = "URL", default_value = "http://127.0.0.1:11435")]
    engine_b_url: Url,
    /// The model of tasks that name none
    #[arg(long, env = "ECHO_MODEL", value_name = "MODEL")]
    model: Option<String>,
    /// How many answers a node gives at a time
    #[arg(long, env = "ECHO_SLOTS", value_name = "N")]
    slots: Option<u32>,
}

impl Settings {
    /// What is going to be started.
    pub async fn plan(&self) -> Result<Plan, BadConfig> {
        let nodes = vec![
            self.node("node-a", self.agent_a_listen, &self.engine_a_url).await?,
            self.node("node-b", self.agent_b_listen, &self.engine_b_url).await?,
        ];
        let broker = Broker {
            listen: self.nats_listen.clone(),
            monitor: self.nats_monitor.clone(),
            conf: self.nats_conf.clone(),
            secret_file: self.secret_file.clone(),
        };
        let why = "Engines: those that already answer.".to_owned();
        Ok(Plan { nodes, edge: self.edge_listen, broker, model: self.model.clone(), why })
    }

    async fn node(&self, id: &str, listen: SocketAddr, url: &Url) -> Result<Node, BadConfig> {
        let edge = Edge::at(url.clone()).map_err(BadConfig::because)?;
        let api = if edge.get::<serde_json::Value>("/api/version").await.is_ok() {
            Api::Ollama
        } else if edge.get::<serde_json::Value>("/v1/models").await.is_ok() {
            Api::Openai
        } else {
            return Err(BadConfig(format!("no engine answers at {url}")));
        };
        let engine = Engine { api, url: url.clone(), from: From::Found };
        let id = id.parse().map_err(BadConfig::because)?;
        Ok(Node { id, listen, engine, slots: self.slots })
    }
}
