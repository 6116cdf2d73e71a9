//! Anthropic's API, on nodes of both kinds.

use std::time::{Duration, Instant};

use echo_scripted_engine::{Api, Model};
use echo_testing::mesh::Mesh;
use futures::future::join_all;
use serde_json::{Value, json};

use super::wire::{ABLE, able, events, post, said, send, whole};

const MESSAGES: &str = "/v1/messages";
const COUNT: &str = "/v1/messages/count_tokens";
/// A PNG of one pixel.
const PNG: &str =
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";

fn ask(prompt: &str) -> Value {
    json!({"model": ABLE, "max_tokens": 4096, "messages": [{"role": "user", "content": prompt}]})
}

fn with(mut body: Value, more: Value) -> Value {
    body.as_object_mut().expect("an object").extend(more.as_object().cloned().unwrap_or_default());
    body
}

fn weather() -> Value {
    json!({"name": "weather", "description": "The weather of a city", "input_schema":
        {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}})
}

fn thinking() -> Value {
    json!({"thinking": {"type": "enabled", "budget_tokens": 1024}})
}

async fn answer(mesh: &Mesh, body: &Value) -> Value {
    let (status, answer) = whole(mesh.client(), MESSAGES, body).await;
    assert_eq!(status, 200, "{body}: {answer}");
    answer
}

/// What the engine was sent last.
fn sent(mesh: &Mesh) -> Value {
    mesh.engine(0).requests().last().expect("a request").body.clone()
}

/// The events of a stream as they stand on the wire, with the same ids each time.
async fn stream(mesh: &Mesh, body: &Value) -> String {
    let reply = post(mesh.client(), MESSAGES, &with(body.clone(), json!({"stream": true}))).await;
    assert_eq!((reply.status(), reply.header("content-type")), (200, "text/event-stream"));
    let task = reply.header("x-echo-task-id").to_owned();
    assert_eq!(reply.header("request-id"), format!("req_{task}"));
    reply.text().await.replace(&task, "TASK")
}

fn is_golden(name: &str, told: &str) {
    let path = format!("{}/tests/dialects/golden/{name}.txt", env!("CARGO_MANIFEST_DIR"));
    if std::env::var_os("ECHO_WRITE_GOLDEN").is_some() {
        std::fs::write(&path, told).expect("the golden file is written");
    }
    let golden = std::fs::read_to_string(&path).expect("the golden file");
    assert_eq!(told, golden, "{name}");
}

#[tokio::test]
async fn the_events_of_a_stream_are_these_on_both_kinds_of_node() {
    for api in [Api::Ollama, Api::Openai] {
        let mesh = able(api).edge_args(["--attempts", "1"]).await;
        for (name, body) in [
            ("text", ask("[tokens=3]")),
            ("thinking", with(ask("[tokens=2]"), thinking())),
            ("max-tokens", with(ask("[tokens=9]"), json!({"max_tokens": 2}))),
            ("tool", with(with(ask("weather?"), json!({"tools": [weather()]})), thinking())),
            ("error", ask("[tokens=9] [delay=5] [fault=error@2]")),
        ] {
            is_golden(&format!("messages-{name}"), &stream(&mesh, &body).await);
        }
    }
}

#[tokio::test]
async fn a_whole_answer_is_a_message_on_both_kinds_of_node() {
    for api in [Api::Ollama, Api::Openai] {
        let mesh = able(api).await;
        let reply = post(mesh.client(), "/v1/messages?beta=true", &ask("[tokens=4]")).await;
        assert_eq!(reply.header("request-id"), format!("req_{}", reply.header("x-echo-task-id")));
        let told = reply.json().await;
        assert_eq!(
            (&told["type"], &told["role"], &told["model"]),
            (&json!("message"), &json!("assistant"), &json!(ABLE))
        );
        assert_eq!(told["content"], json!([{"type": "text", "text": "t0 t1 t2 t3 "}]));
        assert_eq!((&told["stop_reason"], &told["stop_sequence"]), (&json!("end_turn"), &Value::Null));
        assert!(told["id"].as_str().is_some_and(|id| id.starts_with("msg_")), "{told}");
        assert_eq!(told["usage"]["output_tokens"], 4);
        assert!(told["usage"]["input_tokens"].as_u64() > Some(0), "{told}");
        let told = answer(&mesh, &with(ask("[tokens=9]"), json!({"max_tokens": 2}))).await;
        assert_eq!(
            (&told["stop_reason"], &told["content"][0]["text"]),
            (&json!("max_tokens"), &json!("t0 t1 "))
        );
        let told = answer(&mesh, &with(ask("[tokens=9]"), json!({"stop_sequences": ["t2"]}))).await;
        assert_eq!(
            (&told["stop_reason"], &told["content"][0]["text"]),
            (&json!("end_turn"), &json!("t0 t1 "))
        );
        let schema = json!({"type": "object", "properties": {"text": {"type": "string"}}});
        let format = json!({"output_config": {"format": {"type": "json_schema", "schema": schema}}});
        let told = answer(&mesh, &with(ask("[tokens=2]"), format)).await;
        assert_eq!(told["content"][0]["text"], "{\"text\":\"t0 t1 \"}");
    }
}

