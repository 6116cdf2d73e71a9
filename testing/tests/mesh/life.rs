//! Who gets a task, who waits, and what happens when the user goes away.

use std::time::{Duration, Instant};

use echo_scripted_engine::Api;
use echo_testing::{
    client::Stream,
    mesh::{Mesh, Observer, holds, until_within},
};
use futures::future::join_all;
use serde_json::json;

/// Within this time a slot must be free again after its client has gone.
const FREED: Duration = Duration::from_secs(1);
const LONG: &str = "count [tokens=3000] [delay=10]";

#[tokio::test]
async fn two_tasks_at_once_go_to_two_nodes() {
    let mesh = Mesh::start().await;
    let (mut one, mut two) = (mesh.ask(LONG), mesh.ask(LONG));
    assert_ne!(one.node().await, two.node().await);
}

#[tokio::test]
async fn the_least_busy_node_is_next() {
    let mesh = Mesh::start().slots(3).await;
    let mut streams = Vec::new();
    for round in 1..=3 {
        let (mut one, mut two) = (mesh.ask(LONG), mesh.ask(LONG));
        assert_ne!(one.node().await, two.node().await, "round {round}");
        streams.extend([one, two]);
    }
    let mut kept = Vec::new();
    for mut stream in streams {
        if stream.node().await == "node-a" {
            drop(stream);
        } else {
            kept.push(stream);
        }
    }
    mesh.until("node-a to be free", || async {
        let seen = mesh.seen("node-a").await;
        holds(seen["active_tasks"] == 0, seen)
    })
    .await;
    for _ in 0..2 {
        let mut next = mesh.ask(LONG);
        assert_eq!(next.node().await, "node-a");
        kept.push(next);
    }
}

async fn hang_up_frees_the_slot(api: Api) {
    let mesh = Mesh::start().nodes(1).api(api).await;
    let mut stream = mesh.ask(LONG);
    stream.read_tokens(3).await;
    drop(stream);
    is_freed(&mesh, 1).await;
    let whole = mesh.client().post("/task", &json!({ "prompt": LONG })).send();
    let task = tokio::spawn(whole);
    mesh.engine(0).until(|counters| counters.running == 1).await.expect("the task runs");
    task.abort();
    is_freed(&mesh, 2).await;
    assert_eq!(mesh.engine(0).counters().max_running, 1);
}

async fn is_freed(mesh: &Mesh, cancelled: u64) {
    mesh.is_quiet_within(FREED).await;
    assert_eq!(mesh.engine(0).counters().cancelled, cancelled, "{:?}", mesh.engine(0).counters());
}

#[tokio::test]
async fn a_client_that_hangs_up_stops_the_engine_on_both_routes() {
    hang_up_frees_the_slot(Api::Ollama).await;
}

#[tokio::test]
async fn a_client_that_hangs_up_stops_an_openai_engine_on_both_routes() {
    hang_up_frees_the_slot(Api::Openai).await;
}

#[tokio::test]
async fn a_client_that_hangs_up_before_the_first_token_stops_the_engine() {
    let mesh = Mesh::start().nodes(1).await;
    let stream = mesh.ask("[first=60000]");
    mesh.engine(0).until(|counters| counters.running == 1).await.expect("the task runs");
    drop(stream);
    is_freed(&mesh, 1).await;
}

#[tokio::test]
async fn a_cancelled_attempt_says_nothing_more_to_an_edge_and_its_end_to_who_asked_by_hand() {
    let mesh = Mesh::start().nodes(1).slots(2).await;
    let inbox = "_INBOX.edge.0123456789ab.cancelled";
    let part = Observer::listen(&mesh.broker.url(), &format!("{inbox}.*")).await;
    let task = |id: &str, edge: Option<&str>| {
        json!({"task": format!("00000000-0000-4000-8000-{id:0>12}"), "inbox": format!("{inbox}.{id}"), "edge": edge,
            "request": {"kind": "generate", "model": "scripted", "prompt": LONG}})
    };
    let (by_hand, edges) = (task("1", None), task("2", Some("0123456789ab")));
    for task in [&by_hand, &edges] {
        part.client().request("echo.task.submit", task.to_string().into()).await.expect("an answer");
    }
    part.sees(&format!("{inbox}.1")).await;
    part.sees(&format!("{inbox}.2")).await;
    for task in [&edges, &by_hand] {
        let cancel = json!({"task": task["task"], "attempt": 1});
        part.client()
            .publish("echo.node.node-a.cancel.000000000000", cancel.to_string().into())
            .await
            .expect("said");
    }
    is_freed(&mesh, 2).await;
    // The one that was cancelled last is told of it, so whatever the other one said is here, too.
    let ends = |seen: &[async_nats::Message], id: &str| {
        let theirs = seen.iter().filter(|it| *it.subject == format!("{inbox}.{id}"));
        theirs.filter(|it| it.payload.windows(8).any(|part| part == b"\"failed\"")).count()
    };
    until_within(FREED, "the end that is told", || async {
        let seen = part.seen();
        holds(ends(&seen, "1") == 1, seen.len().to_string())?;
        assert_eq!(ends(&seen, "2"), 0);
        Ok::<_, String>(())
    })
    .await;
}

