//! What `/metrics` tells: counted where it happens, in Prometheus' terms. docs/metrics.md has them all.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, Once, OnceLock, PoisonError};
use std::time::Duration;

use echo_bus::id::ClientName;
use echo_bus::message::{Code, Done, Failure, Why};
use echo_telemetry::metrics::{self as telemetry, MODELS, NODES};
use metrics::{
    Counter, Histogram, Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram,
};
use metrics_exporter_prometheus::PrometheusHandle;

use crate::report::Report;

/// The error of a shorter expectation is that of clocks and messages, in milliseconds.
const LEAST_EXPECTED: u64 = 50;

/// What renders the numbers.
pub fn install() -> PrometheusHandle {
    static DESCRIBED: Once = Once::new();
    let handle = telemetry::install();
    DESCRIBED.call_once(describe);
    handle
}

fn describe() {
    describe_counter!("echo_tasks_total", "Tasks that ended, by outcome, model and node");
    describe_counter!("echo_task_failures_total", "Tasks that failed, by the code of the failure");
    describe_counter!("echo_task_retries_total", "Attempts after the first that a node had accepted");
    describe_counter!(
        "echo_continuations_total",
        "Answers that went on from where another node had left off"
    );
    describe_counter!("echo_tokens_total", "Tokens of whole answers, by the engines' counts");
    describe_counter!(
        "echo_prompt_tokens_total",
        "Tokens of the prompts of whole answers, by the engines' counts"
    );
    describe_counter!("echo_client_tasks_total", "Tasks that ended, by the name of the API key");
    describe_counter!(
        "echo_client_tokens_total",
        "Tokens of whole answers and their prompts, by the name of the API key"
    );
    describe_counter!("echo_messages_dropped_total", "Messages to the bus that found no room in the queue");
    describe_gauge!("echo_connections", "Connections of clients that are open now");
    describe_counter!(
        "echo_connections_refused_total",
        "Connections for which there was no place, among all or among those of their address"
    );
    describe_counter!(
        "echo_connections_cut_total",
        "Connections whose client did not get to the end of a handshake, a head or a body in time"
    );
    describe_gauge!("echo_tasks_running", "Tasks that have not ended");
    let seconds = [
        ("echo_task_seconds", "From request to end"),
        ("echo_first_token_seconds", "From request to the first piece of the answer"),
        ("echo_queue_seconds", "Time that tasks waited for a node"),
        ("echo_continuation_gap_seconds", "Between the last piece of a lost node and the first of the next"),
        (
            "echo_bus_round_trip_seconds",
            "From a submission to the orchestrator's answer to it, with the answer of the node that it asked, if it did",
        ),
    ];
    for (name, what) in seconds {
        describe_histogram!(name, Unit::Seconds, what);
    }
    describe_histogram!("echo_tokens_per_second", "Speed of whole answers, by the engines' counts");
    describe_histogram!("echo_expected_ratio", "Measured by expected time of whole answers, by part");
    // What has not happened yet is 0, so that a rate is right from the first time on.
    counter!("echo_task_retries_total").absolute(0);
    counter!("echo_continuations_total").absolute(0);
    counter!("echo_messages_dropped_total").absolute(0);
    gauge!("echo_connections").set(0.0);
    counter!("echo_connections_cut_total").absolute(0);
    for reason in [Refused::Full, Refused::Address] {
        counter!("echo_connections_refused_total", "reason" => reason.word()).absolute(0);
    }
}

/// A task has ended, one way or the other.
pub fn ended(report: &Report, generates: bool, first_token: Option<Duration>) {
    let outcome = outcome(&report.ending);
    // A model that a node serves, never a client's word: that is what a pull names.
    let model = MODELS.of(if generates { &report.model } else { "" });
    let node = NODES.of(report.nodes.last().map_or("", |node| node.as_str()));
    let numbers = Numbers::of(model, node);
    if report.attempts > 1 {
        counter!("echo_task_retries_total").increment(u64::from(report.attempts - 1));
    }
    if report.continued.0 > 0 {
        counter!("echo_continuations_total").increment(u64::from(report.continued.0));
        histogram!("echo_continuation_gap_seconds").record(report.continued.1 / report.continued.0);
    }
    match &report.ending {
        Ok(done) => {
            numbers.answered(done);
            report.why.iter().for_each(|why| expected(why));
        }
        Err(failure) => {
            numbers.tasks(outcome).increment(1);
            if outcome == "failed" {
                counter!("echo_task_failures_total", "code" => failure.code.word()).increment(1);
            }
        }
    }
    TASK_SECONDS.record(report.latency);
    QUEUE_SECONDS.record(report.waited);
    if let Some(first) = first_token {
        numbers.first_token(first);
    }
}

static TASK_SECONDS: LazyLock<Histogram> = LazyLock::new(|| histogram!("echo_task_seconds"));
static QUEUE_SECONDS: LazyLock<Histogram> = LazyLock::new(|| histogram!("echo_queue_seconds"));
static ROUND_TRIP: LazyLock<Histogram> = LazyLock::new(|| histogram!("echo_bus_round_trip_seconds"));

/// What is counted for a model at a node. Each number is found by its name and labels when there is something to count for the
/// first time, and kept: to find it costs far more than to count.
struct Numbers {
    model: String,
    node: String,
    answered: OnceLock<[Counter; 3]>,
    speed: OnceLock<Histogram>,
    first_token: OnceLock<Histogram>,
}

