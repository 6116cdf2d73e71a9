//! The adapters against small servers on real sockets.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use echo_bus::message::{Chat, Code, Done, Failure, Message, Reason, Request, SoFar, Verdict};
use futures::StreamExt;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::*;

mod continuation;

type Answer = dyn Fn(&str, &Value) -> Response + Send + Sync;

/// A server that answers by a function and remembers what it was asked.
#[derive(Clone)]
struct Fake {
    answer: Arc<Answer>,
    asked: Arc<Mutex<Vec<(String, Value)>>>,
}

impl Fake {
    async fn start(
        kind: Kind,
        answer: impl Fn(&str, &Value) -> Response + Send + Sync + 'static,
    ) -> (Self, Arc<dyn Engine>) {
        let fake = Self { answer: Arc::new(answer), asked: Arc::default() };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let routes = Router::new().fallback(serve).with_state(fake.clone());
        tokio::spawn(async move { axum::serve(listener, routes).await });
        (fake, at(kind, &url))
    }

    /// The last request and where it went.
    fn last(&self) -> (String, Value) {
        self.asked.lock().unwrap().last().cloned().expect("something was asked")
    }

    fn count(&self) -> usize {
        self.asked.lock().unwrap().len()
    }
}

async fn serve(State(fake): State<Fake>, uri: Uri, body: Bytes) -> Response {
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    fake.asked.lock().unwrap().push((uri.path().to_owned(), body.clone()));
    (fake.answer)(uri.path(), &body)
}

fn at(kind: Kind, url: &str) -> Arc<dyn Engine> {
    let load_timeout = Duration::from_secs(10);
    connect(&Address { kind, url: url.parse().unwrap(), key_file: None, load_timeout }).unwrap()
}

fn chat(so_far: &str) -> Order {
    let message = Message::said("user", "hi");
    let request = Request::Chat(Chat { messages: vec![message], ..Chat::default() });
    let so_far = SoFar { content: so_far.into(), tokens: 1, exact: true, ..SoFar::default() };
    Order { request, model: "m".into(), so_far: Some(so_far) }
}

async fn all(engine: &Arc<dyn Engine>, order: Order) -> Result<String, Failure> {
    let (mut steps, mut text) = (engine.run(order), String::new());
    while let Some(step) = steps.next().await {
        match step? {
            Step::Piece(piece) => text.push_str(&piece.content),
            Step::Done(_) => return Ok(text),
            Step::Alive => {}
        }
    }
    Err(unfinished())
}

/// An Ollama whose template trims the last message if `trims`, and which shows its prompts.
fn ollama(trims: bool, path: &str, body: &Value) -> Response {
    let message = |message: &Value| {
        let content = message["content"].as_str().unwrap();
        format!("<{}>{}", message["role"].as_str().unwrap(), if trims { content.trim_end() } else { content })
    };
    if body["_debug_render_only"] == true {
        let mut rendered: String = body["messages"].as_array().unwrap().iter().map(message).collect();
        if body["messages"][1].is_null() {
            rendered.push_str("<assistant>");
        }
        return json!({"_debug_info": {"rendered_template": rendered}}).to_string().into_response();
    }
    let name = if path == "/api/chat" {
        json!({"message": {"content": "more"}})
    } else {
        json!({"response": "more"})
    };
    format!("{name}\n{{\"done\":true,\"done_reason\":\"stop\",\"response\":\"\"}}\n").into_response()
}

#[tokio::test]
async fn a_faithful_template_continues_the_trailing_message_and_is_asked_once() {
    let (fake, engine) = Fake::start(Kind::Ollama, |path, body| ollama(false, path, body)).await;
    for _ in 0..2 {
        assert_eq!(all(&engine, chat("one ")).await.unwrap(), "more");
        let (path, body) = fake.last();
        assert_eq!((path.as_str(), &body["messages"][1]["content"]), ("/api/chat", &json!("one ")));
    }
    assert_eq!(fake.count(), 3);
}

/// The same order under a token limit, of which so many are made.
fn limited(limit: i64, so_far: SoFar) -> Order {
    let mut order = chat("");
    if let Request::Chat(chat) = &mut order.request {
        chat.settings.max_tokens = Some(limit);
    }
    Order { so_far: Some(so_far), ..order }
}