#[tokio::test]
async fn thoughts_are_a_block_of_their_own_and_a_wish_that_any_model_survives() {
    for api in [Api::Ollama, Api::Openai] {
        let mesh = able(api).await;
        let told = answer(&mesh, &with(ask("[tokens=2]"), thinking())).await;
        let kinds: Vec<&Value> =
            told["content"].as_array().expect("blocks").iter().map(|it| &it["type"]).collect();
        assert_eq!(kinds, ["thinking", "text"], "{told}");
        assert!(told["content"][0]["signature"].as_str().is_some_and(|text| !text.is_empty()));
        let back = json!({"messages": [{"role": "user", "content": "[tokens=1]"},
            {"role": "assistant", "content": told["content"]}, {"role": "user", "content": "[tokens=3] on"}]});
        let told = answer(&mesh, &with(ask(""), back)).await;
        assert_eq!(told["content"], json!([{"type": "text", "text": "t0 t1 t2 "}]), "unasked nobody thinks");
        let adaptive = json!({"thinking": {"type": "adaptive", "display": "omitted"},
            "output_config": {"effort": "high"}, "context_management": {"edits": []}, "model": "plain"});
        let told = answer(&mesh, &with(ask("[tokens=2]"), adaptive)).await;
        assert_eq!(told["content"][0]["text"], "t0 t1 ");
    }
}

