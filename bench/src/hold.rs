//! Streams that are kept open, until all their clients leave at once.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use tokio::{sync::Semaphore, task::JoinSet};

use crate::client::{
    Connection, Dialect,
    answer::{Answer, shorten},
    request::Ask,
};

/// Clients that wait for their first token at the same time: nobody opens thousands of streams in one instant.
const OPENING: usize = 128;
/// Slow tokens are short reads, and ten thousand clients each have a buffer.
const ROOM: usize = 2 << 10;
const PAUSE: Duration = Duration::from_millis(10);

/// Open streams. Dropping it closes all of them.
pub struct Held {
    streams: JoinSet<()>,
    count: Arc<Count>,
}

#[derive(Default)]
struct Count {
    open: AtomicUsize,
    ended: AtomicUsize,
    faults: AtomicUsize,
    message: Mutex<Option<String>>,
}

impl Held {
    /// Opens so many streams, or as many as come to their first token within the limit.
    pub async fn open(
        targets: &[SocketAddr],
        dialect: Dialect,
        ask: Ask,
        streams: usize,
        limit: Duration,
    ) -> Self {
        let mut held = Self { streams: JoinSet::new(), count: Arc::default() };
        let turns = Arc::new(Semaphore::new(OPENING));
        for number in 0..streams {
            let (to, count, turns) = (targets[number % targets.len()], held.count.clone(), turns.clone());
            held.streams.spawn(keep(to, dialect, ask, count, turns));
        }
        let start = Instant::now();
        while held.open_now() + held.ended() < streams && start.elapsed() < limit {
            tokio::time::sleep(PAUSE).await;
        }
        held
    }

    /// Streams that have had their first token and go on.
    pub fn open_now(&self) -> usize {
        self.count.open.load(Relaxed)
    }

    /// Streams that could not be opened or have ended by themselves: none of them should.
    pub fn ended(&self) -> usize {
        self.count.ended.load(Relaxed)
    }

    /// Streams with a token out of order, doubled or skipped, or with an error in it.
    pub fn faults(&self) -> usize {
        self.count.faults.load(Relaxed)
    }

    /// Why the first of them ended.
    pub fn message(&self) -> Option<String> {
        self.count.message.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// All clients leave.
    pub async fn leave(mut self) {
        self.streams.shutdown().await;
    }
}

async fn keep(to: SocketAddr, dialect: Dialect, ask: Ask, count: Arc<Count>, turns: Arc<Semaphore>) {
    let mut turn = turns.acquire_owned().await.ok();
    let mut connection = Connection::new(to, ROOM);
    let mut answer = Answer::new(dialect, ask.tokens);
    let (mut opened, mut broken) = (false, false);
    let mut beginning = Vec::new();
    let request = ask.bytes(dialect, to);
    let ended = connection.ask(&request, |bytes| {
        if answer.take(bytes) > 0 && !opened {
            opened = true;
            turn = None;
            count.open.fetch_add(1, Relaxed);
        } else if !opened {
            beginning.extend_from_slice(&bytes[..bytes.len().min(ROOM)]);
        }
        if answer.is_broken() && !std::mem::replace(&mut broken, true) {
            count.faults.fetch_add(1, Relaxed);
        }
    });
    let ended = ended.await;
    if opened {
        count.open.fetch_sub(1, Relaxed);
    }
    count.ended.fetch_add(1, Relaxed);
    let why = match ended {
        Ok(status) => format!("status {status}: {}", shorten(&String::from_utf8_lossy(&beginning))),
        Err(error) => format!("{:#}", anyhow::Error::new(error)),
    };
    count.message.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(why);
}
