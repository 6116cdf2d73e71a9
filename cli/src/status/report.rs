//! What `GET /status` says, for people.

use serde_json::Value;

use crate::clean::Clean;
use crate::figure;
use crate::node::Node;
use crate::patch::Patch;
use crate::table::{self, Column};

/// Lines of reasons below one node.
const REASONS: usize = 3;
const INDENT: usize = 4;

#[rustfmt::skip]
const COLUMNS: [Column; 10] = [
    Column { title: "NODE",    rank: 9, least: 8,  most: 30, right: false },
    Column { title: "SITE",    rank: 5, least: 6,  most: 20, right: false },
    Column { title: "STATE",   rank: 8, least: 11, most: 16, right: false },
    Column { title: "ACTIVE",  rank: 7, least: 6,  most: 9,  right: true },
    Column { title: "MODELS",  rank: 6, least: 10, most: 48, right: false },
    Column { title: "TOK/S",   rank: 5, least: 5,  most: 6,  right: true },
    Column { title: "MEMORY",  rank: 4, least: 16, most: 18, right: false },
    Column { title: "ENGINE",  rank: 2, least: 8,  most: 24, right: false },
    Column { title: "VERSION", rank: 1, least: 7,  most: 12, right: false },
    Column { title: "HEARD",   rank: 3, least: 6,  most: 14, right: false },
];

/// It is left out where no node says where it stands.
const SITE: usize = 1;

/// The mesh at one time.
pub struct Report {
    nodes: Vec<(Clean, Node, Option<u64>)>,
    waiting: u64,
    /// What the edge says in place of the mesh.
    trouble: Clean,
}

impl Report {
    /// Reads an answer of the edge; what it does not say is empty.
    pub fn read(told: &Value) -> Self {
        let now = told["server_time"].as_u64().unwrap_or_default();
        let each = told["nodes"].as_array().into_iter().flatten().filter_map(Value::as_object);
        let mut nodes: Vec<_> = each.map(|node| read(node, now)).collect();
        nodes.sort_by(|one, other| one.0.cmp(&other.0));
        Self {
            nodes,
            waiting: told["queued"].as_u64().unwrap_or_default(),
            trouble: Clean::read(&told["error"]),
        }
    }

    /// Whether a task would find a node.
    pub fn can_work(&self) -> bool {
        self.nodes.iter().any(|(_, node, _)| node.can_work())
    }

    /// All of it, no line wider than this.
    pub fn lines(&self, width: usize) -> Vec<String> {
        if !self.trouble.is_empty() {
            let hint = "`echo-mesh logs` shows what the parts say, `echo-mesh doctor` what is wrong.";
            let trouble = table::wrap(&format!("The mesh cannot work: {}", self.trouble), width, REASONS * 2);
            return trouble.into_iter().chain(table::wrap(hint, width, REASONS)).collect();
        }
        if self.nodes.is_empty() {
            let hint = "The mesh has no node yet: `echo-mesh up` makes one of each engine on this machine, \
                        `echo-mesh join` brings in another machine.";
            return table::wrap(hint, width, REASONS);
        }
        let mut rows: Vec<Vec<String>> = self.nodes.iter().map(row).collect();
        let mut columns = COLUMNS.to_vec();
        if self.nodes.iter().all(|(_, node, _)| node.site.is_empty()) {
            columns.remove(SITE);
            rows.iter_mut().for_each(|row| _ = row.remove(SITE));
        }
        let mut table = table::lines(&columns, &rows, width).into_iter();
        let mut lines: Vec<String> = table.next().into_iter().collect();
        for ((_, node, _), line) in self.nodes.iter().zip(table) {
            lines.push(line);
            let reasons = node.reasons().join("; ");
            let room = width.saturating_sub(INDENT);
            let reasons = table::wrap(&reasons, room, REASONS);
            lines.extend(reasons.iter().map(|line| table::fit(&(" ".repeat(INDENT) + line), width)));
        }
        lines.push(String::new());
        lines.extend(table::wrap(&self.summary(), width, REASONS));
        lines
    }

    fn summary(&self) -> String {
        let running: u64 = self.nodes.iter().map(|(_, node, _)| node.active).fold(0, u64::saturating_add);
        let mut text = format!("{} running, {} waiting.", tasks(running), self.waiting);
        if self.nodes.iter().any(|(_, node, _)| node.models.iter().any(|model| model.loaded)) {
            text.push_str(" A model with * is in memory.");
        }
        if !self.can_work() {
            text.push_str(" No node takes work now.");
        }
        text
    }
}

fn tasks(number: u64) -> String {
    figure::count(usize::try_from(number).unwrap_or(usize::MAX), "task")
}

