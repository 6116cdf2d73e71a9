//! Tool calls on their way from engines that write them in odd ways to clients of all dialects.

use echo_scripted_engine::Api;
use echo_testing::mesh::Mesh;
use serde_json::{Value, json};

use super::wire::{ABLE, able, events, lines, post, weather, whole};

fn call(index: Value, id: Value, city: &str) -> Value {
    let arguments = json!({ "city": city }).to_string();
    json!({"index": index, "id": id, "type": "function", "function": {"name": "weather", "arguments": arguments}})
}

/// Two calls in the chunks of engines with OpenAI's API, from Oslo to Lima.
fn openais() -> Vec<(&'static str, Vec<Value>)> {
    let two = |index: Value, ids: [Value; 2]| {
        let [oslo, lima] = ids;
        vec![json!([call(index.clone(), oslo, "Oslo")]), json!([call(index, lima, "Lima")])]
    };
    let ids = || [json!("c-oslo"), json!("c-lima")];
    let mut unnumbered = two(json!(0), ids());
    let mut objects = two(json!(0), ids());
    for (chunk, city) in [(0, "Oslo"), (1, "Lima")] {
        unnumbered[chunk][0].as_object_mut().expect("a call").remove("index");
        objects[chunk][0]["function"]["arguments"] = json!({ "city": city });
    }
    let piece = |text: &str| json!([{"index": 0, "id": "c-oslo", "function": {"name": "weather", "arguments": text}}]);
    let rest = |text: &str| json!([{"index": 0, "function": {"arguments": text}}]);
    vec![
        ("one index", two(json!(0), ids())),
        ("index null", two(Value::Null, ids())),
        ("no index", unnumbered),
        ("index as text", two(json!("0"), ids())),
        ("index -1", two(json!(-1), ids())),
        ("arguments as an object", objects),
        ("ids as numbers", two(json!(0), [json!(1), json!(2)])),
        ("no ids", two(json!(0), [Value::Null, json!("")])),
        ("one chunk", vec![json!([call(json!(0), json!("a"), "Oslo"), call(json!(0), json!("b"), "Lima")])]),
        (
            "the name on each piece",
            vec![piece("{\"city\":"), piece("\"Oslo\"}"), json!([call(json!(0), json!("c-lima"), "Lima")])],
        ),
        (
            "in pieces",
            vec![
                piece(""),
                rest("{\"ci"),
                rest("ty\":\"Oslo\"}"),
                json!([call(json!(1), json!("c-lima"), "Lima")]),
            ],
        ),
    ]
}

/// The same of an engine with Ollama's API.
fn ollamas() -> Vec<(&'static str, Vec<Value>)> {
    let call = |index: Value, arguments: Value| json!({"function": {"index": index, "name": "weather", "arguments": arguments}});
    let (oslo, lima) = (json!({"city": "Oslo"}), json!({"city": "Lima"}));
    vec![
        ("one index", vec![json!([call(json!(0), oslo.clone())]), json!([call(json!(0), lima.clone())])]),
        ("index null", vec![json!([call(Value::Null, oslo.clone()), call(Value::Null, lima.clone())])]),
        (
            "arguments as text",
            vec![json!([call(json!(0), oslo.to_string().into()), call(json!(1), lima.to_string().into())])],
        ),
    ]
}

fn cities(calls: &[Value]) -> Vec<String> {
    let city = |call: &Value| {
        assert_eq!(call["function"]["name"], "weather", "{call}");
        let arguments = match &call["function"]["arguments"] {
            Value::String(text) => serde_json::from_str(text).expect("arguments are JSON"),
            object => object.clone(),
        };
        arguments["city"].as_str().unwrap_or_else(|| panic!("no city: {call}")).to_owned()
    };
    calls.iter().map(city).collect()
}

