//! The servers with OpenAI's API that are told apart.

/// Which server it is, as far as it changes what may be said to it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Dialect {
    LlamaCpp,
    Vllm,
    #[default]
    Plain,
}

impl Dialect {
    /// Understands `chat_template_kwargs`.
    pub const fn has_template_settings(self) -> bool {
        matches!(self, Self::LlamaCpp | Self::Vllm)
    }
}
