//! The drop-in APIs on real processes: Ollama's, OpenAI's and Anthropic's words, through the mesh and to the letter.

mod anthropic;
mod bodies;
mod calls;
mod cases;
mod clients;
mod codex;
mod docs;
mod editors;
mod embeddings;
mod fidelity;
mod http;
mod manage;
mod ollama;
mod openai;
mod paths;
mod pictures;
mod routes;
mod show;
#[path = "../mesh/skip.rs"]
mod skip;
mod unload;
mod webui;
mod wire;
