use std::time::{Duration, Instant};

use echo_scripted_engine::{Engine, Script};
use serde_json::{Value, json};
use tokio::time::timeout;

use super::{Mode, Proxy};
use crate::client::{Client, Reply};

const FOUR: &str = "t0 t1 t2 t3 ";

async fn engine() -> Engine {
    Engine::start(Script { slots: 4, tokens: 4, ..Script::default() }).await
}

async fn ask(proxy: &Proxy, prompt: &str) -> Reply {
    let body = json!({"model": "scripted", "prompt": prompt});
    Client::new(proxy.addr()).post("/api/generate", &body).send().await.expect("a reply")
}

/// The text that arrives, and whether the body ended as it should.
async fn read(mut reply: Reply) -> (String, bool) {
    let mut all = Vec::new();
    let whole = loop {
        match reply.chunk().await {
            Ok(Some(bytes)) => all.extend_from_slice(&bytes),
            Ok(None) => break true,
            Err(_) => break false,
        }
    };
    let lines = all.split_inclusive(|byte| *byte == b'\n').filter(|line| line.ends_with(b"\n"));
    let said = |line| {
        let line: Value = serde_json::from_slice(line).expect("a JSON line");
        line["response"].as_str().unwrap_or_default().to_owned()
    };
    (lines.map(said).collect(), whole)
}

#[tokio::test]
async fn the_proxy_passes_delays_and_throttles() {
    let engine = engine().await;
    let proxy = Proxy::start(engine.url()).await;
    let answer = || async { read(ask(&proxy, "hi").await).await.0 };
    assert_eq!(answer().await, FOUR);
    proxy.set(Mode::Delay(Duration::from_millis(100))).await;
    let began = Instant::now();
    assert_eq!(answer().await, FOUR);
    assert!(began.elapsed() >= Duration::from_millis(200), "{:?}", began.elapsed());
    proxy.set(Mode::Throttle(2000)).await;
    let began = Instant::now();
    assert_eq!(answer().await, FOUR);
    assert!(began.elapsed() >= Duration::from_millis(250), "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_blackhole_holds_what_it_swallowed_and_refusing_closes_everything() {
    let engine = engine().await;
    let proxy = Proxy::start(engine.addr()).await;
    proxy.set(Mode::Blackhole).await;
    let held = async { read(ask(&proxy, "hi").await).await };
    tokio::pin!(held);
    assert!(timeout(Duration::from_millis(150), &mut held).await.is_err());
    assert_eq!((proxy.connections(), engine.counters().started), (1, 0));
    proxy.set(Mode::Pass).await;
    assert_eq!(held.await.0, FOUR);

    let slow = ask(&proxy, "[tokens=900] [delay=20]").await;
    proxy.set(Mode::Refuse).await;
    assert_eq!(proxy.connections(), 0);
    assert!(!read(slow).await.1);
    let refused = Client::new(proxy.addr()).get("/").send().await.err().expect("refused");
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
    engine.until(|counters| counters.cancelled == 1).await.expect("the cut reaches the engine");
    proxy.set(Mode::Pass).await;
    drop(ask(&proxy, "[tokens=900] [delay=20]").await);
    engine.until(|counters| counters.cancelled == 2).await.expect("a hang-up passes through");
    let slow = ask(&proxy, "[tokens=900] [delay=20]").await;
    proxy.cut().await;
    assert!(!read(slow).await.1);
    assert!(Client::new(proxy.addr()).get("/").send().await.is_ok(), "a cut refuses nothing new");
}