fn read(told: &Patch, now: u64) -> (Clean, Node, Option<u64>) {
    let name = told.get("node_id").map(Clean::read).unwrap_or_default();
    let heard = told.get("last_heartbeat").and_then(Value::as_u64);
    (name, Node::of_registry(told), heard.map(|heard| now.saturating_sub(heard)))
}

fn row((name, node, heard): &(Clean, Node, Option<u64>)) -> Vec<String> {
    vec![
        name.to_string(),
        if node.site.is_empty() { "-".to_owned() } else { node.site.to_string() },
        node.word().to_owned(),
        format!("{}/{}", node.active, node.slots),
        node.models(),
        figure::rate(node.measured()),
        node.memory.used(),
        node.engine(),
        node.version.to_string(),
        heard.map_or("-".to_owned(), |ago| format!("{} ago", figure::span(ago))),
    ]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;
    use unicode_width::UnicodeWidthStr as _;

    use super::*;

    fn told() -> Value {
        json!({"server_time": 5_000, "queued": 2, "nodes": [
            {"node_id": "node-b", "status": "unavailable", "reason": "ollama does not answer at http://127.0.0.1:11434",
             "active_tasks": 0, "slots": 1, "model_details": [], "last_heartbeat": 4_900},
            {"node_id": "node-a", "status": "idle", "active_tasks": 1, "slots": 4, "version": "0.1.0",
             "model_details": [{"name": "qwen:7b"}, {"name": "mistral:latest", "loaded": true, "tokens_per_second": 31.4}],
             "engine": {"kind": "ollama", "version": "0.6.2"}, "last_heartbeat": 4_600,
             "memory": {"total": 32_000_000_000_u64, "free": 20_000_000_000_u64}},
        ]})
    }

    #[test]
    fn sites_are_shown_where_there_are_some() {
        let mut told = told();
        told["nodes"][1]["site"] = "berlin".into();
        let lines = Report::read(&told).lines(200);
        assert!(lines[0].starts_with("NODE    SITE    STATE"), "{lines:?}");
        assert!(
            lines[1].starts_with("node-a  berlin  answering") && lines[2].starts_with("node-b  -       unav"),
            "{lines:?}"
        );
    }

    #[test]
    fn a_wide_terminal_shows_everything() {
        let lines = Report::read(&told()).lines(200);
        assert_eq!(
            lines,
            [
                "NODE    STATE        ACTIVE  MODELS             TOK/S  MEMORY          ENGINE        VERSION  HEARD",
                "node-a  answering       1/4  mistral*, qwen:7b     31  12 GB of 32 GB  ollama 0.6.2  0.1.0    400 ms ago",
                "node-b  unavailable     0/1  -                      -  -               -                      100 ms ago",
                "    ollama does not answer at http://127.0.0.1:11434",
                "",
                "1 task running, 2 waiting. A model with * is in memory.",
            ]
        );
    }

    #[test]
    fn a_narrow_terminal_keeps_node_state_and_reason() {
        let lines = Report::read(&told()).lines(32);
        assert_eq!(lines[0], "NODE    STATE        ACTIVE");
        assert_eq!(lines[2..4], ["node-b  unavailable     0/1", "    ollama does not answer at"]);
    }

    #[test]
    fn what_is_missing_is_said_with_what_to_do() {
        let none = Report::read(&json!({"nodes": []}));
        assert!(!none.can_work() && none.lines(200)[0].contains("`echo-mesh join`"));
        let silent = Report::read(&json!({"nodes": [], "error": "no orchestrator answers\x1b[2J"}));
        assert_eq!(silent.lines(200)[0], "The mesh cannot work: no orchestrator answers�[2J");
        let drained =
            json!({"nodes": [{"node_id": "a", "status": "draining", "model_details": [{"name": "m"}]}]});
        let drained = Report::read(&drained);
        assert!(!drained.can_work());
        assert!(drained.lines(200).concat().contains("No node takes work now"));
    }

    proptest! {
        #[test]
        fn nothing_that_a_node_says_reaches_a_terminal_or_breaks_the_table(
            words in prop::collection::vec(any::<String>(), 6), width in 1_usize..160,
        ) {
            let [node, status, reason, model, engine, version] = words.try_into().unwrap();
            let told = json!({"nodes": [{
                "node_id": node, "status": status, "reason": reason, "version": version,
                "model_details": [{"name": model, "loaded": true, "unavailable": reason}], "engine": {"kind": engine},
            }]});
            for line in Report::read(&told).lines(width) {
                prop_assert!(!line.chars().any(char::is_control), "{line:?}");
                prop_assert!(line.width() <= width, "{line:?}");
            }
        }
    }
}
