//! OpenAI's Responses API, on nodes of both kinds.

use echo_scripted_engine::Api;
use echo_testing::{
    client::{Client, Reply},
    mesh::{Mesh, holds},
};
use serde_json::{Value, json};

use super::wire::{ABLE, able, post, send, whole};

const PATH: &str = "/v1/responses";

fn ask(prompt: &str) -> Value {
    json!({"model": ABLE, "input": prompt, "reasoning": {"effort": "none"}})
}

fn with(mut body: Value, more: Value) -> Value {
    body.as_object_mut().expect("an object").extend(more.as_object().cloned().unwrap_or_default());
    body
}

fn streamed(body: Value) -> Value {
    with(body, json!({"stream": true}))
}

/// The events of a stream, each named in its head as in its data. A sign of life repeats the last number: it is left out.
async fn events(reply: Reply) -> Vec<Value> {
    assert_eq!((reply.status(), reply.header("content-type")), (200, "text/event-stream"));
    let text = reply.text().await;
    let mut events: Vec<Value> = Vec::new();
    for frame in text.split_terminator("\n\n") {
        let (head, data) = frame.split_once('\n').expect("two lines");
        let event: Value = serde_json::from_str(data.strip_prefix("data: ").expect("data")).expect("JSON");
        assert_eq!(head.strip_prefix("event: "), event["type"].as_str(), "{frame}");
        let number = &event["sequence_number"];
        if events.last().is_none_or(|last| last["sequence_number"] != *number) {
            events.push(event);
        }
    }
    events
}

/// That events are numbered without a gap, beginning with this number.
#[track_caller]
fn numbered(events: &[Value], first: u64) {
    let numbers: Vec<u64> = events.iter().filter_map(|event| event["sequence_number"].as_u64()).collect();
    assert_eq!(numbers, (first..first + events.len() as u64).collect::<Vec<_>>());
}

/// All text of the events.
fn said(events: &[Value]) -> String {
    let deltas = events.iter().filter(|event| event["type"] == "response.output_text.delta");
    deltas.filter_map(|event| event["delta"].as_str()).collect()
}

fn tokens(count: u64) -> String {
    (0..count).map(|index| format!("t{index} ")).collect()
}

/// The rest of a kept answer's events, after this number.
async fn rest(client: Client, id: &str, after: Option<u64>) -> Vec<Value> {
    let after = after.map(|after| format!("&starting_after={after}")).unwrap_or_default();
    events(send(client.get(&format!("{PATH}/{id}?stream=true{after}"))).await).await
}

async fn state(client: Client, id: &str) -> (u16, Value) {
    let reply = send(client.get(&format!("{PATH}/{id}"))).await;
    (reply.status(), reply.json().await)
}

fn id_of(response: &Value) -> String {
    response["id"].as_str().unwrap_or_else(|| panic!("no id: {response}")).to_owned()
}

/// A kept answer in one piece.
async fn kept(client: Client, body: &Value) -> String {
    let (status, answer) = whole(client, PATH, body).await;
    assert_eq!((status, &answer["status"]), (200, &json!("completed")), "{answer}");
    id_of(&answer)
}

/// What the engine was told in its last request.
fn told(mesh: &Mesh) -> Value {
    mesh.engine(0).requests().last().expect("a request").body["messages"].clone()
}

/// Fields that differ from answer to answer.
fn stable(mut event: Value) -> Value {
    fn walk(value: &mut Value, task: &str) {
        match value {
            Value::String(text) => *text = text.replace(task, "TASK"),
            Value::Array(values) => values.iter_mut().for_each(|value| walk(value, task)),
            Value::Object(fields) => fields.values_mut().for_each(|value| walk(value, task)),
            _ => {}
        }
    }
    let texts = event.to_string();
    let task = texts.split(['_', '"']).find(|word| word.len() == 52 && word.matches('-').count() == 4);
    let task = task.unwrap_or("nothing").to_owned();
    walk(&mut event, &task);
    if let Some(response) = event.get_mut("response") {
        response["created_at"] = json!(0);
        // How an engine counts its prompt is its own matter.
        if response["usage"].is_object() {
            for count in ["input_tokens", "total_tokens"] {
                response["usage"][count] = json!(0);
            }
            response["usage"]["input_tokens_details"]["cached_tokens"] = json!(0);
        }
    }
    event
}

