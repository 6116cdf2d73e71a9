//! Whose task it is, and what follows from that: its place among the client's tasks, what it has taken, what its owner may read.

use std::sync::Arc;

use echo_bus::id::ClientName;
use echo_bus::message::{Code, Failure};

use crate::attempts::Attempts;
use crate::keys::Place;
use crate::keys::file::Entry;
use crate::report::Report;

/// Whose task it is.
#[derive(Debug, Default)]
pub struct Owner {
    /// The API key that it came with; absent where the edge wants none.
    pub key: Option<Arc<Entry>>,
    /// Its place among the client's tasks, until it ends.
    pub place: Option<Place>,
}

impl Owner {
    pub fn name(&self) -> Option<&ClientName> {
        self.key.as_ref().map(|key| &key.name)
    }

    /// No node has the task, or one does.
    pub(super) fn waits(&mut self, waits: bool) {
        if let Some(place) = &mut self.place {
            place.waits(waits);
        }
    }

    /// The task has ended: its place is free, and what it has taken is counted. What an engine has made of an answer that did
    /// not come to its end is told by its pieces alone.
    pub(super) fn charge(&mut self, attempts: &Attempts, report: Option<&Report>) {
        if let Some(place) = self.place.take() {
            place.charge(attempts.taken(report.and_then(|report| report.ending.as_ref().ok())));
        }
    }

    /// Who may not use a model does not learn of it.
    pub(super) fn hide_models(&self, failure: &mut Failure) {
        let Some(key) = self.key.as_ref().filter(|key| !key.models.is_all()) else { return };
        failure.served.retain(|model| key.models.has(model));
        if failure.code == Code::ModelNotServed {
            "no node serves this model".clone_into(&mut failure.message);
        }
    }
}
