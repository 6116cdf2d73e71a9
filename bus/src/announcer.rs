//! Events on their way out: those of a short time are published together. Nothing waits for an event, and a write for each
//! costs more than the events do.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio_util::task::TaskTracker;
use tracing::debug;

use crate::client::Bus;
use crate::message::Event;
use crate::subject;

/// How old an event may be when it is published.
const TICK: Duration = Duration::from_millis(20);

/// Publishes the events of one process, in the order in which they were said.
pub struct Announcer(mpsc::Sender<Event>);

impl Announcer {
    /// One that holds so many events; what is still held when it is dropped is published, and the tracker waits for that.
    pub fn start(bus: Bus, capacity: usize, tracker: &TaskTracker) -> Self {
        let (events, mut waiting) = mpsc::channel(capacity);
        tracker.spawn(async move {
            let mut due = Vec::new();
            while let Some(first) = waiting.recv().await {
                due.push(first);
                tokio::time::sleep(TICK).await;
                while let Ok(next) = waiting.try_recv() {
                    due.push(next);
                }
                for event in due.drain(..) {
                    publish(&bus, &event).await;
                }
            }
        });
        Self(events)
    }

    /// Says an event, without waiting. False if there is no room: then it is lost, as on the bus itself.
    pub fn say(&self, event: Event) -> bool {
        self.0.try_send(event).is_ok()
    }
}

async fn publish(bus: &Bus, event: &Event) {
    let published = match (event.task, &event.node) {
        (Some(task), _) => bus.publish(&subject::task_event(task, event.what), event).await,
        (None, Some(node)) => bus.publish(&subject::node_event(node, event.what), event).await,
        (None, None) => return,
    };
    if let Err(error) = published {
        debug!(%error, "an event was not published");
    }
}
