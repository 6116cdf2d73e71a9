//! What one user asks for, turn by turn.

/// One request of a script.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Turn {
    pub model: usize,
    pub prompt: u32,
    pub answer: u32,
    pub session: u64,
    pub system: u64,
    pub system_tokens: u32,
    /// Seconds after the answer before it.
    pub think: f64,
    pub calls_tool: bool,
}

/// When a script begins, and its turns.
#[derive(Debug, Clone, PartialEq)]
pub struct Script {
    pub at: f64,
    /// Whose it is, where there are several clients.
    pub client: Option<&'static str>,
    pub turns: Vec<Turn>,
}