/// The golden files; `ECHO_WRITE_GOLDEN=1` writes them anew.
fn is_golden(name: &str, events: &[Value]) {
    let path = format!("{}/tests/dialects/golden/{name}.jsonl", env!("CARGO_MANIFEST_DIR"));
    let lines: String = events.iter().map(|event| format!("{}\n", stable(event.clone()))).collect();
    if std::env::var_os("ECHO_WRITE_GOLDEN").is_some() {
        std::fs::write(&path, &lines).expect("the golden file is written");
    }
    let golden = std::fs::read_to_string(&path).expect("a golden file");
    for (number, (line, wanted)) in lines.lines().zip(golden.lines()).enumerate() {
        assert_eq!(line, wanted, "{name}, event {number}");
    }
    assert_eq!(lines.lines().count(), golden.lines().count(), "{name}");
}

#[tokio::test]
async fn an_answer_is_one_object_or_the_events_that_make_it_up() {
    for api in [Api::Ollama, Api::Openai] {
        let mesh = able(api).await;
        let (status, answer) = whole(mesh.client(), PATH, &ask("[tokens=4]")).await;
        assert_eq!((status, &answer["status"]), (200, &json!("completed")), "{answer}");
        let message = &answer["output"][0];
        assert_eq!((&message["type"], &message["role"]), (&json!("message"), &json!("assistant")));
        assert_eq!(message["content"][0]["text"], tokens(4));
        assert_eq!(answer["usage"]["output_tokens"], 4, "{answer}");
        let told = events(post(mesh.client(), PATH, &streamed(ask("[tokens=4]"))).await).await;
        numbered(&told, 0);
        assert_eq!(said(&told), tokens(4));
        let last = told.last().expect("an end");
        assert_eq!(
            (&last["type"], &last["response"]["status"]),
            (&json!("response.completed"), &json!("completed"))
        );
        assert_eq!(last["response"]["output"][0]["content"], message["content"]);
        assert_eq!(last["response"]["id"], told[0]["response"]["id"]);
    }
}

#[tokio::test]
async fn events_come_in_the_order_that_clients_are_built_for() {
    for api in [Api::Ollama, Api::Openai] {
        let mesh = able(api).await;
        let thinks =
            json!({"model": ABLE, "input": "[tokens=2]", "reasoning": {"effort": "high", "summary": "auto"}});
        let calls = with(ask("weather?"), json!({"tools": [tool()]}));
        let cut = with(ask("[tokens=9]"), json!({"max_output_tokens": 2}));
        for (name, body) in [("responses-thinks", thinks), ("responses-calls", calls), ("responses-cut", cut)]
        {
            let mut told = events(post(mesh.client(), PATH, &streamed(body)).await).await;
            numbered(&told, 0);
            // Each engine numbers its calls in its own way.
            let call = told
                .iter()
                .find_map(|event| event["item"]["call_id"].as_str())
                .unwrap_or_default()
                .to_owned();
            if !call.is_empty() {
                let text = Value::Array(told).to_string().replace(&call, "CALL");
                told = serde_json::from_str(&text).expect("JSON");
            }
            is_golden(name, &told);
        }
    }
}

fn tool() -> Value {
    json!({"type": "function", "name": "weather", "description": "The weather of a city", "strict": false,
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}})
}

#[tokio::test]
async fn a_tool_is_called_and_its_result_understood_on_every_engine() {
    for api in [Api::Ollama, Api::Openai] {
        let mesh = able(api).await;
        let body = with(ask("weather?"), json!({"tools": [tool(), {"type": "web_search"}]}));
        let (_, answer) = whole(mesh.client(), PATH, &body).await;
        let call = &answer["output"][0];
        assert_eq!((&call["type"], &call["name"]), (&json!("function_call"), &json!("weather")), "{answer}");
        let arguments: Value =
            serde_json::from_str(call["arguments"].as_str().expect("a text")).expect("JSON");
        assert_eq!(arguments, json!({"city": "Oslo", "at": [1, 2]}));
        assert_eq!(answer["tools"], json!([tool()]), "what is not served is not promised");
        let result = json!({"type": "function_call_output", "call_id": call["call_id"], "output": "rain"});
        let input = json!([{"role": "user", "content": "weather? [tokens=2]"}, call, result]);
        let (status, answer) = whole(mesh.client(), PATH, &with(ask(""), json!({"input": input}))).await;
        assert_eq!((status, &answer["output"][0]["content"][0]["text"]), (200, &json!("t0 t1 ")), "{answer}");
        let seen = told(&mesh);
        assert_eq!((&seen[1]["role"], &seen[2]["role"]), (&json!("assistant"), &json!("tool")), "{seen}");
        assert!(seen[2].to_string().contains("rain") && seen[1].to_string().contains("Oslo"), "{seen}");
    }
}

