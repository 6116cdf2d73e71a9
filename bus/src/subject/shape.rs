//! How each subject is spelled, and who may say and hear what on it: the one list that subjects and permissions are made from.

use std::fmt;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use self::Duty::{Agent, Broker, Edge, Guest, Operator, Orchestrator, Watch};
use self::Who::{Any, Own};

/// How a subject is spelled, and who may say and hear what on it. A subject is made from one of these and from nothing else, so
/// there is none that the permissions do not know.
#[derive(Debug)]
pub struct Shape {
    /// With names in braces for what differs.
    pub text: &'static str,
    /// Who publishes to it.
    pub said_by: &'static [Who],
    /// Who subscribes to it.
    pub heard_by: &'static [Who],
}

/// Who, and with what in the braces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Who {
    /// With anything in the braces.
    Any(Duty),
    /// Only with what names the part itself: see [`Shape::filled`].
    Own(Duty),
}

/// What a login is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Duty {
    /// An agent, which speaks for one node.
    Agent,
    /// Decides who gets a task.
    Orchestrator,
    /// HTTP for the mesh's clients.
    Edge,
    /// The broker's own part.
    Broker,
    /// People who look after the mesh, by commands.
    Operator,
    /// People and programs that look.
    Watch,
    /// A machine that wants to join: it has no key yet.
    #[value(skip)]
    Guest,
}

impl Duty {
    pub const fn as_str(self) -> &'static str {
        match self {
            Agent => "agent",
            Orchestrator => "orchestrator",
            Edge => "edge",
            Broker => "broker",
            Operator => "operator",
            Watch => "watch",
            Guest => "guest",
        }
    }
}

impl fmt::Display for Duty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

