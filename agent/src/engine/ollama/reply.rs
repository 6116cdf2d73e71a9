//! Ollama's answers, line by line, in the mesh's words.

use std::collections::VecDeque;

use echo_bus::message::{Code, Done, Failure, Piece, Reason, Timings, ToolCall};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Map, Value};

use super::plain;
use crate::engine::contract::Step;
use crate::engine::http::said;
use crate::engine::steps::{Translate, nonsense, unfinished};
use crate::engine::{calls, verdict};

#[derive(Deserialize)]
struct Line {
    #[serde(default)]
    error: Option<Value>,
    #[serde(default)]
    message: Option<Said>,
    #[serde(default)]
    response: Option<String>,
    #[serde(default)]
    thinking: Option<String>,
    #[serde(default)]
    logprobs: Option<Value>,
    #[serde(default)]
    done: bool,
    #[serde(default)]
    done_reason: Value,
    #[serde(default)]
    total_duration: Value,
    #[serde(default)]
    load_duration: Value,
    #[serde(default)]
    prompt_eval_count: Value,
    #[serde(default)]
    prompt_eval_duration: Value,
    #[serde(default)]
    eval_count: Value,
    #[serde(default)]
    eval_duration: Value,
    #[serde(default, rename = "model")]
    _model: IgnoredAny,
    #[serde(default, rename = "created_at")]
    _created_at: IgnoredAny,
    #[serde(flatten)]
    extra: Map<String, Value>,
}

#[derive(Deserialize, Default)]
struct Said {
    #[serde(default, rename = "role")]
    _role: IgnoredAny,
    #[serde(default)]
    content: Option<String>,
    #[serde(default)]
    thinking: Option<String>,
    #[serde(default)]
    tool_calls: Option<Vec<Called>>,
    #[serde(flatten)]
    extra: Map<String, Value>,
}

#[derive(Deserialize)]
struct Called {
    #[serde(default)]
    id: Value,
    function: Function,
    #[serde(flatten)]
    extra: Map<String, Value>,
}

#[derive(Deserialize)]
struct Function {
    #[serde(default)]
    index: Value,
    name: String,
    #[serde(default)]
    arguments: Value,
    #[serde(flatten)]
    extra: Map<String, Value>,
}

/// Reads /api/generate and /api/chat.
#[derive(Debug, Default)]
pub struct Reply {
    called_tools: bool,
    /// The lowest index that no call has yet.
    next_call: u32,
    done: bool,
}

impl Translate for Reply {
    fn line(&mut self, line: &[u8], steps: &mut VecDeque<Step>) -> Result<(), Failure> {
        if self.done || line.iter().all(u8::is_ascii_whitespace) {
            return Ok(());
        }
        if let Some(text) = plain::text(line) {
            steps.push_back(Step::Piece(Piece::text(text)));
            return Ok(());
        }
        let read: Line = serde_json::from_slice(line).map_err(|_| nonsense("a line that is no chunk"))?;
        if let Some(error) = &read.error {
            return Err(reported(error));
        }
        if read.message.is_none() && read.response.is_none() && !read.done {
            return Err(nonsense("a line that says nothing"));
        }
        self.done = read.done;
        let (mut piece, done) = self.piece_and_done(read);
        self.called_tools |= !piece.tool_calls.is_empty();
        // The last line may carry text too.
        if piece != Piece::default() {
            piece.last = self.done;
            steps.push_back(Step::Piece(piece));
        } else if !self.done {
            steps.push_back(Step::Alive);
        }
        if let Some(mut done) = done {
            if self.called_tools && done.reason == Reason::Stop {
                done.reason = Reason::ToolCalls;
            }
            steps.push_back(Step::Done(Box::new(done)));
        }
        Ok(())
    }

    fn end(&mut self, _: &mut VecDeque<Step>) -> Result<(), Failure> {
        Err(unfinished())
    }
}

impl Reply {
    /// What a line says; the last line's own fields belong to its end.
    fn piece_and_done(&mut self, mut line: Line) -> (Piece, Option<Done>) {
        let done = line.done.then(|| done(&mut line));
        let message = line.message.unwrap_or_default();
        let mut extra = line.extra;
        if !message.extra.is_empty() {
            extra.insert("message".to_owned(), message.extra.into());
        }
        let calls = message.tool_calls.unwrap_or_default().into_iter().map(|call| self.tool_call(call));
        let piece = Piece {
            content: message.content.or(line.response).unwrap_or_default(),
            thinking: message.thinking.or(line.thinking).unwrap_or_default(),
            tool_calls: calls.collect(),
            logprobs: line.logprobs.filter(|logprobs| !logprobs.is_null()).map(Box::new),
            extra: Piece::extra(extra),
            ..Piece::default()
        };
        (piece, done)
    }

    /// A call under an index that no other call of the answer has: some engines give the same one to all, or none.
    fn tool_call(&mut self, call: Called) -> ToolCall {
        let Function { index, name, arguments, extra: of_function } = call.function;
        let said = calls::index(&index).and_then(|index| u32::try_from(index).ok());
        let index = said.unwrap_or_default().max(self.next_call);
        self.next_call = index.saturating_add(1);
        let mut extra = call.extra;
        if !of_function.is_empty() {
            extra.insert("function".to_owned(), of_function.into());
        }
        ToolCall { id: calls::id(&call.id), index, name, arguments: calls::arguments(arguments), extra }
    }
}

