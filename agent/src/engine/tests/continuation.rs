//! Answers that go on at engines with templates of their own.

use echo_bus::message::ToolChoice;

use super::*;

/// A conversation as a template renders it that ends the turn of a trailing message, and shows thoughts if `marks`.
fn ended(body: &Value, marks: bool) -> String {
    let message = |message: &Value| {
        let text = |name: &str| message[name].as_str().unwrap_or_default().to_owned();
        let thoughts = [text("reasoning_content"), text("thinking")].concat();
        let thoughts = match marks && !thoughts.is_empty() {
            true => format!("<think>\n{thoughts}\n</think>\n\n"),
            false => String::new(),
        };
        let calls = message["tool_calls"].as_array().into_iter().flatten().map(|call| {
            let function = &call["function"];
            let arguments = match function["arguments"].as_str() {
                Some(text) => serde_json::from_str(text).unwrap(),
                None => function["arguments"].clone(),
            };
            format!("<tool_call>{}</tool_call>", json!({"name": function["name"], "arguments": arguments}))
        });
        let calls: String = calls.collect();
        format!("<|{}|>\n{thoughts}{}{calls}<|end|>\n", text("role"), text("content"))
    };
    let messages = body["messages"].as_array().unwrap();
    let rendered: String = messages.iter().map(message).collect();
    let is_asked = messages.last().is_none_or(|last| last["role"] != "assistant");
    if is_asked { rendered + "<|assistant|>\n" } else { rendered }
}

/// A llama.cpp with that template, whose raw completions are `text`.
fn llama_cpp(path: &str, body: &Value, marks: bool, text: &str) -> Response {
    match path {
        "/v1/models" => json!({"data": [{"id": "m"}]}).to_string().into_response(),
        "/props" => json!({"default_generation_settings": {}}).to_string().into_response(),
        "/apply-template" => json!({"prompt": ended(body, marks)}).to_string().into_response(),
        _ => completed(text),
    }
}

fn completed(text: &str) -> Response {
    let chunk = json!({"choices": [{"text": text, "delta": {"content": text}, "finish_reason": "stop"}]});
    format!("data: {chunk}\n\ndata: [DONE]\n\n").into_response()
}

/// The same order with the tool `now`.
fn with_tools(mut order: Order, change: impl FnOnce(&mut Chat)) -> Order {
    if let Request::Chat(chat) = &mut order.request {
        chat.tools = vec![json!({"type": "function", "function": {"name": "now"}})];
        change(chat);
    }
    order
}

#[tokio::test]
async fn a_raw_prompt_forgets_no_rule_of_how_tools_are_called() {
    let (_fake, engine) = Fake::start(Kind::Openai, |path, body| llama_cpp(path, body, true, "more")).await;
    engine.probe().await.unwrap();
    let rules: [fn(&mut Chat); 3] = [
        |chat| chat.tool_choice = Some(ToolChoice::Required),
        |chat| chat.tool_choice = Some(ToolChoice::Only("now".into())),
        |chat| chat.parallel_tool_calls = Some(false),
    ];
    for rule in rules {
        let failure = all(&engine, with_tools(chat("one "), rule)).await.unwrap_err();
        assert_eq!(failure.code, Code::CannotContinue, "the grammar that holds it is not there");
    }
    assert_eq!(all(&engine, with_tools(chat("one "), |_| ())).await.unwrap(), "more");
    let parallel = with_tools(chat("one "), |chat| chat.parallel_tool_calls = Some(true));
    assert_eq!(all(&engine, parallel).await.unwrap(), "more");
}

#[tokio::test]
async fn a_call_of_a_tool_that_nobody_offered_is_none() {
    for (name, is_call) in [("now", true), ("example", false)] {
        let text = format!("```<tool_call>{{\"name\":\"{name}\",\"arguments\":{{}}}}</tool_call>```");
        let answer = move |path: &str, body: &Value| llama_cpp(path, body, true, &text);
        let (_fake, engine) = Fake::start(Kind::Openai, answer).await;
        engine.probe().await.unwrap();
        let end = all(&engine, with_tools(chat("one "), |_| ())).await;
        assert_eq!(
            end.map_err(|failure| failure.code),
            if is_call { Ok("``````".to_owned()) } else { Err(Code::CannotContinue) }
        );
    }
}

