//! Identifiers as checked types: what has one of these types is safe inside a subject.

use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasherDefault, Hasher};
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The longest name of a node or process, in bytes.
const LONGEST: usize = 63;

/// Why a text is no identifier.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a valid {what}: use 1 to 63 of a-z 0-9 _ -, and begin with a letter or a digit")]
pub struct Invalid {
    what: &'static str,
    text: String,
}

fn checked(what: &'static str, text: String) -> Result<String, Invalid> {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'-';
    let first = text.bytes().next().is_some_and(|b| inner(b) && b != b'_' && b != b'-');
    if first && text.len() <= LONGEST && text.bytes().all(inner) {
        return Ok(text);
    }
    let text = text.chars().take(80).collect();
    Err(Invalid { what, text })
}

macro_rules! name {
    ($(#[$doc:meta])* $type:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $type(String);

        impl $type {
            /// The checked text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $type {
            type Error = Invalid;
            fn try_from(text: String) -> Result<Self, Invalid> {
                checked($what, text).map(Self)
            }
        }

        impl FromStr for $type {
            type Err = Invalid;
            fn from_str(text: &str) -> Result<Self, Invalid> {
                Self::try_from(text.to_owned())
            }
        }

        impl From<$type> for String {
            fn from(id: $type) -> String {
                id.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name! {
    /// A node of the mesh: one agent and its engine. Chosen by its owner, kept over restarts.
    NodeId, "node id"
}
name! {
    /// A process on the bus within its role: an agent's node id, or an edge's or orchestrator's random id.
    ProcessId, "process id"
}
name! {
    /// Whoever has an API key, by the name that the key was given. Never the key.
    ClientName, "name of a key"
}
name! {
    /// Where a part stands, as its owner calls it: what is at one site is near each other.
    SiteName, "name of a site"
}
name! {
    /// One start of one process; another start has another. The field's word is incarnation.
    BootId, "boot id"
}

impl NodeId {
    /// The node id a host name stands for: lower-cased, cut at the first dot, other characters turned into `-`.
    ///
    /// # Errors
    /// When nothing usable is left of it.
    pub fn from_host_name(host: &str) -> Result<Self, Invalid> {
        let label = host.split('.').next().unwrap_or_default().to_lowercase();
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '-';
        let text: String = label.chars().map(|c| if plain(c) { c } else { '-' }).take(LONGEST).collect();
        text.trim_start_matches(['-', '_']).parse()
    }
}

impl ProcessId {
    /// A new random id, for processes that nobody names.
    pub fn random() -> Self {
        Self(short_random())
    }
}

impl From<NodeId> for ProcessId {
    fn from(node: NodeId) -> Self {
        Self(node.0)
    }
}

impl From<&NodeId> for ProcessId {
    fn from(node: &NodeId) -> Self {
        Self(node.0.clone())
    }
}

impl BootId {
    /// The id of this start.
    pub fn random() -> Self {
        Self(short_random())
    }
}

fn short_random() -> String {
    let mut text = Uuid::new_v4().simple().to_string();
    text.truncate(12);
    text
}

/// A task, made by the edge that owns it. Its first six bytes tell which edge that is, so that every other edge finds
/// it without asking around; the rest is random, and nobody guesses it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TaskId(Uuid);

impl TaskId {
    /// A new id for a task of nobody in particular: submitted by hand, without an edge.
    pub fn random() -> Self {
        Self(Uuid::new_v4())
    }

    /// A new id for a task of this edge.
    pub fn random_at(edge: &ProcessId) -> Self {
        let mut bytes = *Uuid::new_v4().as_bytes();
        bytes[..6].copy_from_slice(&home(edge));
        // A UUID with a meaning of its own is one of version 8.
        bytes[6] = bytes[6] & 0x0f | 0x80;
        Self(Uuid::from_bytes(bytes))
    }

    /// The token under which the edge that made this id is asked for it.
    pub fn home(&self) -> String {
        token(&self.0.as_bytes()[..6])
    }

    /// The token under which an edge is asked for its tasks.
    pub fn home_of(edge: &ProcessId) -> String {
        token(&home(edge))
    }

    /// A task id with a chosen value, for tests that must be repeatable.
    pub const fn from_u128(value: u128) -> Self {
        Self(Uuid::from_u128(value))
    }
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A map by tasks that this process has made the ids of. They are random already, so they are not hashed again; ids
/// from elsewhere are only looked up.
pub type IdMap<T> = HashMap<TaskId, T, BuildHasherDefault<Random>>;

/// Takes the random part of an id for its hash.
#[derive(Debug, Default, Clone, Copy)]
pub struct Random(u64);

impl Hasher for Random {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        // An id; nothing else that is hashed has sixteen bytes.
        if let Ok(id) = <[u8; 16]>::try_from(bytes) {
            let id = u128::from_le_bytes(id);
            self.0 = (id as u64).rotate_left(29) ^ (id >> 64) as u64;
            return;
        }
        for part in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..part.len()].copy_from_slice(part);
            self.0 = self.0.rotate_left(29) ^ u64::from_le_bytes(word);
        }
    }
}

/// Six bytes that stand for a process: FNV-1a, which spreads random ids well enough.
fn home(process: &ProcessId) -> [u8; 6] {
    let hash = process.0.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let [a, b, c, d, e, f, ..] = hash.to_be_bytes();
    [a, b, c, d, e, f]
}

fn token(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl FromStr for TaskId {
    type Err = uuid::Error;
    fn from_str(text: &str) -> Result<Self, uuid::Error> {
        text.parse().map(Self)
    }
}

/// One attempt at one task. The number rises with each submission: it is a *fencing token*, see
/// [`Fence`](crate::holding::Fence).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct AttemptId {
    pub task: TaskId,
    pub attempt: u32,
}

impl fmt::Display for AttemptId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.task, self.attempt)
    }
}