async fn told(mesh: &Mesh, shape: &str) {
    let both = ["Oslo", "Lima"];
    let body = |stream: bool| {
        json!({"model": ABLE, "messages": [{"role": "user", "content": "weather?"}], "tools": [weather()],
            "stream": stream})
    };
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let reply = post(mesh.client(), "/v1/chat/completions", &body(false)).await;
    // Nothing of this is a fault of the node, to be tried again.
    assert_eq!((reply.status(), reply.header("x-echo-attempts")), (200, "1"), "{shape}");
    let answer = reply.json().await;
    assert_eq!(cities(&list(&answer["choices"][0]["message"]["tool_calls"])), both, "{shape}: {answer}");
    let told = events(post(mesh.client(), "/v1/chat/completions", &body(true)).await).await;
    let calls: Vec<Value> =
        told.iter().flat_map(|event| list(&event["choices"][0]["delta"]["tool_calls"])).collect();
    assert_eq!(cities(&calls), both, "{shape}: {told:?}");
    assert_eq!((&calls[0]["index"], &calls[1]["index"]), (&json!(0), &json!(1)), "{shape}: {calls:?}");
    assert!(calls[0]["id"] != calls[1]["id"] && calls[1]["id"].is_string(), "{shape}: {calls:?}");
    uses(mesh, shape).await;
    let (status, answer) = whole(mesh.client(), "/api/chat", &body(false)).await;
    assert_eq!(status, 200, "{shape}: {answer}");
    let streamed = lines(post(mesh.client(), "/api/chat", &body(true)).await).await;
    let streamed = streamed.iter().flat_map(|line| list(&line["message"]["tool_calls"])).collect();
    for calls in [list(&answer["message"]["tool_calls"]), streamed] {
        assert!(calls.iter().all(|call| call["function"]["arguments"].is_object()), "{shape}: {calls:?}");
        assert_eq!(cities(&calls), both, "{shape}");
        let indexes = calls.iter().map(|call| &call["function"]["index"]);
        assert!(indexes.eq([&json!(0), &json!(1)]), "{shape}: {calls:?}");
    }
}

/// The same in Anthropic's blocks.
async fn uses(mesh: &Mesh, shape: &str) {
    let body = |stream: bool| {
        let tool = json!({"name": "weather", "input_schema": {"type": "object"}});
        json!({"model": ABLE, "messages": [{"role": "user", "content": "weather?"}], "tools": [tool], "stream": stream})
    };
    let both = ["Oslo", "Lima"];
    let (status, answer) = whole(mesh.client(), "/v1/messages", &body(false)).await;
    let uses: Vec<&Value> = answer["content"].as_array().expect("blocks").iter().collect();
    let cities: Vec<&str> = uses.iter().filter_map(|block| block["input"]["city"].as_str()).collect();
    assert_eq!((status, cities), (200, both.to_vec()), "{shape}: {answer}");
    let told = events(post(mesh.client(), "/v1/messages", &body(true)).await).await;
    let of = |kind: &str| told.iter().filter(|event| event["type"] == kind).cloned().collect::<Vec<_>>();
    let arguments = |event: &Value| -> Value {
        let text = event["delta"]["partial_json"].as_str().expect("a call comes in one piece");
        serde_json::from_str(text).expect("arguments are JSON")
    };
    let told: Vec<Value> = of("content_block_delta").iter().map(arguments).collect();
    assert_eq!(told, both.map(|city| json!({ "city": city })), "{shape}");
    let starts = of("content_block_start");
    let ids: Vec<&Value> = starts.iter().map(|event| &event["content_block"]["id"]).collect();
    assert!(ids.len() == 2 && ids[0] != ids[1] && ids[1].is_string(), "{shape}: {ids:?}");
    assert_eq!((&starts[0]["index"], &starts[1]["index"]), (&json!(0), &json!(1)), "{shape}");
}

#[tokio::test]
async fn two_calls_stay_two_calls_however_an_engine_writes_them() {
    for (api, shapes) in [(Api::Openai, openais()), (Api::Ollama, ollamas())] {
        let mesh = able(api).await;
        for (shape, chunks) in shapes {
            mesh.engine(0).edit(|script| script.tool_chunks = chunks);
            told(&mesh, shape).await;
        }
    }
}

