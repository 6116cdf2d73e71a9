//! A mesh on which a row is played: clients that are judged, promises that are noted, numbers for every task.

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    ops::Range,
    time::{Duration, Instant},
};

use futures::future::join_all;
use rand::{Rng, SeedableRng, rngs::StdRng};
use serde_json::Value;
use tokio::time::timeout;

use super::{
    figures::short,
    judge::{self, Verdict},
    order::{Asked, Order},
    row::Row,
    setting::TASK_TIMEOUT,
    tally::Tally,
};
use crate::{
    client::{Stream, Transcript},
    engine::Times,
    mesh::Mesh,
};

/// No client waits longer: the task's own limit, and the time to be told of it.
pub const DEADLINE: Duration = TASK_TIMEOUT.saturating_add(Duration::from_secs(5));
/// What is refused at once is refused within this time.
const AT_ONCE: Duration = Duration::from_secs(1);

pub struct Stage {
    pub mesh: Mesh,
    chance: RefCell<StdRng>,
    tally: RefCell<Tally>,
    whole: Cell<Option<Duration>>,
    gap: Cell<Option<Duration>>,
    next: Cell<u64>,
    /// The attempts that the end of each task of this run speaks of; 0 where nobody heard the end.
    attempts: RefCell<HashMap<u64, u64>>,
}

impl Stage {
    pub fn new(mesh: Mesh) -> Self {
        Self {
            mesh,
            chance: RefCell::new(StdRng::seed_from_u64(0)),
            tally: RefCell::default(),
            whole: Cell::default(),
            gap: Cell::default(),
            next: Cell::new(1),
            attempts: RefCell::default(),
        }
    }

    /// A run begins: its own chances, and nothing left of the last one.
    pub async fn begin(&self, row: &Row, seed: u64) {
        self.chance.replace(StdRng::seed_from_u64(seed));
        self.tally.replace(Tally { runs: 1, ..Tally::default() });
        self.attempts.replace(HashMap::new());
        self.whole.set(row.whole);
        self.gap.set(row.gap.map(|gap| gap.most));
        self.mesh.is_whole().await;
        self.mesh.is_quiet().await;
    }

    /// What the run came to.
    pub fn end(&self) -> Tally {
        self.tally.take()
    }

    /// A number by chance.
    pub fn pick(&self, range: Range<u64>) -> u64 {
        self.chance.borrow_mut().random_range(range)
    }

    /// A source of chances for one of many who act at the same time.
    pub fn chances(&self) -> StdRng {
        StdRng::seed_from_u64(self.chance.borrow_mut().random())
    }

    /// Streams an answer from the first edge.
    pub fn ask(&self, order: &Order) -> Asked {
        self.ask_at(0, order)
    }

    pub fn ask_at(&self, edge: usize, order: &Order) -> Asked {
        let number = self.number();
        let call = self.mesh.client_of(edge).post("/task/stream", &order.body(number));
        Asked { number, tokens: order.tokens, stream: Stream::open(call) }
    }

    pub fn number(&self) -> u64 {
        self.next.replace(self.next.get() + 1)
    }

    /// Reads to the end, judges, counts. An honest error is allowed.
    pub async fn finish(&self, mut asked: Asked) -> (Transcript, Verdict) {
        let read = async { while asked.stream.next().await.is_some() {} };
        let ended = timeout(DEADLINE, read).await;
        let seen = asked.stream.hang_up();
        let verdict = match ended {
            Ok(()) => judge::stream(&seen, asked.tokens),
            Err(_) => Verdict::Lost(format!("no end within {}: {}", short(DEADLINE), seen.summary())),
        };
        self.count(asked.number, &verdict, attempts(&seen));
        (seen, verdict)
    }

    /// The same where nothing but the answer keeps the promise.
    pub async fn answered(&self, asked: Asked) -> Transcript {
        let number = asked.number;
        let (seen, verdict) = self.finish(asked).await;
        self.promise(!matches!(verdict, Verdict::Honest(_)), || {
            format!("task {number} was not answered: {}", seen.summary())
        });
        seen
    }

    /// `POST /task`, judged. An honest error is allowed.
    pub async fn whole(&self, order: &Order) -> (Value, Verdict) {
        let number = self.number();
        let reply = async {
            let reply = self.mesh.client().post("/task", &order.body(number)).send().await?;
            std::io::Result::Ok((reply.status(), reply.json().await))
        };
        let (body, verdict) = match timeout(DEADLINE, reply).await {
            Ok(Ok((status, body))) => {
                let verdict = judge::whole(status, &body, order.tokens);
                (body, verdict)
            }
            Ok(Err(error)) => (Value::Null, Verdict::Lost(format!("no reply: {error}"))),
            Err(_) => (Value::Null, Verdict::Lost(format!("no reply within {}", short(DEADLINE)))),
        };
        self.count(number, &verdict, body["attempts"].as_u64().unwrap_or_default());
        (body, verdict)
    }

