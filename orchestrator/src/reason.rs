//! Why an attempt goes to its node, as its task, its event and its trace tell it.

use std::sync::OnceLock;

use echo_bus::message::{Relayed, Task, WrittenAs};
use serde::Serialize;

use crate::expected;

/// Why an attempt goes to its node. It is written when it is read first: who places tasks does not wait for the words.
#[derive(Debug)]
pub struct Reason {
    of: Of,
    told: OnceLock<Told>,
}

#[derive(Debug)]
enum Of {
    /// Somebody's words.
    Words(String),
    /// What was expected, in these words if there are any.
    Expected(Box<expected::Reason>, Option<String>),
}

#[derive(Debug)]
struct Told {
    words: String,
    why: Option<Relayed>,
}

impl Reason {
    /// It was chosen by what is expected, of which nothing may have been measured: then `words` say what decided.
    pub fn expected(reason: expected::Reason, words: Option<String>) -> Self {
        Self { of: Of::Expected(Box::new(reason), words), told: OnceLock::new() }
    }

    pub fn words(&self) -> &str {
        &self.told().words
    }

    /// The same in figures, if it was chosen by what is expected.
    pub fn why(&self) -> Option<&Relayed> {
        self.told().why.as_ref()
    }

    fn told(&self) -> &Told {
        self.told.get_or_init(|| match &self.of {
            Of::Words(words) => Told { words: words.clone(), why: None },
            Of::Expected(reason, words) => {
                let why = reason.why();
                let words = words.clone().unwrap_or_else(|| reason.words(&why));
                Told { words, why: Relayed::written(&why).ok() }
            }
        })
    }
}

impl From<String> for Reason {
    fn from(words: String) -> Self {
        Self { of: Of::Words(words), told: OnceLock::new() }
    }
}

/// A task as its node gets it: with the reason for that node.
#[derive(Debug, Serialize)]
pub struct Reasoned<'a> {
    #[serde(flatten)]
    task: &'a Task,
    #[serde(skip_serializing_if = "str::is_empty")]
    chosen: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<&'a Relayed>,
}

impl<'a> Reasoned<'a> {
    /// Of a task that says nothing of a reason itself.
    pub fn new(task: &'a Task, reason: &'a Reason) -> Self {
        Self { task, chosen: reason.words(), why: reason.why() }
    }
}

impl WrittenAs<Task> for Reasoned<'_> {
    fn original(&self) -> &Task {
        self.task
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::testkit::task;

    #[test]
    fn what_is_sent_is_read_as_the_task_with_its_reason() {
        let task = task(7, json!({"waited_ms": 3, "excluded": [{"node": "a", "boot": "a-1"}]}));
        let reason = Reason::from("the only node with m".to_owned());
        let sent = serde_json::to_string(&Reasoned::new(&task, &reason)).unwrap();
        let read: Task = serde_json::from_str(&sent).unwrap();
        assert_eq!(read, Task { chosen: "the only node with m".to_owned(), ..task });
    }
}
