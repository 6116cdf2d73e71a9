//! What each part may say and hear on the bus, made from [`CONTRACT`], so that the two cannot differ.

use std::fmt::Write as _;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::id::{NodeId, Peer, ProcessId, Role, TaskId};
use crate::key::PublicKey;
use crate::subject::{CONTRACT, Duty, Shape, Who};

/// For so long a part may answer what it was asked; an order takes the longest.
const ANSWERS_WITHIN: Duration = Duration::from_secs(120);

/// What `nats micro` asks, and parts answer.
const INSPECTION: &str = "$SRV.>";

/// What watchers and operators may ask beside the contract: pages of the server about itself.
const SERVER_PAGES: [&str; 4] =
    ["$SYS.REQ.SERVER.PING", "$SYS.REQ.SERVER.PING.*", "$SYS.REQ.USER.INFO", "$JS.API.INFO"];

/// A login, and what it is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    Agent(NodeId),
    Orchestrator(ProcessId),
    Edge(ProcessId),
    Broker(ProcessId),
    Operator,
    /// Whose answers come below this prefix; absent: below that of any tool.
    Watch(Option<ProcessId>),
    Guest,
}

impl Part {
    /// What a key is for; `None` for an agent without a node.
    pub fn of(duty: Duty, node: Option<&NodeId>, key: &PublicKey) -> Option<Self> {
        Some(match duty {
            Duty::Agent => Self::Agent(node?.clone()),
            Duty::Orchestrator => Self::Orchestrator(key.process()),
            Duty::Edge => Self::Edge(key.process()),
            Duty::Broker => Self::Broker(key.process()),
            Duty::Operator => Self::Operator,
            Duty::Watch => Self::Watch(Some(key.process())),
            Duty::Guest => Self::Guest,
        })
    }

    pub fn duty(&self) -> Duty {
        match self {
            Self::Agent(_) => Duty::Agent,
            Self::Orchestrator(_) => Duty::Orchestrator,
            Self::Edge(_) => Duty::Edge,
            Self::Broker(_) => Duty::Broker,
            Self::Operator => Duty::Operator,
            Self::Watch(_) => Duty::Watch,
            Self::Guest => Duty::Guest,
        }
    }

    /// As others address it; several operators have one name.
    fn peer(&self) -> Option<String> {
        let peer = |role, id: &ProcessId| Peer { role, id: id.clone() }.to_string();
        Some(match self {
            Self::Agent(node) => peer(Role::Agent, &node.into()),
            Self::Orchestrator(id) => peer(Role::Orchestrator, id),
            Self::Edge(id) => peer(Role::Edge, id),
            Self::Broker(id) => peer(Role::Broker, id),
            Self::Operator => format!("{}.*", Role::Other.as_str()),
            Self::Watch(_) | Self::Guest => return None,
        })
    }

    /// What names this part where these words stand in a subject.
    fn own(&self, word: &str) -> Option<String> {
        match (word, self) {
            ("node", Self::Agent(node)) => Some(node.to_string()),
            ("edge", Self::Edge(id)) => Some(id.to_string()),
            ("home", Self::Edge(id)) => Some(TaskId::home_of(id)),
            ("holder", Self::Agent(_) | Self::Orchestrator(_)) | ("peer", _) => self.peer(),
            _ => None,
        }
    }

    fn spelled(&self, shape: &Shape, by: &[Who]) -> Option<String> {
        by.iter().find_map(|who| match who {
            Who::Any(duty) if *duty == self.duty() => Some(shape.filled(|_| None)),
            Who::Own(duty) if *duty == self.duty() => Some(shape.filled(|word| self.own(word))),
            _ => None,
        })
    }

    /// All that it may say and hear.
    pub fn permissions(&self) -> Permissions {
        let shapes = || CONTRACT.iter().map(|(_, shape)| shape);
        let mut publish: Vec<String> =
            shapes().filter_map(|shape| self.spelled(shape, shape.said_by)).collect();
        let mut subscribe: Vec<String> =
            shapes().filter_map(|shape| self.spelled(shape, shape.heard_by)).collect();
        match self {
            Self::Agent(_) | Self::Orchestrator(_) | Self::Edge(_) | Self::Broker(_) => {
                subscribe.push(INSPECTION.to_owned());
            }
            Self::Operator | Self::Watch(_) => {
                publish.push(INSPECTION.to_owned());
                publish.extend(SERVER_PAGES.map(str::to_owned));
            }
            Self::Guest => {}
        }
        if let Self::Watch(id) = self {
            subscribe
                .push(id.as_ref().map_or_else(|| "_INBOX.>".to_owned(), |id| format!("_INBOX.watch.{id}.>")));
        }
        let answers = !matches!(self, Self::Watch(_) | Self::Guest);
        Permissions { publish, subscribe, answers }
    }
}

/// What a login may do; everything else is denied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Permissions {
    pub publish: Vec<String>,
    pub subscribe: Vec<String>,
    /// It may answer, once, what it was asked.
    pub answers: bool,
}

impl Permissions {
    /// As nats-server's configuration has it: `permissions: { … }`.
    pub fn to_conf(&self, indent: usize) -> String {
        let pad = " ".repeat(indent);
        let list = |subjects: &[String]| {
            let lines = subjects.iter().map(|subject| format!("\n{pad}    \"{subject}\""));
            format!("[{}\n{pad}  ]", lines.collect::<String>())
        };
        let mut text = format!("{pad}permissions: {{\n");
        let _ = writeln!(text, "{pad}  publish: {}", list(&self.publish));
        let _ = writeln!(text, "{pad}  subscribe: {}", list(&self.subscribe));
        if self.answers {
            let within = ANSWERS_WITHIN.as_secs();
            let _ = writeln!(text, "{pad}  allow_responses: {{ max: 1, expires: \"{within}s\" }}");
        }
        let _ = write!(text, "{pad}}}");
        text
    }

    /// As the JWT of a user has it, for `nsc`.
    pub fn to_jwt(&self) -> serde_json::Value {
        let mut json =
            serde_json::json!({ "pub": { "allow": self.publish }, "sub": { "allow": self.subscribe } });
        if self.answers {
            let nanos = u64::try_from(ANSWERS_WITHIN.as_nanos()).unwrap_or(u64::MAX);
            json["resp"] = serde_json::json!({ "max": 1, "ttl": nanos });
        }
        json
    }
}

/// A key that may get in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    /// What people call it; unique among all.
    pub name: String,
    pub duty: Duty,
    /// Of an agent: its node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<NodeId>,
    pub key: PublicKey,
    /// When it was let in, in milliseconds since the Unix epoch.
    pub since: u64,
}
