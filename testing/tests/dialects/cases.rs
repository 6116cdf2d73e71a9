//! The requests that an engine and a mesh are both sent.

use serde_json::{Value, json};

use super::wire::{ABLE, EMBEDDER, weather};

/// A request: its name, method, path and body.
pub type Case = (&'static str, &'static str, &'static str, Value);

/// Every route of Ollama's, with every field at least once.
pub fn cases() -> Vec<Case> {
    let ask = |content: &str| json!([{"role": "user", "content": content}]);
    let schema =
        json!({"type": "object", "properties": {"zeta": {"type": "string"}, "alpha": {"type": "string"}}});
    let called = json!([{"role": "user", "content": "weather? [tokens=3] [tool=none]"},
        {"role": "assistant", "content": "", "thinking": "hm", "tool_calls": [
            {"id": "c1", "function": {"index": 0, "name": "weather", "arguments": {"city": "Oslo"}}}]},
        {"role": "tool", "content": "rain", "tool_name": "weather", "tool_call_id": "c1"}]);
    let seen = json!([{"role": "user", "content": "see [tokens=2]", "images": ["iVBORw0KGgo="]}]);
    let options = json!({"num_predict": 3, "temperature": 0.7, "seed": 42, "top_k": 4, "top_p": 0.9, "min_p": 0.05,
        "typical_p": 0.7, "repeat_last_n": 33, "repeat_penalty": 1.2, "presence_penalty": 1.5,
        "frequency_penalty": 1.0, "stop": ["t9"], "num_keep": 5, "mirostat": 1});
    vec![
        ("generate", "POST", "/api/generate", json!({"model": ABLE, "prompt": "[tokens=5] [chunk=2]"})),
        (
            "generate, whole",
            "POST",
            "/api/generate",
            json!({"model": ABLE, "prompt": "[tokens=5]", "stream": false}),
        ),
        (
            "generate, text in the last line",
            "POST",
            "/api/generate",
            json!({"model": ABLE, "prompt": "[tokens=4] [final=text]"}),
        ),
        (
            "generate, raw",
            "POST",
            "/api/generate",
            json!({"model": ABLE, "prompt": "[tokens=3]", "raw": true}),
        ),
        (
            "generate, thinking",
            "POST",
            "/api/generate",
            json!({"model": ABLE, "prompt": "[tokens=3]", "think": true}),
        ),
        (
            "generate, a level of thinking",
            "POST",
            "/api/generate",
            json!({"model": ABLE, "prompt": "[tokens=3]", "think": "high", "stream": false}),
        ),
        (
            "generate, options",
            "POST",
            "/api/generate",
            json!({"model": ABLE, "prompt": "[tokens=9]", "options": options}),
        ),
        (
            "generate, everything",
            "POST",
            "/api/generate",
            json!({"model": "able:latest", "prompt": "[tokens=3]", "suffix": "end",
            "system": "be brief", "template": "{{ .Prompt }}", "context": [1, 2], "images": ["iVBORw0KGgo="],
            "keep_alive": 300, "truncate": true, "shift": true, "logprobs": true, "top_logprobs": 2, "a_new_field": {"b": 1}}),
        ),
        (
            "generate, whole with logprobs",
            "POST",
            "/api/generate",
            json!({"model": ABLE, "prompt": "[tokens=3]", "stream": false, "logprobs": true}),
        ),
        (
            "generate, JSON",
            "POST",
            "/api/generate",
            json!({"model": ABLE, "prompt": "[tokens=3]", "format": "json"}),
        ),
        (
            "generate, a schema",
            "POST",
            "/api/generate",
            json!({"model": ABLE, "prompt": "[tokens=3]", "format": schema, "stream": false}),
        ),
        ("generate, load", "POST", "/api/generate", json!({"model": ABLE, "keep_alive": "5m"})),
        ("generate, unload", "POST", "/api/generate", json!({"model": ABLE, "keep_alive": 0})),
        ("generate, no model", "POST", "/api/generate", json!({"prompt": "x"})),
        ("generate, an unknown model", "POST", "/api/generate", json!({"model": "nobody", "prompt": "x"})),
        ("generate, a wrong type", "POST", "/api/generate", json!({"model": ABLE, "prompt": 5})),
        ("chat", "POST", "/api/chat", json!({"model": ABLE, "messages": ask("[tokens=5]")})),
        (
            "chat, whole",
            "POST",
            "/api/chat",
            json!({"model": ABLE, "messages": ask("[tokens=5]"), "stream": false}),
        ),
        (
            "chat, no thinking",
            "POST",
            "/api/chat",
            json!({"model": ABLE, "messages": ask("[tokens=2] [final=text]"), "think": false}),
        ),
        (
            "chat, tools",
            "POST",
            "/api/chat",
            json!({"model": ABLE, "messages": ask("hi"), "tools": [weather()]}),
        ),
        (
            "chat, tools and text",
            "POST",
            "/api/chat",
            json!({"model": ABLE, "messages": ask("[tokens=3]"), "tools": [weather()], "stream": false}),
        ),
        ("chat, the answer of a tool", "POST", "/api/chat", json!({"model": ABLE, "messages": called})),
        ("chat, pictures", "POST", "/api/chat", json!({"model": ABLE, "messages": seen})),
        (
            "chat, a schema",
            "POST",
            "/api/chat",
            json!({"model": ABLE, "messages": ask("[tokens=3]"), "format": schema}),
        ),
        (
            "chat, logprobs",
            "POST",
            "/api/chat",
            json!({"model": ABLE, "messages": ask("[tokens=3]"), "logprobs": true, "top_logprobs": 1, "stream": false}),
        ),
        (
            "chat, continued",
            "POST",
            "/api/chat",
            json!({"model": ABLE, "messages": [{"role": "user", "content": "[tokens=5]"}, {"role": "assistant", "content": "t0 t1 "}]}),
        ),
        (
            "generate, newer",
            "POST",
            "/api/generate",
            json!({"model": ABLE, "prompt": "[tokens=3]", "think": true, "newer": true, "logprobs": true}),
        ),
        (
            "generate, newer and whole",
            "POST",
            "/api/generate",
            json!({"model": ABLE, "prompt": "[tokens=3]", "newer": true, "stream": false}),
        ),
        ("chat, newer", "POST", "/api/chat", newer(true)),
        ("chat, newer and whole", "POST", "/api/chat", newer(false)),
        ("chat, load", "POST", "/api/chat", json!({"model": ABLE, "messages": []})),
        ("chat, unload", "POST", "/api/chat", json!({"model": ABLE, "keep_alive": 0})),
        ("chat, no model", "POST", "/api/chat", json!({"messages": ask("x")})),
        ("chat, an unknown model", "POST", "/api/chat", json!({"model": "nobody:7b", "messages": ask("x")})),
        (
            "chat, a wrong think",
            "POST",
            "/api/chat",
            json!({"model": ABLE, "messages": ask("x"), "think": "much"}),
        ),
        (
            "chat, tools without the skill",
            "POST",
            "/api/chat",
            json!({"model": EMBEDDER, "messages": ask("x"), "tools": [weather()]}),
        ),
        (
            "embed",
            "POST",
            "/api/embed",
            json!({"model": EMBEDDER, "input": ["one", "two words"], "truncate": true}),
        ),
        (
            "embed, one text",
            "POST",
            "/api/embed",
            json!({"model": EMBEDDER, "input": "one", "dimensions": 4, "keep_alive": "1m"}),
        ),
        ("embed, newer", "POST", "/api/embed", json!({"model": EMBEDDER, "input": "one", "newer": true})),
        (
            "embeddings, newer",
            "POST",
            "/api/embeddings",
            json!({"model": EMBEDDER, "prompt": "one", "newer": true}),
        ),
        ("embed, nothing", "POST", "/api/embed", json!({"model": EMBEDDER, "input": []})),
        ("embed, an empty text", "POST", "/api/embed", json!({"model": EMBEDDER, "input": ""})),
        (
            "embed, a size that is none",
            "POST",
            "/api/embed",
            json!({"model": EMBEDDER, "input": [""], "dimensions": -1}),
        ),
        ("embed, an unknown model", "POST", "/api/embed", json!({"model": "nobody", "input": "x"})),
        (
            "embeddings",
            "POST",
            "/api/embeddings",
            json!({"model": EMBEDDER, "prompt": "one", "options": {"num_ctx": 64}}),
        ),
        ("show", "POST", "/api/show", json!({"model": "able:latest"})),
        ("show, by the old name", "POST", "/api/show", json!({"name": "able:latest", "verbose": true})),
        ("show, an unknown model", "POST", "/api/show", json!({"model": "nobody"})),
        ("show, no model", "POST", "/api/show", json!({})),
        ("pull", "POST", "/api/pull", json!({"model": "fresh"})),
        ("pull, whole", "POST", "/api/pull", json!({"model": "fresh", "stream": false})),
        ("tags", "GET", "/api/tags", Value::Null),
        ("version", "GET", "/api/version", Value::Null),
        ("root", "GET", "/", Value::Null),
        ("root, the head", "HEAD", "/", Value::Null),
        ("delete", "DELETE", "/api/delete", json!({"model": "fresh"})),
        ("delete, an unknown model", "DELETE", "/api/delete", json!({"model": "nobody"})),
        ("a broken body", "POST", "/api/chat", Value::Null),
    ]
}

/// A chat with fields that no Ollama knows yet, at every level; the scripted engine answers in kind.
fn newer(stream: bool) -> Value {
    let mut tool = weather();
    tool["cached"] = json!({"for": "5m"});
    tool["function"]["strict"] = true.into();
    tool["function"]["parameters"]["properties"]["city"]["examples"] = json!(["Oslo"]);
    let function = json!({"index": 0, "name": "weather", "arguments": {"city": "Oslo"}, "strict": true, "cost": {"a": 1}});
    let call = json!({"id": "c1", "type": "function", "origin": [1, {"b": null}], "function": function});
    let messages = json!([
        {"role": "user", "content": "weather? [tokens=3]", "mood": {"c": [1]}},
        {"role": "assistant", "content": "", "tool_calls": [call], "signature": "x", "refusal": null},
        {"role": "tool", "content": "rain", "tool_name": "weather", "tool_call_id": "c1", "took": 0.5},
        {"role": "user", "content": "and now? [tokens=2]"}]);
    json!({"model": ABLE, "messages": messages, "tools": [tool], "stream": stream, "newer": true,
        "options": {"seed": 1, "a_new_option": {"d": 1}}, "a_new_field": [{"e": null}]})
}
