//! How an answer went.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use serde::Deserialize;
use serde_json::{Map, Value, json};

/// What the edge tells at the end, and what was measured here.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Facts {
    task_id: String,
    #[serde(rename = "routed_to")]
    node: Option<String>,
    #[serde(rename = "model_used")]
    pub model: String,
    attempts: u32,
    /// All nodes that took part, in order.
    nodes: Vec<String>,
    queue_ms: u64,
    done_reason: String,
    tokens: Option<u64>,
    prompt_tokens: Option<u64>,
    chosen: String,
    /// From the question to the first piece.
    #[serde(skip)]
    first: Option<Duration>,
    /// From the first piece to the end.
    #[serde(skip)]
    rest: Duration,
    #[serde(skip)]
    whole: Duration,
}

impl Facts {
    /// Out of the last event, which has come just now.
    pub fn read(said: Value, asked: Instant, first: Option<Instant>) -> Result<Self> {
        let read: Self = serde_json::from_value(said).context("the end of the answer cannot be read")?;
        let now = Instant::now();
        Ok(Self {
            first: first.map(|first| first - asked),
            rest: first.map(|first| now - first).unwrap_or_default(),
            whole: now - asked,
            ..read
        })
    }

    /// Tokens a second from the first piece on; `None` where there were too few to tell.
    fn speed(&self) -> Option<f64> {
        // The first was there when the clock began.
        let tokens = self.tokens?.checked_sub(1).filter(|tokens| *tokens > 0)?;
        #[expect(clippy::cast_precision_loss, reason = "no answer has 2^52 tokens")]
        let tokens = tokens as f64;
        (self.rest >= Duration::from_millis(1)).then(|| tokens / self.rest.as_secs_f64())
    }

    /// In one line.
    pub fn line(&self) -> String {
        let mut parts = vec![self.node.clone().unwrap_or_else(|| "no node".to_owned()), self.model.clone()];
        parts.extend(
            self.tokens.map(|tokens| format!("{tokens} token{}", if tokens == 1 { "" } else { "s" })),
        );
        parts.extend(self.speed().map(|speed| format!("{speed:.1} tokens/s")));
        parts.extend(self.first.map(|first| format!("first after {:.2} s", first.as_secs_f64())));
        parts.push(self.course());
        if self.done_reason == "length" {
            parts.push("cut off at the limit of tokens".to_owned());
        }
        parts.join(" · ")
    }

    fn course(&self) -> String {
        let attempts = match self.attempts {
            1 => "1 attempt".to_owned(),
            more => format!("{more} attempts"),
        };
        match self.nodes.as_slice() {
            [first, .., last] if first != last => format!("{attempts}: begun on {first}, went on on {last}"),
            _ => attempts,
        }
    }

    /// For programs.
    pub fn object(&self) -> Map<String, Value> {
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let all = json!({
            "task_id": self.task_id, "node": self.node, "model": self.model, "nodes": self.nodes,
            "attempts": self.attempts, "tokens": self.tokens, "prompt_tokens": self.prompt_tokens,
            "tokens_per_second": self.speed().map(|speed| (speed * 100.0).round() / 100.0),
            "first_token_ms": self.first.map(millis), "queue_ms": self.queue_ms,
            "latency_ms": millis(self.whole), "done_reason": self.done_reason, "chosen": self.chosen,
        });
        match all {
            Value::Object(all) => all.into_iter().filter(|(_, value)| !value.is_null()).collect(),
            _ => Map::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(nodes: &[&str], attempts: u32) -> Facts {
        let said = json!({
            "routed_to": nodes.last(), "model_used": "m:1", "attempts": attempts, "nodes": nodes, "tokens": 21,
            "done_reason": "stop", "why": {"node": "x"}, "something": "newer",
        });
        let mut facts = Facts::read(said, Instant::now(), Some(Instant::now())).unwrap();
        (facts.first, facts.rest) = (Some(Duration::from_millis(250)), Duration::from_secs(2));
        facts
    }

    #[test]
    fn the_line_tells_the_node_and_the_speed_without_the_first_token() {
        assert_eq!(
            facts(&["a"], 1).line(),
            "a · m:1 · 21 tokens · 10.0 tokens/s · first after 0.25 s · 1 attempt"
        );
        assert!(facts(&["a", "b"], 2).line().ends_with("2 attempts: begun on a, went on on b"));
    }

    #[test]
    fn what_is_not_known_is_not_told() {
        let facts = Facts::read(json!({"attempts": 1, "tokens": 1}), Instant::now(), None).unwrap();
        assert_eq!(facts.line(), "no node ·  · 1 token · 1 attempt");
        assert!(!facts.object().contains_key("tokens_per_second"));
    }
}
