//! OpenAI's server-sent events, line by line, in the mesh's words.

use std::collections::VecDeque;

use echo_bus::message::{Done, Failure, Piece, Reason, Timings};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::counting::Counting;
use crate::engine::calls::{Calls, Part};
use crate::engine::contract::Step;
use crate::engine::http::said;
use crate::engine::steps::{Translate, nonsense, unfinished};
use crate::engine::verdict;

#[derive(Deserialize)]
struct Chunk {
    #[serde(default)]
    error: Option<Value>,
    #[serde(default)]
    choices: Option<Vec<Choice>>,
    #[serde(default)]
    usage: Option<Usage>,
    #[serde(default)]
    timings: Option<Pace>,
}

#[derive(Deserialize)]
struct Choice {
    #[serde(default)]
    delta: Option<Delta>,
    #[serde(default)]
    text: Option<String>,
    #[serde(default)]
    logprobs: Option<Value>,
    #[serde(default)]
    finish_reason: Option<String>,
}

#[derive(Deserialize, Default)]
struct Delta {
    #[serde(default)]
    content: Option<String>,
    #[serde(default, alias = "reasoning")]
    reasoning_content: Option<String>,
    #[serde(default)]
    tool_calls: Option<Vec<Part>>,
}

#[derive(Deserialize)]
struct Usage {
    #[serde(default)]
    prompt_tokens: Option<u64>,
    #[serde(default)]
    completion_tokens: Option<u64>,
    #[serde(default)]
    prompt_tokens_details: Option<Details>,
}

#[derive(Deserialize)]
struct Details {
    #[serde(default)]
    cached_tokens: Option<u64>,
}

/// llama.cpp's own measurements.
#[derive(Deserialize)]
struct Pace {
    #[serde(default)]
    cache_n: Option<u64>,
    #[serde(default)]
    prompt_n: Option<u64>,
    #[serde(default)]
    prompt_ms: f64,
    #[serde(default)]
    predicted_n: Option<u64>,
    #[serde(default)]
    predicted_ms: f64,
}

impl Chunk {
    fn prompt_tokens(&self) -> Option<u64> {
        let by_pace = || {
            self.timings
                .as_ref()
                .and_then(|pace| pace.prompt_n?.checked_add(pace.cache_n.unwrap_or_default()))
        };
        self.usage.as_ref().and_then(|usage| usage.prompt_tokens).or_else(by_pace)
    }

    fn cached_tokens(&self) -> Option<u64> {
        let by_usage = || self.usage.as_ref()?.prompt_tokens_details.as_ref()?.cached_tokens;
        self.timings.as_ref().and_then(|pace| pace.cache_n).or_else(by_usage)
    }

    /// Made so far.
    fn tokens(&self) -> Option<u64> {
        let by_pace = || self.timings.as_ref().and_then(|pace| pace.predicted_n);
        self.usage.as_ref().and_then(|usage| usage.completion_tokens).or_else(by_pace)
    }
}

/// Reads /v1/chat/completions and /v1/completions.
#[derive(Debug, Default)]
pub struct Reply {
    calls: Calls,
    finished: Option<Reason>,
    done: Done,
    counting: Counting,
    over: bool,
}

impl Translate for Reply {
    fn line(&mut self, line: &[u8], steps: &mut VecDeque<Step>) -> Result<(), Failure> {
        if self.over {
            return Ok(());
        }
        // Comments, event names and ids say nothing about the answer. llama.cpp has had `error:` lines.
        let Some(data) = field(line, b"data").or_else(|| field(line, b"error")) else {
            return if is_event_line(line) { Ok(()) } else { Err(not_an_event(line)) };
        };
        if data == b"[DONE]" {
            return self.finish(steps);
        }
        let chunk: Chunk = serde_json::from_slice(data).map_err(|_| nonsense("an event that is no chunk"))?;
        self.chunk(chunk, data, steps)
    }

    /// Some servers end without the last marker.
    fn end(&mut self, steps: &mut VecDeque<Step>) -> Result<(), Failure> {
        self.finish(steps)
    }
}

impl Reply {
    fn chunk(&mut self, mut chunk: Chunk, data: &[u8], steps: &mut VecDeque<Step>) -> Result<(), Failure> {
        if let Some(error) = chunk.error.as_ref().filter(|error| !error.is_null()) {
            return Err(reported(error));
        }
        let Some(choices) = chunk.choices.take() else { return Err(nonsense("an event without choices")) };
        let (prompt, tokens) = (chunk.prompt_tokens(), chunk.tokens());
        self.done.prompt_tokens = prompt.or(self.done.prompt_tokens);
        self.done.tokens = tokens.or(self.done.tokens);
        self.done.cached_tokens = chunk.cached_tokens().or(self.done.cached_tokens);
        if let Some(pace) = &chunk.timings {
            self.done.timings = timings(pace);
        }
        let choice = choices.into_iter().next();
        let finish = choice.as_ref().and_then(|choice| choice.finish_reason.as_deref()).map(reason);
        let mut piece = choice.map(|choice| self.piece(choice)).transpose()?.unwrap_or_default();
        if piece == Piece::default() {
            steps.push_back(Step::Alive)
        } else {
            self.counting.mark(&mut piece, prompt, tokens);
            steps.push_back(Step::Piece(piece))
        }
        if finish.is_some() {
            self.finished = finish;
        }
        if self.finished.is_some() {
            self.done.extra.append(&mut extra(data));
        }
        Ok(())
    }