#[tokio::test]
async fn a_schema_and_the_instructions_reach_every_engine() {
    for api in [Api::Ollama, Api::Openai] {
        let mesh = able(api).await;
        let schema = json!({"type": "object", "properties": {"zeta": {"type": "string"}, "alpha": {"type": "string"}}});
        let format = json!({"type": "json_schema", "name": "n", "strict": true, "schema": schema});
        let input =
            json!([{"role": "developer", "content": "ours"}, {"role": "user", "content": "[tokens=2]"}]);
        let body = with(ask(""), json!({"input": input, "instructions": "mine", "text": {"format": format}}));
        let (status, answer) = whole(mesh.client(), PATH, &body).await;
        assert_eq!(
            (status, &answer["output"][0]["content"][0]["text"]),
            (200, &json!("{\"text\":\"t0 t1 \"}")),
            "{answer}"
        );
        assert_eq!(
            (&answer["instructions"], &answer["text"]["format"]["name"]),
            (&json!("mine"), &json!("n"))
        );
        let requests = mesh.engine(0).requests();
        let sent = requests.last().expect("a request").body.to_string();
        assert!(sent.contains("zeta") && sent.find("zeta") < sent.find("alpha"), "{sent}");
        let seen = told(&mesh);
        assert_eq!(
            (&seen[0]["role"], &seen[1]["role"]),
            (&json!("system"), &json!("user")),
            "one system message: {seen}"
        );
        assert!(seen[0].to_string().contains("mine") && seen[0].to_string().contains("ours"), "{seen}");
    }
}

#[tokio::test]
async fn no_word_for_effort_shuts_a_client_out_of_any_model() {
    for api in [Api::Ollama, Api::Openai] {
        let mesh = able(api).await;
        for (model, effort) in [(ABLE, "xhigh"), (ABLE, "galactic"), ("plain", "xhigh"), ("plain", "none")] {
            let body = json!({"model": model, "input": "[tokens=2]", "reasoning": {"effort": effort}});
            let (status, answer) = whole(mesh.client(), PATH, &body).await;
            assert_eq!((status, &answer["reasoning"]["effort"]), (200, &json!(effort)), "{model}: {answer}");
        }
    }
}

#[tokio::test]
async fn errors_have_openais_shape_and_name_the_field() {
    let mesh = able(Api::Ollama).await;
    for (body, status, code, param) in [
        (json!({"model": "nobody", "input": "x"}), 404, json!("model_not_found"), json!("model")),
        (json!({"model": ABLE}), 400, Value::Null, json!("input")),
        (with(ask("x"), json!({"conversation": "c"})), 400, Value::Null, json!("conversation")),
        (with(ask("x"), json!({"tools": [{"type": "web_search"}]})), 400, Value::Null, json!("tools")),
        (with(ask("x"), json!({"background": true, "store": false})), 400, Value::Null, json!("background")),
        (
            with(
                ask("x"),
                json!({"previous_response_id": "resp_00000000-0000-8000-8000-0000000000000000000000000000"}),
            ),
            404,
            json!("not_found"),
            json!("previous_response_id"),
        ),
        (
            with(
                ask("x"),
                json!({"input": [{"type": "item_reference", "id": "msg_00000000-0000-8000-8000-0000000000000000000000000000_0"}]}),
            ),
            400,
            Value::Null,
            json!("input[0].id"),
        ),
    ] {
        for stream in [false, true] {
            let body = with(body.clone(), json!({"stream": stream}));
            let (got, answer) = whole(mesh.client(), PATH, &body).await;
            let error = &answer["error"];
            assert_eq!((got, &error["code"], &error["param"]), (status, &code, &param), "{body}: {answer}");
        }
    }
    for (method, path) in
        [("GET", ""), ("DELETE", ""), ("POST", "/cancel"), ("GET", "/input_items"), ("GET", "?stream=true")]
    {
        for id in [
            "resp_00000000-0000-8000-8000-0000000000000000000000000000",
            "resp_00000000-0000-8000-8000-000000000000",
            "resp_x",
            "x",
            "..%2f..",
        ] {
            let reply = send(mesh.client().call(method, &format!("{PATH}/{id}{path}"))).await;
            assert_eq!(reply.status(), 404, "{method} {id}{path}");
            assert_eq!(reply.json().await["error"]["type"], "invalid_request_error");
        }
    }
}

