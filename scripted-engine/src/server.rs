//! An engine that runs: its routes, its port, and the handle that tests hold.

use std::{
    collections::HashMap,
    io,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    Router,
    body::Bytes,
    extract::{DefaultBodyLimit, State},
    http::StatusCode,
    response::Response,
    routing::{delete, get, post},
};
use serde_json::{Value, json};
use tokio::{net::TcpListener, sync::Mutex, task::JoinHandle};

use super::{
    ask,
    core::{Core, OnDeath},
    counters::{Counters, Seen, Times},
    ollama, ollama_embed, ollama_store, openai, openai_info,
    script::{Api, Fault, Script},
    wire::{Gate, Link},
};

/// Pictures travel in a request as base64.
const LARGEST_BODY: usize = 64 << 20;
/// How long `until` waits before it calls the awaited state a failure.
const PATIENCE: Duration = Duration::from_secs(10);

/// A running engine. Dropping it stops it.
pub struct Engine {
    core: Arc<Core>,
    addr: SocketAddr,
    serving: Mutex<JoinHandle<io::Result<()>>>,
}

impl Engine {
    /// On a port that the kernel chooses.
    pub async fn start(script: Script) -> Self {
        let engine = Self::listen("127.0.0.1:0", script, OnDeath::Close).await;
        engine.expect("loopback has a free port")
    }

    /// On this address, such as the one of an engine that has been stopped.
    pub async fn listen(addr: &str, script: Script, on_death: OnDeath) -> io::Result<Self> {
        let listener = TcpListener::bind(addr).await?;
        let addr = listener.local_addr()?;
        let core = Arc::new(Core::new(script, on_death));
        let serving = Mutex::new(serve(core.clone(), listener));
        Ok(Self { core, addr, serving })
    }

    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    pub fn script(&self) -> Script {
        (*self.core.script()).clone()
    }

    /// Changes the script for the requests to come.
    pub fn edit(&self, change: impl FnOnce(&mut Script)) {
        self.core.edit(change);
    }

    /// Adds a fault behind those that wait already.
    pub fn fault(&self, fault: Fault) {
        self.edit(|script| script.faults.push(fault));
    }

    /// No more faults.
    pub fn heal(&self) {
        self.edit(|script| script.faults.clear());
    }

    pub fn counters(&self) -> Counters {
        self.core.counters()
    }

    /// The latest requests, oldest first.
    pub fn requests(&self) -> Vec<Seen> {
        self.core.tally.requests()
    }

    /// What became of each task that a `[task=N]` in its prompt numbers.
    pub fn ledger(&self) -> HashMap<u64, Times> {
        self.core.tally.ledger()
    }

