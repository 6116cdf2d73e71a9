//! How many tokens a conversation's prompt has, from an engine that shows its prompt and its tokens: llama.cpp's.

use echo_bus::message::{Chat, Done};
use serde_json::json;

use super::OpenAi;
use super::dialect::Dialect;
use super::resume::Prompts;
use crate::engine::continuation::{Rendering, Renders as _};

impl OpenAi {
    /// The count, where this engine can count: pictures and prompts that it does not show are left to an estimate.
    pub(super) async fn count(&self, model: &str, chat: &Chat) -> Done {
        // An editor asks for dozens at once: one after the other they cost the answers beside them least.
        let Ok(_turn) = self.counts.acquire().await else { return Done::default() };
        Done { prompt_tokens: self.counted(model, chat).await, ..Done::default() }
    }

    async fn counted(&self, model: &str, chat: &Chat) -> Option<u64> {
        let shows = self.known.dialect() == Dialect::LlamaCpp;
        let has_images = chat.messages.iter().any(|message| message.images().next().is_some());
        if !shows || has_images {
            return None;
        }
        // Nobody waits for a model to be loaded for a number.
        let prompts = Prompts { engine: self, model, loads: false };
        let prompt = prompts.render(chat, Rendering::AsAsked).await.ok()?.prompt()?;
        prompts.tokens(json!({"content": prompt, "add_special": true, "parse_special": true})).await
    }
}
