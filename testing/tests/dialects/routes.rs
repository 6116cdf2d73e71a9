//! What every route of both dialects shares with `/task`: failover, queue, refusals, deadlines, hang-ups, headers.

use std::time::{Duration, Instant};

use echo_scripted_engine::Api;
use echo_testing::{
    client::{Call, Reply},
    mesh::{Mesh, until},
};
use futures::future::join_all;
use serde_json::{Value, json};

use super::wire::{ABLE, EMBEDDER, able, events, lines, said, send};

/// A route that runs a task, and how it is asked.
#[derive(Clone, Copy, Debug)]
struct Route {
    path: &'static str,
    kind: Kind,
    stream: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Prompt,
    Messages,
    /// OpenAI's responses.
    Items,
    Input,
    /// Ollama's older route of embeddings.
    Embedding,
}

/// The routes that generate, each streaming and in one piece.
fn generating() -> Vec<Route> {
    let routes = [
        ("/api/generate", Kind::Prompt),
        ("/api/chat", Kind::Messages),
        ("/v1/chat/completions", Kind::Messages),
        ("/v1/completions", Kind::Prompt),
        ("/v1/messages", Kind::Messages),
        ("/v1/responses", Kind::Items),
    ];
    routes.iter().flat_map(|&(path, kind)| [true, false].map(|stream| Route { path, kind, stream })).collect()
}

/// Those and the ones that embed.
fn all() -> Vec<Route> {
    let embedding =
        [("/api/embed", Kind::Input), ("/api/embeddings", Kind::Embedding), ("/v1/embeddings", Kind::Input)];
    let embedding = embedding.iter().map(|&(path, kind)| Route { path, kind, stream: false });
    generating().into_iter().chain(embedding).collect()
}

impl Route {
    fn body(self, prompt: &str) -> Value {
        match self.kind {
            Kind::Prompt => json!({"model": ABLE, "prompt": prompt, "stream": self.stream}),
            Kind::Messages => {
                let messages = json!([{"role": "user", "content": prompt}]);
                if self.is_anthropics() {
                    return json!({"model": ABLE, "max_tokens": 4096, "messages": messages, "stream": self.stream});
                }
                // A model that can think would do so first on the routes that chat.
                let quiet = if self.is_openais() { "reasoning_effort" } else { "think" };
                let mut body = json!({"model": ABLE, "messages": messages, "stream": self.stream});
                body[quiet] = if self.is_openais() { "none".into() } else { false.into() };
                body
            }
            Kind::Items => {
                let quiet = json!({"effort": "none"});
                json!({"model": ABLE, "input": prompt, "stream": self.stream, "reasoning": quiet})
            }
            Kind::Input => json!({"model": EMBEDDER, "input": prompt}),
            Kind::Embedding => json!({"model": EMBEDDER, "prompt": prompt}),
        }
    }

    fn call(self, mesh: &Mesh, prompt: &str) -> Call {
        mesh.client().post(self.path, &self.body(prompt))
    }

    /// The text of each event of a stream that adds to the answer; of a sign of life it is empty.
    async fn texts(self, reply: Reply) -> Vec<String> {
        let places = [
            "/message/content",
            "/response",
            "/token",
            "/choices/0/delta/content",
            "/choices/0/text",
            "/delta/text",
            "/delta",
        ];
        let mut texts = Vec::new();
        for line in reply.text().await.lines() {
            let line = line.strip_prefix("data: ").unwrap_or(line);
            // Comments and empty lines are what a client's idle timer does not see.
            let Ok(event) = serde_json::from_str::<Value>(line) else { continue };
            // Of a response's events only its text and its repeated state stand where others have nothing else.
            let kind = event["type"].as_str().unwrap_or("response.in_progress");
            if !["response.output_text.delta", "response.in_progress"].contains(&kind) {
                continue;
            }
            if event["done"] == true || event["choices"][0]["finish_reason"].is_string() {
                continue;
            }
            assert!(event.get("error").is_none(), "{self:?}: {event}");
            if self.is_anthropics() && event["type"] != "ping" && event["type"] != "content_block_delta" {
                continue;
            }
            let text = places.iter().find_map(|at| event.pointer(at)?.as_str());
            texts.push(text.unwrap_or_default().to_owned());
        }
        texts
    }

    fn is_openais(self) -> bool {
        self.path.starts_with("/v1")
    }

    fn is_anthropics(self) -> bool {
        self.path == "/v1/messages"
    }

    /// Whether an event is the end of a whole answer.
    fn is_end(self, event: &Value) -> bool {
        if self.is_anthropics() { event["type"] == "message_stop" } else { *event == json!("[DONE]") }
    }

