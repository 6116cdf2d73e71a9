//! Why something was not said, or not answered.

/// Why a message was not sent.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// The broker cannot be reached now. Nothing was sent, and nothing will be sent later.
    #[error("the broker is not connected")]
    Disconnected,
    /// The payload is larger than the broker takes.
    #[error("the message has {size} bytes and the broker takes {limit}")]
    TooLarge { size: usize, limit: usize },
    /// The message cannot be written as JSON.
    #[error("the message cannot be encoded")]
    Encode(#[source] serde_json::Error),
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The question was not sent.
    #[error("the question was not sent")]
    Unsent(#[from] PublishError),
    /// Nobody listens there: the question reached nobody.
    #[error("nobody listens on {0}")]
    NoResponders(String),
    /// Nobody knows whether the question arrived.
    #[error("{0} gave no answer in time")]
    Unanswered(String),
    /// Somebody answered something else.
    #[error("the answer of {0} cannot be read")]
    Undecodable(String, #[source] serde_json::Error),
}
