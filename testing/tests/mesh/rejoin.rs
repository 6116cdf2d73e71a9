//! Answers that are joined again: by the client that was cut off, at any edge, while parts of the mesh die.

use std::time::Duration;

use echo_scripted_engine::Api;
use echo_testing::{
    client::{Client, Stream, Transcript, scripted},
    mesh::{Mesh, holds},
};
use serde_json::{Value, json};

const TOKENS: u64 = 60;
/// Where the client is cut off.
const CUT: u64 = 20;

fn kept(prompt: &str) -> Value {
    json!({"prompt": prompt, "keep": "60s"})
}

fn counting() -> Value {
    kept(&format!("count [tokens={TOKENS}] [delay=20]"))
}

/// Reads up to the cut and hangs up; the id of the task.
async fn cut_off(mesh: &Mesh, body: &Value) -> String {
    let mut stream = mesh.stream(body);
    stream.read_tokens(CUT as usize).await;
    let seen = stream.hang_up();
    assert_eq!(seen.events[CUT as usize - 1].id, Some(CUT));
    seen.events[0].json["task_id"].as_str().expect("an id").to_owned()
}

fn join(client: Client, task: &str, after: u64) -> Stream {
    Stream::open(client.get(&format!("/task/{task}/stream")).header("last-event-id", &after.to_string()))
}

/// Everything after the cut, once and in order.
#[track_caller]
fn is_the_rest(seen: &Transcript, after: u64) {
    seen.assert_answered();
    assert_eq!(seen.content(), (after..TOKENS).map(scripted).collect::<String>(), "{}", seen.summary());
    assert_eq!(seen.events.iter().find_map(|event| event.id), Some(after + 1));
    assert_eq!(seen.events.last().and_then(|event| event.id), Some(TOKENS + 1));
}

async fn state(client: Client, task: &str) -> (u16, Value) {
    let reply = client.get(&format!("/task/{task}")).send().await.expect("an answer");
    (reply.status(), reply.json().await)
}

#[tokio::test]
async fn a_client_that_was_cut_off_goes_on_after_its_last_event() {
    let mesh = Mesh::start().await;
    let task = cut_off(&mesh, &counting()).await;
    is_the_rest(&join(mesh.client(), &task, CUT).rest().await, CUT);
    assert_eq!(mesh.engine(0).counters().cancelled + mesh.engine(1).counters().cancelled, 0);
    let (status, known) = state(mesh.client(), &task).await;
    assert_eq!((status, &known["state"], &known["pieces"]), (200, &json!("done"), &json!(TOKENS)));
    assert_eq!(known["content"], (0..TOKENS).map(scripted).collect::<String>());
    let again = join(mesh.client(), &task, 0).rest().await;
    again.assert_every_token_once(TOKENS);
    let end = mesh.client().get(&format!("/task/{task}/stream?after={}", TOKENS + 1)).send().await.unwrap();
    assert_eq!(end.status(), 204, "a browser asks again after each end");
    let ahead = mesh.client().get(&format!("/task/{task}/stream?after=1000")).send().await.unwrap();
    assert_eq!(ahead.status(), 400);
}

#[tokio::test]
async fn an_answer_goes_on_elsewhere_while_its_client_is_away() {
    for api in [Api::Ollama, Api::Openai] {
        let mesh = Mesh::start().api(api).await;
        let task = cut_off(&mesh, &counting()).await;
        let node = mesh.worker().await;
        mesh.node(node.as_str()).kill().await;
        let seen = join(mesh.client(), &task, CUT).rest().await;
        is_the_rest(&seen, CUT);
        assert_eq!(seen.attempts(), 2);
    }
}

#[tokio::test]
async fn any_edge_serves_an_answer_and_several_at_once() {
    let mesh = Mesh::start().edges(2).await;
    let task = cut_off(&mesh, &counting()).await;
    let (here, there, too) = tokio::join!(
        join(mesh.client(), &task, CUT).rest(),
        join(mesh.client_of(1), &task, CUT).rest(),
        join(mesh.client_of(1), &task, 0).rest(),
    );
    is_the_rest(&here, CUT);
    is_the_rest(&there, CUT);
    too.assert_every_token_once(TOKENS);
    assert_eq!(here.nodes(), there.nodes());
    let (status, known) = state(mesh.client_of(1), &task).await;
    assert_eq!((status, &known["state"]), (200, &json!("done")));
    let ended = mesh.client_of(1).call("DELETE", &format!("/task/{task}")).send().await.unwrap();
    assert_eq!(ended.json().await["state"], "forgotten");
    assert_eq!(state(mesh.client(), &task).await.0, 404);
}

#[tokio::test]
async fn ten_joins_in_a_row_give_every_piece_once() {
    let mesh = Mesh::start().edges(2).await;
    let mut stream = mesh.stream(&kept("count [tokens=110] [delay=10]"));
    let (mut text, mut after, mut task) = (String::new(), 0, String::new());
    for round in 0..11 {
        for _ in 0..10 {
            let event = stream.next().await.expect("a piece");
            assert_eq!(event.id, Some(after + 1), "round {round}");
            after += 1;
            text.push_str(event.json["token"].as_str().unwrap());
            task = event.json["task_id"].as_str().unwrap().to_owned();
        }
        drop(stream);
        stream = join(mesh.client_of(round % 2), &task, after);
    }
    let end = stream.rest().await;
    end.assert_answered();
    assert_eq!(end.tokens().len(), 0);
    assert_eq!(text, (0..110).map(scripted).collect::<String>());
}

