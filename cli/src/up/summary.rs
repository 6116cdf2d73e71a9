//! What a person reads of a mesh that runs: its parts, and lines to try.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use echo_bus::message::unix_millis;

use crate::place::Place;
use crate::record::Record;
use crate::say::say;
use crate::typed::Typed;

/// Where a program on this machine reaches what listens there: a wildcard is no destination.
pub fn near(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}

/// The parts, and what to do with them.
pub fn print(record: &Record, place: &Place) {
    print_parts(record);
    print_lines_to_try(record, place);
}

/// The parts, one a line.
pub fn print_parts(record: &Record) {
    say("");
    let edge = record.edge.as_deref().unwrap_or_default();
    line(record, "edge", edge);
    line(record, "orchestrator", "");
    for node in &record.nodes {
        line(record, &named("agent", &node.id), &format!("{}, {}", node.id, node.agent));
    }
    let monitor = record.monitor.as_ref().map_or_else(String::new, |at| format!(", monitor {at}"));
    line(record, "broker", &format!("{}{monitor}", record.bus.as_deref().unwrap_or_default()));
    for node in &record.nodes {
        line(record, &named("engine", &node.id), &format!("{} ({})", node.engine, node.api));
    }
    say("");
}

fn named(kind: &str, node: &str) -> String {
    format!("{kind}-{}", node.strip_prefix("node-").unwrap_or(node))
}

fn line(record: &Record, name: &str, what: &str) {
    let state = match record.part(name) {
        Some(part) if part.process.runs() => format!("pid {}", part.process.pid),
        None if name.starts_with("engine-") => "not ours".to_owned(),
        _ => "not running".to_owned(),
    };
    say(format!("  {name:<13} {state:<12} {what}").trim_end());
}

/// What to do with it.
pub fn print_lines_to_try(record: &Record, place: &Place) {
    let edge = record.edge.as_deref().unwrap_or_default().replace("//127.0.0.1:", "//localhost:");
    let logs = shown(&record.logs);
    let agents: Vec<String> =
        record.nodes.iter().map(|node| format!("{logs}/{}.log", named("agent", &node.id))).collect();
    let json = "-H \"Content-Type: application/json\"";
    say(format!("Ready: {}. Try:\n", who(record)));
    say(format!("  curl -X POST {edge}/task {json} -d '{{\"prompt\": \"What is 2 + 2?\"}}'"));
    say(format!(
        "  curl -N -X POST {edge}/task/stream {json} -d '{{\"prompt\": \"Write a haiku about distributed systems.\"}}'"
    ));
    say(format!("  curl {edge}/status | python3 -m json.tool"));
    say(format!("  tail -f {logs}/edge.log {logs}/orchestrator.log {}", agents.join(" ")));
    say("");
    say(format!(
        "The page is at {edge}/, the API at {edge} too: Ollama's, OpenAI's and Anthropic's, and its own."
    ));
    say(
        "The logs tell of nodes, and of tasks that did not go smoothly; of every task after a start with RUST_LOG=info,echo_edge=debug.",
    );
    let typed = Typed::of(place, None);
    say(format!("Check it: {}    Stop it: {}", typed.check, typed.stop));
}

fn who(record: &Record) -> String {
    let what = record.model.as_deref().unwrap_or("their models");
    match record.nodes.as_slice() {
        [one] => format!("{} serves {}", one.id, record.model.as_deref().unwrap_or("its models")),
        [_, _] => format!("both nodes serve {what}"),
        nodes => format!("all {} nodes serve {what}", nodes.len()),
    }
}

/// How long it runs by now.
pub fn age(record: &Record) -> String {
    let age = Duration::from_millis(unix_millis().saturating_sub(record.since)).as_secs();
    match (age / 86_400, age / 3_600 % 24, age / 60 % 60, age % 60) {
        (0, 0, 0, s) => format!("{s} s"),
        (0, 0, m, _) => format!("{m} min"),
        (0, h, m, _) => format!("{h} h {m} min"),
        (d, h, _, _) => format!("{d} d {h} h"),
    }
}

/// A path as a person in this folder would type it.
fn shown(path: &Path) -> String {
    let here = std::env::current_dir().ok();
    let below = here.and_then(|here| path.strip_prefix(here).ok().map(Path::to_owned));
    below
        .filter(|path| path.components().next().is_some())
        .unwrap_or_else(|| path.to_owned())
        .display()
        .to_string()
}