#[tokio::test]
async fn a_failure_in_mid_stream_is_the_last_event_and_no_whole_answer() {
    let mesh = able(Api::Ollama).edge_args(["--attempts", "1"]).await;
    let body = streamed(ask("[tokens=9] [delay=5] [fault=error@4]"));
    let told = events(post(mesh.client(), PATH, &body).await).await;
    numbered(&told, 0);
    assert_eq!(said(&told), tokens(4));
    let last = told.last().expect("an end");
    assert_eq!(
        (&last["type"], &last["response"]["error"]["code"]),
        (&json!("response.failed"), &json!("server_error"))
    );
    assert!(last.to_string().contains("scripted fault"), "{last}");
    // It is kept as it ended.
    let id = id_of(&last["response"]);
    let (status, again) = state(mesh.client(), &id).await;
    assert_eq!((status, &again), (200, &last["response"]));
    assert_eq!(rest(mesh.client(), &id, None).await, told);
}

#[tokio::test]
async fn a_streamed_conversation_that_is_too_long_ends_in_the_event_that_agents_act_on() {
    let mesh = able(Api::Ollama).await;
    let long = "[fault=fail] [words=the request exceeds the available context size, try increasing it]";
    let told = events(post(mesh.client(), PATH, &streamed(ask(long))).await).await;
    numbered(&told, 0);
    let last = told.last().expect("an end");
    let code = &last["response"]["error"]["code"];
    assert_eq!(
        (&last["type"], code),
        (&json!("response.failed"), &json!("context_length_exceeded")),
        "{last}"
    );
    assert_eq!(whole(mesh.client(), PATH, &ask(long)).await.0, 400);
}

#[tokio::test]
async fn the_prompt_of_a_response_is_counted_and_nothing_is_compacted() {
    for (api, how) in [(Api::Ollama, "estimate"), (Api::Openai, "exact")] {
        let mesh = able(api).await;
        let reply = post(mesh.client(), &format!("{PATH}/input_tokens"), &ask("one two three")).await;
        assert_eq!((reply.status(), reply.header("x-echo-count")), (200, how));
        let said = reply.json().await;
        assert!(said["object"] == "response.input_tokens" && said["input_tokens"].is_u64(), "{said}");
        let asked =
            mesh.engine(0).requests().iter().any(|seen| seen.body.to_string().contains("one two three"));
        assert!(!asked, "nothing is generated");
        let (status, said) = whole(mesh.client(), &format!("{PATH}/compact"), &ask("x")).await;
        assert_eq!((status, &said["error"]["type"]), (404, &json!("invalid_request_error")), "{said}");
    }
}

#[tokio::test]
async fn an_answer_goes_on_inside_its_item_when_its_node_dies() {
    let mesh = Mesh::start().await;
    let body = json!({"model": "scripted", "stream": true, "input": "[tokens=40] [delay=5] [fault=die@10]"});
    let told = events(post(mesh.client(), PATH, &body).await).await;
    numbered(&told, 0);
    assert_eq!(said(&told), tokens(40));
    let items = told.iter().filter(|event| event["type"] == "response.output_item.added");
    assert_eq!((items.count(), &told.last().expect("an end")["type"]), (1, &json!("response.completed")));
}

