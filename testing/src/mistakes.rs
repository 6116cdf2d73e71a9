//! Requests that cannot work, repeated by many clients beside good ones: what each of them costs the others.

use std::{
    fmt::Write as _,
    time::{Duration, Instant},
};

use futures::future::join_all;
use serde_json::{Value, json};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::mesh::{Builder, Mesh};
use echo_scripted_engine::{Api, Model};

/// Clients that repeat the mistake, without a pause.
const CLIENTS: usize = 10;
/// Clients that ask for something that works.
const GOOD: usize = 2;
const NODES: usize = 3;
/// Words that are too many for one text.
const TOO_LONG: usize = 600;
/// How often the nodes are looked at.
const LOOK: Duration = Duration::from_millis(50);

/// One request that cannot work.
#[derive(Clone, Debug)]
pub struct Mistake {
    pub name: &'static str,
    pub api: Api,
    pub path: &'static str,
    pub body: Value,
    /// What the client may hear; the first is usual.
    pub statuses: &'static [u16],
    /// In the client's error, as the engine said it.
    pub words: &'static str,
    /// Engines that are asked at most.
    pub tries: u64,
    /// It ends the engine that works on it.
    pub deadly: bool,
}

/// What one of them did to a mesh.
#[derive(Clone, Debug)]
pub struct Damage {
    pub mistake: Mistake,
    /// The first answer to it.
    pub status: u16,
    pub error: String,
    pub tries: u64,
    pub took: Duration,
    /// How often it was sent beside the good ones.
    pub sent: u64,
    /// The median time of a good task without and beside it.
    pub alone: Duration,
    pub beside: Duration,
    pub good: u64,
    /// Good tasks that were not answered.
    pub spoiled: Vec<String>,
    /// Looks at the nodes, and those in which one could not take a good task.
    pub looks: u64,
    pub unavailable: u64,
    /// Engines that ended.
    pub deaths: u64,
}

impl Damage {
    /// What was promised and does not hold; the figures of time are for people to judge.
    pub fn broken(&self) -> Vec<String> {
        let mistake = &self.mistake;
        let mut broken = self.spoiled.clone();
        let mut promise = |holds: bool, why: String| {
            if !holds {
                broken.push(why);
            }
        };
        let allowed = mistake.statuses;
        promise(allowed.contains(&self.status), format!("status {}, none of {allowed:?}", self.status));
        promise(
            self.error.contains(mistake.words),
            format!("{:?} is not in {:?}", mistake.words, self.error),
        );
        promise(self.tries <= mistake.tries, format!("{} tries", self.tries));
        promise(self.good > 0, "no good task was answered".to_owned());
        if !mistake.deadly {
            promise(self.unavailable == 0, format!("a node was unavailable in {} looks", self.unavailable));
        }
        let named = |why| format!("{} at {}: {why}", mistake.name, mistake.path);
        broken.into_iter().map(named).collect()
    }
}

