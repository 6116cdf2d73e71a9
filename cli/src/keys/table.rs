//! Keys as a table.

use std::collections::HashMap;

use echo_bus::id::ClientName;
use echo_edge::keys::file::KeyFile;
use serde::Serialize;

use crate::table::{self, Column};

const COLUMNS: [Column; 7] = [
    Column { title: "NAME", rank: 9, least: 8, most: 64, right: false },
    Column { title: "MODELS", rank: 8, least: 10, most: 60, right: false },
    Column { title: "AT ONCE", rank: 5, least: 7, most: 10, right: true },
    Column { title: "WAITING", rank: 4, least: 7, most: 10, right: true },
    Column { title: "TOKENS TODAY", rank: 7, least: 12, most: 40, right: true },
    Column { title: "EXPIRES", rank: 6, least: 8, most: 20, right: false },
    Column { title: "MANAGES", rank: 3, least: 7, most: 7, right: false },
];

/// One key.
#[derive(Debug, Serialize)]
pub struct Row {
    name: String,
    /// In seconds since 1970, as `expires` is.
    created: u64,
    expires: Option<u64>,
    expired: bool,
    /// Patterns with commas; absent: every model.
    models: Option<String>,
    at_once: Option<u32>,
    waiting: Option<u32>,
    tokens_a_day: Option<u64>,
    /// As far as the edges of these keys have written it down.
    tokens_today: u64,
    manage: bool,
}

pub fn rows(file: &KeyFile, used: &HashMap<ClientName, u64>, now: u64) -> Vec<Row> {
    let row = |key: &echo_edge::keys::file::Entry| Row {
        name: key.name.to_string(),
        created: key.created,
        expires: key.expires,
        expired: key.has_expired(now),
        models: (!key.models.is_all()).then(|| key.models.to_string()),
        at_once: key.at_once,
        waiting: key.waiting,
        tokens_a_day: key.tokens_a_day,
        tokens_today: used.get(&key.name).copied().unwrap_or_default(),
        manage: key.manage,
    };
    let mut rows: Vec<Row> = file.keys.iter().map(row).collect();
    rows.sort_by(|a, b| a.name.cmp(&b.name));
    rows
}

pub fn lines(rows: &[Row], now: u64, width: usize) -> Vec<String> {
    let number = |limit: Option<u32>| limit.map_or_else(|| "-".to_owned(), |limit| limit.to_string());
    let cells = |row: &Row| {
        let tokens = row.tokens_a_day.map(|limit| format!("{} of {limit}", row.tokens_today));
        vec![
            row.name.clone(),
            row.models.clone().unwrap_or_else(|| "all".to_owned()),
            number(row.at_once),
            number(row.waiting),
            tokens.unwrap_or_else(|| row.tokens_today.to_string()),
            row.expires.map_or_else(|| "-".to_owned(), |expires| when(expires, now)),
            if row.manage { "yes" } else { "-" }.to_owned(),
        ]
    };
    let cells: Vec<Vec<String>> = rows.iter().map(cells).collect();
    table::lines(&COLUMNS, &cells, width)
}

fn when(expires: u64, now: u64) -> String {
    let Some(left) = expires.checked_sub(now).filter(|left| *left > 0) else { return "expired".to_owned() };
    match left {
        0..120 => format!("in {left} s"),
        120..7200 => format!("in {} min", left / 60),
        7200..172_800 => format!("in {} h", left / 3600),
        _ => format!("in {} d", left / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use echo_edge::keys::file::Entry;

    use super::*;

    #[test]
    fn a_key_is_shown_with_its_limits_and_what_was_used_of_them() {
        let key = |name: &str| Entry::new(name.parse().unwrap(), name, 0);
        let limited = Entry {
            models: echo_bus::model_pattern::Patterns::of(&["llama3*".parse().unwrap()]).unwrap(),
            at_once: Some(2),
            tokens_a_day: Some(1000),
            expires: Some(86_400 * 3),
            ..key("bob")
        };
        let file = KeyFile { keys: vec![limited, Entry { expires: Some(5), manage: true, ..key("ada") }] };
        let used = HashMap::from([("bob".parse().unwrap(), 12)]);
        let lines = lines(&rows(&file, &used, 10), 10, 200);
        assert_eq!(lines[1].split_whitespace().collect::<Vec<_>>().join(" "), "ada all - - 0 expired yes");
        assert_eq!(
            lines[2].split_whitespace().collect::<Vec<_>>().join(" "),
            "bob llama3* 2 - 12 of 1000 in 2 d -"
        );
    }
}
