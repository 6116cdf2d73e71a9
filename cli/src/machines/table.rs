//! The machines of a mesh, for people.

use echo_bus::message::unix_millis;
use echo_bus::permission::Machine;
use echo_bus::subject::Duty;

use crate::clean::Clean;
use crate::figure::span;
use crate::table::{self, Column};

const COLUMNS: [Column; 5] = [
    Column { title: "NAME", rank: 9, least: 8, most: 63, right: false },
    Column { title: "DUTY", rank: 8, least: 5, most: 12, right: false },
    Column { title: "NODE", rank: 5, least: 6, most: 63, right: false },
    Column { title: "KEY", rank: 6, least: 9, most: 12, right: false },
    Column { title: "SINCE", rank: 7, least: 5, most: 16, right: false },
];
/// So much of a key tells it from others.
const SHORT: usize = 9;

/// As lines of a table that fits this width.
pub fn lines(machines: &[Machine], width: usize) -> Vec<String> {
    let now = unix_millis();
    let row = |one: &Machine| {
        vec![
            Clean::of(&one.name).to_string(),
            word(one.duty).to_owned(),
            one.node.as_ref().map_or_else(|| "-".to_owned(), ToString::to_string),
            format!("{}…", &one.key.as_str()[..SHORT]),
            span(now.saturating_sub(one.since)),
        ]
    };
    let rows: Vec<Vec<String>> = machines.iter().map(row).collect();
    table::lines(&COLUMNS, &rows, width)
}

/// As it is typed.
pub fn word(duty: Duty) -> &'static str {
    match duty {
        Duty::Agent => "agent",
        Duty::Orchestrator => "orchestrator",
        Duty::Edge => "edge",
        Duty::Broker => "broker",
        Duty::Operator => "operator",
        Duty::Watch => "watch",
        Duty::Guest => "guest",
    }
}
