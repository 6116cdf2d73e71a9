//! Connections that wait for the next request.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tokio::time::{Duration, Instant};

use super::connection::Connection;

/// llama.cpp's server closes an idle connection after five seconds; one that is about to be closed must not be used.
pub const IDLE: Duration = Duration::from_secs(2);

/// The idle connections to one engine; cheap to clone.
#[derive(Clone, Default)]
pub struct Idle(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    /// The one that has waited longest is the first.
    waiting: Vec<(Instant, Box<Connection>)>,
    /// Somebody closes those that have waited too long.
    is_watched: bool,
}

impl Idle {
    /// The one that was used last, if it can be used again.
    pub fn take(&self) -> Option<Box<Connection>> {
        loop {
            let (since, mut connection) = self.state().waiting.pop()?;
            if since.elapsed() < IDLE && connection.is_free() {
                return Some(connection);
            }
        }
    }

    /// Keeps a connection whose answer is over.
    pub fn keep(&self, mut connection: Box<Connection>) {
        if !connection.is_free() {
            return;
        }
        let state = &mut *self.state();
        state.waiting.push((Instant::now(), connection));
        if !std::mem::replace(&mut state.is_watched, true) {
            tokio::spawn(close_old(Arc::downgrade(&self.0)));
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Runs for as long as there are any.
async fn close_old(idle: Weak<Mutex<State>>) {
    loop {
        let Some(next) = idle.upgrade().and_then(|idle| Idle(idle).close_old(Instant::now())) else { return };
        tokio::time::sleep_until(next).await;
    }
}

impl Idle {
    /// When the next one has waited too long; `None` if there is no other.
    fn close_old(&self, now: Instant) -> Option<Instant> {
        let state = &mut *self.state();
        let old = state.waiting.partition_point(|(since, _)| now.duration_since(*since) >= IDLE);
        state.waiting.drain(..old);
        let next = state.waiting.first().map(|(since, _)| *since + IDLE);
        state.is_watched = next.is_some();
        next
    }
}
