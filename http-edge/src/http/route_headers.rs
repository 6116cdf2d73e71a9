//! Where a task has been, in the headers of its answer; and the client's own id of its request.

use std::time::Duration;

use axum::http::header::{HeaderMap, HeaderName, HeaderValue};
use axum::response::Response;
use echo_bus::id::NodeId;

use crate::report::{AnsweredBy, Report};

/// The headers that tell where an answer was made.
pub const NAMES: &str = "x-echo-task-id, x-echo-node, x-echo-model, x-echo-attempts, x-echo-queue-ms, x-echo-why, \
                         x-echo-count, x-request-id, request-id, content-location";

const TASK_ID: HeaderName = HeaderName::from_static("x-echo-task-id");
const NODE: HeaderName = HeaderName::from_static("x-echo-node");
const MODEL: HeaderName = HeaderName::from_static("x-echo-model");
const ATTEMPTS: HeaderName = HeaderName::from_static("x-echo-attempts");
const QUEUE_MS: HeaderName = HeaderName::from_static("x-echo-queue-ms");
const WHY: HeaderName = HeaderName::from_static("x-echo-why");
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Headers that follow what an answer has at first: room for them is made once. The server keeps it for the life of a
/// connection, and with one more it would be twice as much.
const MORE: usize = 8;
/// The longest id of a client that is echoed.
const LONGEST_ID: usize = 128;
/// The longest reason that is told, in bytes.
const LONGEST_WHY: usize = 512;

/// What is known of a task's way when the head of its answer is written.
#[derive(Debug, Clone, Default)]
pub struct RouteHeaders {
    task: String,
    node: Option<NodeId>,
    model: String,
    attempts: u32,
    waited: Duration,
    /// In the words of the orchestrator, by way of a node.
    chosen: String,
}

impl RouteHeaders {
    /// A task that nobody has accepted yet.
    pub fn new(task: &str) -> Self {
        Self { task: task.to_owned(), ..Self::default() }
    }

    /// The whole way of a task that has ended.
    pub fn of(task: &str, report: &Report) -> Self {
        Self {
            task: task.to_owned(),
            node: report.nodes.last().cloned(),
            model: report.model.clone(),
            attempts: report.attempts,
            waited: report.waited,
            chosen: report.chosen.clone(),
        }
    }

    /// A node has the task now.
    pub fn accepted(&mut self, holder: &AnsweredBy) {
        self.node = Some(holder.node.clone());
        holder.model.clone_into(&mut self.model);
        holder.chosen.clone_into(&mut self.chosen);
        (self.attempts, self.waited) = (holder.attempts, holder.waited);
    }

    /// Writes it into the head of an answer; what is not known is left out.
    pub fn put(&self, headers: &mut HeaderMap) {
        headers.reserve(MORE);
        let mut put = |name: HeaderName, value: &str| {
            if let Ok(value) = HeaderValue::from_str(value) {
                headers.insert(name, value);
            }
        };
        put(TASK_ID, &self.task);
        if let Some(node) = &self.node {
            put(NODE, node.as_str());
            put(MODEL, &self.model);
            put(ATTEMPTS, &self.attempts.to_string());
            put(QUEUE_MS, &self.waited.as_millis().to_string());
            if !self.chosen.is_empty() {
                put(WHY, &why(node, &self.chosen));
            }
        }
    }
}

/// The client's own id of its request, if it is one that can be written into a log.
pub fn own_id(headers: &HeaderMap) -> Option<HeaderValue> {
    headers.get(&REQUEST_ID).filter(|id| is_plain(id)).cloned()
}

/// Gives the client its id back.
pub fn give_back(id: Option<HeaderValue>, response: &mut Response) {
    response.headers_mut().extend(id.map(|id| (REQUEST_ID, id)));
}

/// Why a node, in what may stand in a header.
fn why(node: &NodeId, chosen: &str) -> String {
    let stands = |b: u8| b == b' ' || b.is_ascii_graphic();
    let mut words = String::with_capacity(LONGEST_WHY);
    words += node.as_str();
    words += ": ";
    if chosen.len() + words.len() <= LONGEST_WHY && chosen.bytes().all(stands) {
        words += chosen;
    } else {
        let plain = |c: char| if u8::try_from(c).is_ok_and(stands) { c } else { '?' };
        words.extend(chosen.chars().take(LONGEST_WHY.saturating_sub(words.len())).map(plain));
    }
    words
}

fn is_plain(id: &HeaderValue) -> bool {
    let plain = |b: &u8| b.is_ascii_alphanumeric() || b"._:/+=-".contains(b);
    (1..=LONGEST_ID).contains(&id.len()) && id.as_bytes().iter().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_plain_id_is_given_back() {
        for good in ["a", "3f2b-99", "req_1:2/3", &"x".repeat(128)] {
            assert!(is_plain(&HeaderValue::from_str(good).unwrap()), "{good}");
        }
        for bad in ["", "a b", "<script>", "é", &"x".repeat(129)] {
            assert!(!is_plain(&HeaderValue::from_bytes(bad.as_bytes()).unwrap()), "{bad}");
        }
    }

    fn headers(model: &str, chosen: &str) -> HeaderMap {
        let (mut headers, mut headers_of_route) = (HeaderMap::new(), RouteHeaders::new("t"));
        headers_of_route.accepted(&AnsweredBy {
            node: "node-a".parse().unwrap(),
            model: model.to_owned(),
            attempts: 2,
            waited: Duration::from_millis(7),
            chosen: chosen.to_owned(),
        });
        headers_of_route.put(&mut headers);
        headers
    }

    #[test]
    fn a_model_that_is_no_header_is_left_out() {
        let headers = headers("a\nb", "");
        assert!(headers.get("x-echo-model").is_none());
        assert_eq!(headers["x-echo-attempts"], "2");
        assert_eq!(headers["x-echo-queue-ms"], "7");
        assert!(headers.get("x-echo-why").is_none(), "nobody has said why");
    }

    #[test]
    fn a_reason_is_a_header_whatever_a_node_says() {
        assert_eq!(headers("m", "4.2 s expected; b 9.1 s")["x-echo-why"], "node-a: 4.2 s expected; b 9.1 s");
        assert_eq!(headers("m", "é\r\nx: y\u{7f}")["x-echo-why"], "node-a: ???x: y?");
        assert_eq!(headers("m", &"ä".repeat(1_000_000))["x-echo-why"].len(), LONGEST_WHY);
    }
}