    /// `POST /task` where nothing but the answer keeps the promise.
    pub async fn whole_answered(&self, order: &Order) {
        let (body, verdict) = self.whole(order).await;
        self.promise(!matches!(verdict, Verdict::Honest(_)), || format!("{verdict:?}: {body}"));
    }

    /// The client goes away; what it saw until then is judged.
    pub fn hang_up(&self, asked: Asked) -> Transcript {
        let (number, seen) = (asked.number, asked.stream.hang_up());
        self.left(number, &judge::beginning(&seen));
        seen
    }

    /// A task that nobody waits for any more.
    pub fn left(&self, number: u64, seen: &Verdict) {
        self.attempts.borrow_mut().insert(number, 0);
        self.tally.borrow_mut().left(number, seen);
    }

    /// A request that must be refused with this status, at once.
    pub fn refused(&self, status: u16, took: Duration, got: &(u16, Value)) {
        let number = self.number();
        let verdict = judge::whole(got.0, &got.1, 0);
        self.count(number, &verdict, 0);
        self.promise(got.0 == status, || format!("status {} in place of {status}: {}", got.0, got.1));
        self.promise(took < AT_ONCE, || format!("refused only after {}", short(took)));
    }

    fn count(&self, number: u64, verdict: &Verdict, attempts: u64) {
        self.attempts.borrow_mut().insert(number, attempts);
        self.tally.borrow_mut().count(number, verdict);
    }

    /// Notes a promise that does not hold.
    pub fn promise(&self, holds: bool, why: impl FnOnce() -> String) {
        if !holds {
            self.tally.borrow_mut().broken.push(why());
        }
    }

    /// Notes the longest gap of an answer that met the fault.
    pub fn gap(&self, seen: &Transcript) {
        let gap = seen.longest_gap();
        self.tally.borrow_mut().gaps.push(gap);
        let most = self.gap.get().unwrap_or(Duration::MAX);
        self.promise(gap < most, || format!("a gap of {} and not under {}", short(gap), short(most)));
    }

    /// Waits until every node is idle, every count is 0 and a task for each node has been answered; notes how long
    /// after `since` that was.
    pub async fn whole_since(&self, since: Instant) {
        self.mesh.is_whole().await;
        self.mesh.is_quiet().await;
        let order = Order::tokens(2).delay(10);
        join_all(self.mesh.nodes().iter().map(|_| async { self.answered(self.ask(&order)).await })).await;
        let took = since.elapsed();
        self.tally.borrow_mut().wholes.push(took);
        let most = self.whole.get().unwrap_or(Duration::MAX);
        self.promise(took < most, || format!("whole after {} and not within {}", short(took), short(most)));
    }

    /// What the engines have seen of a task.
    pub fn times(&self, number: u64) -> Times {
        let mut sum = Times::default();
        for node in self.mesh.nodes() {
            let times = node.engine().ledger().get(&number).copied().unwrap_or_default();
            sum = Times { started: sum.started + times.started, finished: sum.finished + times.finished };
        }
        sum
    }

    /// Where no node fails, an engine is asked for a task once.
    pub fn once(&self, number: u64) {
        let times = self.times(number);
        self.promise(times.started == 1, || format!("task {number} was run {} times", times.started));
    }

    /// No task was run to its end more often than its client was told that a node had it.
    pub fn settle(&self) {
        let mut finished = HashMap::<u64, u64>::new();
        for node in self.mesh.nodes() {
            for (number, times) in node.engine().ledger() {
                *finished.entry(number).or_default() += times.finished;
            }
        }
        let mut tally = self.tally.borrow_mut();
        for (number, attempts) in self.attempts.borrow().iter().filter(|(_, attempts)| **attempts > 0) {
            let times = finished.get(number).copied().unwrap_or_default();
            if times > *attempts {
                tally.doubled.push(format!("task {number}: finished {times} times in {attempts} attempts"));
            }
        }
    }
}

/// The attempts that the end of a stream speaks of; 0 without one.
pub fn attempts(seen: &Transcript) -> u64 {
    let end = seen.refusal.as_ref().or_else(|| seen.events.last().map(|event| &event.json));
    end.and_then(|end| end["attempts"].as_u64()).unwrap_or_default()
}
