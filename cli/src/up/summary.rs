//! What a person reads of a mesh that runs: its parts, and lines to try.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use echo_bus::message::unix_millis;

use super::voice::Code;
use crate::invite;
use crate::place::Place;
use crate::record::{Record, Serves};
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

/// The parts between two empty lines.
pub fn print_parts(record: &Record) {
    say("");
    parts(record).iter().for_each(say);
    say("");
}

/// The parts, one a line.
pub fn parts(record: &Record) -> Vec<String> {
    let agents = record.nodes.iter();
    let agents =
        agents.map(|node| line(record, &named("agent", &node.id), &format!("{}, {}", node.id, node.agent)));
    let engines = record.nodes.iter();
    let engines = engines
        .map(|node| line(record, &named("engine", &node.id), &format!("{} ({})", node.engine, node.api)));
    if record.joined {
        return agents.chain(engines).collect();
    }
    let edge = record.edge.as_deref().unwrap_or_default();
    let monitor = record.monitor.as_ref().map_or_else(String::new, |at| format!(", monitor {at}"));
    let bus = format!("{}{monitor}", record.bus.as_deref().unwrap_or_default());
    let mut lines = vec![line(record, "edge", edge), line(record, "orchestrator", "")];
    lines.extend(agents);
    lines.push(line(record, "broker", &bus));
    lines.extend(engines);
    lines
}

fn named(kind: &str, node: &str) -> String {
    format!("{kind}-{}", node.strip_prefix("node-").unwrap_or(node))
}

fn line(record: &Record, name: &str, what: &str) -> String {
    let state = match record.part(name) {
        Some(part) if part.process.runs() => format!("pid {}", part.process.pid),
        None if name.starts_with("engine-") => "not ours".to_owned(),
        _ => "not running".to_owned(),
    };
    format!("  {name:<13} {state:<12} {what}").trim_end().to_owned()
}

/// What to do with it.
pub fn print_lines_to_try(record: &Record, place: &Place) {
    if record.joined {
        return print_lines_of_member(record, place);
    }
    let edge = record.edge.as_deref().unwrap_or_default().replace("//127.0.0.1:", "//localhost:");
    let logs = shown(&record.logs);
    let agents: Vec<String> =
        record.nodes.iter().map(|node| format!("{logs}/{}.log", named("agent", &node.id))).collect();
    let json = "-H \"Content-Type: application/json\"";
    say(format!("{} Try:\n", headline(record).join("\n")));
    if can_answer(record) {
        say(format!("  curl -X POST {edge}/task {json} -d '{{\"prompt\": \"What is 2 + 2?\"}}'"));
        say(format!(
            "  curl -N -X POST {edge}/task/stream {json} -d '{{\"prompt\": \"Write a haiku about distributed systems.\"}}'"
        ));
    }
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
    // The broker of a mesh without keys listens to its own machine.
    let another = if record.access.is_none() { typed.lan } else { typed.invite };
    say(format!("Let another machine in: {another}"));
}

fn print_lines_of_member(record: &Record, place: &Place) {
    let nodes: Vec<&str> = record.nodes.iter().map(|node| node.id.as_str()).collect();
    say(format!(
        "Ready: {} in the mesh at {}.",
        nodes.join(" and "),
        record.bus.as_deref().unwrap_or_default()
    ));
    if let Some(edge) = &record.edge {
        say(format!("The mesh answers at {edge}"));
    }
    let typed = Typed::of(place, None);
    say(format!("The logs are in {}", shown(&record.logs)));
    say(format!("Leave it: {}    Come back, without a code: {}", typed.stop, Typed::joining(place).start));
}

/// The code for the machine that may join, and what to do with it.
pub fn print_code(code: Option<&Code>) {
    if let Some((code, lifetime)) = code.and_then(|code| Some((code.text.parse().ok()?, code.lifetime))) {
        say("");
        invite::show(&code, lifetime, None);
    }
}

fn can_answer(record: &Record) -> bool {
    record.nodes.iter().any(|node| matches!(node.serves, Serves::Answers | Serves::Unknown))
}

/// What the mesh can be asked for, and which nodes lack a model for that.
fn headline(record: &Record) -> Vec<String> {
    let of = |serves| {
        let ids = record.nodes.iter().filter(move |node| node.serves == serves).map(|node| node.id.as_str());
        ids.collect::<Vec<_>>()
    };
    let (embed, bare) = (of(Serves::EmbeddingsOnly), of(Serves::Nothing));
    let mut lines = vec![match (can_answer(record), embed.is_empty()) {
        (true, _) if embed.is_empty() && bare.is_empty() => return vec![format!("Ready: {}.", who(record))],
        (true, _) => format!("Ready: {} can answer.", of(Serves::Answers).join(" and ")),
        (false, false) => "Ready, for embeddings only: no node has a model that generates text.".to_owned(),
        (false, true) => "Running, and no task can be answered yet: no node has a model.".to_owned(),
    }];
    let each = |ids: &[&str], what: &str| ids.iter().map(|id| format!("{id} {what}")).collect::<Vec<_>>();
    lines.extend(each(&embed, "has embedding models only."));
    lines.extend(each(&bare, "has no model."));
    lines.push(
        "Give its engine a model (Ollama: `ollama pull NAME`): the mesh sees it within seconds.".to_owned(),
    );
    lines
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::process::Process;

    fn headline_of(serve: &[&str]) -> Vec<String> {
        let nodes = serve.iter().enumerate().map(|(at, serves)| {
            json!({"id": format!("box-{at}"), "agent": "", "engine": "", "api": "ollama", "ours": false, "serves": serves})
        });
        let supervisor = Process::own().unwrap();
        let record =
            json!({"supervisor": supervisor, "parts": [], "logs": "/", "nodes": nodes.collect::<Vec<_>>()});
        headline(&serde_json::from_value(record).unwrap())
    }

    #[test]
    fn a_mesh_that_can_answer_nothing_says_so_and_names_the_nodes_without_a_model() {
        assert_eq!(headline_of(&["answers"]), ["Ready: box-0 serves its models."]);
        assert_eq!(headline_of(&["answers", "answers"]), ["Ready: both nodes serve their models."]);
        let mixed = headline_of(&["answers", "nothing"]);
        assert_eq!(mixed[..2], ["Ready: box-0 can answer.", "box-1 has no model."]);
        let embeds = headline_of(&["embeddings_only"]);
        assert!(embeds[0].starts_with("Ready, for embeddings only"), "{embeds:?}");
        let bare = headline_of(&["nothing"]);
        assert!(bare[0].contains("no node has a model") && bare[2].contains("ollama pull"), "{bare:?}");
    }
}
