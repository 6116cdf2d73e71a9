//! Several answers to one request of OpenAI's clients.

use std::collections::BTreeSet;

use echo_scripted_engine::{Api, Fault, FaultKind, Model};
use echo_testing::{
    client::Client,
    mesh::{Mesh, until},
};
use serde_json::{Value, json};

use super::wire::{ABLE, able, events, post, send, weather, whole};

const CHAT: &str = "/v1/chat/completions";
const TEXT: &str = "/v1/completions";

fn ask(path: &str, prompt: &str, n: u64, stream: bool) -> Value {
    let mut body = json!({"model": ABLE, "n": n, "stream": stream});
    if path == TEXT {
        body["prompt"] = prompt.into();
    } else {
        body["messages"] = json!([{"role": "user", "content": prompt}]);
        body["reasoning_effort"] = "none".into();
    }
    body
}

/// The text of each choice, by its index; every chunk but the last is of one choice.
fn texts(told: &[Value], n: usize) -> Vec<String> {
    let mut texts = vec![String::new(); n];
    let mut ended = BTreeSet::new();
    for choice in told.iter().filter_map(|event| event["choices"].get(0)) {
        let index = choice["index"].as_u64().and_then(|index| usize::try_from(index).ok()).expect("an index");
        assert!(!ended.contains(&index), "nothing follows the end of a choice: {choice}");
        texts[index] += choice["delta"]["content"].as_str().or(choice["text"].as_str()).unwrap_or_default();
        if choice["finish_reason"].is_string() {
            assert!(ended.insert(index), "one end each");
        }
    }
    assert_eq!(ended.len(), n, "each choice has its end: {told:?}");
    texts
}

fn roles(told: &[Value]) -> Vec<u64> {
    let first = |event: &Value| {
        let choice = event["choices"].get(0)?;
        choice["delta"]["role"].is_string().then(|| choice["index"].as_u64())?
    };
    let mut roles: Vec<u64> = told.iter().filter_map(first).collect();
    roles.sort_unstable();
    roles
}

async fn streamed(client: Client, path: &str, mut body: Value) -> Vec<Value> {
    body["stream_options"] = json!({"include_usage": true});
    let reply = post(client, path, &body).await;
    assert_eq!(reply.status(), 200);
    let told = events(reply).await;
    assert_eq!(told.last(), Some(&json!("[DONE]")), "{told:?}");
    told
}

#[tokio::test]
async fn several_answers_come_whole_and_streamed_from_engines_of_both_kinds() {
    for api in [Api::Ollama, Api::Openai] {
        let mesh = able(api).await;
        for path in [CHAT, TEXT] {
            let prompt = "two words [tokens=3] [delay=5]";
            let (_, single) = whole(mesh.client(), path, &ask(path, prompt, 1, false)).await;
            let (status, answer) = whole(mesh.client(), path, &ask(path, prompt, 3, false)).await;
            assert_eq!(status, 200, "{answer}");
            let choices = answer["choices"].as_array().expect("choices");
            assert_eq!(choices.len(), 3, "{answer}");
            for (place, choice) in choices.iter().enumerate() {
                let mut wanted = single["choices"][0].clone();
                wanted["index"] = place.into();
                assert_eq!(*choice, wanted);
            }
            let usage = |answer: &Value| {
                ["prompt_tokens", "completion_tokens", "total_tokens"]
                    .map(|name| answer["usage"][name].as_u64().expect("a count"))
            };
            let prompted = usage(&single)[0];
            assert!(prompted > 0, "{single}");
            let summed = [prompted, 9, prompted + 9];
            assert_eq!(usage(&answer), summed, "the prompt counts once: {answer}");

            let told = streamed(mesh.client(), path, ask(path, prompt, 3, true)).await;
            assert_eq!(texts(&told, 3), ["t0 t1 t2 "; 3], "{api:?} {path}: {told:?}");
            assert_eq!(roles(&told), if path == CHAT { vec![0, 1, 2] } else { vec![] });
            let counted: Vec<&Value> = told.iter().filter(|event| event["usage"].is_object()).collect();
            assert_eq!((counted.len(), usage(counted[0])), (1, summed), "{told:?}");
            assert_eq!(counted[0]["choices"], json!([]));
        }
        let tools = json!({"model": ABLE, "n": 2, "tools": [weather()],
            "messages": [{"role": "user", "content": "weather?"}]});
        let (_, answer) = whole(mesh.client(), CHAT, &tools).await;
        let call = |at: usize| &answer["choices"][at]["message"]["tool_calls"][0];
        assert!(call(0)["id"].is_string() && call(1)["id"].is_string(), "{answer}");
        assert_eq!(call(0)["function"], call(1)["function"]);
    }
}

