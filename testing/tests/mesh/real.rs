//! The whole way with a real model behind it.

use echo_testing::{
    client::Stream,
    engine::{Api, Script},
    mesh::{Mesh, Program, RealEngine, holds, until},
};
use serde_json::{Value, json};
use tokio::sync::{Mutex, MutexGuard};

use crate::skip::skip;

/// Two real engines at once are all that a small machine bears.
static TURN: Mutex<()> = Mutex::const_new(());

struct Real {
    mesh: Mesh,
    agents: Vec<Program>,
    _engines: Vec<RealEngine>,
    _turn: MutexGuard<'static, ()>,
}

async fn real(test: &str, nodes: usize) -> Option<Real> {
    let turn = TURN.lock().await;
    let (mut engines, mut agents) = (Vec::new(), Vec::new());
    for _ in 0..nodes {
        match RealEngine::start().await {
            Ok(engine) => engines.push(engine),
            Err(reason) => {
                skip(test, &format!("llama.cpp with its model cannot be had here: {reason}"));
                return None;
            }
        }
    }
    let mesh = Mesh::start().nodes(0).await;
    for (number, engine) in engines.iter().enumerate() {
        let script = Script { api: Api::Openai, ..Script::default() };
        let agent = mesh.agent(&format!("real-{number}"), engine.url(), &script);
        agent.start().await;
        agents.push(agent);
    }
    until("the real nodes to be ready", || async {
        let status = mesh.try_status().await?;
        let ready = status["nodes"].as_array().is_some_and(|nodes| {
            nodes.len() == agents.len()
                && nodes.iter().all(|node| node["status"] == "idle" && node["models"][0].is_string())
        });
        holds(ready, status)
    })
    .await;
    Some(Real { mesh, agents, _engines: engines, _turn: turn })
}

fn body(tokens: u64) -> Value {
    let options = json!({"num_predict": tokens, "temperature": 0, "seed": 7});
    json!({"prompt": "Write a short story about a lighthouse keeper.", "options": options})
}

async fn stream(real: &Real, tokens: u64) -> Stream {
    real.mesh.stream(&body(tokens))
}

#[tokio::test]
async fn a_real_model_streams_its_answer_through_the_mesh() {
    let Some(real) = real("a_real_model_streams_its_answer_through_the_mesh", 1).await else { return };
    let answer = stream(&real, 40).await.rest().await;
    answer.assert_answered();
    assert!(answer.tokens().len() >= 20, "{}", answer.summary());
    assert!(answer.content().split_whitespace().count() > 10, "{}", answer.content());
    assert!(
        answer.last()["model_used"].as_str().is_some_and(|model| model.starts_with("smollm2")),
        "{}",
        answer.last()
    );
    let (status, whole) =
        real.mesh.task(&json!({"prompt": "What is 2 + 2?", "options": {"num_predict": 20}})).await;
    assert_eq!(status, 200, "{whole}");
    assert!(whole["content"].as_str().is_some_and(|content| !content.trim().is_empty()), "{whole}");
}

#[tokio::test]
async fn a_real_answer_goes_on_from_another_node_where_it_broke_off() {
    let Some(real) = real("a_real_answer_goes_on_from_another_node_where_it_broke_off", 2).await else {
        return;
    };
    let whole = stream(&real, 80).await.rest().await;
    whole.assert_answered();
    let mut interrupted = stream(&real, 80).await;
    interrupted.read_tokens(25).await;
    let node = interrupted.node().await;
    real.agents.iter().find(|agent| agent.name().ends_with(&node)).expect("that node").kill().await;
    let before = interrupted.so_far().content();
    let answer = interrupted.rest().await;
    answer.assert_answered();
    assert_eq!((answer.nodes().len(), answer.attempts()), (2, 2), "{}", answer.summary());
    assert!(answer.content().starts_with(&before), "what was said before the kill is unchanged");
    // The same model, no randomness: the seam is right if the text goes on as it would have.
    let said: String = whole.content().chars().take(before.chars().count() + 12).collect();
    assert!(answer.content().starts_with(&said), "{before:?} went on as {:?}", answer.content());
    assert!(answer.tokens().len() <= 81, "the token limit holds: {}", answer.tokens().len());
}
