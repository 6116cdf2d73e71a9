//! The load: clients that ask one after the other, and what became of each of their answers.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use anyhow::Context;
use tokio::{task::JoinSet, time::timeout};

use crate::{
    check::Faults,
    client::{
        Connection, Dialect,
        answer::{Answer, judge, shorten},
        request::Ask,
    },
};

/// Bytes that a client reads at once: many tokens where they come fast.
const ROOM: usize = 32 << 10;
/// An answer that takes longer has failed.
const PATIENCE: Duration = Duration::from_secs(90);
/// Whoever was refused waits before asking again: no client knocks at a dead engine without a pause.
const AFTER_FAILURE: Duration = Duration::from_millis(50);
/// Messages of failed answers that a report can use.
const MESSAGES: usize = 3;

/// When the clients stop asking. What has begun is finished.
#[derive(Debug, Clone, Copy)]
pub enum Amount {
    Requests(usize),
    Time(Duration),
    /// As many requests, but none begun after the time.
    AtMost(usize, Duration),
}

/// A load on one system.
#[derive(Debug, Clone, Copy)]
pub struct Load {
    pub clients: usize,
    /// The clients begin one after the other over this time: those of a real system do not ask all in one instant.
    pub spread: Duration,
    pub amount: Amount,
    pub ask: Ask,
}

/// One answer; times in microseconds, moments since the load began.
#[derive(Debug, Clone, Copy)]
pub struct Sample {
    pub begun: u32,
    /// Until the first token, where one came.
    pub first: Option<u32>,
    pub whole: u32,
    /// The longest time between two tokens, and when it ended.
    pub worst: u32,
    pub worst_at: u32,
    pub good: bool,
}

/// What became of a load.
#[derive(Debug, Default)]
pub struct Outcome {
    pub samples: Vec<Sample>,
    /// The times between tokens, where the answers are paced.
    pub gaps: Vec<u32>,
    pub tokens: u64,
    pub faults: Faults,
    pub errors: u64,
    pub messages: Vec<String>,
    pub elapsed: Duration,
}

impl Outcome {
    /// Answers in which nothing was wrong.
    pub fn good(&self) -> u64 {
        self.samples.iter().filter(|sample| sample.good).count() as u64
    }

    fn add(&mut self, other: Self) {
        self.samples.extend(other.samples);
        self.gaps.extend(other.gaps);
        self.tokens += other.tokens;
        self.faults += other.faults;
        self.errors += other.errors;
        self.messages.extend(other.messages);
        self.messages.truncate(MESSAGES);
    }
}

struct Course {
    load: Load,
    dialect: Dialect,
    start: Instant,
    begun: AtomicUsize,
}

impl Load {
    /// Puts the load on a system. Clients take turns over its addresses, and each keeps its connection.
    ///
    /// # Errors
    /// When a client panics.
    pub async fn run(self, targets: &[SocketAddr], dialect: Dialect) -> anyhow::Result<Outcome> {
        let start = Instant::now();
        let course = Arc::new(Course { load: self, dialect, start, begun: AtomicUsize::new(0) });
        let mut clients = JoinSet::new();
        for number in 0..self.clients {
            let turn = self.spread.mul_f64(number as f64 / self.clients as f64);
            clients.spawn(client(course.clone(), targets[number % targets.len()], turn));
        }
        let mut outcome = Outcome::default();
        while let Some(ended) = clients.join_next().await {
            outcome.add(ended.context("a client of the load generator panicked")?);
        }
        outcome.elapsed = start.elapsed();
        Ok(outcome)
    }
}

impl Course {
    /// Whether another request may begin.
    fn goes_on(&self) -> bool {
        let (count, time) = match self.load.amount {
            Amount::Requests(count) => (count, Duration::MAX),
            Amount::Time(time) => (usize::MAX, time),
            Amount::AtMost(count, time) => (count, time),
        };
        self.start.elapsed() < time && self.begun.fetch_add(1, Relaxed) < count
    }
}

