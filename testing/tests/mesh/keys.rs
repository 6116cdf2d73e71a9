//! API keys at real edges: who gets in, with what limits, whose a task is, and that no key stands anywhere.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use echo_scripted_engine::Model;
use echo_testing::client::{Call, Client, Stream};
use echo_testing::mesh::{Mesh, Program, add_key, holds, keyed_edge, keys};
use serde_json::{Value, json};

/// A mesh with two edges that want keys, of one file.
struct Keyed {
    edges: [Program; 2],
    keys: PathBuf,
    mesh: Mesh,
}

impl Keyed {
    async fn start() -> Self {
        let models = vec![Model::named("mistral"), Model::named("qwen3")];
        let mesh = Mesh::start().nodes(1).slots(4).script(|script| script.models = models).await;
        let keys = mesh.folder().join("keys.json");
        add_key(&keys, "first", &[]);
        let edges = [keyed_edge(&mesh.broker.url(), &keys, &[]), keyed_edge(&mesh.broker.url(), &keys, &[])];
        tokio::join!(edges[0].start(), edges[1].start());
        Self { edges, keys, mesh }
    }

    fn client(&self, edge: usize) -> Client {
        Client::new(self.edges[edge].address())
    }

    /// A new key that the first edge knows.
    async fn key(&self, name: &str, limits: &[&str]) -> String {
        let key = add_key(&self.keys, name, limits);
        for edge in 0..2 {
            self.is_answered(edge, &key, 200).await;
        }
        key
    }

    async fn is_answered(&self, edge: usize, key: &str, wanted: u16) {
        self.mesh
            .until(&format!("the key to be answered with {wanted}"), || async move {
                let status =
                    by(key, self.client(edge).get("/v1/models")).send().await.map_err(|it| it.to_string())?;
                holds(status.status() == wanted, status.status())
            })
            .await;
    }

    async fn ask(&self, edge: usize, key: &str, path: &str, body: &Value) -> (u16, String, Value) {
        let reply = by(key, self.client(edge).post(path, body)).send().await.expect("an answer");
        (reply.status(), reply.header("retry-after").to_owned(), reply.json().await)
    }
}

fn by(key: &str, call: Call) -> Call {
    call.header("authorization", &format!("Bearer {key}"))
}

fn prompt(words: &str) -> Value {
    json!({"prompt": words, "model_hint": "mistral"})
}

#[tokio::test]
async fn who_has_no_key_or_a_wrong_one_is_refused_in_the_words_of_the_dialect() {
    let keyed = Keyed::start().await;
    let client = keyed.client(0);
    let anthropic = ("anthropic-version", "2023-06-01");
    let cases = [
        (client.post("/v1/chat/completions", &json!({})), "/error/code", "invalid_api_key"),
        (client.get("/v1/models"), "/error/type", "invalid_request_error"),
        (client.post("/v1/messages", &json!({})), "/error/type", "authentication_error"),
        (client.get("/v1/models").header(anthropic.0, anthropic.1), "/error/type", "authentication_error"),
        (client.post("/task", &json!({})), "/code", "invalid_api_key"),
        (client.get("/status"), "/code", "invalid_api_key"),
        (client.get("/metrics"), "/code", "invalid_api_key"),
        (client.get("/mesh/watch"), "/code", "invalid_api_key"),
        (client.post("/nodes/node-a/drain", &json!({})), "/code", "invalid_api_key"),
        (client.get("/no/such/route"), "/code", "invalid_api_key"),
    ];
    for (number, (call, field, word)) in cases.into_iter().enumerate() {
        // A wrong one now and then: nobody waits for so few.
        let call = if number % 3 == 0 { by("echo-wrong", call) } else { call };
        let reply = call.send().await.expect("an answer");
        assert_eq!((reply.status(), reply.header("www-authenticate")), (401, "Bearer realm=\"echo-mesh\""));
        let said = reply.json().await;
        assert_eq!(said.pointer(field), Some(&json!(word)), "{number}: {said}");
    }
    let ollama = client.get("/api/tags").send().await.expect("an answer").json().await;
    assert!(ollama["error"].as_str().is_some_and(|words| words.contains("echo-mesh keys add")), "{ollama}");
    for path in ["/", "/health", "/page/app.js"] {
        assert_eq!(
            client.get(path).send().await.expect("an answer").status(),
            200,
            "{path} says nothing of the mesh"
        );
    }
    let key = keyed.key("ada", &[]).await;
    let basic = base64(&format!("n8n:{key}"));
    for (header, value) in [
        ("x-api-key", key.clone()),
        ("authorization", format!("Basic {basic}")),
        ("authorization", format!("Bearer {key}")),
    ] {
        let reply =
            client.post("/task", &prompt("hello")).header(header, &value).send().await.expect("an answer");
        assert_eq!(reply.status(), 200, "{header}");
    }
    let foreign =
        client.get("/status").header("origin", "http://localhost:3000").send().await.expect("an answer");
    assert_eq!(
        (foreign.status(), foreign.header("access-control-allow-origin")),
        (401, "http://localhost:3000")
    );
    // Whoever guesses waits, and whoever has a key does not.
    let began = Instant::now();
    for _ in 0..12 {
        assert_eq!(by("echo-guess", client.get("/status")).send().await.expect("an answer").status(), 401);
    }
    assert!(began.elapsed() >= Duration::from_millis(700), "{:?} for a dozen wrong keys", began.elapsed());
}

