//! What proxies in front of engines do: each request goes to an engine at once, which queues it.

use std::collections::BTreeMap;

use super::engine::Job;
use super::world::{Mesh, Policy};

/// One after the other.
#[derive(Debug, Default)]
pub struct RoundRobin {
    next: BTreeMap<usize, usize>,
}

impl Policy for RoundRobin {
    fn submit(&mut self, task: usize, mesh: &mut Mesh) {
        let model = mesh.ticket(task).ask.model;
        let (nodes, next) = (mesh.serving(model), self.next.entry(model).or_default());
        let node = nodes[*next % nodes.len()];
        *next += 1;
        mesh.enter(task, node);
    }
}

/// Fewest requests in flight, then whose turn it is: nginx, HAProxy and most routers.
#[derive(Debug)]
pub struct LeastConnections {
    in_flight: Vec<usize>,
    last_used: Vec<usize>,
    count: usize,
}

impl LeastConnections {
    pub fn new(nodes: usize) -> Self {
        Self { in_flight: vec![0; nodes], last_used: vec![0; nodes], count: 0 }
    }
}

impl Policy for LeastConnections {
    fn submit(&mut self, task: usize, mesh: &mut Mesh) {
        let nodes = mesh.serving(mesh.ticket(task).ask.model).iter().copied();
        let least = nodes.min_by_key(|&node| (self.in_flight[node], self.last_used[node]));
        let Some(node) = least else { return };
        self.count += 1;
        self.last_used[node] = self.count;
        self.in_flight[node] += 1;
        mesh.enter(task, node);
    }

    fn ended(&mut self, _: &Job, node: usize, _: &mut Mesh) {
        self.in_flight[node] -= 1;
    }
}
