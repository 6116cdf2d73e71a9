//! The user's side: HTTP over a plain socket, so that a test controls every byte, and a reader of event streams that
//! notes everything it saw.

mod half;
mod http;
pub mod package;
mod sse;
mod transcript;

pub use half::{Half, PREFACE, frame, last_words, request};
pub use http::{Call, Client, Reply};
pub use sse::Stream;
pub use transcript::{Event, Transcript, scripted};