#[tokio::test]
async fn the_documentation_says_which_routes_want_a_key() {
    let keyed = Keyed::start().await;
    let key = keyed.key("ada", &[]).await;
    let client = keyed.client(0);
    let document = by(&key, client.get("/openapi.json")).send().await.expect("an answer").json().await;
    let (mut open, mut closed) = (Vec::new(), 0);
    for (path, methods) in document["paths"].as_object().expect("paths") {
        for (method, operation) in methods.as_object().expect("methods") {
            let says_open = operation["security"] == json!([]);
            assert_eq!(operation["responses"]["401"].is_null(), says_open, "{method} {path}");
            let asked = path.replace(['{', '}'], "");
            let status =
                client.call(&method.to_uppercase(), &asked).send().await.expect("an answer").status();
            assert_eq!(status == 401, !says_open, "{method} {path} without a key: {status}");
            if says_open { open.push(path.as_str()) } else { closed += 1 }
        }
    }
    open.sort_unstable();
    assert_eq!((open, closed > 30), (vec!["/", "/health"], true));
    let schemes = &document["components"]["securitySchemes"];
    assert_eq!(
        (&schemes["bearer"]["scheme"], &schemes["header"]["name"]),
        (&json!("bearer"), &json!("x-api-key"))
    );
}

fn base64(text: &str) -> String {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut said = String::new();
    for bytes in text.as_bytes().chunks(3) {
        let three = [bytes[0], *bytes.get(1).unwrap_or(&0), *bytes.get(2).unwrap_or(&0)];
        let bits = u32::from_be_bytes([0, three[0], three[1], three[2]]);
        let digits = (0..4).map(|at| char::from(DIGITS[(bits >> (18 - 6 * at)) as usize & 63]));
        said.extend(digits.enumerate().map(|(at, digit)| if at <= bytes.len() { digit } else { '=' }));
    }
    said
}

#[tokio::test]
async fn a_revoked_key_is_out_soon_its_running_answer_ends_well_and_another_key_takes_its_place() {
    let keyed = Keyed::start().await;
    let key = keyed.key("ada", &[]).await;
    let body = prompt("count [tokens=150] [delay=20]");
    let mut stream = Stream::open(by(&key, keyed.client(0).post("/task/stream", &body)));
    stream.read_tokens(5).await;
    assert!(keys(&keyed.keys, &["revoke", "ada"]).status.success());
    keyed.is_answered(0, &key, 401).await;
    stream.rest().await.assert_answered();
    let other = keyed.key("ada", &["--expires", "2s"]).await;
    assert_ne!(other, key);
    keyed.is_answered(0, &key, 401).await;
    keyed.is_answered(0, &other, 401).await;
    let (_, _, said) = keyed.ask(0, &other, "/task", &prompt("x")).await;
    assert!(said["error"].as_str().is_some_and(|words| words.contains("has expired")), "{said}");
    // A file that is nonsense revokes nobody and lets nobody in.
    let good = keyed.key("bob", &[]).await;
    std::fs::write(&keyed.keys, "{").expect("it can be written");
    let told = keyed.edges[0].mentions("the keys cannot be read");
    tokio::pin!(told);
    // The file is looked at when somebody asks.
    while futures::poll!(&mut told).is_pending() {
        keyed.is_answered(0, &good, 200).await;
    }
}