/// What a process does on the bus; part of its connection name, its ping subject and its inboxes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    Agent,
    Orchestrator,
    Edge,
    /// The part that keeps nats-server.
    Broker,
    /// The broker's own probe, test harnesses, and whoever else is no part.
    Other,
}

impl Role {
    /// The word for this role in subjects and connection names.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Agent => "agent",
            Self::Orchestrator => "orchestrator",
            Self::Edge => "edge",
            Self::Broker => "broker",
            Self::Other => "other",
        }
    }

    /// The name of such a part for `nats micro`.
    pub fn service(self) -> String {
        format!("echo-{}", self.as_str())
    }
}

/// A process as others address it; survives its restarts if its id does.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Peer {
    pub role: Role,
    pub id: ProcessId,
}

impl Peer {
    /// The agent of a node.
    pub fn agent(node: &NodeId) -> Self {
        Self { role: Role::Agent, id: node.into() }
    }

    /// Reads a connection name, `<role>.<id>.<boot>`; `None` for connections that are not parts of the mesh.
    pub fn from_connection_name(name: &str) -> Option<(Self, BootId)> {
        let mut words = name.split('.');
        let role = match words.next()? {
            "agent" => Role::Agent,
            "orchestrator" => Role::Orchestrator,
            "edge" => Role::Edge,
            "broker" => Role::Broker,
            _ => return None,
        };
        let (id, boot) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
        words.next().is_none().then_some((Self { role, id }, boot))
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.role.as_str(), self.id)
    }
}

/// Where frames and answers are sent: a subject that begins with `_INBOX.`, or with `_R_.` where the server takes the
/// answer to another account, and holds no wildcard.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Inbox(String);

/// Why a subject may not be answered to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "an inbox begins with `_INBOX.` or `_R_.`, holds no wildcard, space or empty token, and has 255 bytes at most"
)]
pub struct InvalidInbox;

impl Inbox {
    /// The checked subject.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Inbox {
    type Error = InvalidInbox;
    fn try_from(text: String) -> Result<Self, InvalidInbox> {
        let plain = |b: u8| b.is_ascii_graphic() && b != b'*' && b != b'>';
        let whole = text.split('.').all(|token| !token.is_empty());
        let fits = text.len() <= 255 && text.bytes().all(plain);
        let known = text.starts_with("_INBOX.") || text.starts_with("_R_.");
        if fits && whole && known { Ok(Self(text)) } else { Err(InvalidInbox) }
    }
}

impl From<Inbox> for String {
    fn from(inbox: Inbox) -> String {
        inbox.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn hostile_ids_are_refused() {
        let long = "a".repeat(64);
        for bad in ["", ".", "*", ">", "a.b", "a b", "A", "-a", "_a", "a\n", "é", "a>", long.as_str()] {
            assert!(bad.parse::<NodeId>().is_err(), "{bad:?} was taken");
        }
        for good in ["a", "node-a", "0", "a_b-c", &"a".repeat(63)] {
            assert!(good.parse::<NodeId>().is_ok(), "{good:?} was refused");
        }
    }

    #[test]
    fn a_huge_id_makes_a_small_error() {
        let error = "x ".repeat(10_000).parse::<NodeId>().unwrap_err().to_string();
        assert!(error.len() < 300, "{} bytes", error.len());
    }

    #[test]
    fn a_host_name_becomes_a_node_id() {
        let id = |host: &str| NodeId::from_host_name(host).unwrap().to_string();
        assert_eq!(id("Marie's-MacBook.local"), "marie-s-macbook");
        assert_eq!(id("box7"), "box7");
        assert!(NodeId::from_host_name("...").is_err());
    }

    #[test]
    fn only_inboxes_are_inboxes() {
        for bad in [
            "",
            "echo.task.submit",
            "_INBOX.",
            "_INBOX.>",
            "_INBOX.*.a",
            "_INBOX.a..b",
            "_INBOX.a b",
            "_INBOX",
        ] {
            assert!(Inbox::try_from(bad.to_owned()).is_err(), "{bad:?} was taken");
        }
        assert!(Inbox::try_from("_INBOX.edge.e1.k9".to_owned()).is_ok());
    }

    #[test]
    fn a_connection_name_tells_who_it_was() {
        let (peer, boot) = Peer::from_connection_name("agent.node-a.b00t").unwrap();
        assert_eq!((peer, boot.as_str()), (Peer::agent(&"node-a".parse().unwrap()), "b00t"));
        for other in ["", "nats CLI", "agent.node-a", "agent.*.b", "agent.a.b.c", "root.a.b"] {
            assert!(Peer::from_connection_name(other).is_none(), "{other:?} was taken");
        }
    }

    proptest! {
        #[test]
        fn whatever_is_an_id_is_one_plain_token(text in ".{0,80}") {
            if let Ok(id) = text.parse::<NodeId>() {
                prop_assert!(!id.as_str().contains(['.', '*', '>', ' ', '\r', '\n']));
                prop_assert!(!id.as_str().is_empty());
            }
        }

        #[test]
        fn a_host_name_never_makes_a_bad_id(host in ".{0,200}") {
            if let Ok(id) = NodeId::from_host_name(&host) {
                prop_assert!(id.as_str().parse::<NodeId>().is_ok());
            }
        }
    }
}
