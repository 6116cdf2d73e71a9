//! What a node that drains still does, out of its heartbeats. Plain data.

use std::fmt;

use echo_bus::message::{Heartbeat, NodeStatus};

use crate::clean::Clean;
use crate::figure;

/// Tasks that are named; of more, how many there are is enough.
const NAMED: usize = 4;
/// One heartbeat may be from before the order.
const CONTRADICTIONS: u32 = 2;

/// How far a node is that was drained.
#[derive(Debug, PartialEq)]
pub enum Drain {
    /// This still runs.
    Runs(Runs),
    /// Nothing runs, and nothing will.
    Empty,
    /// Somebody has resumed it, or its agent was started again: it takes work.
    Undone,
}

/// What runs on a node.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Runs {
    pub count: usize,
    tasks: Vec<String>,
}

/// The waiting for one node.
#[derive(Debug, Default)]
pub struct Wait {
    contradictions: u32,
}

impl Wait {
    /// Takes a heartbeat that came after the order.
    pub fn hear(&mut self, beat: &Heartbeat) -> Drain {
        if beat.status != NodeStatus::Draining {
            self.contradictions += 1;
            if self.contradictions >= CONTRADICTIONS {
                return Drain::Undone;
            }
        } else {
            self.contradictions = 0;
            if beat.active.is_empty() {
                return Drain::Empty;
            }
        }
        Drain::Runs(Runs::of(beat))
    }
}

impl Runs {
    fn of(beat: &Heartbeat) -> Self {
        let tasks = beat.progress.iter().take(beat.active.len().min(NAMED)).map(|progress| {
            let model = Clean::of(figure::model(&progress.model));
            if progress.prompt {
                format!("{model} (no token yet)")
            } else {
                format!("{model} ({} tokens)", progress.tokens)
            }
        });
        Self { count: beat.active.len(), tasks: tasks.collect() }
    }
}

impl fmt::Display for Runs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", figure::count(self.count, "task"))?;
        if !self.tasks.is_empty() {
            let more = if self.count > self.tasks.len() { ", …" } else { "" };
            write!(f, ": {}{more}", self.tasks.join(", "))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn beat(status: &str, tasks: usize) -> Heartbeat {
        let held = json!({"task": "00000000-0000-0000-0000-000000000007", "attempt": 1, "last": 0});
        serde_json::from_value(json!({
            "node": "a", "boot": "b", "number": 1, "status": status, "active": vec![held; tasks],
            "progress": vec![json!({"model": "mistral:latest\u{1b}[2J", "tokens": 12}); tasks], "slots": 9,
            "engine": {"kind": "ollama"}, "memory": {"total": 0, "free": 0}, "disk": {"total": 0, "free": 0},
            "agent_host": "h", "agent_port": 1, "version": "0", "uptime_ms": 1,
        }))
        .unwrap()
    }

    #[test]
    fn it_waits_until_nothing_runs_and_names_what_does() {
        let mut wait = Wait::default();
        let Drain::Runs(runs) = wait.hear(&beat("draining", 6)) else { panic!("six tasks run") };
        assert!(runs.to_string().starts_with("6 tasks: mistral:latest�[2J (12 tokens), "), "{runs}");
        assert!(runs.to_string().ends_with(", …"), "{runs}");
        assert_eq!(wait.hear(&beat("draining", 0)), Drain::Empty);
    }

    #[test]
    fn one_old_heartbeat_undoes_nothing_and_two_do() {
        let mut wait = Wait::default();
        assert!(matches!(wait.hear(&beat("idle", 0)), Drain::Runs(_)), "it may be from before");
        assert!(matches!(wait.hear(&beat("draining", 1)), Drain::Runs(_)));
        assert!(matches!(wait.hear(&beat("idle", 1)), Drain::Runs(_)));
        assert_eq!(wait.hear(&beat("busy", 1)), Drain::Undone);
    }
}