async fn end(engine: &Arc<dyn Engine>, order: Order) -> (String, Done) {
    let (mut steps, mut text) = (engine.run(order), String::new());
    while let Some(step) = steps.next().await {
        match step.unwrap() {
            Step::Piece(piece) => text.push_str(&piece.content),
            Step::Done(done) => return (text, *done),
            Step::Alive => {}
        }
    }
    panic!("no end after {text:?}")
}

#[tokio::test]
async fn an_ollama_that_cannot_count_is_asked_for_one_token_with_the_text_and_one_without() {
    let (fake, engine) = Fake::start(Kind::Ollama, |path, body| {
        let with = body["messages"][1].is_object();
        if body["_debug_render_only"] != true && body["options"]["num_predict"] == 1 {
            return json!({"done": true, "prompt_eval_count": if with { 27 } else { 20 }})
                .to_string()
                .into_response();
        }
        ollama(false, path, body)
    })
    .await;
    let so_far = SoFar { content: "\u{1f600}\u{1f600} ".into(), tokens: 2, ..SoFar::default() };
    let (text, done) = end(&engine, limited(30, so_far)).await;
    assert_eq!((text.as_str(), done.so_far_tokens), ("more", Some(7)));
    assert_eq!(fake.last().1["options"]["num_predict"], 23);
    assert_eq!(fake.count(), 4, "a rendering, two counts, the answer");
}

#[tokio::test]
async fn an_answer_whose_limit_is_spent_ends_without_another_word() {
    let (fake, engine) = Fake::start(Kind::Ollama, |path, body| ollama(false, path, body)).await;
    let so_far = SoFar { content: "one two ".into(), tokens: 2, exact: true, ..SoFar::default() };
    let (text, done) = end(&engine, limited(2, so_far)).await;
    assert_eq!((text.as_str(), done.reason, done.tokens), ("", Reason::Length, Some(0)));
    assert_eq!(fake.last().1["options"]["num_predict"], 1, "it is asked all the same: it counts the prompt");
}

#[tokio::test]
async fn llama_cpp_counts_the_text_so_far() {
    let (fake, engine) = Fake::start(Kind::Openai, |path, _| match path {
        "/v1/models" => json!({"data": [{"id": "m"}]}).to_string().into_response(),
        "/props" => json!({"default_generation_settings": {}}).to_string().into_response(),
        "/tokenize" => json!({"tokens": [1, 2, 3, 4, 5]}).to_string().into_response(),
        "/apply-template" => json!({"prompt": ""}).to_string().into_response(),
        _ => "data: {\"choices\":[{\"text\":\"x\",\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n"
            .into_response(),
    })
    .await;
    engine.probe().await.unwrap();
    let so_far = SoFar { content: "\u{1f600} ".into(), tokens: 1, ..SoFar::default() };
    let (_, done) = end(&engine, limited(30, so_far)).await;
    assert_eq!((done.so_far_tokens, &fake.last().1["max_tokens"]), (Some(5), &json!(25)));
}

#[tokio::test]
async fn white_space_that_a_template_trims_goes_in_raw() {
    let (fake, engine) = Fake::start(Kind::Ollama, |path, body| ollama(true, path, body)).await;
    assert_eq!(all(&engine, chat("one \n")).await.unwrap(), "more");
    let (path, body) = fake.last();
    assert_eq!((path.as_str(), &body["raw"]), ("/api/generate", &json!(true)));
    assert_eq!(body["prompt"], "<user>hi<assistant>one \n");
    assert_eq!(all(&engine, chat("one")).await.unwrap(), "more");
    assert_eq!(fake.last().0, "/api/chat", "text that ends in a word needs no detour");
}

#[tokio::test]
async fn an_engine_that_does_not_show_its_prompt_is_told_to_generate_next_to_nothing() {
    let (fake, engine) = Fake::start(Kind::Ollama, |path, body| {
        let plain = json!({"messages": [], "ignored": body});
        ollama(false, path, &plain)
    })
    .await;
    assert_eq!(all(&engine, chat("one ")).await.unwrap(), "more");
    let asked = fake.asked.lock().unwrap().clone();
    assert_eq!(asked[0].1["options"]["num_predict"], 1);
    assert_eq!((asked.len(), &asked[1].1["messages"][1]["content"]), (2, &json!("one ")));
}

