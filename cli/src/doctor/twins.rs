//! Two agents under one id.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::time::Duration;

use echo_broker::server::Occupant;
use echo_bus::client::Bus;
use echo_bus::id::{BootId, NodeId, Peer};
use echo_bus::subject;
use futures::future::join_all;
use tokio::time::{Instant, timeout_at};

use super::finding::Looked;
use super::scene::{Broker, Scene};

/// Agents say every second that they are there.
const LISTEN: Duration = Duration::from_millis(2_500);
/// Of more nodes than this, not all are listened for.
const ASKED: usize = 256;
/// Nobody has more.
const MOST: usize = 10_000;

pub async fn look(scene: &Scene) -> Looked {
    let Some(bus) = scene.bus().await else {
        return match scene.broker().await {
            Broker::There(_, Occupant::Ours { .. }) => {
                Looked::unseen("whether two agents have one id: the bus lets us not in")
            }
            _ => Looked::default(),
        };
    };
    let nodes = scene.mesh().await.map_or(&[][..], |mesh| &mesh.nodes);
    let nodes: Vec<NodeId> = nodes.iter().take(ASKED).map(|node| node.node_id.clone()).collect();
    match heard(bus, &nodes).await {
        None => Looked::unseen("whether two agents have one id: the bus was lost"),
        Some(twins) if twins.is_empty() => Looked::seen("one agent for each id"),
        Some(twins) => twins.iter().map(twin).fold(Looked::default(), Looked::with),
    }
}

fn twin(node: &NodeId) -> Looked {
    Looked::wrong(
        format!("two agents call themselves {node}"),
        "the second one ends as soon as it sees the first, however often it is started",
        "end one of them, or give it an id of its own: echo-mesh agent --node NAME",
    )
}

/// Ids that several starts use in turn, or that somebody asks after who wants to use one too.
async fn heard(bus: &Bus, nodes: &[NodeId]) -> Option<BTreeSet<NodeId>> {
    let asked = join_all(nodes.iter().map(|node| is_asked_by_a_namesake(bus, node)));
    let (turns, asked) = tokio::join!(turns(bus), asked);
    let asked = nodes.iter().zip(asked).filter(|(_, asked)| *asked).map(|(node, _)| node.clone());
    Some(turns?.into_iter().chain(asked).collect())
}

async fn turns(bus: &Bus) -> Option<BTreeSet<NodeId>> {
    let mut beats = bus.subscribe(&subject::heartbeats()).await.ok()?;
    let end = Instant::now() + LISTEN;
    let mut turns = Turns::default();
    while let Ok(beat) = timeout_at(end, beats.next_readable()).await {
        let beat = beat?;
        turns.hear(&beat.node, beat.boot);
    }
    Some(turns.twins)
}

/// An agent that starts asks whether another one has its id, and ends if so. Who supervises it starts it again.
async fn is_asked_by_a_namesake(bus: &Bus, node: &NodeId) -> bool {
    let agent = Peer::agent(node);
    let Ok(mut pings) = bus.subscribe(&subject::pings(&agent)).await else { return false };
    let namesake = async {
        while let Some(ping) = pings.next().await {
            if ping.reply.is_some_and(|reply| subject::is_inbox_of(&reply, &agent)) {
                return true;
            }
        }
        false
    };
    tokio::time::timeout(LISTEN, namesake).await.unwrap_or(false)
}

/// Who spoke under which id. A restart is one change; a boot that speaks again after another has is a twin.
#[derive(Default)]
struct Turns {
    last: HashMap<NodeId, BootId>,
    before: HashSet<(NodeId, BootId)>,
    twins: BTreeSet<NodeId>,
}

impl Turns {
    fn hear(&mut self, node: &NodeId, boot: BootId) {
        if self.before.contains(&(node.clone(), boot.clone())) {
            self.twins.insert(node.clone());
        }
        if self.before.len() + self.last.len() >= MOST {
            return;
        }
        if let Some(last) = self.last.insert(node.clone(), boot.clone())
            && last != boot
        {
            self.before.insert((node.clone(), last));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_restart_is_no_twin_and_two_that_speak_in_turn_are() {
        let node: NodeId = "a".parse().unwrap();
        let twins = |boots: &[&str]| {
            let mut turns = Turns::default();
            boots.iter().for_each(|boot| turns.hear(&node, boot.parse().unwrap()));
            !turns.twins.is_empty()
        };
        assert!(!twins(&["x", "x", "y", "y", "z"]));
        assert!(twins(&["x", "y", "x"]));
        assert!(twins(&["x", "y1", "y2", "x"]), "one that is started again and again");
    }
}
