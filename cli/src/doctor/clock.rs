//! Clocks that are far from this machine's.

use std::time::Duration;

use echo_bus::message::NodeState;
use futures::future::join_all;
use reqwest::Url;

use super::ask::{Answer, Asker};
use super::finding::Looked;
use super::scene::{Edge, Scene};

/// Further apart than this is wrong.
const FAR: Duration = Duration::from_secs(5);
/// Of more nodes than this not all are asked.
const MOST: usize = 64;

pub async fn look(scene: &Scene) -> Looked {
    let (mesh, answer) = match scene.edge().await {
        Edge::Whole(mesh, answer) => (Some(mesh), answer),
        Edge::Alone(_, answer) => (None, answer),
        _ if scene.mesh().await.is_some() => return Looked::unseen("clocks, since no edge answers"),
        _ => return Looked::default(),
    };
    let mut clocks = Vec::new();
    clocks.extend(offset(answer).map(|off| ("the edge".to_owned(), off)));
    let mut unseen = Vec::new();
    if let Some(mesh) = mesh {
        let (before, after) = answer.between;
        clocks
            .push(("the orchestrator".to_owned(), apart(mesh.server_time, mesh.server_time, before, after)));
        let asked = mesh.nodes.iter().take(MOST);
        let offsets = join_all(asked.clone().map(|node| node_clock(&scene.asker, node))).await;
        for (node, off) in asked.zip(offsets) {
            match off {
                Some(off) => clocks.push((node.node_id.to_string(), off)),
                None => unseen.push(node.node_id.to_string()),
            }
        }
        unseen.extend(
            mesh.nodes.get(MOST..).filter(|more| !more.is_empty()).map(|more| format!("{} more", more.len())),
        );
    }
    let looked = judge(&clocks);
    if unseen.is_empty() {
        return looked;
    }
    looked.with(Looked::unseen(format!(
        "the clocks of {}: their agents cannot be asked from here",
        unseen.join(", ")
    )))
}

fn judge(clocks: &[(String, i64)]) -> Looked {
    let far: Vec<String> = clocks
        .iter()
        .filter(|(_, off)| off.unsigned_abs() > FAR.as_millis() as u64)
        .map(|(whose, off)| format!("that of {whose} is {}", words(*off)))
        .collect();
    if far.is_empty() {
        return Looked::seen(format!("{} clocks", clocks.len()));
    }
    Looked::wrong(
        format!("clocks differ from this machine's: {}", far.join(", ")),
        "times in logs, events and kept answers do not match",
        "set the clock of the machine that is wrong: sudo timedatectl set-ntp true",
    )
}

/// How far the clock of a node's machine is ahead, if its agent can be asked from here.
async fn node_clock(asker: &Asker, node: &NodeState) -> Option<i64> {
    let host = match node.agent_host.contains(':') {
        true => format!("[{}]", node.agent_host),
        false => node.agent_host.clone(),
    };
    let url = Url::parse(&format!("http://{host}:{}/health", node.agent_port)).ok()?;
    offset(&asker.get(&url, None).await.ok()?)
}

/// How far the clock of whoever answered is ahead of ours, in milliseconds.
fn offset(answer: &Answer) -> Option<i64> {
    let said = answer.date?.saturating_mul(1_000);
    Some(apart(said, said.saturating_add(999), answer.between.0, answer.between.1))
}

/// How far two spans of time are apart; 0 if they have a moment in common.
fn apart(from: u64, to: u64, before: u64, after: u64) -> i64 {
    let ahead = from.saturating_sub(after.max(before));
    let behind = before.min(after).saturating_sub(to);
    let signed = |distance: u64| i64::try_from(distance).unwrap_or(i64::MAX);
    signed(ahead) - signed(behind)
}

fn words(off: i64) -> String {
    let seconds = off.unsigned_abs() / 1_000;
    let time = match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} minutes", seconds / 60),
        7_200..172_800 => format!("{} hours", seconds / 3_600),
        _ => format!("{} days", seconds / 86_400),
    };
    format!("{time} {}", if off > 0 { "ahead" } else { "behind" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_be_the_same_moment_is_not_apart() {
        assert_eq!(apart(1_000, 1_999, 1_500, 1_600), 0);
        assert_eq!(apart(1_000, 1_999, 2_500, 2_600), -501);
        assert_eq!(apart(9_000, 9_999, 2_500, 2_600), 6_400);
        assert_eq!(apart(u64::MAX, u64::MAX, 0, 0), i64::MAX);
        assert!(words(3_600_000).contains("60 minutes ahead") && words(-6_000).contains("6 s behind"));
    }
}