#[tokio::test]
async fn a_call_without_arguments_has_an_empty_object_of_them() {
    for (api, index) in [(Api::Openai, json!(0)), (Api::Ollama, Value::Null)] {
        let mesh = able(api).await;
        let call = json!({"index": 0, "id": "a", "function": {"index": index, "name": "weather", "arguments": null}});
        mesh.engine(0).edit(|script| script.tool_chunks = vec![json!([call])]);
        let body = json!({"model": ABLE, "messages": [{"role": "user", "content": "weather?"}], "tools": [weather()],
            "stream": false});
        let (_, answer) = whole(mesh.client(), "/api/chat", &body).await;
        assert_eq!(answer["message"]["tool_calls"][0]["function"]["arguments"], json!({}), "{answer}");
        let (_, answer) = whole(mesh.client(), "/v1/chat/completions", &body).await;
        let call = &answer["choices"][0]["message"]["tool_calls"][0];
        assert_eq!(call["function"]["arguments"], "{}", "{answer}");
    }
}

/// A history with one call in it, and how its route names the call's fields.
fn history(path: &str, function: &Value) -> Value {
    let called = json!([{"id": "c1", "type": "function", "function": function}]);
    let mut messages = json!([{"role": "user", "content": "weather? [tokens=1]"},
        {"role": "assistant", "content": "", "tool_calls": called},
        {"role": "tool", "content": "4 degrees", "tool_name": "weather", "tool_call_id": "c1"}]);
    if path.starts_with("/v1") {
        messages[2].as_object_mut().expect("a message").remove("tool_name");
    }
    json!({"model": ABLE, "stream": false, "messages": messages})
}

#[tokio::test]
async fn the_arguments_of_a_history_are_an_object_on_every_node_or_refused_with_their_place() {
    let city = json!({"city": "Oslo"});
    for api in [Api::Ollama, Api::Openai] {
        let mesh = able(api).await;
        let sent = |wanted: &Value| {
            let requests = mesh.engine(0).requests();
            let body = &requests.last().expect("a request").body;
            let said = &body["messages"][1]["tool_calls"][0]["function"]["arguments"];
            let read = said.as_str().map(|text| serde_json::from_str(text).expect("JSON"));
            assert_eq!(read.as_ref().unwrap_or(said), wanted, "{body}");
            assert_eq!(said.is_object(), api == Api::Ollama, "each engine has its own form: {body}");
        };
        for path in ["/api/chat", "/v1/chat/completions"] {
            for (said, wanted) in [
                (city.clone(), city.clone()),
                (json!(city.to_string()), city.clone()),
                (json!({}), json!({})),
                (json!("{}"), json!({})),
                (json!(""), json!({})),
                (Value::Null, json!({})),
            ] {
                let body = history(path, &json!({"name": "weather", "arguments": said}));
                let (status, answer) = whole(mesh.client(), path, &body).await;
                assert_eq!(status, 200, "{path} {said}: {answer}");
                sent(&wanted);
            }
            let (status, answer) =
                whole(mesh.client(), path, &history(path, &json!({"name": "weather"}))).await;
            assert_eq!(status, 200, "{path}: {answer}");
            sent(&json!({}));
            let before = mesh.engine(0).requests().len();
            let place = "messages[1].tool_calls[0].function";
            for bad in [json!("[1]"), json!("Oslo"), json!("{\"city\":"), json!("7"), json!([1]), json!(7)] {
                let body = history(path, &json!({"name": "weather", "arguments": bad}));
                let (status, answer) = whole(mesh.client(), path, &body).await;
                assert!(
                    status == 400 && answer.to_string().contains(&format!("{place}.arguments")),
                    "{answer}"
                );
            }
            for nameless in [json!({"arguments": city}), json!({"name": "", "arguments": city})] {
                let (status, answer) = whole(mesh.client(), path, &history(path, &nameless)).await;
                assert!(status == 400 && answer.to_string().contains(&format!("{place}.name")), "{answer}");
            }
            assert_eq!(mesh.engine(0).requests().len(), before, "what is refused reaches no engine");
        }
        let no_arguments = history("/v1", &json!({"name": "weather", "arguments": "null"}));
        let (status, answer) = whole(mesh.client(), "/v1/chat/completions", &no_arguments).await;
        assert_eq!(status, 200, "{answer}");
        sent(&json!({}));
        let (status, answer) = whole(mesh.client(), "/api/chat", &no_arguments).await;
        assert_eq!(status, 400, "{answer}");
    }
}
