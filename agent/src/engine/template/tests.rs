use super::*;
use proptest::prelude::*;

/// A conversation as a template like Qwen's renders it.
fn rendered(chat: &Chat) -> String {
    let mut prompt = String::new();
    for message in &chat.messages {
        let (thinking, text) = (message.thinking(), message.text());
        prompt.push_str(&format!("<|{}|>\n", message.role));
        if !thinking.is_empty() {
            prompt.push_str(&format!("<think>\n{thinking}\n</think>\n\n"));
        }
        prompt.push_str(&text);
        for call in message.tool_calls() {
            let call = json!({"name": call.name, "arguments": call.arguments});
            prompt.push_str(&format!("<tool_call>\n{call}\n</tool_call>"));
        }
        prompt.push_str("<|end|>\n");
    }
    prompt
}

fn asking(text: &str) -> Chat {
    Chat { messages: vec![Message::said("user", text)], ..Chat::default() }
}

#[test]
fn a_rendering_shows_where_thoughts_begin_and_what_ends_them() {
    let marked = thoughts_in(&rendered(&with_thoughts(&asking("hi")))).unwrap();
    assert_eq!((marked.closes.as_str(), marked.between.as_str()), ("</think>", "\n</think>\n\n"));
    assert_eq!(marked.prompt, "<|user|>\nhi<|end|>\n<|assistant|>\n<think>\n");
}

#[test]
fn a_template_without_marks_that_can_be_seen_has_none() {
    assert_eq!(thoughts_in("<|user|>hi<|assistant|>seam:text"), None, "thoughts are left out");
    assert_eq!(thoughts_in("<|assistant|>seam:\n\nseam:text"), None, "nothing is between them");
    let control =
        "<|channel|>analysis<|message|>seam:<|end|><|start|>assistant<|channel|>final<|message|>seam:text";
    assert_eq!(thoughts_in(control), None, "a control token is not given out");
    let partly = "<think>seam:</think><|end|><|assistant|>seam:text<end>";
    assert_eq!(thoughts_in(partly), None, "nor a part of the mark");
}

#[test]
fn where_thoughts_are_left_out_the_beginning_of_an_answer_shows_them() {
    let opens = thoughts_between("<|a|>\n<think>\n", "<|a|>\n<think>\n\n</think>\n\n").unwrap();
    assert_eq!((opens.prompt.as_str(), opens.closes.as_str()), ("<|a|>\n<think>\n", "</think>"));
    let empty = thoughts_between("<|a|>\n", "<|a|>\n<think>\n\n</think>\n\n").unwrap();
    assert_eq!((empty.prompt.as_str(), empty.closes.as_str()), ("<|a|>\n<think>\n", "</think>"));
    for (thinking, calm) in [
        ("<|a|>\n", "<|a|>\n"),
        ("<|a|>\n", "<|a|>\n<b>x</b>"),
        ("<|a|>\n", "<|a|>\n<b></b>"),
        ("<assistant>", "<assistant>"),
        ("a", "b"),
    ] {
        assert_eq!(thoughts_between(thinking, calm), None, "{thinking:?} {calm:?}");
    }
}

#[test]
fn a_call_is_known_by_its_form_and_an_example_in_the_prompt_is_none() {
    assert!(has_call(&rendered(&with_call(&asking("hi")))));
    let example = "<tool_call>\n{\"name\": <function-name>, \"arguments\": <args-json-object>}\n</tool_call>";
    assert!(!has_call(example));
    assert!(!has_call("<tool_call>{\"name\": \"example\", \"arguments\": {}}</tool_call>"));
    assert!(!has_call("[TOOL_CALLS][{\"name\": \"seam\", \"arguments\": {\"seam\": [1]}}]"));
    assert!(!has_call(
        "<tool_call>\n<function=seam>\n<parameter=seam>\n[1]\n</parameter>\n</function>\n</tool_call>"
    ));
}

#[test]
fn white_space_at_the_end_is_a_kind_of_its_own() {
    let so_far = |content: &str| SoFar { content: content.to_owned(), ..SoFar::default() };
    assert_ne!(PartialKind::of("m", &so_far("a")), PartialKind::of("m", &so_far("a ")));
    assert_eq!(PartialKind::of("m", &so_far("a\n")), PartialKind::of("m", &so_far("b ")));
}

proptest! {
    #[test]
    fn a_users_words_are_never_taken_for_the_marks(text in "(seam:|seam:text|<think>|</think>|[a-z<>/ ]){0,8}") {
        let chat = asking(&text);
        let marked = thoughts_in(&rendered(&with_thoughts(&chat))).unwrap();
        prop_assert_eq!(marked.prompt, format!("{}<|assistant|>\n<think>\n", rendered(&chat)));
    }

    #[test]
    fn no_rendering_makes_the_readers_panic(text in "(seam:|seam:text|<think>|</think>|<tool_call>|</tool_call>|\\PC){0,12}", calm in "\\PC{0,20}") {
        let _ = (thoughts_in(&text), has_call(&text), call_in(&text));
        let _ = (thoughts_between(&text, &calm), thoughts_between(&text, &format!("{text}{calm}")));
    }
}