#[tokio::test]
async fn an_engine_that_breaks_off_while_it_shows_its_prompt_is_asked_again() {
    let broken = AtomicUsize::new(0);
    let (fake, engine) = Fake::start(Kind::Ollama, move |path, body| {
        if broken.fetch_add(1, Ordering::SeqCst) > 0 {
            return ollama(true, path, body);
        }
        "{\"_debug_in".into_response()
    })
    .await;
    let failure = all(&engine, chat("one \n")).await.unwrap_err();
    assert_eq!((failure.verdict, failure.code), (Verdict::Elsewhere, Code::EngineError));
    assert_eq!(all(&engine, chat("one \n")).await.unwrap(), "more");
    assert_eq!(fake.last().1["prompt"], "<user>hi<assistant>one \n", "its template trims");
}

#[tokio::test]
async fn a_llama_cpp_that_loads_its_model_shows_its_prompt_afterwards() {
    let asked = AtomicUsize::new(0);
    let (fake, engine) = Fake::start(Kind::Openai, move |path, body| match path {
        "/v1/models" => json!({"data": [{"id": "m"}]}).to_string().into_response(),
        "/props" => json!({"default_generation_settings": {}, "total_slots": 1}).to_string().into_response(),
        "/apply-template" if asked.fetch_add(1, Ordering::SeqCst) < 2 => {
            let loading = json!({"error": {"message": "Loading model", "code": 503}});
            (StatusCode::SERVICE_UNAVAILABLE, loading.to_string()).into_response()
        }
        "/apply-template" => {
            let messages = body["messages"].as_array().unwrap();
            let said = messages.iter().map(|message| message["content"].as_str().unwrap().trim_end());
            json!({"prompt": said.collect::<Vec<_>>().join("|")}).to_string().into_response()
        }
        _ => {
            let chunk =
                json!({"choices": [{"text": "more", "delta": {"content": "more"}, "finish_reason": "stop"}]});
            format!("data: {chunk}\n\ndata: [DONE]\n\n").into_response()
        }
    })
    .await;
    engine.probe().await.unwrap();
    assert_eq!(all(&engine, chat("one \n")).await.unwrap(), "more");
    let (path, body) = fake.last();
    assert_eq!(
        (path.as_str(), &body["prompt"]),
        ("/v1/completions", &json!("hione \n")),
        "its template trims"
    );
}

/// The thoughts and the text that came.
async fn told(engine: &Arc<dyn Engine>, order: Order) -> (String, String) {
    let (mut steps, mut told) = (engine.run(order), (String::new(), String::new()));
    while let Some(step) = steps.next().await {
        if let Step::Piece(piece) = step.unwrap() {
            told.0.push_str(&piece.thinking);
            told.1.push_str(&piece.content);
        }
    }
    told
}

fn in_thoughts(thinking: &str) -> Order {
    let so_far = SoFar { thinking: thinking.into(), tokens: 1, exact: true, ..SoFar::default() };
    Order { so_far: Some(so_far), ..chat("") }
}

/// An older llama.cpp: it drops the thoughts of a trailing message, and continues none where the model may think.
fn older_llama_cpp(path: &str, body: &Value) -> Response {
    let thinks = body["chat_template_kwargs"]["enable_thinking"] != false;
    let messages = body["messages"].as_array().cloned().unwrap_or_default();
    let last = messages.last().filter(|last| last["role"] == "assistant").cloned();
    match path {
        "/v1/models" => json!({"data": [{"id": "m"}]}).to_string().into_response(),
        "/props" => json!({"default_generation_settings": {}}).to_string().into_response(),
        "/apply-template" if last.is_some() && thinks => {
            let message = "Assistant response prefill is incompatible with enable_thinking.";
            let error = json!({"error": {"code": 400, "message": message}});
            (StatusCode::BAD_REQUEST, error.to_string()).into_response()
        }
        "/apply-template" => {
            let opens = if thinks { "" } else { "<think>\n\n</think>\n\n" };
            let text = last.map(|last| last["content"].as_str().unwrap_or_default().to_owned());
            let prompt = format!("<|user|>hi<|assistant|>\n{opens}{}", text.unwrap_or_default());
            json!({"prompt": prompt}).to_string().into_response()
        }
        _ => {
            let chunk =
                |text: &str, reason: Value| json!({"choices": [{"text": text, "finish_reason": reason}]});
            let said = ["so</th", "ink>\n\nHel", "lo"].map(|text| chunk(text, Value::Null));
            let events = said.into_iter().chain([chunk("", "stop".into())]);
            events.map(|event| format!("data: {event}\n\n")).collect::<String>().into_response()
        }
    }
}