impl Numbers {
    /// Those of this model and node; there are as many as these labels have values.
    fn of(model: String, node: String) -> Arc<Self> {
        type ByLabels = HashMap<(String, String), Arc<Numbers>>;
        static ALL: Mutex<Option<ByLabels>> = Mutex::new(None);
        let mut all = ALL.lock().unwrap_or_else(PoisonError::into_inner);
        let of_labels = all.get_or_insert_default().entry((model, node));
        of_labels.or_insert_with_key(|labels| Arc::new(Self::new(labels.clone()))).clone()
    }

    fn new((model, node): (String, String)) -> Self {
        let (answered, speed, first_token) = Default::default();
        Self { model, node, answered, speed, first_token }
    }

    fn tasks(&self, outcome: &'static str) -> Counter {
        let (model, node) = (self.model.clone(), self.node.clone());
        counter!("echo_tasks_total", "outcome" => outcome, "model" => model, "node" => node)
    }

    /// A whole answer.
    fn answered(&self, done: &Done) {
        let (made, read) = (done.tokens.unwrap_or_default(), done.prompt_tokens.unwrap_or_default());
        let [tasks, tokens, prompt_tokens] = self.answered.get_or_init(|| {
            let labels = [("model", self.model.clone()), ("node", self.node.clone())];
            let (tokens, prompt_tokens) =
                (counter!("echo_tokens_total", &labels), counter!("echo_prompt_tokens_total", &labels));
            [self.tasks("answered"), tokens, prompt_tokens]
        });
        tasks.increment(1);
        tokens.increment(made);
        prompt_tokens.increment(read);
        if made > 1 && done.timings.eval_ns > 0 {
            let speed = self
                .speed
                .get_or_init(|| histogram!("echo_tokens_per_second", "model" => self.model.clone()));
            speed.record(made as f64 / (done.timings.eval_ns as f64 / 1e9));
        }
    }

    fn first_token(&self, after: Duration) {
        let model = || self.model.clone();
        self.first_token
            .get_or_init(|| histogram!("echo_first_token_seconds", "model" => model()))
            .record(after);
    }
}

/// How far the expectations of an answer were from what came.
fn expected(why: &Why) {
    let (expected, measured) = (&why.expected_ms, &why.measured_ms);
    let parts = [
        ("wait", expected.wait, measured.wait),
        ("load", expected.load, measured.load),
        ("prompt", expected.prompt, measured.prompt),
        ("answer", expected.answer, measured.answer),
        ("whole", expected.whole, measured.whole),
    ];
    for (part, expected, measured) in parts {
        if let Some((expected, measured)) = expected.filter(|it| *it >= LEAST_EXPECTED).zip(measured) {
            histogram!("echo_expected_ratio", "part" => part).record(measured as f64 / expected as f64);
        }
    }
}

/// The same by the name of the API key, where keys are wanted; without a report the client was gone before the end. As many
/// names as the file of keys has had while this edge runs, so they are bounded by people.
pub fn of_client(client: Option<&ClientName>, report: Option<&Report>) {
    let Some(client) = client.map(ToString::to_string) else { return };
    let ending = report.map(|report| &report.ending);
    let outcome = ending.map_or("cancelled", outcome);
    counter!("echo_client_tasks_total", "client" => client.clone(), "outcome" => outcome).increment(1);
    if let Some(Ok(done)) = ending {
        let tokens = done.tokens.unwrap_or_default() + done.prompt_tokens.unwrap_or_default();
        counter!("echo_client_tokens_total", "client" => client).increment(tokens);
    }
}

fn outcome(ending: &Result<Done, Failure>) -> &'static str {
    match ending {
        Ok(_) => "answered",
        Err(failure) if failure.code == Code::Cancelled => "cancelled",
        Err(_) => "failed",
    }
}

/// A client has gone before the end.
pub fn hung_up() {
    counter!("echo_tasks_total", "outcome" => "cancelled", "model" => "", "node" => "").increment(1);
}

/// A message found no room in the queue to the bus.
pub fn unsaid() {
    counter!("echo_messages_dropped_total").increment(1);
}

/// An orchestrator has answered a submission.
pub fn round_trip(time: Duration) {
    ROUND_TRIP.record(time);
}

/// How many tasks are running now.
pub fn running(tasks: usize) {
    gauge!("echo_tasks_running").set(u32::try_from(tasks).unwrap_or(u32::MAX));
}

/// A client has connected.
pub fn connection_begins() {
    gauge!("echo_connections").increment(1);
}

/// A client's connection has ended.
pub fn connection_ends() {
    gauge!("echo_connections").decrement(1);
}

/// Why a connection has found no place.
#[derive(Debug, Clone, Copy)]
pub enum Refused {
    /// All places are taken.
    Full,
    /// Its address has as many as one may have.
    Address,
}

impl Refused {
    fn word(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Address => "address",
        }
    }
}

/// A connection has found no place.
pub fn refused(reason: Refused) {
    counter!("echo_connections_refused_total", "reason" => reason.word()).increment(1);
}

/// A client was too slow with what it had begun to say.
pub fn cut() {
    counter!("echo_connections_cut_total").increment(1);
}
