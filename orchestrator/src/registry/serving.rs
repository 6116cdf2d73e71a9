//! The nodes that have one model.

use echo_bus::message::Model;

use super::key::Key;
use crate::facts::Facts;
use crate::node::Node;

/// One node, where the model stands in its list, and what is known of it there.
#[derive(Debug, Clone, Copy)]
struct Entry {
    key: Key,
    index: u32,
    facts: Facts,
}

/// The nodes that have a model, by key: side by side, since a placement looks at all of them.
#[derive(Debug, Default)]
pub(super) struct Nodes(Vec<Entry>);

impl Nodes {
    fn place(&self, key: Key) -> Result<usize, usize> {
        self.0.binary_search_by_key(&key, |entry| entry.key)
    }

    /// What is known of the model there, and where it stands in that node's list.
    pub(super) fn get_mut(&mut self, key: Key) -> Option<(u32, &mut Facts)> {
        let entry = self.place(key).ok().map(|at| &mut self.0[at])?;
        Some((entry.index, &mut entry.facts))
    }

    /// Of a model that a node names twice, the first word counts.
    pub(super) fn insert(&mut self, key: Key, index: u32, facts: Facts) {
        if let Err(at) = self.place(key) {
            self.0.insert(at, Entry { key, index, facts });
        }
    }

    pub(super) fn remove(&mut self, key: Key) {
        if let Ok(at) = self.place(key) {
            self.0.remove(at);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// What a node says of a model.
#[derive(Debug, Clone, Copy)]
pub struct Seen<'a> {
    pub facts: Facts,
    node: &'a Node,
    index: u32,
}

impl<'a> Seen<'a> {
    /// All that the node says. A scan of all nodes does not read it: the facts hold what a scan needs.
    pub fn model(&self) -> &'a Model {
        &self.node.models()[self.index as usize]
    }
}

/// The nodes that have a model, found once for all that is asked of them.
#[derive(Debug, Clone, Copy)]
pub struct Serving<'a> {
    nodes: &'a [Option<Node>],
    entries: &'a [Entry],
}

impl<'a> Serving<'a> {
    pub(super) fn new(nodes: &'a [Option<Node>], having: Option<&'a Nodes>) -> Self {
        Self { nodes, entries: having.map_or(&[], |having| &having.0) }
    }

    pub fn iter(self) -> impl Iterator<Item = (Key, &'a Node, Seen<'a>)> {
        self.entries.iter().map(move |entry| self.seen(entry))
    }

    /// One of them, and what it says of the model.
    pub fn at(self, key: Key) -> Option<(&'a Node, Seen<'a>)> {
        let at = self.entries.binary_search_by_key(&key, |entry| entry.key).ok()?;
        let (_, node, seen) = self.seen(&self.entries[at]);
        Some((node, seen))
    }

    pub fn len(self) -> usize {
        self.entries.len()
    }

    #[inline]
    fn seen(self, entry: &Entry) -> (Key, &'a Node, Seen<'a>) {
        let node = self.nodes[entry.key.0].as_ref().expect("a key in use");
        (entry.key, node, Seen { facts: entry.facts, node, index: entry.index })
    }
}
