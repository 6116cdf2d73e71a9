//! The mesh as it is now, for people who look at it: what the bus tells everybody, gathered once for all viewers of this
//! edge.
//!
//! The first viewer begins it, and a while after the last has left it ends. Viewers share one bounded channel, and nobody
//! waits for one of them: who reads again after it fell behind is let go, and who reads no more has the time of any
//! connection that stands still (`serve/patience.rs`), a short one when the edge leaves.

mod ears;
mod node;
mod patch;
mod picture;
mod task;
mod text;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::body::Bytes;
use echo_bus::Bus;
use echo_bus::clock::Now;
use echo_bus::id::TaskId;
use echo_bus::message::unix_millis;
use futures::Stream;
use serde_json::Value;
use tokio::sync::broadcast;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use ears::Ears;
use picture::Picture;

/// How often viewers are told what has changed.
const TICK: Duration = Duration::from_millis(250);
/// The longest silence. It is an event, since a page does not see the comments of a stream.
const SIGN: Duration = Duration::from_secs(10);
/// How long the last viewer's leaving is not believed: a page that is loaded again is back by then.
const LINGER: Duration = Duration::from_secs(5);
/// Messages that a viewer may be behind: sixteen seconds of a busy mesh. A power of two, as the channel makes it anyway.
const BEHIND: usize = 64;

/// Marks the answer of a viewer: the edge that leaves does not wait until it is taken.
#[derive(Debug, Clone, Copy)]
pub struct View;

/// The one place where this edge watches the mesh.
pub struct Watch {
    bus: Bus,
    shutdown: CancellationToken,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// While somebody looks.
    open: Option<Open>,
}

struct Open {
    picture: Picture,
    viewers: broadcast::Sender<Bytes>,
    /// Of the last event.
    number: u64,
    spoke: Instant,
    /// Since when there are no viewers.
    empty: Option<Instant>,
}

impl Watch {
    /// Watches nothing yet. Ends with `shutdown`, so that no viewer keeps an edge from leaving.
    pub fn new(bus: Bus, shutdown: CancellationToken) -> Arc<Self> {
        Arc::new(Self { bus, shutdown, state: Mutex::default() })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The mesh as it is, then every change: server-sent events. It ends when the viewer is too slow, and with the edge.
    pub fn view(self: &Arc<Self>) -> impl Stream<Item = Bytes> + Send + use<> {
        let mut state = self.state();
        let open = state.open.get_or_insert_with(|| {
            let (viewers, _) = broadcast::channel(BEHIND);
            tokio::spawn(self.clone().run());
            Open::new(viewers)
        });
        open.empty = None;
        let mut whole = open.picture.whole();
        // By our clock, as all times in it: the viewer's may be another.
        whole["at"] = unix_millis().into();
        let first = event("snapshot", open.number, &whole);
        follow(first, open.viewers.subscribe())
    }

    /// The task that is shown under this name, if it has not ended.
    pub fn task(&self, shown: &str) -> Option<TaskId> {
        self.state().open.as_ref().and_then(|open| open.picture.task(shown))
    }

    async fn run(self: Arc<Self>) {
        let mut closes = Closes { state: &self.state, is_closed: false };
        let ended = self.shutdown.clone().run_until_cancelled_owned(self.clone().listen()).await;
        match ended {
            // It has closed by itself, and somebody may have come since.
            Some(Ok(())) => closes.is_closed = true,
            Some(Err(())) => warn!("the bus is closed; nobody can watch the mesh by this edge"),
            None => {}
        }
    }

    async fn listen(self: Arc<Self>) -> Result<(), ()> {
        let mut ears = Ears::open(&self.bus).await.map_err(|_| ())?;
        let mut ticker = interval(TICK);
        ticker.set_missed_tick_behavior(MissedTickBehavior::Delay);
        debug!("somebody watches the mesh");
        loop {
            tokio::select! {
                // What can be a flood does not keep what has changed from being told.
                biased;
                _ = ticker.tick() => if !self.state().tell(Instant::now()) {
                    debug!("nobody watches the mesh any more");
                    return Ok(());
                },
                heard = ears.next() => {
                    let mut waiting = VecDeque::from([heard.ok_or(())?]);
                    waiting.extend(ears.ready());
                    let now = Now::read();
                    let mut state = self.state();
                    let Some(open) = &mut state.open else { return Ok(()) };
                    waiting.into_iter().for_each(|heard| open.picture.apply(heard, now));
                }
            }
        }
    }
}

/// Ends the viewers with what they hear, also where that ends by a panic: whoever comes next begins anew.
struct Closes<'a> {
    state: &'a Mutex<State>,
    is_closed: bool,
}