#[tokio::test]
async fn text_after_thoughts_goes_on_raw_only_where_the_thoughts_can_stand_before_it() {
    let (_fake, llama) = Fake::start(Kind::Openai, |path, body| llama_cpp(path, body, false, "more")).await;
    let (_fake, ollama) = Fake::start(Kind::Ollama, |path, body| match body["_debug_render_only"] == true {
        true => json!({"_debug_info": {"rendered_template": ended(body, false)}}).to_string().into_response(),
        false => ollama(false, path, body),
    })
    .await;
    llama.probe().await.unwrap();
    for engine in [llama, ollama] {
        let mut order = in_thoughts("I see.");
        order.so_far.as_mut().unwrap().content = "one ".into();
        let failure = all(&engine, order).await.unwrap_err();
        assert_eq!(failure.code, Code::CannotContinue);
        assert!(failure.message.contains("does not show how its thoughts begin"), "{}", failure.message);
        assert_eq!(all(&engine, chat("one ")).await.unwrap(), "more", "without thoughts it goes on");
    }
}

#[tokio::test]
async fn text_goes_on_behind_no_open_thoughts_though_nobody_spoke_of_thinking() {
    let (fake, engine) = Fake::start(Kind::Ollama, |path, body| {
        if body["_debug_render_only"] != true {
            return ollama(false, path, body);
        }
        // It thinks unless it is told otherwise, as Ollama has it.
        let opens = if body["think"] == false { "" } else { "<think>\n" };
        let rendered = ended(body, true) + opens;
        json!({"_debug_info": {"rendered_template": rendered}}).to_string().into_response()
    })
    .await;
    assert_eq!(all(&engine, chat("one ")).await.unwrap(), "more");
    assert_eq!(fake.last().1["prompt"], "<|user|>\nhi<|end|>\n<|assistant|>\none ");
}

#[tokio::test]
async fn a_llama_cpp_that_comes_back_with_another_template_is_asked_again() {
    let renewed = Arc::new(AtomicUsize::new(0));
    let is_renewed = renewed.clone();
    let (fake, engine) = Fake::start(Kind::Openai, move |path, body| {
        let is_renewed = is_renewed.load(Ordering::SeqCst) > 0;
        match path {
            "/props" => {
                let template = if is_renewed { "ends" } else { "continues" };
                json!({"default_generation_settings": {}, "chat_template": template})
                    .to_string()
                    .into_response()
            }
            "/apply-template" if !is_renewed => {
                let messages = body["messages"].as_array().unwrap().iter();
                let texts = messages.map(|message| message["content"].as_str().unwrap());
                json!({"prompt": texts.collect::<Vec<_>>().join("|")}).to_string().into_response()
            }
            _ => llama_cpp(path, body, true, "more"),
        }
    })
    .await;
    for (path, is_renewed) in [("/v1/chat/completions", 0), ("/v1/completions", 1)] {
        renewed.store(is_renewed, Ordering::SeqCst);
        engine.probe().await.unwrap();
        assert_eq!(all(&engine, chat("one ")).await.unwrap(), "more");
        assert_eq!(fake.last().0, path);
    }
    let asked = fake.count();
    engine.probe().await.unwrap();
    all(&engine, chat("one ")).await.unwrap();
    let again =
        fake.asked.lock().unwrap()[asked..].iter().filter(|(path, _)| path == "/apply-template").count();
    assert_eq!(again, 1, "the prompt alone: what is known of the same template stays known");
}

#[tokio::test]
async fn a_question_that_was_refused_once_is_asked_again() {
    let asked = AtomicUsize::new(0);
    let (fake, engine) = Fake::start(Kind::Openai, move |path, body| {
        if path == "/apply-template" && asked.fetch_add(1, Ordering::SeqCst) == 0 {
            return (StatusCode::INTERNAL_SERVER_ERROR, "{\"error\":\"not now\"}").into_response();
        }
        llama_cpp(path, body, true, "more")
    })
    .await;
    engine.probe().await.unwrap();
    for path in ["/v1/chat/completions", "/v1/completions"] {
        assert_eq!(all(&engine, chat("one ")).await.unwrap(), "more");
        assert_eq!(fake.last().0, path);
    }
}

