use super::*;
use crate::engine::template::Marked;
use echo_bus::message::Verdict;
use serde_json::json;

const TEXT: Moment = Moment {
    doing: Doing::Writing,
    thought: false,
    tools: false,
    tool_rule: false,
    images: false,
    bound: false,
    own_way: false,
};
const THOUGHTS: Moment = Moment { doing: Doing::Thinking, thought: true, ..TEXT };
/// Text, after thoughts.
const ANSWER: Moment = Moment { thought: true, ..TEXT };
const RAW: Moment = Moment { doing: Doing::Completing, ..TEXT };

/// A template that continues a trailing message (`+`), ends it (`-`), or is not shown (`?`); then what else it shows:
/// `m` marks around thoughts, `u` none, `c` tool calls in the known form.
fn shown(words: &str) -> Shown {
    let behaviour = match &words[..1] {
        "+" => TemplateBehaviour::Trailing,
        "-" => TemplateBehaviour::Raw,
        _ => TemplateBehaviour::Unknown,
    };
    let marked = Marked { prompt: "p".into(), closes: "</think>".into(), between: "</think>".into() };
    let thoughts = match () {
        () if words.contains('m') => Thoughts::Marked(marked),
        () if words.contains('u') => Thoughts::Unmarked,
        () => Thoughts::Hidden,
    };
    Shown { behaviour, thoughts, calls: words.contains('c') }
}

#[test]
fn every_engine_goes_on_where_it_honestly_can() {
    use Server::{LlamaCpp, Ollama, Plain, Vllm};
    let tools = |moment| Moment { tools: true, ..moment };
    let images = |moment| Moment { images: true, ..moment };
    let rule = |moment| Moment { tools: true, tool_rule: true, ..moment };
    let all: &[Server] = &[LlamaCpp, Vllm, Plain, Ollama];
    let (known, openai): (&[Server], &[Server]) = (&[LlamaCpp, Ollama], &[LlamaCpp, Vllm, Plain]);
    let (trailing, raw) = (Ok(Means::Trailing), Ok(Means::Raw));
    for (servers, moment, template, outcome) in [
        (all, TEXT, "+", trailing),
        (all, TEXT, "?", trailing),
        (known, TEXT, "-", raw),
        (all, tools(TEXT), "+", trailing),
        (all, tools(TEXT), "?", trailing),
        (known, tools(TEXT), "-c", raw),
        (known, tools(TEXT), "-", Err(Why::NoCallForm)),
        (all, images(TEXT), "+", trailing),
        (&[Ollama], images(TEXT), "-", raw),
        (&[LlamaCpp], images(TEXT), "-", Err(Why::Images)),
        (all, rule(TEXT), "+", trailing),
        (&[LlamaCpp], rule(TEXT), "-c", Err(Why::ToolRule)),
        (&[LlamaCpp], rule(THOUGHTS), "-mc", Err(Why::ToolRule)),
        (&[Ollama], rule(TEXT), "-c", raw),
        (all, ANSWER, "+", trailing),
        (all, ANSWER, "?", trailing),
        (known, ANSWER, "-m", raw),
        (known, ANSWER, "-u", Err(Why::NoMarks)),
        (known, ANSWER, "-", Err(Why::NoPrompt)),
        (known, Moment { own_way: true, ..ANSWER }, "-", Err(Why::OwnWay)),
        (&[LlamaCpp], THOUGHTS, "+", trailing),
        (&[LlamaCpp], tools(THOUGHTS), "+", trailing),
        (&[LlamaCpp], images(THOUGHTS), "+", trailing),
        (&[LlamaCpp], images(THOUGHTS), "-m", Err(Why::Images)),
        (&[LlamaCpp], THOUGHTS, "-m", raw),
        (&[LlamaCpp], THOUGHTS, "?m", raw),
        (&[Ollama], THOUGHTS, "+m", raw),
        (&[Ollama], THOUGHTS, "?m", raw),
        (&[Ollama], images(THOUGHTS), "?m", raw),
        (known, tools(THOUGHTS), "?mc", raw),
        (known, tools(THOUGHTS), "?m", Err(Why::NoCallForm)),
        (known, THOUGHTS, "-u", Err(Why::NoMarks)),
        (known, THOUGHTS, "?", Err(Why::NoPrompt)),
        (&[Vllm, Plain], THOUGHTS, "?", Err(Why::NoThoughts)),
        (&[Vllm, Plain], tools(THOUGHTS), "?", Err(Why::NoThoughts)),
        (all, Moment { own_way: true, ..TEXT }, "?", trailing),
        (all, Moment { own_way: true, ..THOUGHTS }, "+mc", Err(Why::OwnWay)),
        (all, RAW, "?", raw),
        (openai, images(RAW), "?", raw),
        (all, Moment { own_way: true, ..RAW }, "?", Err(Why::OwnWay)),
        (all, Moment { bound: true, ..TEXT }, "+", Err(Why::Bound)),
        (all, Moment { bound: true, ..THOUGHTS }, "+mc", Err(Why::Bound)),
        (all, Moment { bound: true, ..RAW }, "?", Err(Why::Bound)),
    ] {
        for server in servers {
            let decided = decide(*server, moment, &shown(template));
            assert_eq!(decided, outcome, "{server:?}, {moment:?}, template {template:?}");
        }
    }
}

#[test]
fn a_refusal_says_what_was_going_on_why_it_ends_and_what_to_do() {
    let failure = Moment { tools: true, ..THOUGHTS }.cannot(Why::NoThoughts);
    assert_eq!((failure.code, failure.verdict), (Code::CannotContinue, Verdict::Elsewhere));
    assert_eq!(THOUGHTS.cannot(Why::OwnWay).verdict, Verdict::GiveUp, "no other node can either");
    for words in
        ["in the middle of the model's thoughts, with tools offered", "this engine cannot", "ask again"]
    {
        assert!(failure.message.contains(words), "{}", failure.message);
    }
}

#[test]
fn what_was_going_on_is_read_off_the_request_and_the_answer_so_far() {
    let so_far = |thinking: &str, content: &str| SoFar {
        thinking: thinking.to_owned(),
        content: content.to_owned(),
        ..SoFar::default()
    };
    let chat = Chat { tools: vec![json!({})], ..Chat::default() };
    assert_eq!(Moment::of_chat(&chat, &so_far("hm", "")), Moment { tools: true, ..THOUGHTS });
    assert_eq!(Moment::of_chat(&Chat::default(), &so_far("hm", "a")), ANSWER);
    let raw = Generate { raw: true, ..Generate::default() };
    assert_eq!(Moment::of_generate(&raw, &so_far("", "a")), RAW);
    assert!(Moment::of_generate(&raw, &so_far("hm", "")).own_way);
    let ruled = Chat { parallel_tool_calls: Some(false), ..Chat::default() };
    assert!(Moment::of_chat(&ruled, &so_far("", "a")).tool_rule);
}

#[test]
fn an_answer_under_a_format_or_a_grammar_is_bound() {
    let formatted = |format| Settings { format: Some(format), ..Settings::default() };
    assert!(is_bound(&formatted(json!("json"))) && is_bound(&formatted(json!({"type": "object"}))));
    assert!(!is_bound(&formatted(json!(""))) && !is_bound(&Settings::default()));
    let mut ruled = Settings::default();
    ruled.openai.insert("grammar".to_owned(), json!("root ::= \"a\""));
    assert!(is_bound(&ruled));
}
