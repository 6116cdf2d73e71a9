//! What each part may say and hear on the bus, made from [`CONTRACT`], so that the two cannot differ.

use std::fmt::Write as _;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::id::{NodeId, Peer, ProcessId, Role, TaskId};
use crate::key::PublicKey;
use crate::subject::{CONTRACT, Duty, Shape, Who};

/// For so long a part may answer what it was asked; an order takes the longest.
const ANSWERS_WITHIN: Duration = Duration::from_secs(120);

/// What `nats micro` asks of all parts, of those of one duty, and of one: it is asked by people, and parts answer.
const INSPECTION: &str = "$SRV.>";

/// Where the server takes answers for machines that want to join, from one account to the other. Said aloud, because the server
/// forgets who may answer what when a key is let in, and that is when a joiner waits for its answer.
const JOINERS: &str = "_R_.>";

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
    Operator(ProcessId),
    Watch(ProcessId),
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
            Duty::Operator => Self::Operator(key.process()),
            Duty::Watch => Self::Watch(key.process()),
            Duty::Guest => Self::Guest,
        })
    }

    pub fn duty(&self) -> Duty {
        match self {
            Self::Agent(_) => Duty::Agent,
            Self::Orchestrator(_) => Duty::Orchestrator,
            Self::Edge(_) => Duty::Edge,
            Self::Broker(_) => Duty::Broker,
            Self::Operator(_) => Duty::Operator,
            Self::Watch(_) => Duty::Watch,
            Self::Guest => Duty::Guest,
        }
    }

    /// As others address it.
    pub fn peer(&self) -> Option<Peer> {
        let (role, id) = match self {
            Self::Agent(node) => (Role::Agent, node.into()),
            Self::Orchestrator(id) => (Role::Orchestrator, id.clone()),
            Self::Edge(id) => (Role::Edge, id.clone()),
            Self::Broker(id) => (Role::Broker, id.clone()),
            Self::Operator(id) | Self::Watch(id) => (Role::Other, id.clone()),
            Self::Guest => return None,
        };
        Some(Peer { role, id })
    }

    /// What names this part where these words stand in a subject.
    fn own(&self, word: &str) -> Option<String> {
        match (word, self) {
            ("node", Self::Agent(node)) => Some(node.to_string()),
            ("edge", Self::Edge(id)) => Some(id.to_string()),
            ("home", Self::Edge(id)) => Some(TaskId::home_of(id)),
            // An edge hears the pulses of all holders, and holds nothing itself.
            ("holder", Self::Edge(_)) => None,
            ("holder" | "peer", _) => self.peer().map(|peer| peer.to_string()),
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
        match self.peer().map(|peer| peer.role) {
            Some(Role::Other) => {
                if self.duty() == Duty::Operator {
                    publish.push(JOINERS.to_owned());
                }
                publish.push(INSPECTION.to_owned());
                publish.extend(SERVER_PAGES.map(str::to_owned));
            }
            Some(role) => subscribe.extend(inspected(role)),
            None => {}
        }
        let answers = !matches!(self, Self::Watch(_) | Self::Guest);
        Permissions { publish, subscribe, answers }
    }
}