#[tokio::test]
async fn thoughts_go_on_raw_at_a_llama_cpp_that_drops_them_from_a_trailing_message() {
    let (fake, engine) = Fake::start(Kind::Openai, older_llama_cpp).await;
    engine.probe().await.unwrap();
    assert_eq!(told(&engine, in_thoughts("I think ")).await, ("so".to_owned(), "Hello".to_owned()));
    let (path, body) = fake.last();
    assert_eq!(
        (path.as_str(), &body["prompt"]),
        ("/v1/completions", &json!("<|user|>hi<|assistant|>\n<think>\nI think "))
    );
}

#[tokio::test]
async fn thoughts_go_on_raw_at_an_ollama_even_where_it_would_continue_them_as_text() {
    let (fake, engine) = Fake::start(Kind::Ollama, |_, body| {
        if body["_debug_render_only"] == true {
            let last = &body["messages"][1];
            let (thinking, text) = (last["thinking"].as_str(), last["content"].as_str().unwrap_or_default());
            let thoughts = thinking.map(|it| format!("<think>{it}</think>{text}"));
            let rendered = format!("<user>hi<assistant>{}", thoughts.unwrap_or_default());
            assert_eq!(body["think"], true, "a model thinks unless it is told otherwise");
            return json!({"_debug_info": {"rendered_template": rendered}}).to_string().into_response();
        }
        let lines = ["so</think>", "Hello"].map(|text| json!({"response": text}).to_string() + "\n");
        (lines.concat() + "{\"done\":true,\"done_reason\":\"stop\"}\n").into_response()
    })
    .await;
    assert_eq!(told(&engine, in_thoughts("I think ")).await, ("so".to_owned(), "Hello".to_owned()));
    let (path, body) = fake.last();
    assert_eq!((path.as_str(), &body["raw"], &body["think"]), ("/api/generate", &json!(true), &Value::Null));
    assert_eq!(body["prompt"], "<user>hi<assistant><think>I think ");
}

#[tokio::test]
async fn text_that_goes_on_raw_stands_behind_its_thoughts() {
    let (fake, engine) = Fake::start(Kind::Ollama, |path, body| {
        let last = &body["messages"][1];
        if body["_debug_render_only"] == true && last["thinking"].is_string() {
            let (thinking, text) = (last["thinking"].as_str().unwrap(), last["content"].as_str().unwrap());
            let rendered = format!("<user>hi<assistant><think>{thinking}</think>{}<end>", text.trim_end());
            return json!({"_debug_info": {"rendered_template": rendered}}).to_string().into_response();
        }
        ollama(true, path, body)
    })
    .await;
    let mut order = in_thoughts("I see.");
    order.so_far.as_mut().unwrap().content = "one \n".into();
    assert_eq!(all(&engine, order).await.unwrap(), "more");
    assert_eq!(fake.last().1["prompt"], "<user>hi<assistant><think>I see.</think>one \n");
}

#[tokio::test]
async fn thoughts_whose_limit_is_spent_end_there_and_not_in_an_error() {
    let (_fake, engine) = Fake::start(Kind::Openai, older_llama_cpp_that_stops).await;
    engine.probe().await.unwrap();
    let order = limited(1, in_thoughts("I think ").so_far.unwrap());
    let (text, done) = end(&engine, order).await;
    assert_eq!((text.as_str(), done.reason, done.tokens), ("", Reason::Length, Some(0)));
}

