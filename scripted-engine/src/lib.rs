//! The scripted engine: a real HTTP server that speaks Ollama's API and llama.cpp's to the letter and answers with
//! numbered tokens, so that a test can prove that each arrived once and in order.

mod answer;
mod ask;
mod clock;
mod core;
mod counted;
mod counters;
mod directive;
mod embedding;
mod hardware;
mod line_template;
mod lock;
mod machine;
mod mistakes;
mod models;
mod ollama;
mod ollama_embed;
mod ollama_store;
mod ollama_voice;
mod openai;
mod openai_info;
mod openai_voice;
mod plan;
mod run;
mod script;
mod seat;
mod server;
mod template;
#[cfg(test)]
mod tests;
mod wire;

pub use self::core::OnDeath;
pub use clock::rfc3339;
pub use counters::{Counters, Seen, Times};
pub use hardware::{Hardware, Pace};
pub use script::{Api, Fault, FaultKind, Model, Script, ToolCall};
pub use server::Engine;
