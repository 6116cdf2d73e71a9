//! Spoilt answers of an Ollama server: its streams in any packets, what it says of itself, its vectors.

use serde_json::Value;

use super::embed::{embedded, embedded_one};
use super::reply::{Pull, Reply};
use super::{plain, probe, resume};
use crate::engine::any::is_the_same_in_any_packets;

const CHAT: &str = concat!(
    r#"{"model":"m","created_at":"2026-01-01T00:00:00Z","message":{"role":"assistant","content":"","thinking":"hm"},"done":false}"#,
    "\n",
    r#"{"model":"m","created_at":"2026-01-01T00:00:00Z","message":{"role":"assistant","content":"café \ud83d\ude00","tool_calls":[{"id":"c","function":{"index":1,"name":"f","arguments":{"a":[1,-2.5e3]}}}]},"logprobs":[{"token":"a","logprob":-0.5}],"done":false}"#,
    "\r\n",
    r#"{"model":"m","message":{"role":"assistant","content":"end"},"done":true,"done_reason":"stop","total_duration":9,"load_duration":1,"prompt_eval_count":5,"prompt_eval_duration":2,"eval_count":3,"eval_duration":4}"#,
    "\n"
);
const GENERATE: &str = concat!(
    r#"{"model":"m","created_at":"t","response":"a","done":false}"#,
    "\n",
    r#"{"model":"m","response":"","thinking":"t","done":true,"done_reason":"length","context":[1,2,3],"eval_count":18446744073709551615}"#
);
const PULL: &str = "{\"status\":\"pulling\",\"total\":5,\"completed\":3}\n{\"status\":\"success\"}\n";

#[test]
fn streams() {
    echo_fuzz::parser_with("ollama: stream", &[CHAT, GENERATE], |bytes, random| {
        is_the_same_in_any_packets(bytes, random, Reply::default)
    });
    echo_fuzz::parser_with("ollama: pull", &[PULL], |bytes, random| {
        is_the_same_in_any_packets(bytes, random, || Pull)
    });
}

/// What is read the quick way is what the general way finds.
#[test]
fn a_line_of_mere_text() {
    echo_fuzz::parser("ollama: a line of mere text", &[GENERATE.lines().next().unwrap()], |line| {
        let general = serde_json::from_slice::<Value>(line).ok();
        if let (Some(text), Some(value)) = (plain::text(line), &general) {
            let said = value["response"].as_str().or_else(|| value["message"]["content"].as_str());
            assert_eq!(said, Some(text.as_str()));
        }
        general.is_some()
    });
}

#[test]
fn what_it_says_of_itself() {
    let tags = r#"{"models":[{"name":"mistral:latest","model":"mistral:latest","size":5,"digest":"d","details":{"family":"x"},"capabilities":["completion","tools"],"size_vram":1,"context_length":4096,"expires_at":"t"},{"model":"registry.ollama.ai/library/phi"}]}"#;
    echo_fuzz::parser("ollama: list of models", &[tags, r#"{"models":null}"#], |bytes| {
        let Ok(value) = serde_json::from_slice::<Value>(bytes) else { return false };
        let Some(found) = probe::found(&value, &probe::loaded(&value)) else { return false };
        let skills = probe::Skills::default();
        assert_eq!(skills.note(&found), !found.is_empty());
        assert!(!skills.note(&found), "the same models are no others");
        true
    });
}

#[test]
fn vectors_and_renderings() {
    let seeds = [
        r#"{"model":"m","embeddings":[[0.5,-1,2e-7],[1,2,3]],"total_duration":7,"prompt_eval_count":5}"#,
        r#"{"embedding":[0.5,-1,2e-7]}"#,
        r#"{"model":"m","_debug_info":{"rendered_template":"<user>hi","image_count":0}}"#,
    ];
    echo_fuzz::parser("ollama: vectors and renderings", &seeds, |bytes| {
        let rendered = resume::rendered(bytes).is_ok();
        let value = serde_json::from_slice::<Value>(bytes).unwrap_or_default();
        embedded(value.clone()).is_ok() | embedded_one(value).is_ok() | rendered
    });
}
