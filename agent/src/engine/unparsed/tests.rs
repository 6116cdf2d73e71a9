use super::*;
use echo_bus::message::Verdict;
use proptest::prelude::*;
use serde_json::json;

const CALL: &str = "<tool_call>\n{\"name\": \"now\", \"arguments\": {\"tz\": \"UTC\"}}\n</tool_call>";

fn thinking(calls: bool) -> Unparsed {
    Unparsed { closes: Some("</think>".to_owned()), tools: calls.then(offered), trusted: false }
}

fn writing() -> Unparsed {
    Unparsed { tools: Some(offered()), ..Unparsed::default() }
}

fn offered() -> Vec<String> {
    vec!["now".to_owned(), "f".to_owned()]
}

/// What came of an answer.
#[derive(Debug, Default, PartialEq)]
struct Told {
    thinking: String,
    text: String,
    calls: Vec<(u32, String, String)>,
    tokens: u32,
    reason: Reason,
}

async fn told(unparsed: Unparsed, steps: Vec<Step>) -> Result<Told, Failure> {
    let steps = futures::stream::iter(steps.into_iter().map(Ok)).boxed();
    let (mut told, mut steps) = (Told::default(), unparsed.told_apart(steps));
    while let Some(step) = steps.next().await {
        match step? {
            Step::Piece(piece) => {
                assert!(piece.thinking.is_empty() || told.text.is_empty(), "thoughts come first");
                assert!(piece != Piece::default());
                told.thinking.push_str(&piece.thinking);
                told.text.push_str(&piece.content);
                told.tokens += piece.tokens.unwrap_or_default();
                told.calls.extend(
                    piece.tool_calls.into_iter().map(|it| (it.index, it.name, it.arguments.to_string())),
                );
            }
            Step::Done(done) => told.reason = done.reason,
            Step::Alive => {}
        }
    }
    Ok(told)
}

/// A text in chunks of one token each, and the end.
fn said(chunks: &[&str], reason: Reason) -> Vec<Step> {
    let chunk = |text: &&str| Step::Piece(Piece { tokens: Some(1), ..Piece::text(*text) });
    let done = Step::Done(Box::new(Done { reason, ..Done::default() }));
    chunks.iter().map(chunk).chain([done]).collect()
}

async fn read(unparsed: Unparsed, text: &str, reason: Reason) -> Result<Told, Failure> {
    let chars: Vec<String> = text.chars().map(String::from).collect();
    let chunks: Vec<&str> = chars.iter().map(String::as_str).collect();
    told(unparsed, said(&chunks, reason)).await
}

#[tokio::test]
async fn thoughts_end_at_their_mark_and_text_follows() {
    let text = "I see.\n</think>\n\nHello </think> a < b";
    let told = read(thinking(false), text, Reason::Stop).await.unwrap();
    assert_eq!((told.thinking.as_str(), told.text.as_str()), ("I see.\n", "Hello </think> a < b"));
    assert_eq!((told.tokens as usize, told.reason), (text.chars().count(), Reason::Stop), "every token once");
}

#[tokio::test]
async fn calls_are_read_out_of_the_text_and_end_the_answer_as_calls() {
    let text = format!("Sure.\n{CALL}\n{CALL}");
    let told = read(writing(), &text, Reason::Stop).await.unwrap();
    let arguments = json!({"tz": "UTC"}).to_string();
    let call = |index| (index, "now".to_owned(), arguments.clone());
    assert_eq!((told.text.as_str(), told.calls), ("Sure.\n", vec![call(0), call(1)]));
    assert_eq!(told.reason, Reason::ToolCalls);
    let told = read(thinking(true), &format!("hm</think>\n{CALL}"), Reason::Stop).await.unwrap();
    assert_eq!((told.thinking.as_str(), told.text.as_str(), told.calls.len()), ("hm", "", 1));
}

#[tokio::test]
async fn a_call_whose_mark_is_left_out_at_the_end_is_one_all_the_same() {
    let text = CALL.strip_suffix("</tool_call>").unwrap();
    assert_eq!(read(writing(), text, Reason::Stop).await.unwrap().calls.len(), 1);
}

#[tokio::test]
async fn what_cannot_be_told_apart_never_looks_finished() {
    for (unparsed, text, reason) in [
        (thinking(false), "I think. The answer is 4.", Reason::Stop),
        (writing(), "a <tool_call>\n{\"name\": \"now\", \"argu", Reason::Stop),
        (writing(), "a <tool_call>\n{\"name\": \"now\", \"argu", Reason::Length),
        (writing(), "a <tool_call>\n<function=now></function>\n</tool_call>", Reason::Stop),
        (writing(), "a <tool_call>{\"name\": \"now\", \"arguments\": \"x\"}</tool_call>", Reason::Stop),
        (writing(), "a <tool_call>{\"name\": \"example\", \"arguments\": {}}</tool_call>", Reason::Stop),
        (writing(), "a <tool_call>{\"name\": \"example\", \"arguments\": {}}", Reason::Stop),
    ] {
        let failure = read(unparsed, text, reason).await.unwrap_err();
        assert_eq!((failure.verdict, failure.code), (Verdict::GiveUp, Code::CannotContinue), "{text}");
        assert!(failure.message.contains("ask again"), "{}", failure.message);
    }
}

