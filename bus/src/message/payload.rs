//! A whole message of the bus, and how it is read.

use std::io;

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

/// What can be sent as an `M`: one itself, or what is written like one.
pub trait WrittenAs<M>: Serialize {
    /// Whose headers travel beside it.
    fn original(&self) -> &M;
}

impl<M: Payload> WrittenAs<M> for M {
    fn original(&self) -> &M {
        self
    }
}

/// Most messages are shorter, in bytes; while one grows beyond it, it is copied.
const USUAL: usize = 1_000;

/// A message as it travels.
///
/// # Errors
/// When it cannot be written as JSON.
pub fn write(message: &impl Serialize) -> serde_json::Result<Vec<u8>> {
    let mut payload = Vec::with_capacity(USUAL);
    serde_json::to_writer(&mut payload, message)?;
    Ok(payload)
}

/// The size of a value as JSON, which is not written anywhere. What cannot be written cannot be sent either, and is
/// refused there.
pub fn size(value: &impl Serialize) -> usize {
    struct Count(usize);
    impl io::Write for Count {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 += bytes.len();
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let mut count = Count(0);
    let _ = serde_json::to_writer(&mut count, value);
    count.0
}