    fn piece(&mut self, choice: Choice) -> Result<Piece, Failure> {
        let delta = choice.delta.unwrap_or_default();
        // Calls come in parts, and are handed on whole at the end.
        for part in delta.tool_calls.into_iter().flatten() {
            self.calls.add(part)?;
        }
        Ok(Piece {
            content: delta.content.or(choice.text).unwrap_or_default(),
            thinking: delta.reasoning_content.unwrap_or_default(),
            tool_calls: Vec::new(),
            logprobs: choice.logprobs.filter(|logprobs| !logprobs.is_null()).map(Box::new),
            ..Piece::default()
        })
    }

    fn finish(&mut self, steps: &mut VecDeque<Step>) -> Result<(), Failure> {
        let Some(reason) = self.finished else { return Err(unfinished()) };
        self.over = true;
        let calls = std::mem::take(&mut self.calls).whole();
        self.done.reason = match reason {
            Reason::Stop if !calls.is_empty() => Reason::ToolCalls,
            reason => reason,
        };
        if !calls.is_empty() {
            steps.push_back(Step::Piece(Piece { tool_calls: calls, ..Piece::default() }));
        }
        steps.push_back(Step::Done(Box::new(std::mem::take(&mut self.done))));
        Ok(())
    }
}

fn field<'a>(line: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let value = line.strip_prefix(name)?.strip_prefix(b":")?;
    Some(value.trim_ascii())
}

fn is_event_line(line: &[u8]) -> bool {
    let names: [&[u8]; 4] = [b"event:", b"id:", b"retry:", b":"];
    line.trim_ascii().is_empty() || names.iter().any(|name| line.starts_with(name))
}

/// An error object without an event around it, or nonsense.
fn not_an_event(line: &[u8]) -> Failure {
    let value: Value = serde_json::from_slice(line).unwrap_or_default();
    match value.get("error") {
        Some(error) => reported(error),
        None => nonsense("a line that is no event"),
    }
}

fn reported(error: &Value) -> Failure {
    verdict::reported(&said(error))
}

fn reason(word: &str) -> Reason {
    match word {
        "stop" => Reason::Stop,
        "length" => Reason::Length,
        "tool_calls" | "function_call" => Reason::ToolCalls,
        _ => Reason::Unknown,
    }
}

fn timings(pace: &Pace) -> Timings {
    let ns = |ms: f64| (ms.max(0.0) * 1e6) as u64;
    let (prompt_ns, eval_ns) = (ns(pace.prompt_ms), ns(pace.predicted_ms));
    Timings { total_ns: prompt_ns.saturating_add(eval_ns), load_ns: 0, prompt_ns, eval_ns }
}

/// Fields of the last events that have no place of their own.
fn extra(data: &[u8]) -> Map<String, Value> {
    let mut fields: Map<String, Value> = serde_json::from_slice(data).unwrap_or_default();
    for known in ["id", "object", "created", "model", "choices", "usage", "timings", "system_fingerprint"] {
        fields.remove(known);
    }
    fields.retain(|_, value| !value.is_null());
    fields
}

#[cfg(test)]
mod tests {
    use super::*;
    use echo_bus::message::{Code, Verdict};
    use proptest::prelude::*;
    use serde_json::json;

    fn read(events: &[Value]) -> Result<Vec<Step>, Failure> {
        let (mut reply, mut steps) = (Reply::default(), VecDeque::new());
        for event in events {
            reply.line(format!("data: {event}").as_bytes(), &mut steps)?;
            reply.line(b"", &mut steps)?;
        }
        reply.line(b"data: [DONE]", &mut steps)?;
        steps.retain(|step| *step != Step::Alive);
        Ok(steps.into())
    }

    fn delta(delta: Value) -> Value {
        json!({"choices": [{"index": 0, "delta": delta, "finish_reason": null}]})
    }

    fn finish(word: &str) -> Value {
        json!({"choices": [{"index": 0, "delta": {}, "finish_reason": word}]})
    }

    fn done(steps: &[Step]) -> &Done {
        let Some(Step::Done(done)) = steps.last() else { panic!("no end in {steps:?}") };
        done
    }