/// An error line on a 200.
fn reported(error: &Value) -> Failure {
    verdict::reported(&said(error))
}

fn done(line: &mut Line) -> Done {
    let reason = match line.done_reason.as_str() {
        Some("stop") | None => Reason::Stop,
        Some("length") => Reason::Length,
        Some("load") => Reason::Load,
        Some("unload") => Reason::Unload,
        Some(_) => Reason::Unknown,
    };
    let ns = |value: &Value| value.as_u64().unwrap_or_default();
    let mut extra = std::mem::take(&mut line.extra);
    // A word that is not known goes on as it is.
    if reason == Reason::Unknown {
        extra.insert("done_reason".to_owned(), line.done_reason.take());
    }
    Done {
        reason,
        prompt_tokens: line.prompt_eval_count.as_u64(),
        tokens: line.eval_count.as_u64(),
        timings: Timings {
            total_ns: ns(&line.total_duration),
            load_ns: ns(&line.load_duration),
            prompt_ns: ns(&line.prompt_eval_duration),
            eval_ns: ns(&line.eval_duration),
        },
        extra,
        ..Done::default()
    }
}

/// Reads /api/pull.
#[derive(Debug)]
pub struct Pull;

impl Translate for Pull {
    fn line(&mut self, line: &[u8], steps: &mut VecDeque<Step>) -> Result<(), Failure> {
        if line.iter().all(u8::is_ascii_whitespace) {
            return Ok(());
        }
        let progress: Value =
            serde_json::from_slice(line).map_err(|_| nonsense("progress that is no JSON"))?;
        if let Some(error) = progress.get("error") {
            return Err(not_pulled(&said(error)));
        }
        let success = progress["status"] == "success";
        steps.push_back(Step::Piece(Piece { progress: Some(Box::new(progress)), ..Piece::default() }));
        if success {
            steps.push_back(Step::Done(Box::default()));
        }
        Ok(())
    }

    fn end(&mut self, _: &mut VecDeque<Step>) -> Result<(), Failure> {
        Err(unfinished())
    }
}