#[tokio::test]
async fn tools_go_there_and_back_on_both_kinds_of_node() {
    for api in [Api::Ollama, Api::Openai] {
        let mesh = able(api).await;
        let server = json!({"type": "web_search_20250305", "name": "web_search", "max_uses": 2});
        let choice = json!({"type": "any", "disable_parallel_tool_use": true});
        let body = with(ask("weather?"), json!({"tools": [weather(), server], "tool_choice": choice}));
        let told = answer(&mesh, &body).await;
        assert_eq!(told["stop_reason"], "tool_use", "{told}");
        let call = told["content"].as_array().and_then(|blocks| blocks.last()).expect("a block").clone();
        assert_eq!((&call["type"], &call["name"]), (&json!("tool_use"), &json!("weather")));
        assert_eq!(call["input"], json!({"city": "Oslo", "at": [1, 2]}));
        let asked = sent(&mesh);
        assert_eq!(asked["tools"].as_array().map(Vec::len), Some(1), "the other one is left out: {asked}");
        assert_eq!(asked["tools"][0]["function"]["parameters"], weather()["input_schema"]);
        if api == Api::Openai {
            assert_eq!(
                (&asked["tool_choice"], &asked["parallel_tool_calls"]),
                (&json!("required"), &json!(false))
            );
        }
        let picture =
            json!({"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}});
        let result = json!({"type": "tool_result", "tool_use_id": call["id"], "is_error": true,
            "content": [{"type": "text", "text": "no rain"}, picture]});
        let back = with(
            body,
            json!({"tool_choice": {"type": "none"}, "messages": [
            {"role": "user", "content": "weather?"}, {"role": "system", "content": "be brief"},
            {"role": "assistant", "content": told["content"]},
            {"role": "user", "content": [result, {"type": "text", "text": "[tokens=2]", "cache_control": {"type": "ephemeral"}}]}]}),
        );
        let told = answer(&mesh, &back).await;
        assert_eq!(
            (&told["content"][0]["text"], &told["stop_reason"]),
            (&json!("t0 t1 "), &json!("end_turn"))
        );
        let asked = sent(&mesh);
        let list = asked["messages"].as_array().expect("messages");
        let roles: Vec<&str> = list.iter().filter_map(|message| message["role"].as_str()).collect();
        assert_eq!(roles, ["user", "assistant", "tool", "user"], "{asked}");
        assert!(list[0]["content"].as_str().is_some_and(|text| text.contains("be brief")), "{asked}");
        let told_of_result = list[2].to_string();
        assert!(told_of_result.contains("Error:") && told_of_result.contains("no rain"), "{told_of_result}");
        assert!(told_of_result.contains(PNG), "{told_of_result}");
        if api == Api::Openai {
            assert_eq!(
                (&list[2]["tool_call_id"], &list[1]["tool_calls"][0]["id"]),
                (&call["id"], &call["id"])
            );
        }
    }
}

/// A template that takes instructions only at the beginning, and a model without thinking: what Claude Code sends to a model
/// that it does not know, in its first turn and in the one behind a tool's result.
#[tokio::test]
async fn what_claude_code_sends_is_answered_by_a_strict_template_and_a_model_that_cannot_think() {
    let mesh = able(Api::Openai).script(|script| {
        script.models = vec![Model::named(ABLE)];
        script.strict_template = true;
    });
    let mesh = mesh.await;
    let marked = |text: &str| json!({"type": "text", "text": text, "cache_control": {"type": "ephemeral"}});
    let placeholder = json!({"name": "DeferredToolPlaceholder", "description": "never call this tool",
        "input_schema": {"type": "object", "properties": {}}, "defer_loading": true});
    let body = json!({"model": ABLE, "max_tokens": 32000, "stream": true, "metadata": {"user_id": "u"},
        "system": [{"type": "text", "text": "x-anthropic-billing-header: cc_version=2.1;"}, marked("You are an agent.")],
        "thinking": {"type": "adaptive", "display": "omitted"}, "output_config": {"effort": "high"},
        "context_management": {"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]},
        "tools": [weather(), placeholder], "messages": [
            {"role": "user", "content": [marked("<system-reminder>a</system-reminder>"), marked("[tokens=2] [tool=none]")]},
            {"role": "system", "content": [marked("# Environment")]}]});
    let call = json!([{"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {"city": "Oslo"}}]);
    let result = json!([{"tool_use_id": "toolu_1", "type": "tool_result", "content": "(no output)", "is_error": false}]);
    let mut next = body.clone();
    next["messages"][1]["content"] = "# Environment".into();
    next["messages"]
        .as_array_mut()
        .expect("a list")
        .extend([json!({"role": "assistant", "content": call}), json!({"role": "user", "content": result})]);
    for body in [body, next] {
        let reply = send(
            mesh.client().post("/v1/messages?beta=true", &body).header("anthropic-version", "2023-06-01"),
        );
        let reply = reply.await;
        assert_eq!((reply.status(), reply.header("x-echo-attempts")), (200, "1"));
        assert_eq!(said(&events(reply).await), "t0 t1 ");
        let asked = sent(&mesh);
        assert_eq!(asked["messages"][0]["content"], "You are an agent.", "without the line for the accounts");
        let text = asked["messages"][1]["content"].as_str().expect("a text");
        assert!(text.ends_with("<system-reminder>\n# Environment\n</system-reminder>"), "{text}");
    }
}

#[tokio::test]
async fn pictures_come_as_base64_and_from_nowhere_else() {
    for api in [Api::Ollama, Api::Openai] {
        let mesh = able(api).await;
        let shown = |source: Value| {
            let parts =
                json!([{"type": "text", "text": "see [tokens=1]"}, {"type": "image", "source": source}]);
            with(ask(""), json!({"messages": [{"role": "user", "content": parts}]}))
        };
        answer(&mesh, &shown(json!({"type": "base64", "media_type": "image/jpeg", "data": PNG}))).await;
        assert!(sent(&mesh).to_string().contains(PNG));
        for (source, place) in [
            (json!({"type": "url", "url": "http://127.0.0.1:9/x.png"}), "messages[0].content[1].source.url"),
            (json!({"type": "base64", "data": "no picture"}), "messages[0].content[1].source.data"),
            (json!({"type": "file", "file_id": "f"}), "messages[0].content[1].source.type"),
        ] {
            let (status, told) = whole(mesh.client(), MESSAGES, &shown(source)).await;
            let words = told["error"]["message"].as_str().unwrap_or_default();
            assert!(status == 400 && words.starts_with(place), "{told}");
        }
    }
}

#[tokio::test]
async fn errors_have_anthropics_shape_and_the_id_of_the_request() {
    let mesh = able(Api::Ollama).await;
    for (body, status, kind, words) in [
        (with(ask("x"), json!({"model": "nobody"})), 404, "not_found_error", "model: nobody"),
        (json!({"model": ABLE}), 400, "invalid_request_error", "messages"),
        (with(ask("x"), json!({"max_tokens": 0})), 400, "invalid_request_error", "max_tokens"),
        (with(ask("x"), json!({"model": "vectors"})), 400, "invalid_request_error", ""),
        (ask("[fault=fail] [words=boom]"), 500, "api_error", "boom"),
    ] {
        for stream in [false, true] {
            let reply = post(mesh.client(), MESSAGES, &with(body.clone(), json!({"stream": stream}))).await;
            let (got, id) = (reply.status(), reply.header("request-id").to_owned());
            let told = reply.json().await;
            assert_eq!(
                (got, &told["type"], &told["error"]["type"]),
                (status, &json!("error"), &json!(kind)),
                "{told}"
            );
            assert_eq!(told["request_id"], id.as_str());
            assert!(id.starts_with("req_"), "{told}");
            assert!(told["error"]["message"].as_str().is_some_and(|said| said.contains(words)), "{told}");
        }
    }
    let broken = send(mesh.client().post(MESSAGES, &Value::Null).body("{")).await;
    assert_eq!(
        (broken.status(), broken.json().await["error"]["type"].clone()),
        (400, json!("invalid_request_error"))
    );
    let nobody = Mesh::start().nodes(0).await;
    let reply = post(nobody.client(), MESSAGES, &ask("x")).await;
    assert_eq!(
        (reply.status(), reply.json().await["error"]["type"].clone()),
        (503, json!("overloaded_error"))
    );
}

#[tokio::test]
async fn an_answer_goes_on_in_the_same_block_when_its_node_dies() {
    for api in [Api::Ollama, Api::Openai] {
        let mesh = able(api).nodes(2).await;
        let body = ask("[tokens=40] [delay=5] [fault=die@10]");
        let told = events(post(mesh.client(), MESSAGES, &with(body, json!({"stream": true}))).await).await;
        let wanted: String = (0..40).map(|index| format!("t{index} ")).collect();
        assert_eq!(said(&told), wanted);
        let of = |kind: &str| told.iter().filter(|event| event["type"] == kind).count();
        assert_eq!((of("content_block_start"), of("content_block_stop"), of("message_stop")), (1, 1, 1));
        let delta = told.iter().find(|event| event["type"] == "message_delta").expect("the counts");
        assert_eq!(delta["usage"]["output_tokens"], 40, "{delta}");
    }
}

#[tokio::test]
async fn who_waits_in_line_sees_the_head_of_the_message_and_pings() {
    let mesh = able(Api::Ollama).slots(1).edge_args(["--idle-sign", "200ms"]).await;
    let mut running = mesh.ask("[tokens=150] [delay=10]");
    running.read_tokens(1).await;
    let told = stream(&mesh, &ask("[tokens=2]")).await;
    let kinds: Vec<&str> = told.lines().filter_map(|line| line.strip_prefix("event: ")).collect();
    assert_eq!(kinds[..3], ["message_start", "ping", "ping"], "{told}");
    assert!(told.contains("\"text\":\"t1 \"") && kinds.last() == Some(&"message_stop"), "{told}");
}

#[tokio::test]
async fn a_count_is_exact_where_the_engine_counts_and_else_says_that_it_is_none() {
    let text = "one two three four five six seven eight nine ten";
    for (api, how) in [(Api::Ollama, "estimate"), (Api::Openai, "exact")] {
        let mesh = able(api).await;
        let body = json!({"model": ABLE, "system": "be brief", "messages": [{"role": "user", "content": text}],
            "tools": [weather()]});
        let reply = post(mesh.client(), COUNT, &body).await;
        assert_eq!((reply.status(), reply.header("x-echo-count")), (200, how));
        assert_eq!(reply.header("request-id"), format!("req_{}", reply.header("x-echo-task-id")));
        assert!(reply.json().await["input_tokens"].as_u64() > Some(10));
        let (status, told) = whole(mesh.client(), COUNT, &with(body, json!({"model": "nobody"}))).await;
        assert_eq!((status, &told["error"]["type"]), (404, &json!("not_found_error")), "{told}");
        let (status, told) = whole(mesh.client(), COUNT, &json!({"model": ABLE, "messages": []})).await;
        assert_eq!((status, &told["error"]["type"]), (400, &json!("invalid_request_error")), "{told}");
    }
    // As it is counted, so it is charged.
    let mesh = able(Api::Openai).await;
    let (_, counted) = whole(mesh.client(), COUNT, &ask("[tokens=1] how many are these")).await;
    let usage = answer(&mesh, &ask("[tokens=1] how many are these")).await["usage"].clone();
    assert_eq!(counted["input_tokens"], usage["input_tokens"]);
    mesh.node(0).pause().await;
    let began = Instant::now();
    let reply = post(mesh.client(), COUNT, &ask("a node that does not answer")).await;
    assert_eq!((reply.status(), reply.header("x-echo-count")), (200, "estimate"));
    assert!(began.elapsed() < Duration::from_secs(5), "after {:?}", began.elapsed());
    mesh.node(0).resume();
    let nobody = Mesh::start().nodes(0).await;
    nobody.orchestrator(0).kill().await;
    let reply = post(nobody.client(), COUNT, &ask("hello")).await;
    assert_eq!((reply.status(), reply.header("x-echo-count")), (200, "estimate"));
}

#[tokio::test]
async fn fifty_counts_at_once_take_no_slot_and_all_are_answered() {
    for api in [Api::Ollama, Api::Openai] {
        let mesh = able(api).slots(1).await;
        let mut running = mesh.ask("[tokens=300] [delay=10]");
        running.read_tokens(1).await;
        let began = Instant::now();
        let counts = (0..50).map(|number| {
            let body = ask(&format!("file {number}: {}", "word ".repeat(number * 20)));
            let client = mesh.client();
            async move {
                let reply = post(client, COUNT, &body).await;
                assert_eq!(reply.status(), 200);
                let how = reply.header("x-echo-count").to_owned();
                assert!(reply.json().await["input_tokens"].as_u64() > Some(0));
                how
            }
        });
        let hows = join_all(counts).await;
        let exact = hows.iter().filter(|how| *how == "exact").count();
        eprintln!("{api:?}: {exact} of 50 exact in {:?}", began.elapsed());
        assert!(mesh.engine(0).counters().running == 1, "the answer beside them still runs");
        assert!(api == Api::Ollama || exact > 0);
        running.rest().await.assert_every_token_once(300);
    }
}

#[tokio::test]
async fn models_are_listed_in_anthropics_shape_for_who_sends_its_header() {
    let mesh = able(Api::Ollama).await;
    let get = async |path: &str| {
        let reply = send(mesh.client().get(path).header("anthropic-version", "2023-06-01")).await;
        assert!(reply.header("request-id").starts_with("req_"), "{path}");
        (reply.status(), reply.json().await)
    };
    let (status, all) = get("/v1/models?limit=1000").await;
    let ids: Vec<&str> =
        all["data"].as_array().expect("data").iter().filter_map(|model| model["id"].as_str()).collect();
    assert_eq!((status, ids.len(), &all["has_more"]), (200, 3, &json!(false)), "{all}");
    assert_eq!((&all["first_id"], &all["last_id"]), (&json!(ids[0]), &json!(ids[2])));
    let model = &all["data"][0];
    assert_eq!((&model["type"], &model["display_name"]), (&json!("model"), &model["id"]));
    assert!(super::wire::wire_time(&model["created_at"]), "{model}");
    let (_, first) = get("/v1/models?limit=1").await;
    assert_eq!((&first["has_more"], &first["last_id"]), (&json!(true), &json!(ids[0])));
    let after = ids[0].replace(':', "%3A");
    let (_, rest) = get(&format!("/v1/models?limit=2&after_id={after}")).await;
    assert_eq!(
        (&rest["has_more"], &rest["first_id"], &rest["last_id"]),
        (&json!(false), &json!(ids[1]), &json!(ids[2]))
    );
    let (_, back) = get(&format!("/v1/models?limit=1&before_id={}", ids[2])).await;
    assert_eq!((&back["has_more"], &back["first_id"]), (&json!(true), &json!(ids[1])));
    for bad in ["limit=0", "limit=x", "after_id=nobody"] {
        let (status, told) = get(&format!("/v1/models?{bad}")).await;
        assert_eq!((status, &told["error"]["type"]), (400, &json!("invalid_request_error")), "{told}");
    }
    let (status, one) = get("/v1/models/able").await;
    assert_eq!((status, &one["id"], &one["type"]), (200, &json!("able"), &json!("model")));
    let (status, none) = get("/v1/models/nobody").await;
    assert_eq!((status, &none["error"]["type"]), (404, &json!("not_found_error")), "{none}");
    let plain = send(mesh.client().get("/v1/models")).await.json().await;
    assert_eq!(plain["object"], "list", "without the header it is OpenAI's");
}
