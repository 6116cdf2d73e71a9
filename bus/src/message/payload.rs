//! A whole message of the bus, and how it is read.

use async_nats::HeaderMap;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// A message of the bus.
pub trait Payload: Serialize + DeserializeOwned {
    /// Reads a message.
    ///
    /// # Errors
    /// When it is no message of this type.
    fn read(payload: &[u8]) -> serde_json::Result<Self> {
        serde_json::from_slice(payload)
    }

    /// What travels beside the payload, for tracing.
    fn headers(&self) -> Option<HeaderMap> {
        None
    }

    /// Takes what travelled beside the payload.
    fn take_headers(&mut self, _headers: &HeaderMap) {}
}
