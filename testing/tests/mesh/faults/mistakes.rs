//! A request that cannot work, or that no engine survives, is its own client's affair.

use std::time::{Duration, Instant};

use echo_scripted_engine::Api;
use echo_testing::{
    mesh::{Mesh, holds},
    mistakes,
};
use futures::future::join_all;
use serde_json::json;
use tokio_util::sync::CancellationToken;

/// Each mistake is made by ten clients for this long; the long form is `echo-faults --mistakes 30`.
const BRIEFLY: Duration = Duration::from_millis(300);

async fn cost_nobody_else(api: Api) {
    let mesh = mistakes::mesh(api).await;
    let mut broken = Vec::new();
    for mistake in mistakes::all().iter().filter(|mistake| mistake.api == api) {
        broken.extend(mistakes::suffer(&mesh, mistake, BRIEFLY).await.broken());
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[tokio::test]
async fn mistakes_of_ollamas_clients_cost_nobody_else_a_node() {
    cost_nobody_else(Api::Ollama).await;
}

#[tokio::test]
async fn mistakes_of_llama_cpps_clients_cost_nobody_else_a_node() {
    cost_nobody_else(Api::Openai).await;
}

#[tokio::test]
async fn ten_requests_that_end_their_engines_end_few_and_spoil_no_answer() {
    let mesh = Mesh::start().nodes(3).slots(4).await;
    let mut good: Vec<_> =
        (0..6).map(|number| mesh.ask(&format!("count {number} [tokens=300] [delay=10]"))).collect();
    for answer in &mut good {
        answer.read_tokens(5).await;
    }
    let stop = CancellationToken::new();
    let ended = async {
        let asked = (0..10).map(|_| async { mesh.task(&json!({"prompt": "hi [fault=die]"})).await });
        let ended = join_all(asked).await;
        let good = join_all(good.into_iter().map(|answer| answer.rest())).await;
        stop.cancel();
        (ended, good)
    };
    let ((ended, good), deaths) = tokio::join!(ended, mistakes::revive(&mesh, &stop));
    for (status, body) in ended {
        assert_eq!((status, &body["code"]), (422, &json!("harmful")), "{body}");
    }
    for answer in good {
        answer.assert_every_token_once(300);
    }
    assert!((2..=6).contains(&deaths), "{deaths} engines ended");
    mesh.is_whole().await;
}

#[tokio::test]
async fn a_request_that_stalls_its_engine_is_not_tried_on_a_third() {
    let mesh = Mesh::start().nodes(3).edge_args(["--first-token-timeout", "500ms"]).await;
    let warm = join_all((0..3).map(|_| mesh.ask("count [tokens=2] [delay=100]").rest())).await;
    warm.iter().for_each(|answer| answer.assert_every_token_once(2));
    for node in mesh.nodes() {
        mesh.until("the loaded model to be known", || async {
            let seen = mesh.seen(node.id()).await;
            holds(seen["model_details"][0]["loaded"] == true, seen)
        })
        .await;
    }
    let body = json!({"prompt": "hi [fault=stall]"});
    let (status, answer) = mesh.task(&body).await;
    assert_eq!((status, &answer["attempts"]), (422, &json!(2)), "{answer}");
    let began = Instant::now();
    let (status, answer) = mesh.task(&body).await;
    assert_eq!((status, &answer["attempts"]), (422, &json!(0)), "the same is not tried again: {answer}");
    assert!(began.elapsed() < Duration::from_millis(400), "{:?}", began.elapsed());
    mesh.ask("count [tokens=3]").rest().await.assert_every_token_once(3);
    mesh.is_whole().await;
}

#[tokio::test]
async fn a_frozen_engine_gets_nothing_before_it_has_answered_again() {
    let mesh = Mesh::start().engine_programs().edge_args(["--token-timeout", "500ms"]).await;
    let mut stream = mesh.ask("count [tokens=40] [delay=20]");
    stream.read_tokens(5).await;
    let frozen = stream.node().await;
    mesh.node(&frozen).engine_program().pause();
    stream.rest().await.assert_every_token_once(40);
    for _ in 0..3 {
        let answer = mesh.ask("count [tokens=3]").rest().await;
        answer.assert_every_token_once(3);
        assert_ne!(answer.nodes(), [frozen.as_str()], "{}", answer.summary());
        assert_eq!(answer.attempts(), 1, "{}", answer.summary());
    }
    mesh.node_is(&frozen, "unavailable").await;
    mesh.node(&frozen).engine_program().resume();
    mesh.node_is(&frozen, "idle").await;
}

#[tokio::test]
async fn while_every_node_is_out_of_order_a_client_hears_why_and_soon() {
    let mesh = Mesh::start().orchestrator_args(["--outage-wait", "1s"]).await;
    for node in mesh.nodes() {
        node.engine().stop().await;
    }
    for node in ["node-a", "node-b"] {
        mesh.node_is(node, "unavailable").await;
    }
    let began = Instant::now();
    let (status, body) = mesh.task(&json!({"prompt": "hi"})).await;
    assert_eq!((status, &body["code"]), (503, &json!("unavailable")), "{body}");
    let error = body["error"].as_str().unwrap_or_default();
    assert!(error.contains("node-a: the engine at ") && error.contains("node-b: "), "{error}");
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_task_that_did_not_go_smoothly_stands_in_the_log_without_its_words() {
    let mesh = Mesh::start().await;
    let (status, _) =
        mesh.task(&json!({"prompt": "my secret [fault=fail] [words=cannot parse my secret]"})).await;
    assert_eq!(status, 500);
    let line = mesh.edge(0).mentions("task failed").await;
    assert!(line.contains("engine answered 500"), "{line}");
    mesh.ask("count [tokens=30] [delay=5] [fault=cut@10]").rest().await.assert_every_token_once(30);
    mesh.edge(0).mentions("task went on elsewhere").await;
    for program in mesh.programs() {
        let all = program.logs().all().join("\n");
        assert!(!all.contains("secret"), "{}: {all}", program.name());
    }
}
