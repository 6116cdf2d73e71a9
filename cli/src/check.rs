//! `echo-mesh check`: asks a running mesh what its users ask, and says `ok` or `FAIL` for each.

mod judge;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Result, bail};
use echo_bus::process;
use echo_bus::time;
use futures::future::join_all;
use reqwest::RequestBuilder;
use serde_json::{Value, json};

use crate::clean::Clean;
use crate::edge::{Edge, EdgeArgs};
use crate::say::say;
use judge::{Reply, Verdict};

/// Asks the mesh a few things as a user would: the status, a task, a stream, several tasks at once, and two mistakes.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    edge: EdgeArgs,

    /// How long one answer may take; a large model has to be loaded first
    #[arg(long, env = "ECHO_TASK_SECONDS", value_name = "TIME", default_value = "300s", value_parser = time::some)]
    patience: Duration,
}

pub fn main(args: Args) -> ExitCode {
    match check(&args) {
        // What has failed is said.
        Ok(false) => ExitCode::FAILURE,
        ended => process::ended(ended.map(drop)),
    }
}

/// Whether all is as it should be.
#[tokio::main(flavor = "current_thread")]
async fn check(args: &Args) -> Result<bool> {
    let edge = args.edge.edge()?;
    let asks = Asks::new(&edge, args.patience);
    say(format!("Checking the mesh at {}", edge.shown()));
    let mut told = Told::default();
    let status = asks.get("/status").await;
    if !told.tell("GET /status lists nodes that are ready", judge::status(&status)) {
        bail!("without a mesh there is nothing more to check; start one with `echo-mesh up`");
    }
    told.tell("POST /task answers", judge::task(&asks.post("/task", &a_task()).await));
    told.tell(
        "POST /task/stream streams and ends once",
        judge::stream(&asks.post("/task/stream", &a_stream()).await),
    );
    let count = judge::at_once(&status);
    let bodies: Vec<Value> = (1..=count).map(counted).collect();
    let answers = join_all(bodies.iter().map(|body| asks.post("/task", body))).await;
    told.tell("tasks at once are shared by the nodes", judge::together(&status, &answers));
    let unknown = json!({"prompt": "hello", "model_hint": "no-such-model-here"});
    told.tell(
        "an unknown model is refused with 503",
        judge::unknown(&status, &asks.post("/task", &unknown).await),
    );
    told.tell(
        "bad JSON is refused with 400",
        judge::bad_json(&asks.send("/task", "{\"prompt\": ".to_owned()).await),
    );
    say(format!("{} of {} checks ok.", told.done - told.failed, told.done));
    Ok(told.failed == 0)
}

fn a_task() -> Value {
    json!({"prompt": "What is 2 + 2? Answer in one short sentence.", "options": {"num_predict": 40}})
}

fn a_stream() -> Value {
    json!({"prompt": "Write a haiku about distributed systems.", "options": {"num_predict": 40}})
}

fn counted(number: u64) -> Value {
    let prompt = format!("Name the number that follows {number}, then count on to twenty.");
    json!({"prompt": prompt, "options": {"num_predict": 48}})
}

/// What was checked, and what of it failed.
#[derive(Default)]
struct Told {
    done: usize,
    failed: usize,
}

impl Told {
    fn tell(&mut self, what: &str, verdict: Verdict) -> bool {
        self.done += 1;
        match &verdict {
            Ok(detail) => say(format!("ok    {what}: {}", Clean::of(detail))),
            Err(complaint) => {
                self.failed += 1;
                say(format!("FAIL  {what}: {}", Clean::of(complaint)));
            }
        }
        verdict.is_ok()
    }
}

/// Somebody who asks an edge, and takes every answer as it comes.
struct Asks {
    edge: String,
    key: Option<String>,
    client: reqwest::Client,
    patience: Duration,
}

impl Asks {
    fn new(edge: &Edge, patience: Duration) -> Self {
        let url = edge.url().as_str().trim_end_matches('/').to_owned();
        Self { edge: url, key: edge.key().map(str::to_owned), client: edge.client().clone(), patience }
    }

    async fn get(&self, path: &str) -> Reply {
        Reply::to(self.by_key(self.client.get(format!("{}{path}", self.edge)))).await
    }

    async fn post(&self, path: &str, body: &Value) -> Reply {
        self.send(path, body.to_string()).await
    }

    async fn send(&self, path: &str, body: String) -> Reply {
        let post = self.client.post(format!("{}{path}", self.edge));
        Reply::to(self.by_key(post.header("content-type", "application/json").body(body))).await
    }

    fn by_key(&self, request: RequestBuilder) -> RequestBuilder {
        let request = request.timeout(self.patience);
        match &self.key {
            Some(key) => request.bearer_auth(key),
            None => request,
        }
    }
}
