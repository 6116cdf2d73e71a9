//! All models of a mesh, for people.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::clean::Clean;
use crate::figure::size;
use crate::known::Known;
use crate::table::{self, Column};

const COLUMNS: [Column; 5] = [
    Column { title: "MODEL", rank: 9, least: 12, most: 60, right: false },
    Column { title: "SIZE", rank: 7, least: 6, most: 8, right: false },
    Column { title: "CAN", rank: 5, least: 10, most: 60, right: false },
    Column { title: "ON", rank: 8, least: 10, most: 120, right: false },
    Column { title: "LOADED ON", rank: 6, least: 10, most: 120, right: false },
];

/// One model.
#[derive(Debug, Default, Serialize)]
pub struct Row {
    model: String,
    /// On disk, in bytes, where an engine says it; of the largest where nodes have different ones.
    size: u64,
    can: Vec<String>,
    on: Vec<String>,
    loaded_on: Vec<String>,
    /// Why it cannot be used on a node now.
    unavailable: BTreeMap<String, String>,
}

/// Each model once, by its name.
pub fn rows(known: &Known) -> Vec<Row> {
    let mut rows: BTreeMap<&str, Row> = BTreeMap::new();
    for node in &known.nodes {
        for model in &node.models {
            let row = rows.entry(&model.name).or_default();
            row.model.clone_from(&model.name);
            row.size = row.size.max(model.size);
            for can in &model.capabilities {
                if !row.can.iter().any(|have| have == can.as_str()) {
                    row.can.push(can.as_str().to_owned());
                }
            }
            row.on.push(node.node_id.clone());
            if model.loaded {
                row.loaded_on.push(node.node_id.clone());
            }
            let why = if model.unavailable.is_empty() { &node.reason } else { &model.unavailable };
            if !why.is_empty() {
                row.unavailable.insert(node.node_id.clone(), why.clone());
            }
        }
    }
    rows.into_values().collect()
}

/// As lines of a table that fits this width, and what cannot be used.
pub fn lines(rows: &[Row], width: usize) -> Vec<String> {
    if rows.is_empty() {
        return vec!["no node has a model: `echo-mesh models pull NAME --on NODE` fetches one".to_owned()];
    }
    let cells: Vec<Vec<String>> = rows.iter().map(Row::cells).collect();
    let table = table::lines(&COLUMNS, &cells, width);
    table.into_iter().map(|line| line.trim_end().to_owned()).chain(rows.iter().flat_map(Row::notes)).collect()
}

impl Row {
    fn cells(&self) -> Vec<String> {
        let list = |words: &[String]| {
            let words = Clean::of(&words.join(", ")).to_string();
            if words.is_empty() { "-".to_owned() } else { words }
        };
        let size = if self.size == 0 { "-".to_owned() } else { size(self.size) };
        let name = Clean::of(&self.model).to_string();
        vec![name, size, list(&self.can), list(&self.on), list(&self.loaded_on)]
    }

    fn notes(&self) -> impl Iterator<Item = String> {
        self.unavailable.iter().map(|(node, why)| {
            let [model, node, why] = [&self.model, node, why].map(|words| Clean::of(words));
            format!("{model} is not used on {node}: {why}")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_model_is_one_line_however_many_nodes_have_it() {
        let model = |name: &str, loaded: bool| json!({"name": name, "size": 4_700_000_000_u64, "loaded": loaded, "capabilities": ["completion", "tools"]});
        let mut closed = model("m:1", false);
        closed["unavailable"] = json!("its trial failed\u{1b}[2J");
        let node = |id: &str, models: serde_json::Value| json!({"node_id": id, "status": "idle", "model_details": models});
        let known = json!({"nodes": [
            node("a", json!([model("m:1", true), {"name": "bare"}])), node("b", json!([closed])),
        ]});
        let lines = lines(&rows(&serde_json::from_value(known).unwrap()), 400);
        assert_eq!(
            lines,
            [
                "MODEL  SIZE    CAN                ON    LOADED ON",
                "bare   -       -                  a     -",
                "m:1    4.7 GB  completion, tools  a, b  a",
                "m:1 is not used on b: its trial failed\u{fffd}[2J",
            ]
        );
    }
}
