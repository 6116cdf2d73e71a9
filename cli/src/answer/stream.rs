//! The stream of an answer. A connection that breaks is no end of it: the answer is joined again.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};

use super::facts::Facts;
use crate::edge::{Edge, Event, Events, Refused};

/// For how long the task goes on while nobody listens: longer than all pauses between tries together, and short, because
/// a client that was killed has nobody to cancel its task.
const KEEP: &str = "15s";
/// The pauses before each try to join again.
const PAUSES: [u64; 5] = [100, 400, 1_000, 2_000, 3_000];
/// An edge that says nothing for so long is not there any more: it gives a sign of life much more often.
const SILENCE: Duration = Duration::from_secs(60);
/// How long a cancel may take.
const CANCEL: Duration = Duration::from_secs(2);

/// What happens to an answer.
#[derive(Debug)]
pub enum News {
    /// It waits: its place in the line, from 1, and for how long it is expected to.
    Queued {
        position: u64,
        wait: Option<Duration>,
    },
    /// A node has it.
    On {
        node: String,
        model: String,
    },
    Piece {
        text: String,
        thinking: String,
    },
    End(Box<Facts>),
}

/// An answer that is being made.
pub struct Answer {
    edge: Edge,
    /// By which it is joined again, and cancelled; absent where the edge tells none.
    task: Option<String>,
    events: Events,
    /// The number of the last event.
    last: u64,
    /// Tries to join since the last event.
    tries: usize,
    /// Why the edge has broken off, in its own words.
    broken: Option<Refused>,
    asked: Instant,
    first: Option<Instant>,
}

impl Answer {
    /// Asks; `body` is that of `POST /task/stream`.
    ///
    /// # Errors
    /// Nobody is there, or the mesh refuses.
    pub async fn begin(edge: &Edge, body: &Value) -> Result<Self> {
        let mut body = body.clone();
        body["keep"] = json!(KEEP);
        let asked = Instant::now();
        let reply = edge.post("/task/stream", &body).await?;
        let place = reply.headers().get("content-location").and_then(|place| place.to_str().ok());
        let task = place.and_then(|place| place.strip_prefix("/task/")).map(str::to_owned);
        let (events, edge) = (Events::of(reply), edge.clone());
        Ok(Self { edge, task, events, last: 0, tries: 0, broken: None, asked, first: None })
    }

    /// What happens next. Cancel-safe.
    ///
    /// # Errors
    /// The answer has failed, or cannot be joined any more.
    pub async fn next(&mut self) -> Result<News> {
        loop {
            match tokio::time::timeout(SILENCE, self.events.event()).await {
                Ok(Ok(Some(event))) => {
                    if let Some(news) = self.read(&event)? {
                        self.tries = 0;
                        return Ok(news);
                    }
                }
                Ok(Ok(None) | Err(_)) | Err(_) => self.join_again().await?,
            }
        }
    }

    /// Ends the task, down to its engine.
    pub async fn cancel(self) {
        if let Some(task) = self.task {
            let path = format!("/task/{task}");
            // If nobody hears it, the task ends as soon as it is kept no longer.
            let _ = tokio::time::timeout(CANCEL, self.edge.delete(&path)).await;
        }
    }

    fn read(&mut self, event: &Event) -> Result<Option<News>> {
        self.last = event.id.unwrap_or(self.last);
        if event.data.is_empty() {
            return Ok(comment(&event.comment));
        }
        let said: Value = serde_json::from_str(&event.data).context("the edge's answer cannot be read")?;
        if said["done"] != true {
            return Ok(self.piece(&said));
        }
        if said["success"] == true {
            return Ok(Some(News::End(Box::new(Facts::read(said, self.asked, self.first)?))));
        }
        let refused = Refused::said(&said, "the answer has failed, and nobody says why");
        if event.id.is_some() {
            return Err(refused.into());
        }
        // Not the answer's own end: the edge stops, say.
        self.broken = Some(refused);
        Ok(None)
    }

    fn piece(&mut self, said: &Value) -> Option<News> {
        let text = |name: &str| said[name].as_str().unwrap_or_default().to_owned();
        let (text, thinking) = (text("token"), text("thinking"));
        // A sign of life, or a tool call, which nothing here has asked for.
        if text.is_empty() && thinking.is_empty() {
            return None;
        }
        self.first.get_or_insert_with(Instant::now);
        Some(News::Piece { text, thinking })
    }

    async fn join_again(&mut self) -> Result<()> {
        let why = self.broken.take();
        let Some(task) = &self.task else { bail!(why.map_or_else(lost, |why| why.to_string())) };
        let path = format!("/task/{task}/stream?after={}", self.last);
        loop {
            let Some(pause) = PAUSES.get(self.tries) else {
                bail!(why.map_or_else(lost, |why| why.to_string()));
            };
            self.tries += 1;
            tokio::time::sleep(Duration::from_millis(*pause)).await;
            match self.edge.events(&path).await {
                Ok(events) => {
                    self.events = events;
                    return Ok(());
                }
                Err(error) if is_final(&error) => {
                    return Err(error
                        .context("the connection to the edge broke, and the answer is not there any more"));
                }
                Err(_) => {}
            }
        }
    }
}

/// Nothing else will be heard, however often one asks.
fn is_final(error: &anyhow::Error) -> bool {
    let refused = error.downcast_ref::<Refused>();
    refused.and_then(|refused| refused.status).is_some_and(|status| (400..500).contains(&status))
}

fn lost() -> String {
    "the connection to the edge broke, and it does not come back: see `echo-mesh status`, and ask again"
        .to_owned()
}

/// The line and the node, which the edge tells beside the answer.
fn comment(text: &str) -> Option<News> {
    if let Some(line) = text.strip_prefix("queued, position ") {
        let (position, wait) = line.split_once(", expected wait ").unwrap_or((line, ""));
        let wait = wait.strip_suffix(" ms").and_then(|wait| wait.parse().ok());
        return Some(News::Queued {
            position: position.parse().ok()?,
            wait: wait.map(Duration::from_millis),
        });
    }
    let (node, model) = text.strip_prefix("on ")?.split_once(" with ")?;
    Some(News::On { node: node.to_owned(), model: model.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_and_the_node_are_read_from_comments_and_nothing_else_is() {
        let Some(News::Queued { position: 3, wait: Some(wait) }) =
            comment("queued, position 3, expected wait 1500 ms")
        else {
            panic!("no place in the line");
        };
        assert_eq!(wait, Duration::from_millis(1500));
        assert!(matches!(comment("queued, position 1"), Some(News::Queued { position: 1, wait: None })));
        assert!(
            matches!(comment("on node-a with m:1"), Some(News::On { node, model }) if node == "node-a" && model == "m:1")
        );
        assert!(comment("queued, position many").is_none() && comment("keep-alive").is_none());
    }

    #[test]
    fn a_task_is_kept_for_as_long_as_it_is_tried_to_join_it() {
        assert!(PAUSES.iter().sum::<u64>() < 15_000 && KEEP == "15s");
    }
}
