//! What an engine's error means for the task, by what the engine says: whether the request is at fault, the model, or
//! the engine. This is the one place that knows such words.
//!
//! A status alone does not tell. Ollama answers 500 to many mistakes of a client, and llama.cpp's server to a chat that
//! its template refuses; both answer 500 to troubles of their own too. Words that are known settle it here. All others
//! make a [refusal](Failure::is_refusal): the edge asks one other node, and what that says is the evidence.

use echo_bus::message::{Code, Failure};

/// Said about a request that cannot work on any node.
const CLIENTS: [&str; 12] = [
    "invalid format",
    "must be of type",
    "invalid json schema",
    "failed to parse grammar",
    "failed to create grammar",
    "template:",
    "chat template",
    "jinja",
    "roles must alternate",
    "detokenize",
    "illegal base64",
    "failed to process image",
];

/// Said about a request that does not fit into the model's context.
const TOO_LONG: [&str; 7] = [
    "input is too large",
    "input length exceeds",
    "exceeds the context length",
    "exceeds the available context size",
    "exceeded max context length",
    "maximum context length is",
    "prompt is too long",
];

/// Said when a model cannot be brought into memory.
const LOADING: [&str; 7] = [
    "process has terminated",
    "requires more system memory",
    "unable to load model",
    "error loading model",
    "failed to load model",
    "waiting for llama runner to start",
    "unsupported model",
];

/// Said by Ollama when the process that runs the model died under a request: one of these, or one of its sentences with
/// the end of a connection behind it.
const DEAD: &str = "process no longer running";
const SENTENCES: [&str; 3] =
    ["an error was encountered while running the model:", "do load request:", "post predict:"];
const BROKEN_OFF: [&str; 4] = ["eof", "connection reset", "forcibly closed", "connection refused"];

/// Said of what the model wrote, with its own text behind it: no word in there is the engine's.
const QUOTING: [&str; 4] = ["xml syntax error", "error parsing tool call", "failed to parse input", "raw='"];

/// An answer whose status is no success.
pub fn rejected(status: u16, words: &str) -> Failure {
    let told = if words.is_empty() { "it does not say why" } else { words };
    let said = |what: &str| format!("the engine {what} ({status}): {told}");
    let failure = match status {
        404 => Failure::elsewhere(Code::ModelMissing, said("does not have the model")),
        429 | 503 => Failure::elsewhere(Code::EngineBusy, said("is busy")),
        401 | 403 => Failure::elsewhere(Code::NotAllowed, said("does not let this agent in")),
        501 => Failure::elsewhere(Code::NotCapable, said("cannot do this")),
        400..=498 => Failure::give_up(Code::EngineRefused, said("refused the request")),
        _ if says(words, &CLIENTS) || says(words, &TOO_LONG) => {
            // The status that a mistake of the client's should have had.
            let refused = Failure::give_up(Code::EngineRefused, said("refused the request"));
            return sized(refused.saying(Some(400), told));
        }
        _ if is_death(words) => Failure::elsewhere(Code::EngineUnreachable, said("lost its model")),
        _ => Failure::elsewhere(Code::EngineError, said("failed")),
    };
    sized(failure.saying(Some(status), told))
}

/// Says whether what was sent is too long: clients shorten a conversation where they hear that.
fn sized(mut failure: Failure) -> Failure {
    if let Some(said) = failure.said.as_mut() {
        said.too_long = says(&said.words, &TOO_LONG);
    }
    failure
}

/// An error in the middle of a stream. The model may have caused it as well as the engine: a tool call that cannot be
/// parsed is reported like this, the same each time.
pub fn reported(words: &str) -> Failure {
    let code = if is_death(words) { Code::EngineUnreachable } else { Code::EngineError };
    sized(Failure::elsewhere(code, format!("the engine reported: {words}")).saying(None, words))
}

/// Whether the model could not be loaded.
pub fn cannot_load(failure: &Failure) -> bool {
    failure.said.as_ref().is_some_and(|said| says(&said.words, &LOADING))
}

