//! An engine on a machine: as slow as a real one, with what real ones say of it.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use futures::future::join_all;
use serde_json::{Value, json};

use super::{events, get, lines, post};
use crate::{Api, Engine, Hardware, Model, Pace, Script};

const GIB: u64 = 1 << 30;
/// What a busy machine may add to a time.
const LATE: f64 = 2.0;

/// Room for one of two models, `a` in it: 100 tokens and 1,000 prompt tokens a second, 300 ms to load.
async fn engine(api: Api, slots: usize) -> Engine {
    let pace = Pace { decode: 100.0, prompt: 1_000.0, load: Duration::from_millis(300) };
    let hardware = Hardware {
        memory: 5 * GIB,
        models: BTreeMap::from(["a", "b"].map(|name| (name.to_owned(), pace))),
        loaded: vec!["a".to_owned()],
        ..Hardware::default()
    };
    let models = ["a", "b"].map(|name| Model { size: 4 * GIB, ..Model::named(name) }).to_vec();
    Engine::start(Script { api, slots, models, hardware: Some(hardware), ..Script::default() }).await
}

fn prompt(name: &str, words: usize, tokens: u64) -> String {
    format!("{name} {} [tokens={tokens}]", format!("{name} ").repeat(words))
}

/// The last line of an answer, and the seconds that it took.
async fn ask(engine: &Engine, model: &str, prompt: &str) -> (Value, f64) {
    let began = Instant::now();
    let response = post(&engine.url(), "/api/generate", json!({"model": model, "prompt": prompt})).await;
    let (mut lines, whole) = lines(response).await;
    assert!(whole);
    (lines.pop().expect("an end"), began.elapsed().as_secs_f64())
}

fn seconds(end: &Value, field: &str) -> f64 {
    end[field].as_f64().unwrap_or_default() / 1e9
}

fn near(seconds: f64, wanted: f64) {
    assert!(seconds >= wanted - 0.005 && seconds < wanted + LATE, "{seconds} s instead of {wanted}");
}

#[tokio::test]
async fn an_answer_takes_what_its_machine_takes_and_says_so() {
    let engine = engine(Api::Ollama, 1).await;
    let (end, took) = ask(&engine, "a", &prompt("one", 400, 50)).await;
    near(took, 0.05 + 0.4 + 0.5);
    assert_eq!(end["eval_count"], 50);
    // The machine's own clock: not how late this process was.
    let (prompt, answer) = (seconds(&end, "prompt_eval_duration"), seconds(&end, "eval_duration"));
    assert!((prompt - 0.405).abs() < 0.01 && (answer - 0.5).abs() < 0.001, "{end}");
    assert!(end.get("load_duration").is_none(), "it was there: {end}");
}

#[tokio::test]
async fn each_token_is_a_line_of_its_own_and_lateness_does_not_add_up() {
    let engine = &engine(Api::Ollama, 4).await;
    let prompts = [1, 2, 3, 4].map(|number| prompt(&number.to_string(), 1, 200));
    let began = Instant::now();
    let answers = join_all(prompts.iter().map(|prompt| async move {
        let body = json!({"model": "a", "prompt": prompt});
        lines(post(&engine.url(), "/api/generate", body).await).await
    }));
    for (lines, whole) in answers.await {
        assert!(whole && lines.len() == 201, "{} lines", lines.len());
        // Four at once have half of their speed each, but for the beginning and the end, and stand still beside prompts.
        let answer = seconds(&lines[200], "eval_duration");
        assert!((3.5..4.3).contains(&answer), "{answer}");
    }
    near(began.elapsed().as_secs_f64(), 200.0 / 50.0 + 4.0 * 0.05);
}

#[tokio::test]
async fn the_next_turn_finds_the_last_one_in_its_slot() {
    let engine = engine(Api::Both, 2).await;
    let said = prompt("one", 500, 20);
    let first = json!([{"role": "user", "content": said}]);
    let path = "/v1/chat/completions";
    let (events_of_first, _) =
        events(post(&engine.url(), path, json!({"model": "a", "messages": first, "stream": true})).await)
            .await;
    let timings = &events_of_first.last().expect("an end")["timings"];
    assert_eq!((&timings["cache_n"], &timings["prompt_n"]), (&json!(0), &json!(504)));
    let answer: String = (0..20).map(|index| format!("t{index} ")).collect();
    let turn = json!([{"role": "user", "content": said}, {"role": "assistant", "content": answer},
        {"role": "user", "content": "and then? [tokens=1]"}]);
    let (events_of_next, _) =
        events(post(&engine.url(), path, json!({"model": "a", "messages": turn, "stream": true})).await)
            .await;
    let timings = &events_of_next.last().expect("an end")["timings"];
    assert_eq!((&timings["cache_n"], &timings["prompt_n"]), (&json!(524), &json!(5)));
}

#[tokio::test]
async fn a_model_takes_its_time_to_load_and_the_other_goes_after_its_last_answer() {
    let engine = engine(Api::Ollama, 2).await;
    let loaded = async || {
        let ps = get(&engine.url(), "/api/ps").await;
        let size = ps["models"][0]["size"].as_u64().unwrap_or_default();
        assert!(size > 4 * GIB && ps["models"].as_array().is_some_and(|it| it.len() == 1), "{ps}");
        ps["models"][0]["name"].as_str().unwrap_or_default().to_owned()
    };
    assert_eq!(loaded().await, "a:latest");
    let (of_a, of_b) = (prompt("a", 1, 60), prompt("b", 1, 10));
    let long = ask(&engine, "a", &of_a);
    let other = async {
        engine.until(|counters| counters.running == 1).await.expect("the first to run");
        ask(&engine, "b", &of_b).await
    };
    let ((_, first), (end, took)) = tokio::join!(long, other);
    near(first, 0.05 + 0.6);
    let load = seconds(&end, "load_duration");
    assert!(load > 0.7 && took > load + 0.1, "it waited for the answer and then for its load: {end}");
    assert_eq!((loaded().await.as_str(), engine.counters().loads), ("b:latest", 1));
    // A load without a prompt is one too.
    let end = post(&engine.url(), "/api/generate", json!({"model": "a"})).await;
    assert_eq!(end.json::<Value>().await.expect("JSON")["done_reason"], "load");
    assert_eq!((loaded().await.as_str(), engine.counters().loads), ("a:latest", 2));
}

#[tokio::test]
async fn who_leaves_frees_the_machine_for_the_next() {
    let engine = engine(Api::Ollama, 1).await;
    let body = json!({"model": "a", "prompt": prompt("one", 1, 100_000)});
    let endless = tokio::spawn(post_owned(engine.url(), body));
    engine.until(|counters| counters.running == 1).await.expect("it runs");
    endless.abort();
    let (_, took) = ask(&engine, "a", &prompt("two", 1, 10)).await;
    near(took, 0.05 + 0.1);
    engine.until(|counters| counters.cancelled == 1 && counters.running == 0).await.expect("the end of it");
}

async fn post_owned(url: String, body: Value) {
    let _ = lines(post(&url, "/api/generate", body).await).await;
}