    /// The text of an answer, or how many vectors it holds.
    async fn reads(self, reply: Reply) -> String {
        if self.stream && self.kind == Kind::Items {
            let told = events(reply).await;
            assert_eq!(told.last().expect("an end")["type"], "response.completed", "{self:?}");
            let deltas = told.iter().filter(|event| event["type"] == "response.output_text.delta");
            return deltas.filter_map(|event| event["delta"].as_str()).collect();
        }
        if self.stream && self.is_openais() {
            let told = events(reply).await;
            assert!(told.last().is_some_and(|last| self.is_end(last)), "{self:?}");
            return said(&told);
        }
        let told = lines(reply).await;
        let text = |line: &Value| -> String {
            let places = [
                "/message/content",
                "/response",
                "/choices/0/message/content",
                "/choices/0/text",
                "/content/0/text",
                "/output/0/content/0/text",
            ];
            places.iter().find_map(|at| line.pointer(at)?.as_str()).unwrap_or_default().to_owned()
        };
        let last = told.last().expect("an answer");
        match self.kind {
            Kind::Input if self.is_openais() => last["data"].as_array().map_or(0, Vec::len).to_string(),
            Kind::Input => last["embeddings"].as_array().map_or(0, Vec::len).to_string(),
            Kind::Embedding => usize::from(last["embedding"].is_array()).to_string(),
            _ if self.is_openais() => text(last),
            _ => {
                assert_eq!(last["done"], true, "{self:?}: {last}");
                told.iter().map(text).collect()
            }
        }
    }

    fn answer(self, tokens: u64) -> String {
        match self.kind {
            Kind::Input | Kind::Embedding => "1".to_owned(),
            _ => (0..tokens).map(|index| format!("t{index} ")).collect(),
        }
    }

    /// The words of an error in the dialect's own shape.
    fn complaint(self, error: &Value) -> String {
        let error = error.get("response").unwrap_or(error);
        let said = if self.is_openais() { &error["error"]["message"] } else { &error["error"] };
        said.as_str().unwrap_or_else(|| panic!("{self:?}: not this dialect's shape: {error}")).to_owned()
    }
}

#[tokio::test]
async fn an_answer_goes_on_from_another_node_on_every_route() {
    let mesh = able(Api::Ollama).nodes(2).slots(1).await;
    for route in generating() {
        let before: Vec<u64> = mesh.nodes().iter().map(|node| node.engine().counters().tokens).collect();
        let asked = tokio::spawn(send(route.call(&mesh, "[tokens=40] [delay=10]")));
        let node = until("ten tokens of one node", || async {
            let tokens = mesh.nodes().iter().map(|node| node.engine().counters().tokens);
            let worker = tokens.zip(&before).position(|(now, before)| now >= before + 10);
            worker.map(|number| mesh.node(number)).ok_or("fewer")
        })
        .await;
        node.kill().await;
        let reply = asked.await.expect("no panic");
        assert_eq!(reply.status(), 200, "{route:?}");
        // The head of a stream had been written by then.
        let attempts = if route.stream { "1" } else { "2" };
        assert_eq!(reply.header("x-echo-attempts"), attempts, "{route:?}");
        assert_eq!(reply.header("x-echo-node") == node.id(), route.stream, "{route:?}");
        assert_eq!(route.reads(reply).await, route.answer(40), "{route:?}");
        node.start().await;
        mesh.node_is(node.id(), "idle").await;
    }
    let misfits: u64 = mesh.nodes().iter().map(|node| node.engine().counters().misfits).sum();
    assert_eq!(misfits, 0);
}

#[tokio::test]
async fn who_waits_in_line_is_served_in_turn_and_told_how_long_it_was() {
    let mesh = able(Api::Ollama).slots(1).await;
    let mut running = mesh.stream(&json!({"prompt": "[tokens=60] [delay=10]", "model_hint": "plain"}));
    running.read_tokens(1).await;
    let answers = all().into_iter().map(|route| {
        let call = route.call(&mesh, "[tokens=3] [delay=5]").header("x-request-id", "mine:1");
        async move { (route, send(call).await) }
    });
    for (route, reply) in join_all(answers).await {
        assert_eq!(reply.status(), 200, "{route:?}");
        assert_eq!(reply.header("x-request-id"), "mine:1", "{route:?}");
        assert_eq!(
            (reply.header("x-echo-node"), reply.header("x-echo-attempts")),
            ("node-a", "1"),
            "{route:?}"
        );
        assert_eq!(reply.header("x-echo-task-id").len(), 36, "{route:?}");
        assert!(reply.header("x-echo-model").ends_with(":latest"), "{route:?}");
        let waited: u64 = reply.header("x-echo-queue-ms").parse().expect("milliseconds");
        assert!(waited > 0, "{route:?} waited {waited} ms");
        assert_eq!(route.reads(reply).await, route.answer(3), "{route:?}");
    }
    running.rest().await.assert_every_token_once(60);
    mesh.is_quiet().await;
}

#[tokio::test]
async fn a_full_queue_says_when_to_come_back_on_every_route() {
    let mesh = able(Api::Ollama).slots(1).orchestrator_args(["--queue-limit", "1"]).await;
    for _ in 0..5 {
        // What it says about the time is measured.
        mesh.ask("[tokens=3] [delay=5]").rest().await.assert_answered();
    }
    let mut running = mesh.ask("[tokens=3000] [delay=10]");
    running.read_tokens(1).await;
    let mut waiting = mesh.ask("[tokens=1]");
    waiting.comment("queued").await;
    for route in all() {
        let reply = send(route.call(&mesh, "[tokens=1]")).await;
        assert_eq!(reply.status(), 429, "{route:?}");
        let seconds: u64 = reply.header("retry-after").parse().expect("whole seconds");
        assert!((1..600).contains(&seconds), "{route:?}: {seconds}");
        assert!(!route.complaint(&reply.json().await).is_empty());
    }
    assert_eq!(mesh.engine(0).counters().waiting, 0, "nothing of it reached the engine");
}

