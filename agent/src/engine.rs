//! What an agent wants from an engine, whatever its dialect: to be asked how it is, and to run one request as a stream.

mod address;
#[cfg(test)]
mod any;
mod calls;
mod continuation;
mod contract;
mod decision;
mod direct;
#[cfg(test)]
mod fuzz;
mod http;
mod http_error;
mod lines;
pub mod liveness;
pub mod ollama;
pub mod openai;
mod rest;
mod steps;
mod template;
#[cfg(test)]
mod tests;
mod unparsed;
pub mod verdict;
mod way;

use std::sync::Arc;

pub use address::{Address, Kind};
pub(crate) use contract::RUNNING;
pub use contract::{Down, Engine, Found, Order, Probe, Sign, Step};
pub use http::BuildError;
pub(crate) use steps::unfinished;

/// The engine at an address.
///
/// # Errors
/// When the HTTP client cannot be made or the key cannot be read.
pub fn connect(address: &Address) -> Result<Arc<dyn Engine>, BuildError> {
    let http = http::Http::new(address)?;
    Ok(match address.kind {
        Kind::Ollama => Arc::new(ollama::Ollama::new(http)),
        Kind::Openai => Arc::new(openai::OpenAi::new(http, address.load_timeout)),
    })
}
