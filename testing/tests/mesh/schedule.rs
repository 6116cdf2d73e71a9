//! Who gets a task, on engines that are as slow as real ones: what that costs those who ask.

use std::{collections::BTreeMap, time::Duration};

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

/// One client that asks so often, one question after the other.
async fn client(mesh: &Mesh, model: &str, times: usize, tokens: u64) {
    for _ in 0..times {
        let ask = json!({"model": model, "prompt": format!("count [tokens={tokens}]")});
        let (status, answer) = mesh.task(&ask).await;
        assert_eq!(status, 200, "{answer}");
    }
}

#[tokio::test]
async fn models_that_need_each_others_memory_stay_where_they_are() {
    let engines = vec![engine(2, 200.0, &["a", "b"]), engine(2, 200.0, &["b", "a"])];
    let mesh = Mesh::start().uneven(engines).calibration().await;
    calibrated(&mesh).await;
    // Three clients for two slots of each model: now and then a slot is free where only the other model is.
    let clients = ["a", "b", "a", "b", "a", "b"].map(|model| client(&mesh, model, 10, 60));
    join_all(clients).await;
    let counters: Vec<_> = mesh.nodes().iter().map(|node| node.engine().counters()).collect();
    let loads: u64 = counters.iter().map(|counters| counters.loads).sum();
    assert!(loads <= 2, "{loads} loads for 60 tasks: {counters:?}");
}

#[tokio::test]
async fn a_slow_node_takes_nothing_that_the_fast_one_has_done_sooner() {
    let engines = vec![engine(2, 20.0, &["a"]), engine(2, 400.0, &["a"])];
    let mesh = Mesh::start().uneven(engines).calibration().await;
    calibrated(&mesh).await;
    let before = mesh.engine("node-a").counters().finished;
    // Two free slots are on the slow node all the time; an answer takes two seconds there, and 0.3 s on the other.
    let clients = (0..4).map(|_| client(&mesh, "a", 8, 40));
    join_all(clients).await;
    let slow = mesh.engine("node-a").counters().finished - before;
    assert!(slow <= 3, "{slow} of 32 tasks went to the slow node");
}
