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

/// In one tick: when many clients leave at once, what their engines wait for is not kept waiting by the news of it.
const AT_ONCE: usize = 500;

/// Where the events of a process go, to be published in the order in which they come. It has room for so many; what it
/// still has when it is closed is published, and the tracker waits for that.
pub fn announcer(bus: Bus, capacity: usize, tracker: &TaskTracker) -> mpsc::Sender<Box<Event>> {
    let (events, mut waiting) = mpsc::channel::<Box<Event>>(capacity);
    tracker.spawn(async move {
        let mut due = Vec::new();
        while let Some(first) = waiting.recv().await {
            due.push(first);
            tokio::time::sleep(TICK).await;
            while due.len() < AT_ONCE
                && let Ok(next) = waiting.try_recv()
            {
                due.push(next);
            }
            for event in due.drain(..) {
                publish(&bus, &event).await;
            }
        }
    });
    events
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
