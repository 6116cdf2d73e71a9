//! Every route that generates, on nodes of both kinds, with everything that can be asked of it: each cell is played here
//! or in `routes.rs`, or says why there is none. `docs/routes.md` shows the same table.

use std::{fmt, fs};

use echo_scripted_engine::Api;
use echo_testing::{client::Reply, mesh::Mesh};
use serde_json::{Value, json};

use super::wire::{ABLE, able, post, weather};

/// A PNG of one pixel.
const PNG: &str =
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";

/// A route, or the two that stream and do not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Door {
    Task,
    Generate,
    OllamaChat,
    Chat,
    Completions,
    Messages,
    Responses,
}

use Door::{Chat, Completions, Generate, Messages, OllamaChat, Responses, Task};

const DOORS: [Door; 7] = [Task, Generate, OllamaChat, Chat, Completions, Messages, Responses];

/// What is asked beyond a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Feature {
    Text,
    Tools,
    Images,
    Thinking,
    Schema,
}

use Feature::{Images, Schema, Text, Thinking, Tools};

const FEATURES: [Feature; 5] = [Text, Tools, Images, Thinking, Schema];

/// An answer, whatever its dialect.
#[derive(Debug, Default, PartialEq)]
struct Told {
    text: String,
    thinking: String,
    calls: Vec<(String, Value)>,
}

impl fmt::Display for Door {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Task => "`/task`, `/task/stream`",
            Generate => "`/api/generate`",
            OllamaChat => "`/api/chat`",
            Chat => "`/v1/chat/completions`",
            Completions => "`/v1/completions`",
            Messages => "`/v1/messages`",
            Responses => "`/v1/responses`",
        })
    }
}

