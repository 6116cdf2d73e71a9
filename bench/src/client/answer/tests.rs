//! Streams in the shapes of all systems, cut anywhere.

use proptest::prelude::*;

use super::*;

fn openai(index: u64, spaced: bool) -> String {
    if spaced {
        return format!("data: {{\"choices\": [{{\"delta\": {{\"content\": \"t{index} \"}}}}]}}\n\n");
    }
    format!(
        "data: {{\"id\":\"a\",\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"t{index} \"}}}}]}}\n\n"
    )
}

fn task(index: u64) -> String {
    format!("data: {{\"task_id\":\"x\",\"token\":\"t{index} \",\"done\":false,\"routed_to\":\"n\"}}\n\n")
}

fn read(dialect: Dialect, tokens: u64, pieces: &[&[u8]]) -> (u64, Faults, Option<String>) {
    let mut answer = Answer::new(dialect, tokens);
    let seen = pieces.iter().map(|piece| answer.take(piece)).sum();
    let (faults, error) = answer.end();
    (seen, faults, error)
}

#[test]
fn an_error_in_mid_stream_is_an_error_in_both_dialects() {
    let openai = "data: {\"error\":{\"message\":\"no\"}}\n\ndata: [DONE]\n\n";
    assert!(read(Dialect::OpenAi, 0, &[openai.as_bytes()]).2.is_some());
    let task = "data: {\"token\":\"\",\"done\":true,\"success\":false,\"error\":\"no\"}\n\n";
    assert!(read(Dialect::Task, 0, &[task.as_bytes()]).2.is_some());
}

#[test]
fn a_stream_without_its_last_event_is_an_error() {
    assert!(read(Dialect::OpenAi, 1, &[openai(0, false).as_bytes()]).2.is_some());
    assert!(read(Dialect::Task, 1, &[task(0).as_bytes()]).2.is_some());
}

#[test]
fn a_text_with_an_escape_is_read_in_full() {
    for text in ["t\\ ", "t\" ", "t\u{1} "] {
        let wire = format!("data: {}\n\n", serde_json::json!({"choices": [{"delta": {"content": text}}]}));
        assert_eq!(quick(Dialect::OpenAi, wire.trim_end().as_bytes()), None, "{text:?}");
    }
}

#[test]
fn a_text_in_the_last_event_counts() {
    let wire = "data: {\"token\":\"t0 \",\"done\":true}\n\n";
    assert_eq!(read(Dialect::Task, 1, &[wire.as_bytes()]), (1, Faults::default(), None));
}

#[test]
fn replies_in_one_piece_are_judged() {
    let good = br#"{"choices":[{"message":{"role":"assistant","content":"t0 t1 "}}]}"#;
    assert_eq!(judge(Dialect::OpenAi, 2, good), (Faults::default(), None));
    assert_eq!(judge(Dialect::OpenAi, 3, good).0.lost, 1);
    assert_eq!(judge(Dialect::Task, 1, br#"{"content": "t0 "}"#), (Faults::default(), None));
    assert!(judge(Dialect::Task, 1, br#"{"success":false,"error":"no"}"#).1.is_some());
    assert!(judge(Dialect::Task, 1, b"nonsense").1.is_some());
}

proptest! {
    #[test]
    fn a_stream_is_read_however_it_is_cut(count in 0_u64..40, cut in 1_usize..200, shape in 0..3) {
        let (dialect, end) = match shape {
            2 => (Dialect::Task, "data: {\"token\":\"\",\"done\":true,\"success\":true}\n\n"),
            _ => (Dialect::OpenAi, "data: [DONE]\n\n"),
        };
        let events = (0..count).map(|index| match shape {
            2 => task(index),
            _ => openai(index, shape == 1),
        });
        let wire: String = std::iter::once(": a comment\n\n".to_owned()).chain(events).chain([end.to_owned()]).collect();
        let pieces: Vec<_> = wire.as_bytes().chunks(cut).collect();
        prop_assert_eq!(read(dialect, count, &pieces), (count, Faults::default(), None));
    }

    #[test]
    fn the_quick_way_sees_what_the_full_one_sees(text in "(t[0-9]{1,4} ){0,3}|[a-z\"\\\\ ]{0,8}") {
        for (dialect, event) in [
            (Dialect::OpenAi, serde_json::json!({"choices": [{"delta": {"content": text}}]})),
            (Dialect::Task, serde_json::json!({"token": text, "done": false})),
        ] {
            let wire = event.to_string();
            if let Some(found) = quick(dialect, wire.as_bytes()) {
                prop_assert_eq!(found, text.as_bytes());
            }
        }
    }

    #[test]
    fn no_bytes_make_it_panic(bytes: Vec<u8>) {
        read(Dialect::OpenAi, 3, &[&bytes]);
        read(Dialect::Task, 3, &[&bytes]);
        judge(Dialect::Task, 1, &bytes);
    }
}
