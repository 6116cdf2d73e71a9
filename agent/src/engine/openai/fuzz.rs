//! Spoilt answers of servers with OpenAI's API: their streams in any packets, what they say of themselves, their vectors.

use serde_json::Value;

use super::embed::embedded;
use super::probe::{self, Facts};
use super::reply::Reply;
use super::show;
use crate::engine::any::is_the_same_in_any_packets;

/// As llama.cpp says it.
const LLAMA: &str = concat!(
    r#"data: {"choices":[{"index":0,"delta":{"role":"assistant","content":null},"finish_reason":null}],"created":1,"id":"x","model":"m","object":"chat.completion.chunk"}"#,
    "\n\n",
    r#"data: {"choices":[{"index":0,"delta":{"reasoning_content":"hm","content":"café \ud83d\ude00"},"logprobs":{"content":[{"token":"a"}]}}],"timings":{"cache_n":2,"prompt_n":14,"prompt_ms":12.5,"predicted_n":1,"predicted_ms":3.25}}"#,
    "\n\n",
    r#"data: {"choices":[{"delta":{"tool_calls":[{"index":0,"id":"c","type":"function","function":{"name":"f","arguments":"{\"a\":"}}]}}]}"#,
    "\n\n",
    r#"data: {"choices":[{"delta":{"tool_calls":[{"index":0,"function":{"arguments":"1}"}},{"index":7,"id":"d","function":{"name":"g","arguments":{}}}]}}]}"#,
    "\n\n",
    r#"data: {"choices":[{"finish_reason":"tool_calls","index":0,"delta":{}}],"usage":{"completion_tokens":3,"prompt_tokens":16,"total_tokens":19,"prompt_tokens_details":{"cached_tokens":2}},"timings":{"cache_n":2,"prompt_n":14,"prompt_ms":12.5,"predicted_n":3,"predicted_ms":9.75}}"#,
    "\n\ndata: [DONE]\n\n"
);
/// As vLLM says it, with a comment and another end of the lines.
const VLLM: &str = concat!(
    ": ping\r\n\r\nevent: x\r\nid: 4\r\n",
    r#"data: {"id":"cmpl-1","object":"text_completion","choices":[{"index":0,"text":"Hi","logprobs":null,"finish_reason":null}],"usage":{"prompt_tokens":4,"completion_tokens":1}}"#,
    "\r\n\r\n",
    r#"data: {"choices":[{"index":0,"text":"!","finish_reason":"length","stop_reason":null}],"usage":{"prompt_tokens":4,"completion_tokens":18446744073709551615}}"#,
    "\r\n\r\n",
    r#"data: {"choices":[],"usage":null}"#,
    "\r\n"
);
const ERRORS: &str = "error: {\"code\":500,\"message\":\"no room\"}\n\n{\"error\":{\"message\":\"x\"}}\n";

#[test]
fn streams() {
    let failed = [LLAMA, ERRORS].concat();
    echo_fuzz::parser_with("openai: stream", &[LLAMA, VLLM, &failed], |bytes, random| {
        is_the_same_in_any_packets(bytes, random, Reply::default)
    });
}

#[test]
fn what_it_says_of_itself() {
    let seeds = [
        r#"{"object":"list","data":[{"id":"smollm2","object":"model","owned_by":"llamacpp","meta":{"size":96,"n_params":134515008,"ftype":"Q4_1","n_ctx_train":2048,"n_embd":576,"n_vocab":49152}},{"id":"b","owned_by":"vllm","max_model_len":4096}]}"#,
        r#"{"data":[{"id":"a","context_window":7}],"default_generation_settings":{"n_ctx":4096},"total_slots":4,"model_path":"/m","chat_template":"enable_thinking","chat_template_caps":{"supports_tools":true},"modalities":{"vision":true},"build_info":"b1","model_ftype":"Q4"}"#,
        r#"[{"id":0,"is_processing":true,"id_task":1,"n_prompt_tokens_processed":3,"next_token":[{"n_decoded":7}]},{"id":1,"is_processing":true,"id_task":4294967295,"next_token":{"n_decoded":18446744073709551615}}]"#,
    ];
    echo_fuzz::parser("openai: models, props, slots", &seeds, |bytes| {
        let Ok(value) = serde_json::from_slice::<Value>(bytes) else { return false };
        for facts in [Facts::default(), Facts::llama(value.clone())] {
            let found = probe::found(&value, &facts).unwrap_or_default();
            for it in found.iter().take(4) {
                let shown = show::described(&value, &facts, &it.engine_name).map(show::with_parameters);
                assert!(shown.is_some(), "what is listed is described");
            }
        }
        let asked = Ok(value.clone());
        let _ = (probe::work(&value), probe::count(&value, &asked), probe::dialect(&value, &asked));
        true
    });
}

#[test]
fn vectors() {
    let seed = r#"{"object":"list","data":[{"object":"embedding","index":1,"embedding":[0.5,-1,2e-7]},{"index":0,"embedding":[1e308,1e308,3]}],"usage":{"prompt_tokens":5,"total_tokens":5}}"#;
    echo_fuzz::parser("openai: vectors", &[seed], |bytes| {
        let Ok(value) = serde_json::from_slice::<Value>(bytes) else { return false };
        if let Ok(done) = embedded(value.clone(), Some(2)) {
            assert!(done.vectors.into_iter().flatten().all(|vector| vector.len() <= 2));
        }
        embedded(value, None).is_ok()
    });
}