#[tokio::test]
async fn an_answer_in_the_background_is_joined_at_any_edge_after_any_event() {
    let mesh = able(Api::Ollama).edges(2).await;
    let body = with(ask("[tokens=30] [delay=20]"), json!({"background": true, "metadata": {"mine": "1"}}));
    let (status, begun) = whole(mesh.client(), PATH, &body).await;
    assert_eq!(status, 200, "{begun}");
    let now = begun["status"].as_str().unwrap_or_default();
    assert!(["queued", "in_progress"].contains(&now) && begun["output"] == json!([]), "{begun}");
    let id = id_of(&begun);
    // While it is made: here, and at the other edge.
    let (here, there) = tokio::join!(rest(mesh.client(), &id, None), rest(mesh.client_of(1), &id, Some(7)));
    numbered(&here, 0);
    assert_eq!(said(&here), tokens(30));
    assert_eq!(there, here[8..], "after the eighth event");
    for edge in [0, 1] {
        for after in [0, 1, 5, 20, here.len() as u64 - 2] {
            let again = rest(mesh.client_of(edge), &id, Some(after)).await;
            assert_eq!(again, here[after as usize + 1..], "after {after} at edge {edge}");
        }
        let (status, known) = state(mesh.client_of(edge), &id).await;
        assert_eq!((status, &known), (200, &here.last().expect("an end")["response"]), "at edge {edge}");
        assert_eq!((&known["metadata"]["mine"], &known["background"]), (&json!("1"), &json!(true)));
    }
    for beyond in ["x", &here.len().to_string()] {
        let bad = send(mesh.client().get(&format!("{PATH}/{id}?stream=true&starting_after={beyond}"))).await;
        assert_eq!(bad.status(), 400, "{beyond}");
    }
    let all = here.len() as u64 - 1;
    assert_eq!(
        rest(mesh.client(), &id, Some(all)).await,
        Vec::<Value>::new(),
        "who has all gets nothing more"
    );
}

#[tokio::test]
async fn a_background_answer_that_waits_in_line_says_so_and_can_be_cancelled_there() {
    let mesh = able(Api::Ollama).slots(1).await;
    let mut running = mesh.stream(&json!({"prompt": "[tokens=3000] [delay=10]", "model_hint": ABLE}));
    running.read_tokens(1).await;
    let (_, begun) = whole(mesh.client(), PATH, &with(ask("[tokens=1]"), json!({"background": true}))).await;
    assert_eq!(begun["status"], "queued", "{begun}");
    let id = id_of(&begun);
    assert_eq!(state(mesh.client(), &id).await.1["status"], "queued");
    let cancelled = send(mesh.client().call("POST", &format!("{PATH}/{id}/cancel"))).await.json().await;
    assert_eq!(
        (&cancelled["status"], &cancelled["output"]),
        (&json!("cancelled"), &json!([])),
        "{cancelled}"
    );
    drop(running);
    mesh.is_quiet().await;
    assert_eq!(mesh.engine(0).counters().started, 1, "it never reached the engine");
    // A refusal that comes later is told under the id that was given out by then.
    let nobody = json!({"model": "nobody", "input": "x", "background": true});
    let (status, begun) = whole(mesh.client(), PATH, &nobody).await;
    if status != 404 {
        let id = id_of(&begun);
        mesh.until("the refusal", || async {
            let known = state(mesh.client(), &id).await.1;
            holds(known["status"] == "failed" && known["error"].to_string().contains("does not exist"), known)
        })
        .await;
    }
}

#[tokio::test]
async fn a_background_answer_outlives_its_client_and_is_cancelled_by_its_id() {
    let mesh = able(Api::Ollama).edges(2).await;
    let long = with(ask("[tokens=3000] [delay=10]"), json!({"background": true, "stream": true}));
    let mut reply = post(mesh.client(), PATH, &long).await;
    let first = reply.chunk().await.expect("bytes").expect("an event");
    let text = String::from_utf8(first.to_vec()).expect("UTF-8");
    let data = text.lines().find_map(|line| line.strip_prefix("data: ")).expect("data");
    let created: Value = serde_json::from_str(data).expect("JSON");
    let id = id_of(&created["response"]);
    drop(reply);
    let (_, known) = state(mesh.client_of(1), &id).await;
    assert_eq!(known["status"], "in_progress", "{known}");
    assert_eq!(mesh.engine(0).counters().cancelled, 0);
    for _ in 0..2 {
        let reply = send(mesh.client_of(1).call("POST", &format!("{PATH}/{id}/cancel"))).await;
        let (status, cancelled) = (reply.status(), reply.json().await);
        assert_eq!((status, &cancelled["status"]), (200, &json!("cancelled")), "{cancelled}");
    }
    mesh.is_quiet().await;
    assert_eq!(mesh.engine(0).counters().cancelled, 1);
    let told = rest(mesh.client(), &id, None).await;
    numbered(&told, 0);
    assert_eq!(told.last().expect("an end")["response"]["status"], "cancelled");
    let kept = kept(mesh.client(), &ask("[tokens=1]")).await;
    let refused = send(mesh.client().call("POST", &format!("{PATH}/{kept}/cancel"))).await;
    assert_eq!(refused.status(), 400, "only what is made in the background");
}