impl Drop for Closes<'_> {
    fn drop(&mut self) {
        if !self.is_closed {
            self.state.lock().unwrap_or_else(PoisonError::into_inner).open = None;
        }
    }
}

impl State {
    /// Tells the viewers what has changed; `false` when there have been none for a while.
    fn tell(&mut self, now: Instant) -> bool {
        let Some(open) = &mut self.open else { return false };
        if open.viewers.receiver_count() == 0 {
            let since = *open.empty.get_or_insert(now);
            if now.duration_since(since) >= LINGER {
                // Under the lock: whoever comes now begins anew.
                self.open = None;
                return false;
            }
        } else {
            open.empty = None;
        }
        open.picture.tick(Now::read());
        let change = open.picture.changes();
        if let Some(change) = change {
            open.number += 1;
            open.say(&event("change", open.number, &change), now);
        } else if now.duration_since(open.spoke) >= SIGN {
            open.say(&event("alive", open.number, &Value::Object(Default::default())), now);
        }
        true
    }
}

impl Open {
    fn new(viewers: broadcast::Sender<Bytes>) -> Self {
        Self { picture: Picture::default(), viewers, number: 0, spoke: Instant::now(), empty: None }
    }

    fn say(&mut self, event: &Bytes, now: Instant) {
        self.spoke = now;
        // Nobody hears it when there is no viewer, and that is no error.
        let _ = self.viewers.send(event.clone());
    }
}

fn follow(first: Bytes, heard: broadcast::Receiver<Bytes>) -> impl Stream<Item = Bytes> + Send + use<> {
    futures::stream::unfold((Some(first), heard), |(first, mut heard)| async {
        match first {
            Some(first) => Some((first, (None, heard))),
            // Whoever has fallen behind has missed something: a new beginning costs less than the rest.
            None => heard.recv().await.ok().map(|bytes| (bytes, (None, heard))),
        }
    })
}

fn event(kind: &str, number: u64, data: &Value) -> Bytes {
    format!("event: {kind}\nid: {number}\ndata: {data}\n\n").into()
}

#[cfg(test)]
mod tests {
    use futures::StreamExt;

    use super::*;

    fn state() -> (State, broadcast::Receiver<Bytes>) {
        let (viewers, viewer) = broadcast::channel(BEHIND);
        (State { open: Some(Open::new(viewers)) }, viewer)
    }

    #[test]
    fn what_is_heard_ends_a_while_after_the_last_viewer_has_left_and_not_for_one_that_is_back() {
        let (mut state, viewer) = state();
        let began = Instant::now();
        assert!(state.tell(began + LINGER * 9), "somebody looks");
        drop(viewer);
        assert!(state.tell(began + LINGER * 10), "a page that is loaded again is back soon");
        let viewer = state.open.as_ref().unwrap().viewers.subscribe();
        assert!(state.tell(began + LINGER * 20));
        drop(viewer);
        assert!(state.tell(began + LINGER * 30), "its leaving counts from now");
        assert!(!state.tell(began + LINGER * 31));
        assert!(state.open.is_none(), "whoever comes now begins anew");
    }

    #[test]
    fn a_panic_in_what_is_heard_ends_its_viewers_so_that_the_next_one_begins_anew() {
        let (open, mut viewer) = state();
        let state = Mutex::new(open);
        let fails = std::panic::AssertUnwindSafe(|| {
            let _closes = Closes { state: &state, is_closed: false };
            let _locked = state.lock();
            panic!("as by a fault in the picture");
        });
        std::panic::catch_unwind(fails).unwrap_err();
        assert_eq!(viewer.try_recv(), Err(broadcast::error::TryRecvError::Closed));
        assert!(state.lock().unwrap_or_else(PoisonError::into_inner).open.is_none());
    }

    #[tokio::test]
    async fn a_viewer_that_falls_behind_is_let_go_and_one_that_keeps_up_is_not() {
        let (viewers, heard) = broadcast::channel(BEHIND);
        let slow = follow("first".into(), heard);
        let mut quick = Box::pin(follow("first".into(), viewers.subscribe()));
        assert_eq!(quick.next().await, Some("first".into()));
        for number in 0..=BEHIND {
            viewers.send(number.to_string().into()).unwrap();
            assert_eq!(quick.next().await, Some(number.to_string().into()));
        }
        drop(viewers);
        assert_eq!(slow.collect::<Vec<_>>().await, ["first"]);
    }
}