fn not_pulled(why: &str) -> Failure {
    let message = format!("the engine could not pull the model: {why}");
    if why.contains("file does not exist") || why.contains("not found") {
        return Failure::give_up(Code::ModelMissing, message);
    }
    Failure::elsewhere(Code::EngineError, message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use echo_bus::message::Verdict;
    use proptest::prelude::*;
    use serde_json::json;

    fn read(lines: &[&str]) -> Result<Vec<Step>, Failure> {
        let (mut reply, mut steps) = (Reply::default(), VecDeque::new());
        for line in lines {
            reply.line(line.as_bytes(), &mut steps)?;
        }
        Ok(steps.into())
    }

    fn last(steps: &[Step]) -> &Done {
        let Some(Step::Done(done)) = steps.last() else { panic!("no end in {steps:?}") };
        done
    }

    #[test]
    fn each_chunk_is_one_piece_and_the_last_may_carry_text() {
        let steps = read(&[
            r#"{"model":"m","created_at":"t","response":"a b","done":false}"#,
            r#"{"model":"m","created_at":"t","response":"","done":false}"#,
            r#"{"model":"m","created_at":"t","response":"c","done":true,"done_reason":"length","context":[1],
                "total_duration":9,"eval_count":5,"eval_duration":4,"prompt_eval_count":3}"#,
        ])
        .unwrap();
        let c = Piece { last: true, ..Piece::text("c") };
        assert_eq!(steps[..3], [Step::Piece(Piece::text("a b")), Step::Alive, Step::Piece(c)]);
        let done = last(&steps);
        assert_eq!((done.reason, done.tokens, done.prompt_tokens), (Reason::Length, Some(5), Some(3)));
        assert_eq!(done.timings, Timings { total_ns: 9, eval_ns: 4, ..Timings::default() });
        assert_eq!(Value::from(done.extra.clone()), json!({"context": [1]}));
    }

    #[test]
    fn thoughts_and_tool_calls_are_told_apart_from_text() {
        let steps = read(&[
            r#"{"message":{"role":"assistant","content":"","thinking":"hm"},"done":false}"#,
            r#"{"message":{"role":"assistant","content":"","tool_calls":[{"id":"c","function":{"index":1,"name":"now","arguments":{"a":1}}}]},"done":false}"#,
            r#"{"message":{"role":"assistant","content":""},"done":true,"done_reason":"stop"}"#,
        ])
        .unwrap();
        assert_eq!(steps[0], Step::Piece(Piece { thinking: "hm".into(), ..Piece::default() }));
        let call = ToolCall {
            id: "c".into(),
            index: 1,
            name: "now".into(),
            arguments: json!({"a": 1}),
            ..ToolCall::default()
        };
        assert_eq!(steps[1], Step::Piece(Piece { tool_calls: vec![call], ..Piece::default() }));
        assert_eq!(last(&steps).reason, Reason::ToolCalls);
    }

    #[test]
    fn calls_have_an_index_each_and_an_object_of_arguments() {
        let line = |calls: Value| {
            json!({"message": {"content": "", "tool_calls": calls}, "done": false}).to_string()
        };
        let call = |index: Value, arguments: Value| json!({"id": 7, "function": {"index": index, "name": "f", "arguments": arguments}});
        let lines = [
            line(json!([call(json!(0), json!({"a": 1})), call(json!(0), json!("{\"a\":1}"))])),
            line(json!([call(Value::Null, Value::Null), call(json!("9"), json!(""))])),
        ];
        let steps = read(&[&lines[0], &lines[1]]).unwrap();
        let pieces =
            steps.iter().filter_map(|step| if let Step::Piece(piece) = step { Some(piece) } else { None });
        let calls: Vec<&ToolCall> = pieces.flat_map(|piece| &piece.tool_calls).collect();
        let told: Vec<_> =
            calls.iter().map(|call| (call.index, call.id.as_str(), call.arguments.to_string())).collect();
        let wanted = [(0, "7", "{\"a\":1}"), (1, "7", "{\"a\":1}"), (2, "7", "{}"), (9, "7", "{}")];
        assert_eq!(told, wanted.map(|(index, id, text)| (index, id, text.to_owned())));
    }

    #[test]
    fn what_a_newer_engine_says_is_handed_on() {
        let steps = read(&[
            r#"{"model":"m","created_at":"t","mood":1,"message":{"role":"assistant","content":"a","tone":2},"done":false}"#,
            r#"{"model":"m","message":{"role":"assistant","content":""},"done":true,"done_reason":"bored","mood":3}"#,
        ])
        .unwrap();
        let Step::Piece(piece) = &steps[0] else { panic!("no piece in {steps:?}") };
        assert_eq!(Value::from(*piece.extra.clone().unwrap()), json!({"mood": 1, "message": {"tone": 2}}));
        assert_eq!(last(&steps).reason, Reason::Unknown);
        assert_eq!(Value::from(last(&steps).extra.clone()), json!({"done_reason": "bored", "mood": 3}));
        let steps = read(&[
            r#"{"message":{"tool_calls":[{"origin":1,"function":{"name":"f","arguments":{},"strict":true}}]},"done":false}"#,
        ])
        .unwrap();
        let Step::Piece(piece) = &steps[0] else { panic!("no piece in {steps:?}") };
        let extra = Value::from(piece.tool_calls[0].extra.clone());
        assert_eq!(extra, json!({"origin": 1, "function": {"strict": true}}));
    }

    #[test]
    fn loading_is_one_plain_object() {
        let steps = read(&[r#"{"model":"m","response":"","done":true,"done_reason":"load"}"#]).unwrap();
        assert_eq!((steps.len(), last(&steps).reason), (1, Reason::Load));
    }

    #[test]
    fn an_error_line_and_a_stream_without_done_are_failures() {
        let failure = read(&[r#"{"error":"out of memory"}"#]).unwrap_err();
        assert_eq!((failure.verdict, failure.code), (Verdict::Elsewhere, Code::EngineError));
        assert!(failure.message.contains("out of memory"));
        assert_eq!(Reply::default().end(&mut VecDeque::new()).unwrap_err().code, Code::EngineError);
        for bad in
            ["\u{fffd}", "[]", "{}", "null", "3", r#"{"response":4}"#, r#"{"message":{"tool_calls":[{}]}}"#]
        {
            assert_eq!(read(&[bad]).unwrap_err().code, Code::EngineError, "{bad}");
        }
    }

    #[test]
    fn a_pull_tells_its_progress_and_ends_with_success() {
        let mut steps = VecDeque::new();
        Pull.line(br#"{"status":"pulling","total":5}"#, &mut steps).unwrap();
        Pull.line(br#"{"status":"success"}"#, &mut steps).unwrap();
        assert_eq!(steps.len(), 3);
        let failure =
            Pull.line(br#"{"error":"pull model manifest: file does not exist"}"#, &mut steps).unwrap_err();
        assert_eq!((failure.verdict, failure.code), (Verdict::GiveUp, Code::ModelMissing));
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_readers_panic(lines in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..60), 0..8)) {
            let (mut reply, mut steps) = (Reply::default(), VecDeque::new());
            for line in &lines {
                let _ = reply.line(line, &mut steps);
                let _ = Pull.line(line, &mut steps);
            }
        }

        #[test]
        fn no_json_makes_the_reader_panic(name in "[a-z_]{1,12}|error|message|response|done|tool_calls", inner in "(null|true|-1|1e99|\"x\"|\\[\\]|\\{\\}|\\{\"content\":[0-9]\\}|\\{\"tool_calls\":\\[\\{\\}\\]\\})") {
            let (mut reply, mut steps) = (Reply::default(), VecDeque::new());
            let _ = reply.line(format!("{{\"{name}\":{inner},\"done\":true,\"eval_count\":-3}}").as_bytes(), &mut steps);
        }
    }
}
