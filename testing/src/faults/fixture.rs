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
    setting::DEADLINE,
    tally::Tally,
};
use crate::{
    client::{Stream, Transcript},
    mesh::Mesh,
};
use echo_scripted_engine::Times;

/// What is refused at once is refused within this time.
const AT_ONCE: Duration = Duration::from_secs(1);

/// How often a node had the task, and the mesh's own id of it, which the logs know.
#[derive(Clone, Debug, Default)]
struct End {
    attempts: u64,
    task: String,
}

impl End {
    fn read(json: &Value) -> Self {
        let attempts = json["attempts"].as_u64().unwrap_or_default();
        Self { attempts, task: json["task_id"].as_str().unwrap_or_default().to_owned() }
    }
}

/// What a row promises of every run.
#[derive(Clone, Copy, Debug, Default)]
pub struct Promised {
    /// The longest time between two tokens.
    pub gap: Option<Duration>,
    /// The longest time until the mesh is whole again.
    pub whole: Option<Duration>,
    /// Whether an engine may finish a task although its answer reaches no client.
    pub unclear: bool,
}

pub struct Fixture {
    pub mesh: Mesh,
    chance: RefCell<StdRng>,
    tally: RefCell<Tally>,
    promised: Cell<Promised>,
    next: Cell<u64>,
    /// What the end of each task of this run says; nothing where nobody heard the end.
    ends: RefCell<HashMap<u64, End>>,
}

impl Fixture {
    pub fn new(mesh: Mesh) -> Self {
        Self {
            mesh,
            chance: RefCell::new(StdRng::seed_from_u64(0)),
            tally: RefCell::default(),
            promised: Cell::default(),
            next: Cell::new(1),
            ends: RefCell::default(),
        }
    }

    /// A run begins: its own chances, what its row promises, and nothing left of the last one.
    pub async fn begin(&self, promised: Promised, seed: u64) {
        self.chance.replace(StdRng::seed_from_u64(seed));
        self.tally.replace(Tally { runs: 1, ..Tally::default() });
        self.ends.replace(HashMap::new());
        self.promised.set(promised);
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
        self.count(asked.number, &verdict, end(&seen).map(End::read));
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
        self.count(number, &verdict, Some(End::read(&body)));
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
        self.tally.borrow_mut().left(&number.to_string(), seen);
    }

    /// A request that must be refused with this status, at once.
    pub fn refused(&self, status: u16, took: Duration, got: &(u16, Value)) {
        let number = self.number();
        let verdict = judge::whole(got.0, &got.1, 0);
        self.count(number, &verdict, None);
        self.promise(got.0 == status, || format!("status {} in place of {status}: {}", got.0, got.1));
        self.promise(took < AT_ONCE, || format!("refused only after {}", short(took)));
    }

    fn count(&self, number: u64, verdict: &Verdict, end: Option<End>) {
        let end = end.unwrap_or_default();
        self.tally.borrow_mut().count(&format!("{number} ({})", end.task), verdict);
        self.ends.borrow_mut().insert(number, end);
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
        let most = self.promised.get().gap.unwrap_or(Duration::MAX);
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
        let most = self.promised.get().whole.unwrap_or(Duration::MAX);
        self.promise(took < most, || format!("whole after {} and not within {}", short(took), short(most)));
    }

    /// What the engines have seen of a task.
    pub async fn times(&self, number: u64) -> Times {
        self.ledger().await.remove(&number).unwrap_or_default()
    }

    /// Where no node fails, an engine is asked for a task once.
    pub async fn once(&self, numbers: impl IntoIterator<Item = u64>) {
        let ledger = self.ledger().await;
        for number in numbers {
            let times = ledger.get(&number).copied().unwrap_or_default();
            self.promise(times.started == 1, || format!("task {number} was run {} times", times.started));
        }
    }

    /// No task was run to its end more often than its client was told that a node had it.
    pub async fn settle(&self) {
        let ledger = self.ledger().await;
        let mut tally = self.tally.borrow_mut();
        for (number, End { attempts, task }) in self.ends.borrow().iter() {
            let finished = ledger.get(number).map_or(0, |times| times.finished);
            if *attempts == 0 || finished <= *attempts {
                continue;
            }
            if self.promised.get().unclear {
                tally.again += 1;
            } else {
                tally.doubled.push(format!(
                    "task {number} ({task}): finished {finished} times in {attempts} attempts"
                ));
            }
        }
    }

    /// What all engines together have seen of each task.
    async fn ledger(&self) -> HashMap<u64, Times> {
        let mut sum = HashMap::<u64, Times>::new();
        for node in self.mesh.nodes() {
            for (number, times) in node.ledger().await {
                sum.entry(number).or_default().add(times);
            }
        }
        sum
    }
}

/// The attempts that the end of a stream speaks of; 0 without one.
pub fn attempts(seen: &Transcript) -> u64 {
    end(seen).map_or(0, |end| End::read(end).attempts)
}

fn end(seen: &Transcript) -> Option<&Value> {
    seen.refusal.as_ref().or_else(|| seen.events.last().map(|event| &event.json))
}