#[tokio::test]
async fn choices_are_made_on_as_many_nodes_as_there_are_and_go_on_when_one_dies() {
    let mesh = able(Api::Ollama).nodes(3).slots(1).await;
    let body = ask(CHAT, "[tokens=40] [delay=10]", 3, true);
    let client = mesh.client();
    let asked = tokio::spawn(async move { streamed(client, CHAT, body).await });
    until("all three nodes answer", || async {
        let tokens: Vec<u64> = mesh.nodes().iter().map(|node| node.engine().counters().tokens).collect();
        if tokens.iter().all(|tokens| *tokens >= 5) { Ok(()) } else { Err(format!("{tokens:?}")) }
    })
    .await;
    mesh.node(1).kill().await;
    let told = asked.await.expect("no panic");
    let wanted: String = (0..40).map(|index| format!("t{index} ")).collect();
    assert_eq!(texts(&told, 3), [wanted.as_str(); 3]);
    // They came beside each other, and not one after the other.
    let of = |event: &Value| event["choices"].get(0).and_then(|choice| choice["index"].as_u64());
    let first_end = told.iter().position(|event| event["choices"][0]["finish_reason"].is_string());
    let before: BTreeSet<_> = told[..first_end.expect("an end")].iter().filter_map(of).collect();
    assert_eq!(before.len(), 3);
}

#[tokio::test]
async fn each_choice_has_a_seed_of_its_own() {
    for api in [Api::Ollama, Api::Openai] {
        let mesh = able(api).await;
        let mut body = ask(CHAT, "[tokens=1]", 3, false);
        for (seed, wanted) in [(json!(7), vec![7, 8, 9]), (Value::Null, vec![])] {
            let before = mesh.engine(0).requests().len();
            body["seed"] = seed;
            let (status, answer) = whole(mesh.client(), CHAT, &body).await;
            assert_eq!(status, 200, "{answer}");
            let requests = mesh.engine(0).requests();
            let seed = |body: &Value| body["options"]["seed"].as_i64().or(body["seed"].as_i64());
            let asked = requests[before..].iter().filter(|request| request.path.contains("chat"));
            let mut seeds: Vec<i64> = asked.filter_map(|request| seed(&request.body)).collect();
            seeds.sort_unstable();
            assert_eq!(seeds, wanted);
        }
    }
}

#[tokio::test]
async fn one_choice_that_fails_fails_the_request_and_ends_the_others() {
    let mesh = able(Api::Ollama).nodes(2).slots(1).edge_args(["--attempts", "1"]).await;
    let broken = |mesh: &Mesh, at: u64| {
        mesh.engine(1).edit(|script| {
            let kind = if at == 0 { FaultKind::Fail } else { FaultKind::Error };
            script.faults = vec![Fault::at(kind, at).times(1)];
        });
    };
    for (stream, at) in [(false, 3), (true, 0), (true, 3)] {
        let before = mesh.engine(0).counters().cancelled;
        broken(&mesh, at);
        // The good one would take a minute.
        let slow = if at == 0 { "[first=60000]" } else { "[delay=20]" };
        let body = ask(CHAT, &format!("[tokens=3000] {slow}"), 2, stream);
        let reply = post(mesh.client(), CHAT, &body).await;
        let error = if stream && at > 0 {
            assert_eq!(reply.status(), 200);
            let told = events(reply).await;
            assert!(!told.contains(&json!("[DONE]")) && told.len() > 2, "{told:?}");
            told.last().expect("an event").clone()
        } else {
            assert!(reply.status() >= 500, "stream {stream}: {}", reply.status());
            reply.json().await
        };
        assert!(error["error"]["message"].as_str().is_some_and(|it| it.contains("scripted")), "{error}");
        mesh.is_quiet_within(std::time::Duration::from_secs(1)).await;
        assert_eq!(mesh.engine(0).counters().cancelled, before + 1, "the other choice was let go");
    }
}

#[tokio::test]
async fn hanging_up_ends_every_choice() {
    let mesh = able(Api::Openai).nodes(2).slots(2).await;
    for stream in [true, false] {
        let call = mesh.client().post(CHAT, &ask(CHAT, "[tokens=3000] [delay=10]", 4, stream));
        let task = tokio::spawn(async move {
            let mut reply = send(call).await;
            while reply.chunk().await.is_ok_and(|chunk| chunk.is_some()) {}
        });
        until("four answers at work", || async {
            let running: Vec<u64> = mesh.nodes().iter().map(|it| it.engine().counters().running).collect();
            if running.iter().sum::<u64>() == 4 { Ok(()) } else { Err(format!("{running:?}")) }
        })
        .await;
        task.abort();
        mesh.is_quiet_within(std::time::Duration::from_secs(1)).await;
    }
}