    /// Waits until the counts are as wanted; an error says what they were at last.
    pub async fn until(&self, wanted: impl Fn(&Counters) -> bool) -> Result<Counters, String> {
        let give_up = Instant::now() + PATIENCE;
        loop {
            let counters = self.counters();
            if wanted(&counters) {
                return Ok(counters);
            }
            if Instant::now() > give_up {
                return Err(format!("the engine at {} never got there: {counters:?}", self.addr));
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// Unloads a model now, or after its last use.
    pub fn unload(&self, model: &str) {
        self.core.unload(model);
    }

    /// Closes the listener and every connection, as a killed process would.
    pub async fn stop(&self) {
        self.core.close();
        end(&mut *self.serving.lock().await).await;
    }

    /// Whether it has died, or was stopped.
    pub fn is_dead(&self) -> bool {
        self.core.tally.dead.load(std::sync::atomic::Ordering::SeqCst)
    }

    /// Back on the same port with the same script and counts, no model loaded.
    pub async fn restart(&self) -> io::Result<()> {
        let mut serving = self.serving.lock().await;
        self.core.close();
        end(&mut serving).await;
        let listener = TcpListener::bind(self.addr).await?;
        *serving = serve(self.core.clone(), listener);
        Ok(())
    }

    /// Until the engine has died or its listener has failed.
    pub async fn ended(self) -> io::Result<()> {
        let mut serving = self.serving.lock().await;
        (&mut *serving).await.map_err(io::Error::other)?
    }
}

async fn end(serving: &mut JoinHandle<io::Result<()>>) {
    if !serving.is_finished() {
        // How it ended is of no interest to whoever ends it.
        let _ = serving.await;
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.core.close();
    }
}

fn serve(core: Arc<Core>, listener: TcpListener) -> JoinHandle<io::Result<()>> {
    let life = core.revive();
    if core.script().api == Api::Openai {
        // llama.cpp's server loads its model as it starts.
        let delay = core.script().load_delay;
        core.models.all().iter().for_each(|model| core.models.begin(&model.name, delay));
    }
    let service = routes(core.clone()).into_make_service_with_connect_info::<Link>();
    let gate = Gate { listener, core, life: life.clone() };
    // Its end waits for the connections, and they end by the same token.
    tokio::spawn(
        async move { axum::serve(gate, service).with_graceful_shutdown(life.cancelled_owned()).await },
    )
}

fn routes(core: Arc<Core>) -> Router {
    let api = core.script().api;
    let mut routes = Router::new()
        .route("/counters", get(counters))
        .route("/requests", get(requests))
        .route("/ledger", get(ledger))
        .route("/script", get(script).post(set_script));
    if api.ollama() {
        routes = routes
            .route("/", get(ollama_store::root))
            .route("/api/version", get(ollama_store::version))
            .route("/api/tags", get(ollama_store::tags))
            .route("/api/ps", get(ollama_store::ps))
            .route("/api/show", post(ollama_store::show))
            .route("/api/pull", post(ollama_store::pull))
            .route("/api/delete", delete(ollama_store::delete))
            .route("/api/generate", post(ollama::generate))
            .route("/api/chat", post(ollama::chat))
            .route("/api/embed", post(ollama_embed::embed))
            .route("/api/embeddings", post(ollama_embed::embeddings));
    }
    if api.openai() {
        routes = routes
            .route("/health", get(openai_info::health))
            .route("/slots", get(openai_info::slots))
            .route("/props", get(openai_info::props))
            .route("/v1/models", get(openai_info::models))
            .route("/apply-template", post(openai_info::apply_template))
            .route("/tokenize", post(openai_info::tokenize))
            .route("/v1/chat/completions", post(openai::chat))
            .route("/v1/completions", post(openai::text))
            .route("/completion", post(openai::own))
            .route("/v1/embeddings", post(openai::embed));
    }
    routes = match api {
        Api::Openai => routes.route("/", get(openai_info::root)).fallback(openai_info::unknown),
        Api::Ollama | Api::Both => routes.fallback(not_found),
    };
    routes.layer(DefaultBodyLimit::max(LARGEST_BODY)).with_state(core)
}

async fn not_found() -> (StatusCode, &'static str) {
    (StatusCode::NOT_FOUND, "404 page not found")
}

async fn counters(core: State<Arc<Core>>) -> Response {
    ask::json(StatusCode::OK, &json!(core.counters()))
}

async fn requests(core: State<Arc<Core>>) -> Response {
    ask::json(StatusCode::OK, &json!(core.tally.requests()))
}

async fn ledger(core: State<Arc<Core>>) -> Response {
    ask::json(StatusCode::OK, &json!(core.tally.ledger()))
}

async fn script(core: State<Arc<Core>>) -> Response {
    ask::json(StatusCode::OK, &json!(*core.script()))
}

/// The fields of the body in place of the script's own.
async fn set_script(core: State<Arc<Core>>, body: Bytes) -> Response {
    let patch: Result<Value, _> = serde_json::from_slice(&body);
    let patched = patch.map_err(|error| error.to_string()).and_then(|patch| core.script().patched(&patch));
    match patched {
        Ok(fresh) => {
            core.edit(|script| *script = fresh);
            script(core).await
        }
        Err(error) => ask::json(StatusCode::BAD_REQUEST, &json!({"error": error})),
    }
}
