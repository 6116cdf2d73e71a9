//! Who gets a task, on engines that are as slow as real ones: what that costs those who ask.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use echo_testing::{
    engine::{Api, Hardware, Model, Pace, Script},
    mesh::{Mesh, holds, until},
};
use futures::future::join_all;
use serde_json::json;

const GIB: u64 = 1 << 30;

/// An engine with these models and memory for one of them; the first is in it.
fn engine(slots: usize, decode: f64, names: &[&str]) -> Script {
    let pace = Pace { decode, prompt: 50.0 * decode, load: Duration::from_millis(1_500) };
    let hardware = Hardware {
        memory: 5 * GIB,
        overhead: Duration::from_millis(5),
        models: names.iter().map(|name| ((*name).to_owned(), pace)).collect::<BTreeMap<_, _>>(),
        loaded: vec![names[0].to_owned()],
        ..Hardware::default()
    };
    let models = names.iter().map(|name| Model { size: 4 * GIB, ..Model::named(*name) }).collect();
    Script { api: Api::Ollama, slots, models, hardware: Some(hardware), ..Script::default() }
}

/// Waits until each node has tried the model that it has in memory.
async fn calibrated(mesh: &Mesh) {
    for node in mesh.nodes() {
        until("a node to know its speed", || async {
            let seen = mesh.seen(node.id()).await;
            let models = seen["model_details"].as_array().cloned().unwrap_or_default();
            let measured = models.iter().any(|model| model["speeds"].is_array());
            holds(measured && seen["active_tasks"] == 0, seen)
        })
        .await;
    }
}

/// One client that asks so often, one question after the other, and reads each answer for so long. How long it
/// waited for one at most.
async fn client(mesh: &Mesh, model: &str, times: usize, tokens: u64, reads: Duration) -> Duration {
    let mut longest = Duration::ZERO;
    for _ in 0..times {
        let began = Instant::now();
        let ask = json!({"model": model, "prompt": format!("count [tokens={tokens}]")});
        let (status, answer) = mesh.task(&ask).await;
        assert_eq!(status, 200, "{answer}");
        longest = longest.max(began.elapsed());
        tokio::time::sleep(reads).await;
    }
    longest
}

#[tokio::test]
async fn models_that_need_each_others_memory_stay_where_they_are() {
    let engines = vec![engine(3, 200.0, &["a", "b"]), engine(3, 200.0, &["b", "a"])];
    let mesh = Mesh::start().uneven(engines).calibration().await;
    calibrated(&mesh).await;
    // Four clients for the three slots of each model. Now and then some read, and a slot is free while somebody waits for
    // the other model. Whoever is sent there waits until nobody asks for the model that is in memory: for the others to end.
    let reads = Duration::from_millis(250);
    let clients = ["a", "b", "a", "b", "a", "b", "a", "b"].map(|model| client(&mesh, model, 15, 60, reads));
    let longest = join_all(clients).await.into_iter().max().unwrap_or_default();
    let counters: Vec<_> = mesh.nodes().iter().map(|node| node.engine().counters()).collect();
    let loads: u64 = counters.iter().map(|counters| counters.loads).sum();
    assert!(loads <= 1, "{loads} loads for 120 tasks: {counters:?}");
    assert!(longest < Duration::from_secs(3), "an answer of half a second took {longest:?}");
}

#[tokio::test]
async fn a_slow_node_takes_nothing_that_the_fast_one_has_done_sooner() {
    let engines = vec![engine(2, 40.0, &["a"]), engine(2, 400.0, &["a"])];
    let mesh = Mesh::start().uneven(engines).calibration().await;
    calibrated(&mesh).await;
    let before = mesh.engine("node-a").counters().finished;
    // Two free slots are on the slow node all the time. An answer takes a second there; on the other it takes 0.15 s, and
    // half of them wait as long for a slot.
    let clients = (0..4).map(|_| client(&mesh, "a", 25, 40, Duration::ZERO));
    join_all(clients).await;
    let slow = mesh.engine("node-a").counters().finished - before;
    assert!(slow <= 4, "{slow} of 100 tasks went to the slow node");
}