#[tokio::test]
async fn more_choices_than_slots_wait_for_each_other_and_a_line_that_is_full_is_told() {
    let mesh = able(Api::Ollama).slots(1).orchestrator_args(["--queue-limit", "3"]).await;
    let told = streamed(mesh.client(), CHAT, ask(CHAT, "[tokens=3] [delay=5]", 4, true)).await;
    assert_eq!(texts(&told, 4), ["t0 t1 t2 "; 4]);
    let body = ask(CHAT, "[tokens=3000] [delay=20]", 8, true);
    let reply = post(mesh.client(), CHAT, &body).await;
    assert_eq!(reply.status(), 429);
    mesh.is_quiet_within(std::time::Duration::from_secs(1)).await;
}

#[tokio::test]
async fn a_number_of_choices_that_is_not_served_is_named() {
    let mesh = able(Api::Ollama).await;
    for path in [CHAT, TEXT] {
        for (n, best_of, param) in [
            (json!(0), Value::Null, "n"),
            (json!(9), Value::Null, "n"),
            (json!(-1), Value::Null, "n"),
            (json!("2"), Value::Null, "n"),
            (json!(2), json!(3), "best_of"),
        ] {
            let mut body = ask(path, "[tokens=1]", 1, false);
            (body["n"], body["best_of"]) = (n.clone(), best_of);
            let (status, answer) = whole(mesh.client(), path, &body).await;
            assert_eq!((status, &answer["error"]["param"]), (400, &json!(param)), "{n}: {answer}");
        }
    }
    let mut all = ask(TEXT, "[tokens=1]", 8, false);
    all["best_of"] = 8.into();
    let (status, answer) = whole(mesh.client(), TEXT, &all).await;
    assert_eq!((status, answer["choices"].as_array().map(Vec::len)), (200, Some(8)), "{answer}");
}

#[tokio::test]
async fn a_template_refusal_of_several_choices_is_one_refusal_and_no_node_is_blamed() {
    let mesh = able(Api::Openai)
        .nodes(3)
        .script(|script| {
            script.strict_template = true;
            script.models = vec![Model::named(ABLE)];
        })
        .await;
    let mut body = ask(CHAT, "a", 3, false);
    body["messages"] = json!([{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"},
        {"role": "system", "content": "c"}, {"role": "user", "content": "d"}]);
    let before: usize = mesh.nodes().iter().map(|node| node.engine().requests().len()).sum();
    let (status, answer) = whole(mesh.client(), CHAT, &body).await;
    let words = answer["error"]["message"].as_str().unwrap_or_default();
    assert!((400..=500).contains(&status) && words.contains("system message"), "{status} {answer}");
    mesh.is_quiet().await;
    let tries: usize = mesh.nodes().iter().map(|node| node.engine().requests().len()).sum();
    assert!(tries - before <= 6, "at most one try elsewhere for each choice, not {}", tries - before);
    let (status, answer) = whole(mesh.client(), CHAT, &ask(CHAT, "[tokens=2]", 3, false)).await;
    assert_eq!(status, 200, "{answer}");
    for node in mesh.nodes() {
        mesh.node_is(node.id(), "idle").await;
    }
}

#[tokio::test]
async fn choices_that_wait_in_line_say_signs_of_life_and_none_comes_after_the_end_of_one() {
    let mesh = able(Api::Ollama).slots(1).edge_args(["--idle-sign", "200ms"]).await;
    let mut running = mesh.ask("count [tokens=200] [delay=10]");
    running.read_tokens(1).await;
    // The second and the third are begun when the one before them has ended, a second later each time.
    let told = streamed(mesh.client(), CHAT, ask(CHAT, "[tokens=2] [first=1000]", 3, true)).await;
    assert_eq!(texts(&told, 3), ["t0 t1 "; 3]);
    let empty = |event: &&Value| {
        let choice = &event["choices"][0];
        choice["delta"] == json!({}) && choice["finish_reason"].is_null()
    };
    let signs = told.iter().filter(empty).count();
    assert!(signs >= 5, "{signs} signs in five seconds");
    assert_eq!(roles(&told), [0, 1, 2], "a sign is no second beginning");
}