/// Every mistake, on every kind of engine and route where it can be made.
pub fn all() -> Vec<Mistake> {
    let mut all = Vec::new();
    let chat = |more: Value| {
        with(json!({"model": "scripted", "stream": false, "messages": [user("hi [tokens=2]")]}), more)
    };
    let generate =
        |more: Value| with(json!({"model": "scripted", "stream": false, "prompt": "hi [tokens=2]"}), more);
    let task = |more: Value| with(json!({"prompt": "hi [tokens=2]", "model_hint": "scripted"}), more);
    let mut add = |name, api, path, body, statuses, words, tries| {
        all.push(Mistake { name, api, path, body, statuses, words, tries, deadly: false });
    };
    for (path, body) in [
        ("/api/chat", chat(json!({"format": "xml"}))),
        ("/api/generate", generate(json!({"format": 7}))),
        ("/task", task(json!({"format": "xml"}))),
    ] {
        add("unknown format", Api::Ollama, path, body, &[400], "invalid format", 1);
    }
    for (path, body) in [
        ("/api/chat", chat(json!({"options": {"num_ctx": "big"}}))),
        ("/api/generate", generate(json!({"options": {"typical_p": "x"}}))),
        ("/task", task(json!({"options": {"num_ctx": "big"}}))),
    ] {
        add("option of a wrong type", Api::Ollama, path, body, &[400], "must be of type", 1);
    }
    for path in ["/api/chat", "/api/generate"] {
        let more = json!({"_debug_render_only": true});
        let body = if path == "/api/chat" { chat(more) } else { generate(more) };
        add("order to render and not to answer", Api::Ollama, path, body, &[400], "_debug_render_only", 0);
    }
    let body = generate(json!({"template": "{{ .Prompt"}));
    add("broken template", Api::Ollama, "/api/generate", body, &[400], "unclosed action", 1);
    let body = generate(json!({"context": [999_999_999]}));
    add("context out of range", Api::Ollama, "/api/generate", body, &[400], "detokenize error", 1);
    for (path, body) in [
        ("/api/chat", chat(json!({"model": "unloadable"}))),
        ("/v1/chat/completions", json!({"model": "unloadable", "messages": [user("hi")]})),
        ("/task", task(json!({"model_hint": "unloadable"}))),
    ] {
        add("model that cannot be loaded", Api::Ollama, path, body, &[500, 503], "process has terminated", 2);
    }
    let history = [
        user("a"),
        json!({"role": "assistant", "content": "b"}),
        json!({"role": "system", "content": "c"}),
        user("d"),
    ];
    for path in ["/v1/chat/completions", "/api/chat"] {
        let body = json!({"model": "scripted", "stream": false, "messages": history});
        add("template that refuses", Api::Openai, path, body, &[400], "system message must come first", 1);
    }
    let long = "word ".repeat(TOO_LONG);
    for path in ["/v1/embeddings", "/api/embed"] {
        let body = json!({"model": "vectors", "input": ["short", long], "truncate": false});
        add("text too long to embed", Api::Openai, path, body, &[400], "input[1]", 1);
    }
    for api in [Api::Ollama, Api::Openai] {
        let strange = "hi [fault=fail] [words=boom 7]";
        for (path, body) in [
            ("/api/chat", json!({"model": "scripted", "stream": false, "messages": [user(strange)]})),
            ("/v1/chat/completions", json!({"model": "scripted", "messages": [user(strange)]})),
            ("/task", json!({"prompt": strange})),
        ] {
            add("refused in unknown words", api, path, body, &[500], "boom 7", 2);
        }
        let broken = "look [tokens=9] [fault=error@3] [words=XML syntax error on line 7]";
        let tools =
            json!([{"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}]);
        for path in ["/api/chat", "/v1/chat/completions"] {
            let body =
                json!({"model": "scripted", "stream": false, "messages": [user(broken)], "tools": tools});
            add("tool call that breaks", api, path, body, &[502], "XML syntax error on line 7", 2);
        }
    }
    all.extend(deadly());
    all
}

/// Requests that no engine survives.
fn deadly() -> impl Iterator<Item = Mistake> {
    [Api::Ollama, Api::Openai].into_iter().map(|api| Mistake {
        name: "request that ends its engine",
        api,
        path: "/task",
        body: json!({"prompt": "hi [fault=die]"}),
        statuses: &[422],
        words: "engines died or stalled each time",
        tries: 4,
        deadly: true,
    })
}

fn user(text: &str) -> Value {
    json!({"role": "user", "content": text})
}

fn with(mut body: Value, more: Value) -> Value {
    if let (Some(body), Value::Object(more)) = (body.as_object_mut(), more) {
        body.extend(more);
    }
    body
}

/// A mesh for mistakes of this kind of engine.
pub fn mesh(api: Api) -> Builder {
    Mesh::start().api(api).nodes(NODES).slots(8).script(|script| {
        script.models =
            vec![Model::named("scripted"), Model::unloadable("unloadable"), Model::embedding("vectors")];
        script.embedding_limit = Some(TOO_LONG - 1);
        script.strict_template = true;
    })
}

/// Repeats a mistake for this long beside good tasks, and says what that did to them.
pub async fn suffer(mesh: &Mesh, mistake: &Mistake, time: Duration) -> Damage {
    let sent = Instant::now();
    let revived = CancellationToken::new();
    let (first, deaths) = tokio::join!(
        async {
            let first = send(mesh, mistake).await;
            let took = sent.elapsed();
            mesh.until("all engines to be back", || async { all_back(mesh) }).await;
            revived.cancel();
            (first, took)
        },
        revive(mesh, &revived)
    );
    let ((status, tries, error), took) = first;
    mesh.is_whole().await;
    let (alone, _) = good(mesh, time).await;
    let stop = CancellationToken::new();
    let (times, sent, (looks, unavailable), more_deaths) = tokio::join!(
        async {
            let times = good(mesh, time).await;
            stop.cancel();
            times
        },
        repeat(mesh, mistake, &stop),
        look(mesh, &stop),
        revive(mesh, &stop)
    );
    let (beside, spoiled) = times;
    Damage {
        mistake: mistake.clone(),
        status,
        error,
        tries,
        took,
        sent,
        good: beside.len() as u64,
        alone: median(alone),
        beside: median(beside),
        spoiled,
        looks,
        unavailable,
        deaths: deaths + more_deaths,
    }
}

fn all_back(mesh: &Mesh) -> Result<(), String> {
    let dead = mesh.nodes().iter().filter(|node| node.engine().is_dead()).count();
    if dead == 0 { Ok(()) } else { Err(format!("{dead} are dead")) }
}

/// The status, the attempts, and what the client reads.
async fn send(mesh: &Mesh, mistake: &Mistake) -> (u16, u64, String) {
    match mesh.client().post(mistake.path, &mistake.body).send().await {
        Ok(reply) => {
            let (status, attempts) =
                (reply.status(), reply.header("x-echo-attempts").parse().unwrap_or_default());
            let body = reply.json().await;
            let error = &body["error"];
            let words = error.as_str().or_else(|| error["message"].as_str());
            (status, attempts, words.map_or_else(|| body.to_string(), str::to_owned))
        }
        Err(error) => (0, 0, error.to_string()),
    }
}

async fn repeat(mesh: &Mesh, mistake: &Mistake, stop: &CancellationToken) -> u64 {
    let client = async || {
        let mut sent = 0;
        while !stop.is_cancelled() {
            send(mesh, mistake).await;
            sent += 1;
            // A refusal comes back within a millisecond: ten clients without any pause measure the machine alone.
            sleep(Duration::from_millis(10)).await;
        }
        sent
    };
    join_all((0..CLIENTS).map(|_| client())).await.into_iter().sum()
}

/// The times of good tasks, and what became of those that were not answered.
async fn good(mesh: &Mesh, time: Duration) -> (Vec<Duration>, Vec<String>) {
    let client = async |number: usize| {
        let (began, mut times, mut spoiled) = (Instant::now(), Vec::new(), Vec::new());
        while began.elapsed() < time {
            let asked = Instant::now();
            let prompt = format!("count {number} {} [tokens=20] [delay=5]", times.len());
            let answer = mesh.ask(&prompt).rest().await;
            times.push(asked.elapsed());
            if answer.error().is_some() || answer.tokens().len() != 20 {
                spoiled.push(format!("a good task: {}", answer.summary()));
            }
        }
        (times, spoiled)
    };
    let all = join_all((0..GOOD).map(client)).await;
    let (mut times, mut spoiled) = (Vec::new(), Vec::new());
    for (more, lost) in all {
        times.extend(more);
        spoiled.extend(lost);
    }
    (times, spoiled)
}

/// How often the nodes were looked at, and how often one could not take a good task.
async fn look(mesh: &Mesh, stop: &CancellationToken) -> (u64, u64) {
    let (mut looks, mut bad) = (0, 0);
    while !stop.is_cancelled() {
        let status = mesh.status().await;
        let usable = |node: &Value| {
            let models = node["model_details"].as_array().into_iter().flatten();
            let mut good = models.filter(|model| model["name"] == "scripted:latest");
            matches!(node["status"].as_str(), Some("idle" | "busy"))
                && good.all(|model| model["unavailable"].is_null())
        };
        let nodes = status["nodes"].as_array().cloned().unwrap_or_default();
        looks += 1;
        bad += u64::from(nodes.len() != NODES || !nodes.iter().all(usable));
        sleep(LOOK).await;
    }
    (looks, bad)
}

/// Starts engines that have ended, as their owner's service manager would; counts them.
pub async fn revive(mesh: &Mesh, stop: &CancellationToken) -> u64 {
    let mut deaths = 0;
    loop {
        for node in mesh.nodes() {
            // Somebody else's connection may have its port for a moment.
            if node.engine().is_dead() && node.engine().restart().await.is_ok() {
                deaths += 1;
            }
        }
        if stop.is_cancelled() {
            return deaths;
        }
        // A service manager takes a moment too; an engine that comes back at once is never seen to be down.
        sleep(Duration::from_millis(20)).await;
    }
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

/// The table, for people.
pub fn markdown(all: &[Damage]) -> String {
    let mut out = "| mistake | engine | route | status | tries | time | sent beside | good alone | good beside | ratio | \
                   node unavailable | engines ended |\n|---|---|---|---|---|---|---|---|---|---|---|---|\n"
        .to_owned();
    for it in all {
        let api = if it.mistake.api == Api::Ollama { "Ollama" } else { "llama.cpp" };
        let ms = |time: Duration| time.as_secs_f64() * 1e3;
        let _ = writeln!(
            out,
            "| {} | {api} | `{}` | {} | {} | {:.0} ms | {} | {:.0} ms | {:.0} ms | {:.2} | {} of {} looks | {} |",
            it.mistake.name,
            it.mistake.path,
            it.status,
            it.tries,
            ms(it.took),
            it.sent,
            ms(it.alone),
            ms(it.beside),
            ms(it.beside) / ms(it.alone),
            it.unavailable,
            it.looks,
            it.deaths,
        );
    }
    out
}