/// What a part of this role hears of `nats micro`, by the name that it has there (see `client/inspect.rs`). Each verb is
/// written out: to the server, who may subscribe to `$SRV.*` may subscribe to `$SRV.>` too.
fn inspected(role: Role) -> impl Iterator<Item = String> {
    ["PING", "INFO", "STATS"].into_iter().flat_map(move |verb| {
        let name = role.service();
        [format!("$SRV.{verb}"), format!("$SRV.{verb}.{name}"), format!("$SRV.{verb}.{name}.*")]
    })
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

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> ProcessId {
        text.parse().unwrap()
    }

    fn agent() -> Permissions {
        Part::Agent("node-a".parse().unwrap()).permissions()
    }

    fn everyone() -> [Part; 7] {
        [
            Part::Agent("node-a".parse().unwrap()),
            Part::Orchestrator(id("o1")),
            Part::Edge(id("e1")),
            Part::Broker(id("b1")),
            Part::Operator(id("p1")),
            Part::Watch(id("w1")),
            Part::Guest,
        ]
    }

    #[test]
    fn an_agent_speaks_for_its_node_and_hears_what_is_meant_for_it() {
        assert_eq!(
            agent().publish,
            [
                "echo.node.node-a.heartbeat",
                "_INBOX.edge.*.*",
                "_echo.pulse.*.agent.node-a",
                "_echo.ping.agent.node-a",
                "_echo.cache.node-a",
                "echo.mesh.status",
                "_INBOX.agent.node-a.reply.*",
            ]
        );
        assert_eq!(
            agent().subscribe,
            [
                "echo.node.node-a.heartbeat",
                "echo.node.node-a.task",
                "echo.node.node-a.cancel.*",
                "_echo.ping.agent.node-a",
                "_echo.order.node-a",
                "_INBOX.agent.node-a.reply.*",
                "$SRV.PING",
                "$SRV.PING.echo-agent",
                "$SRV.PING.echo-agent.*",
                "$SRV.INFO",
                "$SRV.INFO.echo-agent",
                "$SRV.INFO.echo-agent.*",
                "$SRV.STATS",
                "$SRV.STATS.echo-agent",
                "$SRV.STATS.echo-agent.*",
            ]
        );
        assert!(agent().answers);
    }

    #[test]
    fn an_edge_hears_its_own_inboxes_only() {
        let edge = Part::Edge(id("e1")).permissions();
        let home = TaskId::home_of(&id("e1"));
        let own = [
            "_INBOX.edge.e1.*",
            "_echo.pulse.e1.*.*",
            "_INBOX.edge.e1.reply.*",
            &format!("_echo.answer.{home}"),
        ];
        for subject in own {
            assert!(edge.subscribe.iter().any(|allowed| allowed == subject), "{subject} of {edge:?}");
        }
        assert!(
            !edge.publish.iter().any(|allowed| allowed.contains("heartbeat") || allowed.contains("pulse"))
        );
        let of_tasks: Vec<_> =
            edge.publish.iter().filter(|it| it.contains("submit") || it.contains("cancel")).collect();
        let own = ["echo.task.submit", "echo.node.*.cancel", "echo.task.cancel"];
        assert_eq!(of_tasks, own.map(|subject| format!("{subject}.{home}")).iter().collect::<Vec<_>>());
    }

    #[test]
    fn a_watcher_says_nothing_but_questions_and_answers_none() {
        let watch = Part::Watch(id("w1")).permissions();
        assert_eq!(watch.publish[..2], ["echo.mesh.status", "_INBOX.other.w1.reply.*"]);
        assert_eq!(
            watch.subscribe,
            [
                "echo.node.*.heartbeat",
                "echo.event.node.*.*",
                "echo.event.task.*.*",
                "_INBOX.other.w1.reply.*",
                "_INBOX.other.w1.client.>",
            ]
        );
        assert!(!watch.answers);
    }

    #[test]
    fn a_guest_may_ask_to_join_and_nothing_else() {
        let guest = Part::Guest.permissions();
        assert_eq!(guest.publish, ["_echo.join.*"]);
        assert_eq!(guest.subscribe, ["_INBOX.join.*.>"]);
        assert!(!guest.answers);
    }

    #[test]
    fn nobody_may_say_or_hear_everything() {
        for part in everyone() {
            let Permissions { publish, subscribe, .. } = part.permissions();
            for subject in publish.iter().chain(&subscribe) {
                let words: Vec<&str> = subject.split('.').collect();
                assert!(words.len() > 1 && !words[0].contains(['*', '>']), "{subject} of {part:?}");
                assert!(!subject.contains('{') && words.iter().all(|word| !word.is_empty()), "{subject}");
            }
            assert!(!subscribe.iter().any(|subject| subject == "_INBOX.>"), "{part:?}");
        }
    }

    #[test]
    fn the_key_says_who_a_part_is() {
        let key: PublicKey = "UDXU4RCSJNZOIQHZNWXHXORDPRTGNJAHAHFRGZNEEJCPQTT2M7NLCNF4".parse().unwrap();
        let peer =
            |duty| Part::of(duty, None, &key).and_then(|part| part.peer()).map(|peer| peer.to_string());
        assert_eq!(peer(Duty::Edge).as_deref(), Some("edge.udxu4rcsjnzoiqhznwxh"));
        assert_eq!(peer(Duty::Watch).as_deref(), Some("other.udxu4rcsjnzoiqhznwxh"));
        assert_eq!(peer(Duty::Agent), None, "an agent without a node");
    }

    #[test]
    fn a_jwt_has_the_same_as_a_configuration() {
        let (jwt, conf) = (agent().to_jwt(), agent().to_conf(2));
        for subject in agent().publish.iter().chain(&agent().subscribe) {
            assert!(conf.contains(&format!("\"{subject}\"")), "{conf}");
        }
        assert_eq!(jwt["pub"]["allow"], serde_json::json!(agent().publish));
        assert_eq!(jwt["resp"], serde_json::json!({ "max": 1, "ttl": 120_000_000_000_u64 }));
    }
}