#[tokio::test]
async fn a_token_limit_may_fall_into_thoughts_and_into_what_looks_like_a_mark() {
    let told = read(thinking(false), "I think</th", Reason::Length).await.unwrap();
    assert_eq!((told.thinking.as_str(), told.reason), ("I think</th", Reason::Length));
    assert_eq!(read(writing(), "a <tool_", Reason::Length).await.unwrap().text, "a <tool_");
}

#[tokio::test]
async fn an_engine_that_begins_to_think_in_the_middle_of_text_has_begun_anew() {
    let trusted = Unparsed { trusted: true, ..Unparsed::default() };
    let thought = Step::Piece(Piece { thinking: "hm".into(), ..Piece::default() });
    let called = Piece { tool_calls: vec![ToolCall::default()], ..Piece::default() };
    let calls = told(trusted.clone(), vec![Step::Piece(called)]).await.unwrap().calls;
    assert_eq!(calls.len(), 1, "what the engine has read itself stays");
    let failure = told(trusted.clone(), vec![thought]).await.unwrap_err();
    assert_eq!(failure.code, Code::CannotContinue);
    assert_eq!(told(trusted, said(&["a <tool_call>"], Reason::Stop)).await.unwrap().text, "a <tool_call>");
}

#[tokio::test]
async fn counts_of_chunks_that_were_held_are_not_lost_behind_one_without() {
    let chunk = |text: &str, tokens| Step::Piece(Piece { tokens, ..Piece::text(text) });
    let mut steps = vec![chunk("a<tool", Some(1)), chunk("_", Some(1)), chunk("x", None)];
    steps.extend(said(&["b"], Reason::Stop));
    assert_eq!(told(writing(), steps).await.unwrap().tokens, 3);
}

#[tokio::test]
async fn an_engine_that_reads_thoughts_after_all_keeps_them() {
    let thought = Step::Piece(Piece { thinking: "hm ".into(), tokens: Some(1), ..Piece::default() });
    let mut steps = said(&["so</think>a"], Reason::Stop);
    steps.insert(0, thought);
    let told = told(thinking(false), steps).await.unwrap();
    assert_eq!((told.thinking.as_str(), told.text.as_str(), told.tokens), ("hm so", "a", 2));
}

#[tokio::test]
async fn a_call_without_end_ends() {
    let long = "x".repeat(LONGEST + 1);
    let failure = told(writing(), said(&[CALL_OPENS, &long, &long], Reason::Stop)).await.unwrap_err();
    assert_eq!(failure.code, Code::CannotContinue);
    let calls = CALL.repeat(MOST as usize + 1);
    assert!(told(writing(), said(&[&calls], Reason::Stop)).await.is_err());
}

fn parts() -> impl Strategy<Value = String> {
    "(</think>|<tool_call>|</tool_call>|<|/|th|\\{\"name\":\"f\",\"arguments\":\\{\\}\\}|[a-z \n\u{e9}]){0,12}"
}

proptest! {
    #[test]
    fn however_it_is_cut_it_is_the_same(text in parts(), cuts in prop::collection::vec(0..80_usize, 0..8), thinks in any::<bool>(), calls in any::<bool>()) {
        let unparsed = Unparsed { closes: thinks.then(|| "</think>".to_owned()), tools: calls.then(offered), trusted: false };
        let mut places: Vec<usize> = cuts.into_iter().filter(|cut| text.is_char_boundary(*cut)).collect();
        places.extend([0, text.len()]);
        places.sort_unstable();
        let chunks: Vec<&str> = places.windows(2).map(|pair| &text[pair[0]..pair[1]]).collect();
        let cut = futures::executor::block_on(told(unparsed.clone(), said(&chunks, Reason::Stop)));
        let whole = futures::executor::block_on(told(unparsed, said(&[&text], Reason::Stop)));
        match (cut, whole) {
            (Ok(mut cut), Ok(mut whole)) => {
                (cut.tokens, whole.tokens) = (0, 0);
                prop_assert_eq!(cut, whole);
            }
            (cut, whole) => prop_assert_eq!(cut.is_err(), whole.is_err()),
        }
    }

    #[test]
    fn without_marks_nothing_is_lost(text in "[a-z<>/ \n]{0,40}") {
        let told = futures::executor::block_on(read(writing(), &text, Reason::Stop)).unwrap();
        prop_assert_eq!(told.text, text);
    }
}