macro_rules! shapes {
    ($($(#[$doc:meta])* $name:ident = $text:literal, said by $said:expr, heard by $heard:expr;)+) => {
        $($(#[$doc])* pub const $name: Shape = Shape { text: $text, said_by: &$said, heard_by: &$heard };)+

        /// All subjects of the contract.
        pub const CONTRACT: &[(&str, Shape)] = &[$((stringify!($name), $name)),+];
    };
}

shapes! {
    HEARTBEAT = "echo.node.{node}.heartbeat",
        said by [Own(Agent)], heard by [Own(Agent), Any(Orchestrator), Any(Edge), Any(Operator), Any(Watch)];
    /// By hand, in a mesh without keys.
    SUBMIT = "echo.task.submit",
        said by [], heard by [Any(Orchestrator)];
    /// An edge speaks for its own tasks, whose ids tell their home, and for nobody else's.
    SUBMIT_FROM = "echo.task.submit.{home}",
        said by [Own(Edge)], heard by [Any(Orchestrator)];
    TASK = "echo.node.{node}.task",
        said by [Any(Orchestrator)], heard by [Own(Agent)];
    CANCEL_AT = "echo.node.{node}.cancel.{home}",
        said by [Own(Edge), Any(Orchestrator)], heard by [Own(Agent)];
    CANCEL_TASK = "echo.task.cancel.{home}",
        said by [Own(Edge)], heard by [Any(Orchestrator)];
    /// `key` is random and told to the holder of one attempt only.
    FRAMES = "_INBOX.edge.{edge}.{key}",
        said by [Any(Agent), Any(Orchestrator)], heard by [Own(Edge)];
    ANSWER = "_echo.answer.{home}",
        said by [Any(Edge)], heard by [Own(Edge)];
    /// The holder stands in the subject, so that nobody says it for another.
    PULSE = "_echo.pulse.{edge}.{holder}",
        said by [Own(Agent), Own(Orchestrator)], heard by [Own(Edge)];
    /// Each part asks, when it starts, whether there is another under its name. An operator hears pings to find such twins.
    PING = "_echo.ping.{peer}",
        said by [Own(Agent), Any(Orchestrator), Any(Edge), Own(Broker), Any(Operator)],
        heard by [Own(Agent), Own(Orchestrator), Own(Edge), Own(Broker), Any(Operator)];
    CACHE = "_echo.cache.{node}",
        said by [Own(Agent)], heard by [Any(Orchestrator)];
    /// Said by the server.
    GONE = "_echo.gone",
        said by [], heard by [Any(Orchestrator), Any(Edge)];
    /// Agents ask it for the owner of their machine.
    STATUS = "echo.mesh.status",
        said by [Any(Agent), Any(Edge), Any(Operator), Any(Watch)], heard by [Any(Orchestrator)];
    NODE_EVENT = "echo.event.node.{node}.{what}",
        said by [Any(Orchestrator)], heard by [Any(Edge), Any(Operator), Any(Watch)];
    TASK_EVENT = "echo.event.task.{task}.{what}",
        said by [Any(Orchestrator), Any(Edge)], heard by [Any(Edge), Any(Operator), Any(Watch)];
    ORDER = "_echo.order.{node}",
        said by [Any(Edge), Any(Operator)], heard by [Own(Agent)];
    JOIN = "_echo.join.{invitation}",
        said by [Any(Guest)], heard by [Any(Operator)];
    MACHINES = "_echo.machines",
        said by [Any(Operator)], heard by [Any(Broker)];
    /// What a process has asked is answered here; others may say something there only in answer, once. But the broker's part
    /// has the server reload before it answers, and at that the server forgets who may answer what.
    REPLY = "_INBOX.{peer}.reply.{number}",
        said by [Own(Agent), Own(Orchestrator), Own(Edge), Any(Broker), Own(Operator), Own(Watch)],
        heard by [Own(Agent), Own(Orchestrator), Own(Edge), Own(Broker), Own(Operator), Own(Watch)];
    /// The same of people's tools, such as `nats --inbox-prefix _INBOX.other.<id>.client`.
    CLIENT_REPLY = "_INBOX.{peer}.client.{rest}",
        said by [], heard by [Own(Operator), Own(Watch)];
    /// The answers to a machine that wants to join.
    JOINER_REPLY = "_INBOX.join.{key}.{rest}",
        said by [], heard by [Any(Guest)];
}

impl Shape {
    /// The subject with these in place of what stands in braces, in order.
    pub(super) fn with<T: fmt::Display>(&self, values: &[T]) -> String {
        let mut parts = self.text.split('{');
        let mut text = parts.next().unwrap_or_default().to_owned();
        let mut values = values.iter();
        for part in parts {
            let (_, rest) = part.split_once('}').unwrap_or_default();
            let value = values.next().map_or_else(|| "*".to_owned(), ToString::to_string);
            text.push_str(&value);
            text.push_str(rest);
        }
        text
    }

    /// The subject with `own` in place of each name that it knows, and wildcards for the others.
    pub fn filled(&self, own: impl Fn(&str) -> Option<String>) -> String {
        let names = self.text.split('{').skip(1).filter_map(|part| Some(part.split_once('}')?.0));
        let wild = |name| match name {
            "peer" | "holder" => "*.*",
            // Of as many words as there are.
            "rest" => ">",
            _ => "*",
        };
        let values: Vec<String> =
            names.map(|name| own(name).unwrap_or_else(|| wild(name).to_owned())).collect();
        self.with(&values)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_subject_has_a_speaker_and_a_hearer() {
        for (name, shape) in CONTRACT {
            // The server's own word, answers, which need no permission of their own, and what nobody says who has a key.
            let said_by_nobody = ["GONE", "CLIENT_REPLY", "JOINER_REPLY", "SUBMIT"].contains(name);
            assert_eq!(shape.said_by.is_empty(), said_by_nobody, "{name}");
            assert!(!shape.heard_by.is_empty(), "{name}");
        }
    }

    #[test]
    fn no_duty_is_named_twice_for_one_subject() {
        for (name, shape) in CONTRACT {
            for list in [shape.said_by, shape.heard_by] {
                let mut duties: Vec<Duty> = list.iter().map(|(Any(duty) | Own(duty))| *duty).collect();
                duties.sort();
                assert!(duties.windows(2).all(|two| two[0] != two[1]), "{name}: {duties:?}");
            }
        }
    }
}