#[tokio::test]
async fn an_engine_without_the_question_is_asked_once_and_its_answer_watched() {
    let (fake, engine) = Fake::start(Kind::Openai, |path, body| match path {
        "/apply-template" => StatusCode::NOT_FOUND.into_response(),
        "/v1/chat/completions" if body["messages"][1]["content"] == "two " => {
            let chunk = json!({"choices": [{"delta": {"reasoning_content": "hm"}}]});
            format!("data: {chunk}\n\n").into_response()
        }
        _ => llama_cpp(path, body, true, "more"),
    })
    .await;
    engine.probe().await.unwrap();
    let before = fake.count();
    for _ in 0..2 {
        assert_eq!(all(&engine, chat("one ")).await.unwrap(), "more");
    }
    assert_eq!(fake.count() - before, 3, "one question, two answers");
    let failure = all(&engine, chat("two ")).await.unwrap_err();
    assert_eq!(failure.code, Code::CannotContinue, "it has begun anew");
}

#[tokio::test]
async fn a_server_of_many_models_is_told_whose_prompt_and_tokens_are_wanted() {
    let (fake, engine) = Fake::start(Kind::Openai, |path, body| match path {
        "/apply-template" | "/tokenize" if body["model"] != "m" => {
            let error = json!({"error": {"code": 400, "message": "model name is missing from the request"}});
            (StatusCode::BAD_REQUEST, error.to_string()).into_response()
        }
        "/tokenize" => json!({"tokens": [1, 2, 3]}).to_string().into_response(),
        _ => llama_cpp(path, body, true, "more"),
    })
    .await;
    engine.probe().await.unwrap();
    let mut order = chat("one ");
    order.so_far.as_mut().unwrap().exact = false;
    assert_eq!(end(&engine, order).await.1.so_far_tokens, Some(3));
    assert_eq!(fake.last().0, "/v1/completions", "its template ends the turn");
    let Request::Chat(asked) = chat("").request else { unreachable!() };
    let order = Order { request: Request::Count(asked), so_far: None, ..chat("") };
    assert_eq!(end(&engine, order).await.1.prompt_tokens, Some(3));
}

#[tokio::test]
async fn a_trial_rendering_unloads_nothing_and_is_done_once() {
    let (fake, engine) = Fake::start(Kind::Ollama, |path, body| match body["_debug_render_only"] == true {
        true => json!({"_debug_info": {"rendered_template": ended(body, true)}}).to_string().into_response(),
        false if body["stream"] == false => {
            json!({"done": true, "prompt_eval_count": 9}).to_string().into_response()
        }
        false => ollama(false, path, body),
    })
    .await;
    let mut order = chat("one ");
    order.so_far.as_mut().unwrap().exact = false;
    if let Request::Chat(chat) = &mut order.request {
        chat.settings.keep_alive = Some(0.into());
    }
    end(&engine, order).await;
    let asked = fake.asked.lock().unwrap().clone();
    let (trials, others): (Vec<_>, Vec<_>) =
        asked.iter().map(|(_, body)| body).partition(|body| body["_debug_render_only"] == true);
    assert!(trials.iter().all(|body| body.get("keep_alive").is_none()), "{trials:?}");
    assert_eq!((trials.len(), others.len()), (2, 3), "the template and the prompt; two counts, the answer");
    assert_eq!(others[2]["keep_alive"], 0, "after the answer it goes");
}

#[tokio::test]
async fn an_answer_goes_on_under_the_clients_own_settings_of_the_template() {
    for (ends, path) in [(true, "/v1/completions"), (false, "/v1/chat/completions")] {
        let (fake, engine) = Fake::start(Kind::Openai, move |path, body| match path {
            "/apply-template" if !ends => {
                let prompt = ended(body, true);
                json!({"prompt": prompt.strip_suffix("<|end|>\n").unwrap_or(&prompt)})
                    .to_string()
                    .into_response()
            }
            _ => llama_cpp(path, body, true, "more"),
        })
        .await;
        engine.probe().await.unwrap();
        let mut order = chat("one ");
        if let Request::Chat(chat) = &mut order.request {
            chat.settings.openai.insert("chat_template_kwargs".into(), json!({"custom": 1}));
        }
        assert_eq!(all(&engine, order).await.unwrap(), "more");
        assert_eq!(fake.last().0, path);
        for (path, body) in fake.asked.lock().unwrap().iter() {
            let rendered = matches!(path.as_str(), "/apply-template" | "/v1/chat/completions");
            let settings = json!({"custom": 1, "enable_thinking": false});
            assert!(!rendered || body["chat_template_kwargs"] == settings, "{path}: {body}");
        }
    }
}