fn older_llama_cpp_that_stops(path: &str, body: &Value) -> Response {
    if path != "/v1/completions" {
        return older_llama_cpp(path, body);
    }
    "data: {\"choices\":[{\"text\":\"x\",\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n".into_response()
}

#[tokio::test]
async fn a_vllm_is_not_asked_to_go_on_in_the_middle_of_thoughts() {
    let (fake, engine) = Fake::start(Kind::Openai, |path, _| match path {
        "/v1/models" => json!({"data": [{"id": "m", "owned_by": "vllm"}]}).to_string().into_response(),
        _ => StatusCode::NOT_FOUND.into_response(),
    })
    .await;
    engine.probe().await.unwrap();
    let asked = fake.count();
    let failure = all(&engine, in_thoughts("I think ")).await.unwrap_err();
    assert_eq!((failure.verdict, failure.code), (Verdict::Elsewhere, Code::CannotContinue));
    assert_eq!(fake.count(), asked, "nothing can come of it");
}

#[tokio::test]
async fn dropping_the_stream_closes_the_connection() {
    struct Gone(tokio::sync::mpsc::Sender<()>);
    impl Drop for Gone {
        fn drop(&mut self) {
            let _ = self.0.try_send(());
        }
    }
    let (gone, mut closed) = tokio::sync::mpsc::channel(1);
    let (_fake, engine) = Fake::start(Kind::Ollama, move |_, _| {
        let guard = Gone(gone.clone());
        let endless = futures::stream::unfold(guard, |guard| async move {
            tokio::time::sleep(Duration::from_millis(5)).await;
            Some((Ok::<_, std::io::Error>("{\"response\":\"a\"}\n"), guard))
        });
        Body::from_stream(endless).into_response()
    })
    .await;
    let mut steps = engine.run(Order { so_far: None, ..chat("") });
    assert!(matches!(steps.next().await, Some(Ok(Step::Piece(_)))));
    drop(steps);
    tokio::time::timeout(Duration::from_secs(5), closed.recv()).await.expect("the engine noticed");
}

#[tokio::test]
async fn a_server_that_loads_its_model_is_waited_for() {
    let asked = AtomicUsize::new(0);
    let (fake, engine) = Fake::start(Kind::Openai, move |_, _| {
        if asked.fetch_add(1, Ordering::SeqCst) < 2 {
            let loading = json!({"error": {"message": "Loading model", "code": 503}});
            return (StatusCode::SERVICE_UNAVAILABLE, loading.to_string()).into_response();
        }
        let chunk = json!({"choices": [{"delta": {"content": "a"}, "finish_reason": "stop"}]});
        format!("data: {chunk}\n\ndata: [DONE]\n\n").into_response()
    })
    .await;
    assert_eq!(all(&engine, Order { so_far: None, ..chat("") }).await.unwrap(), "a");
    assert_eq!(fake.count(), 3);
}

#[tokio::test]
async fn an_error_before_the_first_byte_is_sorted_by_its_status() {
    let (_fake, engine) = Fake::start(Kind::Ollama, |_, _| {
        (StatusCode::NOT_FOUND, r#"{"error":"model 'm' not found"}"#).into_response()
    })
    .await;
    let failure = all(&engine, Order { so_far: None, ..chat("") }).await.unwrap_err();
    assert_eq!((failure.verdict, failure.code), (Verdict::Elsewhere, Code::ModelMissing));
    assert!(engine.probe().await.is_err());
}

#[tokio::test]
async fn an_engine_that_is_not_there_is_unreachable() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    for kind in [Kind::Ollama, Kind::Openai] {
        let engine = at(kind, &url);
        let failure = all(&engine, Order { so_far: None, ..chat("") }).await.unwrap_err();
        assert_eq!((failure.verdict, failure.code), (Verdict::Elsewhere, Code::EngineUnreachable));
        let down = engine.probe().await.unwrap_err();
        assert!(down.reason.contains("cannot be reached") && !down.slow, "{}", down.reason);
        assert_eq!(engine.sign("m".into()).await, Sign::Mute);
    }
}