async fn client(course: Arc<Course>, to: SocketAddr, turn: Duration) -> Outcome {
    if !turn.is_zero() {
        tokio::time::sleep(turn).await;
    }
    let mut connection = Connection::new(to, ROOM);
    let request = course.load.ask.bytes(course.dialect, to);
    let mut outcome = Outcome::default();
    while course.goes_on() {
        if course.load.ask.stream {
            streamed(&course, &mut connection, &request, &mut outcome).await;
        } else {
            whole(&course, &mut connection, &request, &mut outcome).await;
        }
        if outcome.samples.last().is_some_and(|sample| !sample.good) {
            tokio::time::sleep(AFTER_FAILURE).await;
        }
    }
    outcome
}

async fn streamed(course: &Course, connection: &mut Connection, request: &[u8], outcome: &mut Outcome) {
    let ask = course.load.ask;
    let mut answer = Answer::new(course.dialect, ask.tokens);
    let mut refusal = Vec::new();
    let begun = Instant::now();
    let (mut first, mut last, mut worst, mut worst_at) = (None, begun, 0, 0);
    let response = timeout(
        PATIENCE,
        connection.ask(request, |bytes| {
            let tokens = answer.take(bytes);
            if refusal.is_empty() && first.is_none() {
                refusal.extend_from_slice(&bytes[..bytes.len().min(400)]);
            }
            if tokens == 0 {
                return;
            }
            let now = Instant::now();
            if first.is_none() {
                first = Some(micros(now - begun));
            } else if ask.delay > 0 {
                let gap = micros(now - last);
                outcome.gaps.push(gap);
                if gap > worst {
                    (worst, worst_at) = (gap, micros(now - course.start));
                }
            }
            if ask.delay > 0 {
                // Tokens that arrive together have no time between them.
                outcome.gaps.extend((1..tokens).map(|_| 0));
            }
            last = now;
            outcome.tokens += tokens;
        }),
    )
    .await;
    let (faults, error) = answer.end();
    let error = trouble(response, &refusal).or(error);
    let sample = Sample {
        begun: micros(begun - course.start),
        first,
        whole: micros(begun.elapsed()),
        worst,
        worst_at,
        good: false,
    };
    outcome.note(sample, faults, error);
}

async fn whole(course: &Course, connection: &mut Connection, request: &[u8], outcome: &mut Outcome) {
    let begun = Instant::now();
    let mut reply = Vec::with_capacity(1 << 10);
    let response = timeout(PATIENCE, connection.ask(request, |bytes| reply.extend_from_slice(bytes))).await;
    let took = micros(begun.elapsed());
    let (faults, error) = judge(course.dialect, course.load.ask.tokens, &reply);
    outcome.tokens += course.load.ask.tokens - faults.lost.min(course.load.ask.tokens);
    let error = trouble(response, &reply).or(error);
    let begun = micros(begun - course.start);
    let sample = Sample { begun, first: Some(took), whole: took, worst: 0, worst_at: 0, good: false };
    outcome.note(sample, faults, error);
}

impl Outcome {
    /// A token that is missing because its answer failed is not lost on top of that: the error says so already.
    fn note(&mut self, mut sample: Sample, mut faults: Faults, error: Option<String>) {
        if let Some(error) = error {
            faults.lost = 0;
            self.errors += 1;
            if self.messages.len() < MESSAGES {
                self.messages.push(error);
            }
        } else {
            sample.good = faults.none();
        }
        self.faults += faults;
        self.samples.push(sample);
    }
}

/// What is wrong with a response, in words; `None` where nothing is.
fn trouble(
    response: Result<Result<u16, crate::client::connection::Error>, tokio::time::error::Elapsed>,
    body: &[u8],
) -> Option<String> {
    match response {
        Ok(Ok(200)) => None,
        Ok(Ok(status)) => Some(format!("status {status}: {}", shorten(&String::from_utf8_lossy(body)))),
        Ok(Err(error)) => Some(format!("{:#}", anyhow::Error::new(error))),
        Err(_) => Some(format!("not finished after {PATIENCE:?}")),
    }
}

fn micros(time: Duration) -> u32 {
    u32::try_from(time.as_micros()).unwrap_or(u32::MAX)
}
