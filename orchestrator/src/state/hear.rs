//! What is learned of nodes: heartbeats, ended connections, and our own absence.

use echo_bus::id::{BootId, NodeId, Peer, Role};
use echo_bus::message::{CacheDigest, Heartbeat, What};
use echo_bus::model_name::ModelName;

use super::State;
use super::plan::Focus;
use crate::event::Action;
use crate::need::Line;
use crate::node::Hold;
use crate::registry::{Heard, Key, News};

impl State {
    pub(super) fn hear(&mut self, beat: Heartbeat) {
        let tells_models = beat.models.is_some();
        let heard = self.registry.hear(beat, self.now);
        self.announce_heard(heard.key, heard.news);
        if matches!(heard.news, News::Joined | News::Restarted | News::Changed) {
            self.name_the_default();
        }
        if heard.news != News::Old {
            self.note_beat(&heard, tells_models);
            self.fill(heard.key);
            self.plan(Focus::Node(heard.key));
        }
    }

    fn note_beat(&mut self, heard: &Heard, tells_models: bool) {
        let (index, node, now) = (heard.key.index(), self.registry.node(heard.key), self.seconds());
        if matches!(heard.news, News::Joined | News::Restarted) {
            self.book.forget(index);
        }
        self.book.hear(index, node, tells_models.then(|| node.models()), now);
        let models = node.shared_models();
        self.note_free(heard.key);
        if let Some(models) = models.filter(|_| tells_models) {
            models.iter().for_each(|model| self.note_at_best(heard.key, &ModelName::of(&model.name)));
        }
    }

    /// What a node's engine has in its caches.
    pub(super) fn hear_caches(&mut self, digest: &CacheDigest) {
        if let Some(key) = self.registry.find(&digest.node, &digest.boot) {
            self.book.hear_caches(key.index(), digest, self.seconds());
            for told in &digest.models {
                self.note_at_best(key, &ModelName::of(&told.model));
            }
            self.plan(Focus::Node(key));
        }
    }

    fn announce_heard(&mut self, key: Key, news: News) {
        let node = self.registry.node(key);
        let (what, detail) = match news {
            News::Joined => (What::Joined, "is in the mesh".to_owned()),
            News::Restarted => {
                (What::Joined, "is in the mesh again, after a restart of its agent".to_owned())
            }
            News::Changed if node.beat().reason.is_empty() => (
                What::Changed,
                format!("{:?}, {} models", node.beat().status, node.models().len()).to_lowercase(),
            ),
            News::Changed => (What::Changed, node.beat().reason.clone()),
            News::Same | News::Old => return,
        };
        let id = node.id().clone();
        self.announce_node(what, &id, detail);
    }

    /// Tasks that wait for a default model wait for that model once somebody knows which it is.
    fn name_the_default(&mut self) {
        let waiting: Vec<_> = self.queue.line(&Line::Default).collect();
        if waiting.is_empty() {
            return;
        }
        let Some(model) = self.default_model() else { return };
        for task in waiting {
            if let Some(mut holding) = self.release(task) {
                holding.need.line = Line::Model(model.clone());
                self.place_or_wait(holding);
            }
        }
    }

    /// The server says that a connection has ended. Its tasks are its edges' affair; nothing new goes there. But a connection
    /// has the name that it gave itself, so the node is asked at once: if it lives, this costs it one round trip.
    pub(super) fn gone(&mut self, peer: &Peer, boot: &BootId) {
        if peer.role != Role::Agent {
            return;
        }
        if let Ok(node) = peer.id.as_str().parse::<NodeId>() {
            let Some(key) = self.registry.find(&node, boot) else { return };
            if self.registry.node_mut(key).hold_as_gone() {
                self.announce_node(What::Suspect, &node, "its connection to the broker ended");
                self.out.push(Action::Ping { node });
            }
            self.plan(Focus::Node(key));
        }
    }

    /// It lives, whatever was said of its connection.
    pub(super) fn ponged(&mut self, node: &NodeId, boot: &BootId) {
        let Some(key) = self.registry.find(node, boot) else { return };
        if self.registry.node_mut(key).answered_ping() {
            self.announce_heard(key, News::Changed);
            self.note_free(key);
            self.fill(key);
            self.plan(Focus::Node(key));
        }
    }

    /// Nothing is placed there before its next heartbeat.
    pub(super) fn suspect(&mut self, node: &NodeId, boot: &BootId, why: &str) {
        let Some(key) = self.registry.find(node, boot) else { return };
        let was_suspect = self.registry.node(key).is_suspect();
        // An answer to a ping does not make up for one to a task.
        self.registry.node_mut(key).hold_back(Hold::Suspect);
        if !was_suspect {
            self.announce_node(What::Suspect, node, why);
        }
    }

    /// The broker was lost, or is connected again.
    pub(super) fn link(&mut self, up: bool) {
        if up {
            self.health.reconnected(self.now.at);
            self.registry.unheard();
        } else {
            self.health.disconnected();
        }
    }
}