#[tokio::test]
async fn a_key_is_good_for_its_models_and_for_so_many_tasks_and_tokens() {
    let keyed = Keyed::start().await;
    let limited = keyed.key("ada", &["--models", "qwen*"]).await;
    let listed = |path: &'static str| {
        let call = by(&limited, keyed.client(0).get(path));
        async move { call.send().await.expect("an answer").json().await }
    };
    for path in ["/v1/models", "/api/tags", "/status"] {
        let said = listed(path).await.to_string();
        assert!(said.contains("qwen3") && !said.contains("mistral"), "{path}: {said}");
    }
    let chat = |model: &str| json!({"model": model, "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]});
    let (status, _, said) = keyed.ask(0, &limited, "/v1/messages", &chat("mistral")).await;
    assert_eq!((status, &said["error"]["type"]), (403, &json!("permission_error")), "{said}");
    let (status, _, said) = keyed.ask(0, &limited, "/v1/chat/completions", &chat("mistral")).await;
    assert_eq!((status, &said["error"]["code"]), (403, &json!("model_not_allowed")), "{said}");
    assert_eq!(keyed.ask(0, &limited, "/api/chat", &chat("mistral")).await.0, 403);
    assert_eq!(keyed.ask(0, &limited, "/task", &json!({"prompt": "hi"})).await.0, 403, "no model is named");
    let (status, _, said) = keyed.ask(0, &limited, "/v1/chat/completions", &chat("qwen9")).await;
    assert!(status == 404 && !said.to_string().contains("mistral"), "{said}");
    assert_eq!(keyed.ask(0, &limited, "/v1/chat/completions", &chat("qwen3")).await.0, 200);
    for path in ["/nodes/node-a/drain", "/api/pull"] {
        assert_eq!(
            keyed.ask(0, &limited, path, &json!({"model": "qwen3"})).await.0,
            403,
            "{path} is for managers"
        );
    }
    for path in ["/metrics", "/mesh/watch"] {
        let status = by(&limited, keyed.client(0).get(path)).send().await.expect("an answer").status();
        assert_eq!(status, 403, "{path} names all models");
    }
    let one = keyed.key("bob", &["--at-once", "1"]).await;
    let body = prompt("count [tokens=400] [delay=20]");
    let mut stream = Stream::open(by(&one, keyed.client(0).post("/task/stream", &body)));
    stream.read_tokens(2).await;
    let (status, wait, said) = keyed.ask(0, &one, "/v1/chat/completions", &chat("mistral")).await;
    assert_eq!((status, wait.as_str(), &said["error"]["type"]), (429, "1", &json!("rate_limit_error")));
    assert!(said.to_string().contains("\\\"bob\\\" may have 1 tasks at once"), "{said}");
    let several = json!({"model": "qwen3", "n": 2, "messages": [{"role": "user", "content": "hi"}]});
    drop(stream);
    keyed
        .mesh
        .until("the place to be free again", || async {
            let (status, _, said) = keyed.ask(0, &one, "/v1/chat/completions", &chat("mistral")).await;
            holds(status == 200, said)
        })
        .await;
    assert_eq!(keyed.ask(0, &one, "/v1/chat/completions", &several).await.0, 429, "each choice is a task");
    assert_eq!(
        keyed.ask(0, &one, "/v1/chat/completions", &chat("mistral")).await.0,
        200,
        "and none was left behind"
    );
    let tokens = keyed.key("cy", &["--tokens-a-day", "5"]).await;
    assert_eq!(
        keyed.ask(0, &tokens, "/task", &prompt("count [tokens=20]")).await.0,
        200,
        "an answer is not cut"
    );
    let body = json!({"prompt": "x"});
    let refused = |edge| keyed.ask(edge, &tokens, "/task", &body);
    let (status, wait, said) = refused(0).await;
    assert!(status == 429 && wait.parse::<u64>().is_ok_and(|wait| wait <= 86_400), "{said}, {wait:?}");
    assert!(keyed.edges[0].stop().await.success());
    keyed.edges[0].start().await;
    assert_eq!(refused(0).await.0, 429, "a new edge knows what was used");
    let listed = keys(&keyed.keys, &["list", "--json"]);
    let listed: Value = serde_json::from_slice(&listed.stdout).expect("JSON");
    let cy =
        listed.as_array().and_then(|keys| keys.iter().find(|key| key["name"] == "cy")).expect("cy's key");
    assert!(cy["tokens_today"].as_u64().is_some_and(|used| used >= 20), "{cy}");
}

#[tokio::test]
async fn a_task_is_its_clients_own_at_every_edge() {
    let keyed = Keyed::start().await;
    let (ada, bob) = (keyed.key("ada", &[]).await, keyed.key("bob", &["--manage"]).await);
    let mut body = prompt("count [tokens=600] [delay=20]");
    body["keep"] = json!("60s");
    let mut stream = Stream::open(by(&ada, keyed.client(0).post("/task/stream", &body)));
    stream.read_tokens(3).await;
    let seen = stream.hang_up();
    let task = seen.events[0].json["task_id"].as_str().expect("an id").to_owned();
    let response = json!({"model": "mistral", "input": "hello", "store": true});
    let (status, _, said) = keyed.ask(0, &ada, "/v1/responses", &response).await;
    assert_eq!(status, 200, "{said}");
    let response = format!("/v1/responses/{}", said["id"].as_str().expect("an id"));
    let task = format!("/task/{task}");
    let stream = format!("{task}/stream");
    let own = |edge: usize, key: &str, method: &str, path: &str| {
        let call = by(key, keyed.client(edge).call(method, path));
        async move { call.send().await.expect("an answer").status() }
    };
    for edge in 0..2 {
        for (method, path) in
            [("GET", &task), ("GET", &stream), ("DELETE", &task), ("GET", &response), ("DELETE", &response)]
        {
            assert_eq!(own(edge, &bob, method, path).await, 404, "edge {edge}: bob's {method} {path}");
        }
        let open = keyed.mesh.client().get(&task).send().await.expect("an answer").status();
        assert_eq!(open, 404, "nor is it of those who have no key");
        assert_eq!(own(edge, &ada, "GET", &task).await, 200, "edge {edge}");
        assert_eq!(own(edge, &ada, "GET", &response).await, 200, "edge {edge}");
    }
    assert_eq!(own(1, &ada, "DELETE", &task).await, 200);
    // What was begun without a key is of those who have none.
    let mut body = prompt("hello");
    body["keep"] = json!("60s");
    let (_, said) = keyed.mesh.task(&body).await;
    let task = format!("/task/{}", said["task_id"].as_str().expect("an id"));
    assert_eq!(keyed.mesh.client().get(&task).send().await.expect("an answer").status(), 200);
    assert_eq!(own(1, &ada, "GET", &task).await, 404);
}

#[tokio::test]
async fn a_name_stands_in_events_and_metrics_and_a_key_nowhere() {
    let keyed = Keyed::start().await;
    let observer = echo_testing::mesh::Observer::listen(&keyed.mesh.broker.url(), ">").await;
    let key = keyed.key("ada", &[]).await;
    assert_eq!(keyed.ask(0, &key, "/task", &prompt("hello")).await.0, 200);
    assert_eq!(keyed.ask(0, &key, "/no/route", &prompt("hello")).await.0, 404);
    assert_eq!(keyed.ask(0, &format!("{key}x"), "/task", &prompt("hello")).await.0, 401);
    let named = keyed
        .mesh
        .until("an event with the client's name", || async {
            let seen = observer.seen();
            let event = seen.iter().find(|it| {
                it.subject.starts_with("echo.task.")
                    && String::from_utf8_lossy(&it.payload).contains("\"client\":\"ada\"")
            });
            event.map(|event| event.subject.to_string()).ok_or(seen.len())
        })
        .await;
    assert!(named.starts_with("echo."), "{named}");
    let metrics = by(&key, keyed.client(0).get("/metrics")).send().await.expect("an answer").text().await;
    assert!(metrics.contains("echo_client_tasks_total{client=\"ada\",outcome=\"answered\"} 1"), "{metrics}");
    assert!(!metrics.contains(&key));
    for message in observer.seen() {
        let (payload, headers) =
            (String::from_utf8_lossy(&message.payload), format!("{:?}", message.headers));
        assert!(!payload.contains(&key) && !headers.contains(&key), "a key on {}", message.subject);
    }
    assert!(keyed.edges[0].stop().await.success());
    let programs = keyed.mesh.programs().chain(&keyed.edges);
    for program in programs {
        let said = program.logs().tail(100_000);
        assert!(!said.contains(&key), "{} logs a key", program.name());
    }
    let logs = keyed.edges[0].logs().tail(100_000);
    assert!(logs.contains("\"client\":\"ada\""), "the line of a task names its client: {logs}");
    let arguments = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    for process in arguments {
        let said = std::fs::read(process.path().join("cmdline")).unwrap_or_default();
        assert!(!String::from_utf8_lossy(&said).contains(&key), "a key among arguments");
    }
    assert!(!std::fs::read_to_string(&keyed.keys).expect("the file").contains(&key));
}

#[tokio::test]
async fn an_edge_beyond_loopback_wants_keys_or_to_be_told_that_it_is_open() {
    let mesh = Mesh::start().nodes(1).await;
    let url = mesh.broker.url();
    let args = |more: &[&str]| {
        let args = [&["--nats", &url, "--listen", "0.0.0.0:0"][..], more].concat();
        args.into_iter().map(str::to_owned).collect()
    };
    let shut = Program::new("edge", "edge", args(&[]));
    shut.launch().await;
    assert_eq!(shut.exit().await.code(), Some(2));
    let said = shut.logs().tail(20);
    assert!(said.contains("echo-mesh keys add NAME") && said.contains("--open-lan"), "{said}");
    let open = Program::new("open edge", "edge", args(&["--open-lan"]));
    open.start().await;
    open.mentions("everybody who reaches this address may use the mesh").await;
    let client = Client::new(([127, 0, 0, 1], open.address().port()).into());
    let status = client.get("/status").send().await.expect("an answer").json().await;
    assert_eq!(status["edge"]["open"], json!(true), "{status}");
    assert_eq!(mesh.status().await["edge"].get("open"), None);
}
