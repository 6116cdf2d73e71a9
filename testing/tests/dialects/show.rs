//! What an editor reads of a model before it offers it, from engines of every kind.

use echo_scripted_engine::Api;
use serde_json::{Value, json};

use super::wire::{ABLE, EMBEDDER, able, whole};

/// The tokens of one conversation, by the two fields that editors read; and what else they take for granted.
fn length(shown: &Value) -> Option<u64> {
    let family = shown["model_info"]["general.architecture"].as_str().expect("an architecture");
    assert!(
        !family.is_empty() && shown["details"]["family"].as_str().is_some_and(|it| !it.is_empty()),
        "{shown}"
    );
    assert!(shown["capabilities"].as_array().is_some_and(|list| !list.is_empty()), "{shown}");
    shown["model_info"][format!("{family}.context_length")].as_u64()
}

#[tokio::test]
async fn an_editor_learns_what_a_model_can_take_on_every_kind_of_node() {
    // The scripted models have 4096 tokens, which llama.cpp shares out over its slots.
    for (api, vllm, wanted) in
        [(Api::Ollama, None, 4096), (Api::Openai, None, 1024), (Api::Openai, Some(777), 777)]
    {
        let mesh = able(api).script(|script| script.max_model_len = vllm).await;
        for body in [json!({"model": ABLE}), json!({"name": ABLE}), json!({"model": ABLE, "verbose": true})] {
            let (status, shown) = whole(mesh.client(), "/api/show", &body).await;
            assert_eq!((status, length(&shown)), (200, Some(wanted)), "{api:?} {body}: {shown}");
            // Ollama's models have a name of their own there, where their file has one.
            let name = &shown["model_info"]["general.basename"];
            assert!(api == Api::Ollama || name == ABLE, "{shown}");
            assert!(
                shown["capabilities"].as_array().is_some_and(|it| it.contains(&json!("completion"))),
                "{shown}"
            );
        }
        if api == Api::Ollama {
            let (_, shown) = whole(mesh.client(), "/api/show", &json!({"model": EMBEDDER})).await;
            assert_eq!(shown["capabilities"], json!(["embedding"]), "{shown}");
        }
    }
}