impl Door {
    fn path(self, stream: bool) -> &'static str {
        match self {
            Task if stream => "/task/stream",
            Task => "/task",
            Generate => "/api/generate",
            OllamaChat => "/api/chat",
            Chat => "/v1/chat/completions",
            Completions => "/v1/completions",
            Messages => "/v1/messages",
            Responses => "/v1/responses",
        }
    }

    /// Why this cannot be asked here.
    fn lacks(self, feature: Feature) -> Option<&'static str> {
        match (self, feature) {
            (Task | Generate | Completions, Tools) => Some("the route has no tools"),
            (Completions, Images) => Some("the route has no images"),
            (Completions, Thinking) => {
                Some("a plain prompt: the model's template, which begins thoughts, is not used")
            }
            _ => None,
        }
    }

    fn body(self, feature: Feature, stream: bool) -> Value {
        let prompt = "say [tokens=4]";
        let mut body = match self {
            Task => json!({"model_hint": ABLE, "prompt": prompt}),
            Generate | Completions => json!({"model": ABLE, "prompt": prompt, "stream": stream}),
            Messages => json!({"model": ABLE, "max_tokens": 500, "stream": stream,
                "messages": [{"role": "user", "content": prompt}]}),
            Responses => json!({"model": ABLE, "input": prompt, "stream": stream, "store": false}),
            OllamaChat | Chat => json!({"model": ABLE, "stream": stream,
                "messages": [{"role": "user", "content": prompt}]}),
        };
        self.think(feature == Thinking, &mut body);
        match feature {
            Text | Thinking => {}
            Tools => body["tools"] = json!([self.tool()]),
            Images => self.add_image(prompt, &mut body),
            Schema => self.add_schema(&mut body),
        }
        body
    }

    /// Says that it is to think, or not to: a model that can would do so on the routes that chat.
    fn think(self, thinks: bool, body: &mut Value) {
        let level = if thinks { "high" } else { "none" };
        match self {
            Task | Generate | OllamaChat => body["think"] = thinks.into(),
            Chat => body["reasoning_effort"] = level.into(),
            Responses => body["reasoning"] = json!({"effort": level}),
            Messages if thinks => body["thinking"] = json!({"type": "enabled", "budget_tokens": 1024}),
            Messages => body["thinking"] = json!({"type": "disabled"}),
            Completions => {}
        }
    }

    fn tool(self) -> Value {
        let function = weather()["function"].clone();
        match self {
            Messages => json!({"name": function["name"], "description": function["description"],
                "input_schema": function["parameters"]}),
            Responses => json!({"type": "function", "name": function["name"],
                "description": function["description"], "parameters": function["parameters"]}),
            _ => weather(),
        }
    }

    fn add_image(self, prompt: &str, body: &mut Value) {
        let url = format!("data:image/png;base64,{PNG}");
        let (place, value) = match self {
            Task | Generate => ("/images", json!([PNG])),
            OllamaChat => ("/messages", json!([{"role": "user", "content": prompt, "images": [PNG]}])),
            Chat | Completions => (
                "/messages",
                json!([{"role": "user", "content": [{"type": "text", "text": prompt},
                    {"type": "image_url", "image_url": {"url": url}}]}]),
            ),
            Messages => (
                "/messages",
                json!([{"role": "user", "content": [{"type": "text", "text": prompt}, {"type": "image",
                    "source": {"type": "base64", "media_type": "image/png", "data": PNG}}]}]),
            ),
            Responses => (
                "/input",
                json!([{"type": "message", "role": "user", "content": [{"type": "input_text", "text": prompt},
                    {"type": "input_image", "image_url": url}]}]),
            ),
        };
        body[&place[1..]] = value;
    }

    fn add_schema(self, body: &mut Value) {
        let schema = json!({"type": "object", "properties": {"text": {"type": "string"}},
            "required": ["text"], "additionalProperties": false});
        match self {
            Task | Generate | OllamaChat => body["format"] = schema,
            Chat | Completions => {
                body["response_format"] = json!({"type": "json_schema",
                    "json_schema": {"name": "answer", "schema": schema}});
            }
            Messages => body["output_config"] = json!({"format": {"type": "json_schema", "schema": schema}}),
            Responses => {
                body["text"] = json!({"format": {"type": "json_schema", "name": "answer", "schema": schema}});
            }
        }
    }

    async fn read(self, reply: Reply, stream: bool) -> Told {
        let text = reply.text().await;
        if !stream {
            let answer =
                serde_json::from_str(&text).unwrap_or_else(|error| panic!("{self:?}: {error}: {text}"));
            return self.whole(&answer);
        }
        let mut told = Told::default();
        for line in text.lines() {
            let data = line.strip_prefix("data: ").unwrap_or(line);
            if let Ok(event) = serde_json::from_str::<Value>(data) {
                self.event(&event, &mut told);
            }
        }
        told
    }

    fn whole(self, answer: &Value) -> Told {
        let mut told = Told::default();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        match self {
            Task => (told.text, told.thinking) = (text(&answer["content"]), text(&answer["thinking"])),
            Generate => (told.text, told.thinking) = (text(&answer["response"]), text(&answer["thinking"])),
            OllamaChat => self.event(answer, &mut told),
            Completions => told.text = text(&answer["choices"][0]["text"]),
            Chat => {
                let message = &answer["choices"][0]["message"];
                (told.text, told.thinking) = (text(&message["content"]), text(&message["reasoning_content"]));
                told.calls = calls(&message["tool_calls"]);
            }
            Messages => {
                for block in answer["content"].as_array().into_iter().flatten() {
                    told.text += block["text"].as_str().unwrap_or_default();
                    told.thinking += block["thinking"].as_str().unwrap_or_default();
                    if block["type"] == "tool_use" {
                        told.calls.push((text(&block["name"]), block["input"].clone()));
                    }
                }
            }
            Responses => {
                for item in answer["output"].as_array().into_iter().flatten() {
                    told.text += item["content"][0]["text"].as_str().unwrap_or_default();
                    told.thinking += item["summary"][0]["text"].as_str().unwrap_or_default();
                    if item["type"] == "function_call" {
                        told.calls.push((text(&item["name"]), read_arguments(&item["arguments"])));
                    }
                }
            }
        }
        told
    }

    /// What one event of a stream adds.
    fn event(self, event: &Value, told: &mut Told) {
        let said = |at: &str| event.pointer(at).and_then(Value::as_str).unwrap_or_default();
        match self {
            Task => {
                told.text += said("/token");
                told.thinking += said("/thinking");
            }
            Generate => {
                told.text += said("/response");
                told.thinking += said("/thinking");
            }
            OllamaChat => {
                told.text += said("/message/content");
                told.thinking += said("/message/thinking");
                told.calls.extend(calls(&event["message"]["tool_calls"]));
            }
            Completions => told.text += said("/choices/0/text"),
            Chat => {
                told.text += said("/choices/0/delta/content");
                told.thinking += said("/choices/0/delta/reasoning_content");
                told.calls.extend(calls(&event["choices"][0]["delta"]["tool_calls"]));
            }
            Messages => match said("/delta/type") {
                "text_delta" => told.text += said("/delta/text"),
                "thinking_delta" => told.thinking += said("/delta/thinking"),
                "input_json_delta" => {
                    let (_, arguments) = told.calls.last_mut().expect("a call has begun");
                    let so_far = arguments.as_str().unwrap_or_default().to_owned();
                    *arguments = (so_far + said("/delta/partial_json")).into();
                }
                _ if event["content_block"]["type"] == "tool_use" => {
                    told.calls.push((said("/content_block/name").to_owned(), "".into()));
                }
                _ if event["type"] == "message_stop" => {
                    told.calls.iter_mut().for_each(|(_, arguments)| *arguments = read_arguments(arguments));
                }
                _ => {}
            },
            Responses => match said("/type") {
                "response.output_text.delta" => told.text += said("/delta"),
                "response.reasoning_summary_text.delta" => told.thinking += said("/delta"),
                "response.function_call_arguments.done" => {
                    told.calls.push((String::new(), read_arguments(&event["arguments"])));
                }
                "response.output_item.done" if event["item"]["type"] == "function_call" => {
                    let (name, _) = told.calls.last_mut().expect("its arguments have come");
                    said("/item/name").clone_into(name);
                }
                _ => {}
            },
        }
    }
}

