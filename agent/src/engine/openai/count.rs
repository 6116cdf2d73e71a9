//! How many tokens a conversation's prompt has, from an engine that shows its prompt and its tokens: llama.cpp's.

use echo_bus::message::{Chat, Done};
use serde_json::json;

use super::dialect::Dialect;
use super::{OpenAi, once_loaded};
use crate::engine::continuation::{Rendering, Renders as _};

impl OpenAi {
    /// The count, where this engine can count: pictures and prompts that it does not show are left to an estimate.
    pub(super) async fn count(&self, chat: &Chat) -> Done {
        // An editor asks for dozens at once: one after the other they cost the answers beside them least.
        let Ok(_turn) = self.counts.acquire().await else { return Done::default() };
        Done { prompt_tokens: self.counted(chat).await, ..Done::default() }
    }

    async fn counted(&self, chat: &Chat) -> Option<u64> {
        let shows = self.known.dialect() == Dialect::LlamaCpp;
        let has_images = chat.messages.iter().any(|message| message.images().next().is_some());
        if !shows || has_images {
            return None;
        }
        let prompt = self.render(chat, Rendering::AsAsked).await.ok()??;
        let body = json!({"content": prompt, "add_special": true, "parse_special": true});
        self.tokens(&body).await
    }

    /// How many tokens the engine makes of a text.
    pub(super) async fn tokens(&self, body: &serde_json::Value) -> Option<u64> {
        let ask = || self.http.ask_with("/tokenize", body);
        let answer = once_loaded(self.load_timeout, ask).await.ok()?;
        answer["tokens"].as_array().map(|tokens| tokens.len() as u64)
    }
}
