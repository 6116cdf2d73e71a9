//! All models of a mesh, for people.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::clean::visible;
use crate::known::Known;

const HEAD: [&str; 5] = ["MODEL", "SIZE", "CAN", "ON", "LOADED ON"];

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

/// As lines of a table.
pub fn lines(rows: &[Row]) -> Vec<String> {
    if rows.is_empty() {
        return vec!["no node has a model: `echo-mesh models pull NAME --on NODE` fetches one".to_owned()];
    }
    let cells: Vec<[String; 5]> = rows.iter().map(Row::cells).collect();
    let width = |column: usize| {
        let cells = cells.iter().map(|row| row[column].chars().count());
        cells.chain([HEAD[column].len()]).max().unwrap_or_default()
    };
    let widths: [usize; 5] = std::array::from_fn(width);
    let line = |row: [&str; 5]| {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    let table = cells.iter().map(|row| line(row.each_ref().map(String::as_str)));
    std::iter::once(line(HEAD)).chain(table).chain(rows.iter().flat_map(Row::notes)).collect()
}

impl Row {
    fn cells(&self) -> [String; 5] {
        let list =
            |words: &[String]| if words.is_empty() { "-".to_owned() } else { visible(&words.join(", ")) };
        let size = if self.size == 0 { "-".to_owned() } else { size(self.size) };
        [visible(&self.model), size, list(&self.can), list(&self.on), list(&self.loaded_on)]
    }

    fn notes(&self) -> impl Iterator<Item = String> {
        self.unavailable
            .iter()
            .map(|(node, why)| visible(&format!("{} is not used on {node}: {why}", self.model)))
    }
}

/// In the units in which models are sold.
pub fn size(bytes: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "a size for people")]
    let amount = |unit: u64| bytes as f64 / unit as f64;
    match bytes {
        1_000_000_000.. => format!("{:.1} GB", amount(1_000_000_000)),
        1_000_000.. => format!("{:.0} MB", amount(1_000_000)),
        _ => format!("{:.1} kB", amount(1_000)),
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
        let lines = lines(&rows(&serde_json::from_value(known).unwrap()));
        assert_eq!(
            lines,
            [
                "MODEL  SIZE    CAN                ON    LOADED ON",
                "bare   -       -                  a     -",
                "m:1    4.7 GB  completion, tools  a, b  a",
                "m:1 is not used on b: its trial failed\u{241b}[2J",
            ]
        );
    }

    #[test]
    fn a_size_is_short() {
        assert_eq!([size(900), size(98_362_432), size(4_661_224_676)], ["0.9 kB", "98 MB", "4.7 GB"]);
    }
}