#[tokio::test]
async fn what_is_not_in_the_background_ends_with_its_client_and_what_is_not_stored_is_not_there() {
    let mesh = able(Api::Ollama).await;
    let mut reply = post(mesh.client(), PATH, &streamed(ask("[tokens=3000] [delay=10]"))).await;
    reply.chunk().await.expect("bytes").expect("an event");
    drop(reply);
    mesh.is_quiet().await;
    assert_eq!(mesh.engine(0).counters().cancelled, 1);
    let (_, answer) = whole(mesh.client(), PATH, &with(ask("[tokens=1]"), json!({"store": false}))).await;
    assert_eq!((&answer["store"], state(mesh.client(), &id_of(&answer)).await.0), (&json!(false), 404));
    let brief = able(Api::Ollama).edge_args(["--keep-memory", "1KiB"]).await;
    let id = kept(brief.client(), &ask("[tokens=1]")).await;
    brief
        .until("the answer to make room", || async {
            let (status, known) = state(brief.client(), &id).await;
            holds(status == 404, known)
        })
        .await;
    let (status, gone) =
        whole(brief.client(), PATH, &with(ask("x"), json!({"previous_response_id": id}))).await;
    assert_eq!((status, &gone["error"]["param"]), (404, &json!("previous_response_id")), "{gone}");
}

#[tokio::test]
async fn a_conversation_goes_on_from_a_kept_answer_at_any_edge() {
    for api in [Api::Ollama, Api::Openai] {
        let mesh = able(api).edges(2).await;
        let first = with(ask("one [tokens=1]"), json!({"instructions": "first"}));
        let mut previous = kept(mesh.client(), &first).await;
        for (edge, word) in [(1, "two"), (0, "three")] {
            let more = json!({"instructions": word, "previous_response_id": previous});
            let (status, answer) =
                whole(mesh.client_of(edge), PATH, &with(ask(&format!("{word} [tokens=1]")), more)).await;
            assert_eq!((status, &answer["previous_response_id"]), (200, &json!(previous)), "{answer}");
            previous = id_of(&answer);
        }
        let seen = told(&mesh);
        let words: Vec<String> = seen
            .as_array()
            .into_iter()
            .flatten()
            .map(|message| {
                let content = &message["content"];
                let text = content.as_str().or(content[0]["text"].as_str()).unwrap_or_default();
                format!("{}:{}", message["role"].as_str().unwrap_or_default(), text.trim())
            })
            .collect();
        let wanted = [
            "system:three",
            "user:one [tokens=1]",
            "assistant:t0",
            "user:two [tokens=1]",
            "assistant:t0",
            "user:three [tokens=1]",
        ];
        assert_eq!(words, wanted, "{seen}");

        let list = |query: &str| {
            let call = mesh.client_of(1).get(&format!("{PATH}/{previous}/input_items{query}"));
            async move { send(call).await.json().await }
        };
        let all = list("?order=asc").await;
        let texts: Vec<&Value> =
            all["data"].as_array().expect("data").iter().map(|item| &item["content"][0]["text"]).collect();
        assert_eq!(texts, ["one [tokens=1]", "t0 ", "two [tokens=1]", "t0 ", "three [tokens=1]"]);
        assert_eq!((&all["has_more"], &all["object"]), (&json!(false), &json!("list")));
        let page = list(&format!("?limit=2&after={}", all["data"][4]["id"].as_str().expect("an id"))).await;
        assert_eq!(page["data"], json!([all["data"][3], all["data"][2]]), "the newest first");
        assert_eq!((&page["has_more"], &page["last_id"]), (&json!(true), &all["data"][2]["id"]));
        for bad in ["?limit=0", "?limit=x", "?order=up", "?after=x"] {
            assert_eq!(list(bad).await["error"]["type"], "invalid_request_error", "{bad}");
        }
        // An item of it can be named in place of being said again.
        let named = json!([{"role": "user", "content": "one"}, {"type": "item_reference", "id": all["data"][0]["id"]}]);
        let (status, answer) = whole(mesh.client(), PATH, &with(ask(""), json!({"input": named}))).await;
        assert_eq!((status, told(&mesh)[1].to_string().contains("one [tokens=1]")), (200, true), "{answer}");

        let deleted =
            send(mesh.client_of(1).call("DELETE", &format!("{PATH}/{previous}"))).await.json().await;
        assert_eq!(deleted, json!({"id": previous, "object": "response", "deleted": true}));
        assert_eq!(state(mesh.client(), &previous).await.0, 404);
    }
}