#[tokio::test]
async fn node_orchestrator_and_broker_may_die_while_somebody_joins_at_another_edge() {
    let mesh = Mesh::start().edges(2).await;
    let task = cut_off(&mesh, &kept("count [tokens=600] [delay=20]")).await;
    let mut stream = join(mesh.client_of(1), &task, CUT);
    stream.read_tokens(20).await;
    mesh.broker.restart().await;
    stream.read_tokens(60).await;
    mesh.orchestrator(0).restart().await;
    let node = mesh.worker().await;
    mesh.node(node.as_str()).kill().await;
    let seen = stream.rest().await;
    seen.assert_answered();
    assert_eq!(seen.content(), (CUT..600).map(scripted).collect::<String>(), "{}", seen.summary());
}

#[tokio::test]
async fn what_is_not_kept_ends_with_its_client_and_what_is_kept_with_its_time() {
    let mesh = Mesh::start().nodes(1).await;
    let body = json!({"prompt": "count [tokens=3000] [delay=10]"});
    let task = cut_off(&mesh, &body).await;
    mesh.is_quiet().await;
    assert_eq!(mesh.engine(0).counters().cancelled, 1);
    assert_eq!(state(mesh.client(), &task).await.0, 404);

    let brief = json!({"prompt": "count [tokens=3000] [delay=10]", "keep": "1s"});
    let task = cut_off(&mesh, &brief).await;
    assert_eq!(state(mesh.client(), &task).await.1["state"], "running");
    mesh.until("its time to be over", || async {
        let (status, known) = state(mesh.client(), &task).await;
        // Whoever asks counts as a reader: so this asks seldom.
        tokio::time::sleep(Duration::from_millis(1_500)).await;
        holds(status == 410, known)
    })
    .await;
    mesh.is_quiet().await;
    assert_eq!(mesh.engine(0).counters().cancelled, 2);

    for bad in [json!("x"), json!(true), json!("2h"), json!(-1)] {
        let (status, refusal) = mesh.task(&json!({"prompt": "hi", "keep": bad})).await;
        assert_eq!(status, 400, "{refusal}");
    }
}

#[tokio::test]
async fn a_task_is_ended_by_its_id_down_to_the_engine() {
    let mesh = Mesh::start().nodes(1).edges(2).await;
    let mut stream = mesh.stream(&json!({"prompt": "count [tokens=3000] [delay=10]"}));
    stream.read_tokens(3).await;
    let task = stream.so_far().events[0].json["task_id"].as_str().unwrap().to_owned();
    let ended = mesh.client_of(1).call("DELETE", &format!("/task/{task}")).send().await.unwrap();
    assert_eq!((ended.status(), ended.json().await["state"].clone()), (200, json!("cancelled")));
    let seen = stream.rest().await;
    assert_eq!((seen.ends(), seen.code().as_str()), (1, "cancelled"), "{}", seen.summary());
    mesh.is_quiet().await;
    assert_eq!(mesh.engine(0).counters().cancelled, 1);
    for nobody in ["00000000-0000-8000-8000-000000000000", "x", "..%2f..", "*"] {
        let refused = mesh.client().call("DELETE", &format!("/task/{nobody}")).send().await.unwrap();
        assert_eq!(refused.status(), 404, "{nobody}");
    }
}

#[tokio::test]
async fn an_answer_ends_with_its_edge_and_its_reader_is_told() {
    let mesh = Mesh::start().edges(2).await;
    let task = cut_off(&mesh, &kept("count [tokens=3000] [delay=10]")).await;
    let mut stream = join(mesh.client_of(1), &task, CUT);
    stream.read_tokens(5).await;
    mesh.edge(0).kill().await;
    let seen = stream.rest().await;
    assert_eq!((seen.ends(), seen.code().as_str()), (1, "unavailable"), "{}", seen.summary());
    assert_eq!(state(mesh.client_of(1), &task).await.0, 404);
}

#[tokio::test]
async fn a_thousand_kept_answers_stay_within_the_memory_limit() {
    const LIMIT: u64 = 4 << 20;
    let mesh = Mesh::start().slots(16).edge_args(["--keep-memory", "4MiB"]).await;
    let text = "x".repeat(20);
    let mut tasks = Vec::new();
    let ask = async || {
        let body = json!({"prompt": format!("{text} [tokens=400] [delay=0]"), "keep": "10m"});
        let (status, answer) = mesh.task(&body).await;
        assert_eq!(status, 200, "{answer}");
        answer["task_id"].as_str().unwrap().to_owned()
    };
    for _ in 0..100 {
        tasks.push(ask().await);
    }
    let before = mesh.edge(0).resident();
    for _ in 0..45 {
        let asked = futures::future::join_all((0..20).map(|_| ask()));
        tasks.extend(asked.await);
    }
    let grown = mesh.edge(0).resident().saturating_sub(before);
    assert!(grown < 4 * LIMIT, "{grown} bytes more for 900 kept answers");
    assert_eq!(state(mesh.client(), &tasks[0]).await.0, 410, "the oldest makes room");
    let (status, newest) = state(mesh.client(), &tasks[999]).await;
    assert_eq!((status, &newest["state"]), (200, &json!("done")));
    let here = futures::future::join_all(tasks.iter().map(|task| state(mesh.client(), task))).await;
    let kept = here.iter().filter(|(status, _)| *status == 200).count() as u64;
    assert!(kept > 50 && kept < 1_000, "{kept} are kept");
}