#[tokio::test]
async fn who_finds_no_free_slot_waits_in_line_and_is_told() {
    let mesh = Mesh::start().nodes(1).await;
    let mut running = mesh.ask(LONG);
    running.read_tokens(1).await;
    let mut second = mesh.ask("count [tokens=5] [delay=300]");
    let comment = second.comment("queued").await;
    assert!(comment.contains("position 1"), "{comment}");
    assert!(!comment.contains("wait"), "nothing is measured yet: {comment}");
    let mut third = mesh.ask("count [tokens=6] [delay=10]");
    assert!(third.comment("queued").await.contains("position 2"));
    assert_eq!(mesh.engine(0).counters().started, 1, "who waits has not reached the engine");
    drop(running);
    assert!(third.comment("position 1").await.contains("queued"));
    let (second, third) = tokio::join!(second.rest(), third.rest());
    second.assert_every_token_once(5);
    third.assert_every_token_once(6);
    assert!(second.events[0].at < third.events[0].at, "first come, first served");
    assert_eq!(mesh.engine(0).counters().max_running, 1);
}

#[tokio::test]
async fn a_client_that_hangs_up_in_the_queue_never_reaches_an_engine() {
    let mesh = Mesh::start().nodes(1).await;
    let mut running = mesh.ask(LONG);
    running.read_tokens(1).await;
    let mut waiting = mesh.ask("count [tokens=5]");
    waiting.comment("queued").await;
    drop(waiting);
    let whole = tokio::spawn(mesh.client().post("/task", &json!({"prompt": "count [tokens=5]"})).send());
    let mut last = mesh.ask("count [tokens=2]");
    last.comment("queued").await;
    whole.abort();
    last.comment("position 1").await;
    drop(running);
    last.rest().await.assert_every_token_once(2);
    mesh.is_quiet().await;
    assert_eq!(mesh.engine(0).counters().started, 2, "the first and the last");
}

#[tokio::test]
async fn the_wait_that_is_told_is_the_wait_that_comes() {
    let mesh = Mesh::start().nodes(1).slots(4).await;
    let ask = || mesh.ask("count [tokens=20] [delay=60]");
    for mut stream in [ask(), ask()] {
        stream.read_tokens(1).await;
        stream.rest().await.assert_answered();
    }
    mesh.is_quiet().await;
    let mut running: Vec<_> = (0..4).map(|_| ask()).collect();
    for stream in &mut running {
        stream.read_tokens(1).await;
    }
    // The fifth begins when those four end, all at once; the ninth a whole round later.
    let waiting = async |mut stream: Stream| {
        let comment = stream.comment("expected wait").await;
        let (begun, told) = (Instant::now(), comment.split_whitespace().rev().find_map(|it| it.parse().ok()));
        stream.read_tokens(1).await;
        let came = begun.elapsed();
        stream.rest().await.assert_answered();
        (Duration::from_millis(told.expect("a number")), came)
    };
    let waits = join_all((0..5).map(|_| waiting(ask()))).await;
    for (told, came) in waits {
        assert!(told < came * 2 && came < told * 2, "told {told:?}, waited {came:?}");
    }
}

#[tokio::test]
async fn a_slow_client_hurts_only_itself() {
    let mesh = Mesh::start().nodes(1).slots(4).await;
    let before = mesh.edge(0).resident();
    // Far more than any socket holds; nobody reads it.
    let slow: Vec<_> = (0..2).map(|_| mesh.ask("[tokens=2000000]")).collect();
    for _ in 0..20 {
        mesh.ask("count [tokens=50]").rest().await.assert_every_token_once(50);
    }
    let grown = mesh.edge(0).resident().saturating_sub(before) >> 20;
    assert!(grown < 64, "the edge keeps {grown} MiB for two clients that do not read");
    drop(slow);
    mesh.is_quiet().await;
}

#[tokio::test]
async fn a_warm_node_that_is_busy_is_not_waited_for() {
    let mesh = Mesh::start().script(|script| script.load_delay = Duration::from_millis(200)).await;
    let mut warm = mesh.ask(LONG);
    let first = warm.node().await;
    let second = mesh.ask("count [tokens=3]").rest().await;
    second.assert_every_token_once(3);
    assert_ne!(second.nodes(), [first], "it runs where there is room");
}

#[tokio::test]
async fn a_node_that_has_the_model_loaded_comes_first() {
    let mesh = Mesh::start().script(|script| script.load_delay = Duration::from_millis(300)).await;
    let node = mesh.ask("count [tokens=3]").rest().await.nodes();
    until_within(Duration::from_secs(10), "the loaded model to be known", || async {
        let seen = mesh.seen(&node[0]).await;
        holds(seen["model_details"][0]["loaded"] == true, seen)
    })
    .await;
    for _ in 0..4 {
        mesh.is_quiet().await;
        let next = mesh.ask("count [tokens=3]").rest().await;
        assert_eq!(next.nodes(), node, "{}", next.summary());
    }
}