#[tokio::test]
async fn the_id_of_a_task_that_anybody_may_see_opens_no_response() {
    let mesh = able(Api::Ollama).edges(2).await;
    let observer = mesh.observer().await;
    let body = with(ask("secret [tokens=3000] [delay=10]"), json!({"background": true}));
    let id = id_of(&whole(mesh.client(), PATH, &body).await.1);
    let (task, key) = id.strip_prefix("resp_").expect("a response").split_at(36);
    observer.sees(&format!("echo.event.task.{task}")).await;
    let wrong = format!("resp_{task}{:016x}", u64::from_str_radix(key, 16).expect("a key") ^ 1);
    let without = format!("resp_{task}");
    for edge in [0, 1] {
        let call = |method: &str, path: &str| send(mesh.client_of(edge).call(method, path));
        for (method, path) in [
            ("GET", ""),
            ("GET", "?stream=true"),
            ("GET", "/input_items"),
            ("POST", "/cancel"),
            ("DELETE", ""),
        ] {
            for closed in [&wrong, &without] {
                let reply = call(method, &format!("{PATH}/{closed}{path}")).await;
                let (status, said) = (reply.status(), reply.text().await);
                assert_eq!(
                    (status, said.contains("secret")),
                    (404, false),
                    "{method} {closed}{path}: {said}"
                );
            }
        }
        for (method, path) in [("GET", ""), ("GET", "/stream"), ("DELETE", "")] {
            let reply = call(method, &format!("/task/{task}{path}")).await;
            assert_eq!(reply.status(), 404, "{method} /task/{task}{path}");
        }
        let on = with(ask("x"), json!({"previous_response_id": wrong}));
        assert_eq!(whole(mesh.client_of(edge), PATH, &on).await.0, 404);
        let item = format!("msg_{}_i0", wrong.trim_start_matches("resp_"));
        let refers = with(ask(""), json!({"input": [{"type": "item_reference", "id": item}]}));
        assert_eq!(whole(mesh.client_of(edge), PATH, &refers).await.0, 400);
        let (status, known) = state(mesh.client_of(edge), &id).await;
        assert_eq!((status, &known["status"]), (200, &json!("in_progress")), "it goes on: {known}");
        assert_eq!(known["output"], json!([]), "who asks how it stands reads nothing of it");
    }
    let cancelled = send(mesh.client_of(1).call("POST", &format!("{PATH}/{id}/cancel"))).await;
    assert_eq!(cancelled.status(), 200);
    mesh.is_quiet().await;
    observer.sees(&format!("echo.event.task.{task}.cancelled")).await;
    let number = u64::from_str_radix(key, 16).expect("a key").to_string();
    for message in observer.seen() {
        let text = String::from_utf8_lossy(&message.payload);
        assert!(!text.contains(key) && !text.contains(&number), "{}: {text}", message.subject);
    }
    for program in mesh.programs() {
        let line = program.logs().all().into_iter().find(|line| line.contains(key) || line.contains(&number));
        assert_eq!(line, None, "{}", program.name());
    }
}