#[tokio::test]
async fn a_deadline_holds_on_every_route_before_the_first_piece_and_after_it() {
    let mesh = able(Api::Ollama).slots(16).edge_args(["--task-timeout", "1s"]).await;
    mesh.engine(0).edit(|script| script.first_token_delay = Duration::from_secs(20));
    let began = Instant::now();
    let early = all().into_iter().map(|route| {
        let call = route.call(&mesh, "[tokens=5]");
        async move { (route, send(call).await) }
    });
    for (route, reply) in join_all(early).await {
        assert_eq!(reply.status(), 504, "{route:?}");
        assert!(!route.complaint(&reply.json().await).is_empty());
    }
    assert!(began.elapsed() < Duration::from_secs(4), "after {:?}", began.elapsed());
    mesh.is_quiet_within(Duration::from_secs(1)).await;
    let late = generating().into_iter().map(|route| {
        let call = route.call(&mesh, "[tokens=3000] [delay=10] [first=0]");
        async move { (route, send(call).await) }
    });
    for (route, reply) in join_all(late).await {
        assert_eq!(reply.status(), if route.stream { 200 } else { 504 }, "{route:?}");
        let told = if route.stream && route.is_openais() { events(reply).await } else { lines(reply).await };
        let last = told.last().expect("a last word");
        assert!(!route.complaint(last).is_empty());
        assert!(
            !told.iter().any(|event| route.is_end(event)) && told.iter().all(|line| line["done"] != true),
            "{route:?}"
        );
    }
    mesh.is_quiet_within(Duration::from_secs(1)).await;
}

#[tokio::test]
async fn hanging_up_stops_the_engine_on_every_route() {
    let mesh = able(Api::Ollama).slots(1).await;
    let routes = all();
    for route in &routes {
        // A request for vectors has no prompt that could order a long answer.
        let embeds = matches!(route.kind, Kind::Input | Kind::Embedding);
        let first = if embeds { Duration::from_secs(20) } else { Duration::ZERO };
        mesh.engine(0).edit(|script| script.first_token_delay = first);
        let call = route.call(&mesh, "[tokens=3000] [delay=10]");
        let task = tokio::spawn(async move {
            let mut reply = send(call).await;
            while reply.chunk().await.is_ok_and(|chunk| chunk.is_some()) {}
        });
        mesh.engine(0).until(|counters| counters.running == 1).await.expect("the task runs");
        task.abort();
        mesh.is_quiet_within(Duration::from_secs(1)).await;
    }
    assert_eq!(mesh.engine(0).counters().cancelled, routes.len() as u64);
}

/// The routes that stream, our own included.
fn streaming() -> Vec<Route> {
    let own = Route { path: "/task/stream", kind: Kind::Prompt, stream: true };
    generating().into_iter().filter(|route| route.stream).chain([own]).collect()
}

/// How many events without text came before the answer's first text, and how many after it.
fn signs(texts: &[String]) -> (usize, usize) {
    let first = texts.iter().position(|text| !text.is_empty()).expect("an answer");
    (first, texts[first..].iter().filter(|text| text.is_empty()).count())
}

#[tokio::test]
async fn a_stream_that_has_to_wait_says_events_without_text() {
    let routes = streaming();
    let mesh = able(Api::Ollama).slots(routes.len()).edge_args(["--idle-sign", "200ms"]).await;
    let all = |prompt: &'static str| {
        let calls = routes.iter().map(|&route| (route, route.call(&mesh, prompt)));
        let asked = calls.map(|(route, call)| async move {
            let reply = send(call).await;
            assert_eq!(reply.status(), 200, "{route:?}");
            let texts = route.texts(reply).await;
            assert_eq!(texts.concat(), route.answer(2), "{route:?}: an answer is what it would be without");
            (route, signs(&texts))
        });
        join_all(asked)
    };
    // Each time is ten signs long; half of them is what a busy machine manages.
    for (route, (before, _)) in all("[tokens=2] [first=2000]").await {
        assert!(before >= 5, "{route:?} said {before} signs before a slow first token");
    }
    for (route, (_, between)) in all("[tokens=2] [delay=2000]").await {
        assert!(between >= 5, "{route:?} said {between} signs between slow tokens");
    }
    let mut running: Vec<_> = routes.iter().map(|_| mesh.ask("[tokens=200] [delay=10]")).collect();
    for stream in &mut running {
        stream.read_tokens(1).await;
    }
    for (route, (before, _)) in all("[tokens=2]").await {
        assert!(before >= 5, "{route:?} said {before} signs in line");
    }
}