/// Calls in OpenAI's or Ollama's form.
fn calls(list: &Value) -> Vec<(String, Value)> {
    let list = list.as_array().into_iter().flatten();
    list.map(|call| {
        let function = &call["function"];
        (function["name"].as_str().unwrap_or_default().to_owned(), read_arguments(&function["arguments"]))
    })
    .collect()
}

fn read_arguments(said: &Value) -> Value {
    match said {
        Value::String(text) => serde_json::from_str(text).unwrap_or_else(|_| panic!("no JSON: {text}")),
        other => other.clone(),
    }
}

async fn play(mesh: &Mesh, door: Door, feature: Feature, stream: bool) {
    let cell = format!("{door} {feature:?} streamed: {stream}");
    let reply = post(mesh.client(), door.path(stream), &door.body(feature, stream)).await;
    let status = reply.status();
    assert_eq!(status, 200, "{cell}: {}", reply.text().await);
    let told = door.read(reply, stream).await;
    let sent = mesh.engine(0).requests().last().expect("a request").body.to_string();
    let said = |calls| Told { text: "t0 t1 t2 t3 ".into(), calls, ..Told::default() };
    match feature {
        Text | Images => assert_eq!(told, said(Vec::new()), "{cell}"),
        Tools => {
            let call = ("weather".to_owned(), json!({"city": "Oslo", "at": [1, 2]}));
            assert_eq!(told, said(vec![call]), "{cell}");
        }
        Thinking => {
            assert_eq!(told.text, said(Vec::new()).text, "{cell}");
            assert!(!told.thinking.is_empty(), "{cell}: it has not thought");
        }
        Schema => assert_eq!(told.text, "{\"text\":\"t0 t1 t2 t3 \"}", "{cell}"),
    }
    if feature == Images {
        assert!(sent.contains(PNG), "{cell}: the picture has not reached the engine");
    }
}

async fn all_cells(api: Api) {
    let mesh = able(api).await;
    for door in DOORS {
        for feature in FEATURES.into_iter().filter(|feature| door.lacks(*feature).is_none()) {
            for stream in [false, true] {
                play(&mesh, door, feature, stream).await;
            }
        }
    }
}

#[tokio::test]
async fn every_route_gives_everything_on_a_node_with_ollama() {
    all_cells(Api::Ollama).await;
}

#[tokio::test]
async fn every_route_gives_everything_on_a_node_with_llama_cpp() {
    all_cells(Api::Openai).await;
}

/// The columns of the table, each with the test that plays it.
const COLUMNS: [(&str, &str); 11] = [
    ("whole", "every_route_gives_everything_on"),
    ("streamed", "every_route_gives_everything_on"),
    ("tools", "every_route_gives_everything_on"),
    ("images", "every_route_gives_everything_on"),
    ("thinking", "every_route_gives_everything_on"),
    ("schema", "every_route_gives_everything_on"),
    ("continuation", "an_answer_goes_on_from_another_node_on_every_route"),
    ("cancel", "hanging_up_stops_the_engine_on_every_route"),
    ("queue", "who_waits_in_line_is_served_in_turn_and_told_how_long_it_was"),
    ("429", "a_full_queue_says_when_to_come_back_on_every_route"),
    ("deadline", "a_deadline_holds_on_every_route_before_the_first_piece_and_after_it"),
];

/// The table as Markdown, with a note for each cell that is not played.
fn table() -> String {
    let mut notes: Vec<&str> = Vec::new();
    let titles: Vec<&str> = COLUMNS.iter().map(|(title, _)| *title).collect();
    let mut text =
        format!("| route | node | {} |\n|{}\n", titles.join(" | "), " --- |".repeat(COLUMNS.len() + 2));
    for door in DOORS {
        for node in ["Ollama", "llama.cpp"] {
            text += &format!("| {door} | {node} |");
            for (title, _) in COLUMNS {
                let feature =
                    FEATURES.into_iter().find(|feature| format!("{feature:?}").to_lowercase() == title);
                match feature.and_then(|feature| door.lacks(feature)) {
                    None => text += " yes |",
                    Some(why) => {
                        let number = notes.iter().position(|note| *note == why).unwrap_or_else(|| {
                            notes.push(why);
                            notes.len() - 1
                        });
                        text += &format!(" no ({}) |", number + 1);
                    }
                }
            }
            text.push('\n');
        }
    }
    text.push('\n');
    for (number, note) in notes.iter().enumerate() {
        text += &format!("{}. {note}\n", number + 1);
    }
    text
}

#[test]
fn the_table_in_the_documents_is_the_one_that_is_played() {
    let played = [include_str!("matrix.rs"), include_str!("routes.rs")].concat();
    for (title, test) in COLUMNS {
        assert!(played.contains(&format!("async fn {test}")), "{title}: there is no test {test}");
    }
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/routes.md");
    let written = fs::read_to_string(path).expect("docs/routes.md");
    assert!(written.contains(&table()), "docs/routes.md does not hold this table:\n{}", table());
}
