//! Who gets a task, on engines that are as slow as real ones: what that costs those who ask.

use std::{collections::BTreeMap, time::Duration};

use echo_scripted_engine::{Api, Hardware, Model, Pace, Script};
use echo_testing::mesh::{Mesh, holds, until};
use futures::future::join_all;
use serde_json::json;

/// An engine with two slots and one model in memory.
fn engine(decode: f64) -> Script {
    let pace = Pace { decode, prompt: 50.0 * decode, load: Duration::from_millis(1_500) };
    let hardware = Hardware {
        overhead: Duration::from_millis(5),
        models: BTreeMap::from([("a".to_owned(), pace)]),
        loaded: vec!["a".to_owned()],
        ..Hardware::default()
    };
    let models = vec![Model::named("a")];
    Script { api: Api::Ollama, slots: 2, models, hardware: Some(hardware), ..Script::default() }
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
async fn client(mesh: &Mesh, times: usize, tokens: u64) {
    for _ in 0..times {
        let ask = json!({"model": "a", "prompt": format!("count [tokens={tokens}]")});
        let (status, answer) = mesh.task(&ask).await;
        assert_eq!(status, 200, "{answer}");
    }
}

#[tokio::test]
async fn a_slow_node_takes_nothing_that_the_fast_one_has_done_sooner() {
    let engines = vec![engine(40.0), engine(400.0)];
    let mesh = Mesh::start().uneven(engines).calibration().await;
    calibrated(&mesh).await;
    let before = mesh.engine("node-a").counters().finished;
    // Two free slots are on the slow node all the time. An answer takes a second there; on the other it takes 0.15 s, and
    // half of them wait as long for a slot.
    let clients = (0..4).map(|_| client(&mesh, 25, 40));
    join_all(clients).await;
    let slow = mesh.engine("node-a").counters().finished - before;
    assert!(slow <= 4, "{slow} of 100 tasks went to the slow node");
}
