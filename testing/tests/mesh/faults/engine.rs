//! The engine behind a healthy agent fails.

use std::time::Duration;

use echo_scripted_engine::{Api, Fault, FaultKind};
use echo_testing::{
    client::Transcript,
    mesh::{Mesh, holds},
    proxy::Mode,
};
use serde_json::json;

/// The engine that gets the task fails in this way after ten tokens, once.
async fn fails_in_mid_answer(mesh: &Mesh, kind: &str) -> Transcript {
    let answer = mesh.ask(&format!("count [tokens=40] [delay=10] [fault={kind}@10]")).rest().await;
    answer.assert_every_token_once(40);
    assert_eq!((answer.nodes().len(), answer.attempts()), (2, 2), "{kind}: {}", answer.summary());
    let misfits: u64 = mesh.nodes().iter().map(|node| node.engine().counters().misfits).sum();
    assert_eq!(misfits, 0, "{kind}");
    let last = answer.last();
    // Four words of ours and two of the template.
    assert_eq!((&last["tokens"], &last["prompt_tokens"]), (&json!(40), &json!(6)), "{kind}: {last}");
    answer
}

#[tokio::test]
async fn an_answer_whose_engine_dies_at_the_token_limit_ends_there() {
    for api in [Api::Ollama, Api::Openai] {
        let mesh = Mesh::start().api(api).await;
        for (wide, texts) in [("", 12), ("[wide=1]", 4)] {
            let prompt = format!("count [tokens=40] [delay=10] [fault=end@{texts}] {wide}");
            let asked = json!({"prompt": prompt, "options": {"num_predict": 12}});
            let answer = mesh.stream(&asked).rest().await;
            answer.assert_answered();
            assert_eq!((answer.tokens().len(), answer.attempts()), (texts, 2), "{}", answer.summary());
            let last = answer.last();
            assert_eq!((&last["tokens"], &last["done_reason"]), (&json!(12), &json!("length")), "{last}");
            let words = if wide.is_empty() { 6 } else { 7 };
            assert_eq!(last["prompt_tokens"], words, "{last}");
            mesh.is_quiet().await;
        }
    }
}

/// The rows of the table do the same with Ollama.
#[tokio::test]
async fn a_llama_cpp_that_fails_in_mid_answer_is_continued_elsewhere() {
    let mesh = Mesh::start().api(Api::Openai).edge_args(["--token-timeout", "500ms"]).await;
    for kind in ["error", "end", "cut", "garbage", "stall"] {
        let answer = fails_in_mid_answer(&mesh, kind).await;
        assert!(answer.longest_gap() < Duration::from_secs(3), "{kind}: a gap of {:?}", answer.longest_gap());
        mesh.is_whole().await;
        mesh.is_quiet().await;
    }
}

#[tokio::test]
async fn an_engine_that_never_begins_is_given_up_for_another() {
    let mesh = Mesh::start().edge_args(["--first-token-timeout", "500ms"]).await;
    // Both models are loaded: what is slow from here on is not the loading.
    let warm = [mesh.ask("count [tokens=2] [delay=300]"), mesh.ask("count [tokens=2] [delay=300]")];
    for answer in warm {
        answer.rest().await.assert_every_token_once(2);
    }
    for node in ["node-a", "node-b"] {
        mesh.until("the loaded model to be known", || async {
            let seen = mesh.seen(node).await;
            holds(seen["model_details"][0]["loaded"] == true, seen)
        })
        .await;
    }
    mesh.engine(0).fault(Fault::at(FaultKind::Stall, 0).times(1));
    let began = std::time::Instant::now();
    for stream in [mesh.ask("count [tokens=5] [delay=50]"), mesh.ask("count [tokens=5] [delay=50]")] {
        stream.rest().await.assert_every_token_once(5);
    }
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    assert_eq!(
        mesh.engine(0).counters().cancelled,
        1,
        "it was asked, and let go: {:?}",
        mesh.engine(0).counters()
    );
    mesh.is_quiet().await;
}

#[tokio::test]
async fn an_engine_that_is_full_broken_or_lacks_the_model_after_all_is_passed_over() {
    for kind in ["busy", "fail", "missing"] {
        let mesh = Mesh::start().await;
        let fault = serde_json::from_str(&format!("{kind:?}")).expect("a fault");
        mesh.engine(0).fault(Fault::at(fault, 0));
        let answers: Vec<_> = (0..2).map(|_| mesh.ask("count [tokens=5] [delay=20]")).collect();
        for answer in answers {
            let answer = answer.rest().await;
            answer.assert_every_token_once(5);
            assert_eq!(answer.nodes(), ["node-b"], "{kind}: {}", answer.summary());
        }
        mesh.engine(0).heal();
        mesh.node_is("node-a", "idle").await;
    }
}

#[tokio::test]
async fn an_engine_that_cannot_be_heard_any_more_is_continued_elsewhere() {
    let mesh = Mesh::start().proxies().edge_args(["--token-timeout", "500ms"]).await;
    let mut stream = mesh.ask("count [tokens=60] [delay=10]");
    stream.read_tokens(10).await;
    let node = stream.node().await;
    mesh.node(&node).wire().set(Mode::Blackhole).await;
    let answer = stream.rest().await;
    answer.assert_every_token_once(60);
    assert_eq!(answer.attempts(), 2, "{}", answer.summary());
    mesh.node_is(&node, "unavailable").await;
    mesh.node(&node).wire().set(Mode::Pass).await;
    mesh.node_is(&node, "idle").await;
}

#[tokio::test]
async fn a_slow_engine_is_not_a_dead_one() {
    let mesh = Mesh::start().nodes(1).edge_args(["--token-timeout", "2s"]).await;
    let answer = mesh.ask("count [tokens=6] [delay=700]").rest().await;
    answer.assert_every_token_once(6);
    assert_eq!(answer.attempts(), 1);
}

#[tokio::test]
async fn a_model_that_takes_long_to_load_is_not_dead() {
    let mesh = Mesh::start().nodes(1).edge_args(["--first-token-timeout", "500ms"]);
    let mesh = mesh.script(|script| script.load_delay = Duration::from_secs(2)).await;
    let answer = mesh.ask("count [tokens=6]").rest().await;
    answer.assert_every_token_once(6);
    assert_eq!(answer.attempts(), 1, "{}", answer.summary());
}

#[tokio::test]
async fn a_model_that_comes_or_goes_is_seen() {
    let mesh = Mesh::start().nodes(1).await;
    mesh.engine(0).edit(|script| script.models.push(echo_scripted_engine::Model::named("fresh")));
    mesh.until("the new model to be served", || async {
        let seen = mesh.seen("node-a").await;
        holds(
            seen["models"].as_array().is_some_and(|models| models.iter().any(|name| name == "fresh:latest")),
            seen,
        )
    })
    .await;
    let body = serde_json::json!({"prompt": "[tokens=1]", "model_hint": "fresh"});
    let (status, answer) = mesh.task(&body).await;
    assert_eq!((status, answer["model_used"].as_str()), (200, Some("fresh:latest")), "{answer}");
}