    #[test]
    fn chunks_are_pieces_and_a_null_is_none() {
        let steps = read(&[
            delta(json!({"role": "assistant", "content": null})),
            delta(json!({"content": "a"})),
            delta(json!({"reasoning_content": "hm"})),
            finish("length"),
            json!({"choices": [], "usage": {"prompt_tokens": 2, "completion_tokens": 9},
                "timings": {"prompt_ms": 1.5, "predicted_n": 9, "predicted_ms": 2.0}, "id": "x", "service_tier": "s"}),
        ])
        .unwrap();
        let thought = Piece { thinking: "hm".into(), ..Piece::default() };
        assert_eq!(steps[..2], [Step::Piece(Piece::text("a")), Step::Piece(thought)]);
        let done = done(&steps);
        assert_eq!((done.reason, done.tokens, done.prompt_tokens), (Reason::Length, Some(9), Some(2)));
        assert_eq!(done.timings.eval_ns, 2_000_000);
        assert_eq!(Value::from(done.extra.clone()), json!({"service_tier": "s"}));
    }

    #[test]
    fn counts_in_mid_stream_are_read_from_either_place() {
        let timed = |text: &str, tokens: u64| {
            json!({"choices": [{"text": text, "finish_reason": null}],
                "timings": {"cache_n": 6, "prompt_n": 4, "predicted_n": tokens, "predicted_ms": 1.0}})
        };
        let used = |text: &str, tokens: u64| {
            json!({"choices": [{"text": text, "finish_reason": null}],
                "usage": {"prompt_tokens": 10, "completion_tokens": tokens,
                    "prompt_tokens_details": {"cached_tokens": 6}}})
        };
        for said in [timed, used as fn(&str, u64) -> Value] {
            let steps = read(&[said("\u{1f600}", 3), said("", 4), said("a", 6), finish("stop")]).unwrap();
            let first = Piece { tokens: Some(3), prompt_tokens: Some(10), ..Piece::text("\u{1f600}") };
            let second = Piece { tokens: Some(3), ..Piece::text("a") };
            assert_eq!(steps[..2], [Step::Piece(first), Step::Piece(second)]);
            let done = done(&steps);
            assert_eq!((done.tokens, done.prompt_tokens, done.cached_tokens), (Some(6), Some(10), Some(6)));
        }
    }

    #[test]
    fn plain_completions_are_read_too() {
        let steps = read(&[
            json!({"choices": [{"text": "a", "finish_reason": null}]}),
            json!({"choices": [{"text": "", "finish_reason": "stop"}]}),
        ])
        .unwrap();
        assert_eq!((steps.len(), done(&steps).reason), (2, Reason::Stop));
    }

    #[test]
    fn a_tool_call_in_parts_is_handed_on_whole() {
        let part = |index: u32, id: Value, name: Value, arguments: &str| {
            delta(
                json!({"tool_calls": [{"index": index, "id": id, "function": {"name": name, "arguments": arguments}}]}),
            )
        };
        let steps = read(&[
            part(0, json!("c0"), json!("now"), ""),
            part(0, Value::Null, Value::Null, "{\"tz\":"),
            part(1, json!("c1"), json!("later"), "oops"),
            part(0, Value::Null, Value::Null, "\"UTC\"}"),
            finish("tool_calls"),
        ])
        .unwrap();
        let Step::Piece(piece) = &steps[0] else { panic!("{steps:?}") };
        assert_eq!(piece.tool_calls[0].arguments, json!({"tz": "UTC"}));
        assert_eq!((piece.tool_calls[1].id.as_str(), &piece.tool_calls[1].arguments), ("c1", &json!("oops")));
        assert_eq!((steps.len(), done(&steps).reason), (2, Reason::ToolCalls));
    }

    #[test]
    fn errors_and_unfinished_streams_are_failures() {
        let error = read(&[json!({"error": {"message": "no room"}})]).unwrap_err();
        assert_eq!((error.verdict, error.code), (Verdict::Elsewhere, Code::EngineError));
        assert!(error.message.ends_with("no room"));
        assert!(read(&[delta(json!({"content": "a"}))]).is_err(), "[DONE] without a reason");
        let mut reply = Reply::default();
        assert!(reply.end(&mut VecDeque::new()).is_err());
        for bad in ["\u{fffd}\u{0}", "{}", "data: {", "data: {}", "data: 3", "data:", "{\"error\":\"x\"}"] {
            assert!(reply.line(bad.as_bytes(), &mut VecDeque::new()).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_stream_may_end_after_its_reason_without_the_marker() {
        let (mut reply, mut steps) = (Reply::default(), VecDeque::new());
        for line in [": ping".to_owned(), "event: x".to_owned(), format!("data:{}", finish("stop"))] {
            reply.line(line.as_bytes(), &mut steps).unwrap();
        }
        reply.end(&mut steps).unwrap();
        assert!(matches!(steps.back(), Some(Step::Done(_))));
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_reader_panic(lines in prop::collection::vec("(data: ?)?\\PC{0,40}|data: \\{\"choices\":\\[[^\"]{0,9}\\]\\}", 0..8)) {
            let (mut reply, mut steps) = (Reply::default(), VecDeque::new());
            for line in &lines {
                let _ = reply.line(line.as_bytes(), &mut steps);
            }
            let _ = reply.end(&mut steps);
        }

        #[test]
        fn no_raw_bytes_either(line in prop::collection::vec(any::<u8>(), 0..80)) {
            let _ = Reply::default().line(&line, &mut VecDeque::new());
        }
    }
}