#[tokio::test]
async fn what_a_whole_answer_names_can_be_referred_to() {
    let mesh = able(Api::Ollama).edges(2).await;
    let thinks = json!({"model": ABLE, "input": "one [tokens=2]", "reasoning": {"effort": "high"}});
    let calls = with(ask("weather?"), json!({"tools": [tool()]}));
    for body in [thinks, calls] {
        let (_, answer) = whole(mesh.client(), PATH, &body).await;
        let (_, again) = state(mesh.client_of(1), &id_of(&answer)).await;
        assert_eq!(again["output"], answer["output"]);
        let items = answer["output"].as_array().expect("items");
        assert!(!items.is_empty());
        for item in items {
            let reference = json!({"type": "item_reference", "id": item["id"]});
            let input = json!([{"role": "user", "content": "go on [tokens=1]"}, reference]);
            let (status, answer) =
                whole(mesh.client_of(1), PATH, &with(ask(""), json!({"input": input}))).await;
            assert_eq!(status, 200, "{answer}");
        }
    }
}

#[tokio::test]
async fn a_small_body_of_references_does_not_become_a_large_request() {
    let mesh = able(Api::Ollama).edges(2).await;
    let large = format!("[tokens=1] {}", "x ".repeat(500_000));
    let id = kept(mesh.client(), &ask(&large)).await;
    let listed = send(mesh.client().get(&format!("{PATH}/{id}/input_items"))).await.json().await;
    let reference = json!({"type": "item_reference", "id": listed["data"][0]["id"]});
    let began = mesh.engine(0).counters().started;
    for edge in [0, 1] {
        let refer = |count: usize| with(ask(""), json!({"input": vec![&reference; count]}));
        let (status, answer) = whole(mesh.client_of(edge), PATH, &refer(20)).await;
        assert_eq!((status, &answer["error"]["param"]), (413, &json!("input[7].id")), "{answer}");
        let (status, answer) = whole(mesh.client_of(edge), PATH, &refer(101)).await;
        assert_eq!((status, &answer["error"]["param"]), (400, &json!("input[100].id")), "{answer}");
        let on = with(ask(&"y ".repeat(3_400_000)), json!({"previous_response_id": id}));
        let (status, answer) = whole(mesh.client_of(edge), PATH, &on).await;
        assert_eq!((status, &answer["error"]["param"]), (413, &json!("previous_response_id")));
    }
    assert_eq!(mesh.engine(0).counters().started, began, "nothing was submitted");
}

#[tokio::test]
async fn what_no_message_takes_is_read_at_its_own_edge_and_refused_at_others() {
    let mesh = able(Api::Ollama).edges(2).await;
    let words = "x ".repeat(1_100_000);
    let schema = json!({"type": "object", "description": words});
    let format = json!({"type": "json_schema", "name": "n", "schema": schema});
    let body = with(ask(&format!("[tokens=1] {words}{words}")), json!({"text": {"format": format}}));
    let id = kept(mesh.client(), &body).await;
    assert_eq!(state(mesh.client(), &id).await.0, 200);
    let (status, said) = state(mesh.client_of(1), &id).await;
    let words = said["error"]["message"].as_str().unwrap_or_default();
    assert!(status == 503 && words.contains("too large"), "{status}: {words}");
}

#[tokio::test]
async fn who_polls_a_background_answer_does_not_take_its_second_chance() {
    let mesh = Mesh::start().await;
    let format = json!({"type": "json_schema", "name": "n", "schema": {"type": "object"}});
    let body = json!({"model": "scripted", "background": true, "text": {"format": format},
        "input": "[tokens=40] [delay=30] [fault=die@20]"});
    let id = id_of(&whole(mesh.client(), PATH, &body).await.1);
    let ended = mesh
        .until("the answer's end", || async {
            let known = state(mesh.client(), &id).await.1;
            let runs = ["queued", "in_progress"].contains(&known["status"].as_str().unwrap_or_default());
            holds(!runs, known.clone()).map(|_| known)
        })
        .await;
    // Every engine dies of this one; what counts is that it was tried on another, from the beginning.
    let words = ended["error"]["message"].as_str().unwrap_or_default();
    assert!(words.contains("each time they worked on this request"), "{ended}");
}
