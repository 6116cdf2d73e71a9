//! Spoilt words that engines of all kinds say: their errors, what they write behind a raw prompt, their templates.

use echo_bus::message::{Done, Piece, Reason};
use futures::StreamExt as _;

use super::contract::Step;
use super::unparsed::Unparsed;
use super::{http, template, verdict};

#[test]
fn errors() {
    let seeds = [
        r#"{"error":"model 'x' not found, try pulling it first"}"#,
        r#"{"error":{"code":400,"message":"the request exceeds the available context size (512)","n_ctx":512}}"#,
        r#"{"detail":[{"type":"missing","loc":["body"],"msg":"field required"}]}"#,
        r#"{"message":"llama runner process has terminated: exit status 2"}"#,
    ];
    echo_fuzz::parser("error of an engine", &seeds, |bytes| {
        let reason = http::reason(bytes);
        assert!(reason.chars().count() <= 300 && !reason.chars().any(char::is_control));
        let status = bytes.first().map_or(500, |byte| 400 + u16::from(*byte));
        for failure in [verdict::rejected(status, &reason), verdict::reported(&reason)] {
            assert!(failure.message.len() <= 4 * 300 + 200, "{}", failure.message.len());
            let _ = verdict::cannot_load(&failure);
        }
        !reason.is_empty()
    });
}

/// All that came of a text, put together, and whether it ended well.
fn told_apart(unparsed: &Unparsed, chunks: &[&str]) -> Option<(String, String, Vec<String>)> {
    let done = Step::Done(Box::new(Done { reason: Reason::Stop, ..Done::default() }));
    let steps: Vec<_> =
        chunks.iter().map(|text| Ok(Step::Piece(Piece::text(*text)))).chain([Ok(done)]).collect();
    let mut steps = unparsed.clone().told_apart(futures::stream::iter(steps).boxed());
    let mut told = <(String, String, Vec<String>)>::default();
    while let Some(step) = futures::executor::block_on(steps.next()) {
        if let Step::Piece(piece) = step.ok()? {
            told.0.push_str(&piece.thinking);
            told.1.push_str(&piece.content);
            told.2.extend(piece.tool_calls.iter().map(|call| format!("{call:?}")));
        }
    }
    Some(told)
}

#[test]
fn answers_behind_a_raw_prompt() {
    let seeds = [
        "I think so.\n</think>\n\nHello <tool_call>\n{\"name\": \"now\", \"arguments\": {\"tz\": \"UTC\"}}\n</tool_call>",
        "hm</think><tool_call>{\"name\":\"f\",\"arguments\":{\"a\":[1,{\"b\":null}]}}</tool_call>\n<tool_call>{\"name\":\"now\",\"arguments\":{}}",
        "caf\u{e9} \u{1f600} a < b </th ink> </think> text",
    ];
    let unparsed = Unparsed {
        closes: Some("</think>".to_owned()),
        tools: Some(vec!["now".to_owned(), "f".to_owned()]),
        trusted: false,
    };
    echo_fuzz::parser_with("answer behind a raw prompt", &seeds, |bytes, random| {
        let text = String::from_utf8_lossy(bytes);
        let whole = told_apart(&unparsed, &[&text]);
        let (mut chunks, mut rest) = (Vec::new(), &*text);
        while !rest.is_empty() {
            let most = *random.one_of(&[&1, &7, &4_096]);
            let at = rest.ceil_char_boundary(1 + random.below(most));
            let (chunk, behind) = rest.split_at(at);
            chunks.push(chunk);
            rest = behind;
        }
        assert_eq!(told_apart(&unparsed, &chunks), whole);
        let (thoughts, said, _) = whole.clone().unwrap_or_default();
        assert!(thoughts.len() + said.len() <= text.len());
        whole.is_some()
    });
}

#[test]
fn renderings_of_templates() {
    let call = "<|im_start|>assistant\n<tool_call>\n{\"name\": \"f\", \"arguments\": {\"a\": [1]}}\n</tool_call><|im_end|>";
    let calm = "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n";
    echo_fuzz::parser("rendering of a template", &[call, calm], |bytes| {
        let text = String::from_utf8_lossy(bytes);
        let _ = (template::has_call(&text), template::thoughts_in(&text));
        let (begin, _) = text.split_at(text.floor_char_boundary(text.len() / 2));
        for marked in [template::thoughts_between(begin, &text), template::thoughts_between(&text, &text)] {
            let most = text.len() + 16;
            assert!(
                marked.is_none_or(|it| it.prompt.len() <= most + it.closes.len() && it.closes.len() <= most)
            );
        }
        let calls = text.split("<tool_call>").filter_map(|part| template::call_in(part.split('<').next()?));
        calls.count() > 0 || text.contains("think")
    });
}