fn is_death(words: &str) -> bool {
    let own = own(words);
    own.contains(DEAD)
        || SENTENCES.iter().any(|sentence| {
            own.strip_prefix(sentence).is_some_and(|rest| BROKEN_OFF.iter().any(|end| rest.contains(end)))
        })
}

fn says(words: &str, known: &[&str]) -> bool {
    let own = own(words);
    known.iter().any(|known| own.contains(known))
}

/// What the engine says itself, in small letters: up to where it quotes the model.
fn own(words: &str) -> String {
    let words = words.to_lowercase();
    let end = QUOTING.iter().filter_map(|quoting| words.find(quoting)).min();
    words[..end.unwrap_or(words.len())].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use echo_bus::message::Verdict;

    #[test]
    fn an_engine_that_finds_a_prompt_too_long_is_understood_whatever_its_status() {
        for (status, words) in [
            (400, "request (9000 tokens) exceeds the available context size (4096 tokens)"),
            (400, "This model's maximum context length is 4096 tokens"),
            (500, "input is too large to process. increase the physical batch size"),
            (500, "the input length exceeds the context length"),
        ] {
            let failure = rejected(status, words);
            assert!(failure.is_too_long() && failure.verdict == Verdict::GiveUp, "{words}");
        }
        assert!(reported("prompt is too long").is_too_long());
        assert!(!rejected(400, "no such template").is_too_long());
        assert!(!reported("error parsing tool call: raw='the prompt is too long'").is_too_long());
    }

    #[test]
    fn a_status_decides_who_tries_next() {
        for (status, verdict, code) in [
            (400, Verdict::GiveUp, Code::EngineRefused),
            (401, Verdict::Elsewhere, Code::NotAllowed),
            (404, Verdict::Elsewhere, Code::ModelMissing),
            (413, Verdict::GiveUp, Code::EngineRefused),
            (429, Verdict::Elsewhere, Code::EngineBusy),
            (499, Verdict::Elsewhere, Code::EngineError),
            (500, Verdict::Elsewhere, Code::EngineError),
            (501, Verdict::Elsewhere, Code::NotCapable),
            (503, Verdict::Elsewhere, Code::EngineBusy),
        ] {
            let failure = rejected(status, "");
            assert_eq!((failure.verdict, failure.code), (verdict, code), "{status}");
            assert_eq!(failure.said.unwrap().status, Some(status));
        }
    }

    #[test]
    fn known_mistakes_of_clients_are_refused_at_once_with_the_status_that_they_should_have_had() {
        for words in [
            r#"invalid format: "yaml"; expected "json" or a valid JSON Schema object"#,
            r#"option "num_ctx" must be of type integer"#,
            "template: :1: unclosed action",
            "detokenize error: token out of range",
            "input is too large to process. increase the physical batch size",
            "the input length exceeds the context length",
        ] {
            let failure = rejected(500, words);
            assert_eq!((failure.verdict, failure.code), (Verdict::GiveUp, Code::EngineRefused), "{words}");
            let said = failure.said.unwrap();
            assert_eq!((said.status, said.words.as_str()), (Some(400), words));
        }
    }

    #[test]
    fn unknown_words_are_a_refusal_and_a_dead_runner_is_none() {
        assert!(rejected(500, "CUDA error: out of memory").is_refusal());
        for quoting in [
            "XML syntax error on line 110: unexpected EOF",
            "error parsing tool call: raw='{\"say\": \"connection refused, jinja\"', err=unexpected end",
            "an error was encountered while running the model: raw='llama runner process no longer running'",
        ] {
            assert!(reported(quoting).is_refusal() && rejected(500, quoting).is_refusal(), "{quoting}");
        }
        assert!(!rejected(500, "llama runner process no longer running: 2").is_refusal());
        assert!(!reported("an error was encountered while running the model: unexpected EOF").is_refusal());
        assert!(cannot_load(&rejected(500, "llama-server process has terminated: exit status 1")));
        assert!(!cannot_load(&rejected(500, "boom")));
    }

    #[test]
    fn an_engines_words_are_in_no_log() {
        let failure = rejected(500, "cannot parse: my secret prompt");
        assert!(failure.message.contains("secret") && !failure.for_log().contains("secret"));
    }
}
