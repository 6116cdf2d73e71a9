//! The drop-in APIs on real processes: Ollama's, OpenAI's and Anthropic's words, through the mesh and to the letter.

mod anthropic;
mod bodies;
mod calls;
mod cases;
mod choices;
mod clients;
mod codex;
mod docs;
mod editors;
mod embeddings;
mod fidelity;
mod http;
mod level;
mod manage;
mod matrix;
mod odd;
mod ollama;
mod openai;
mod paths;
mod pictures;
mod responses;
mod routes;
mod show;
mod unload;
mod webui;
mod wire;
