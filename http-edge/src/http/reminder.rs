//! Instructions in the middle of a conversation.

use echo_bus::message::Part;

/// What stands in the middle of a conversation as an instruction. Many templates refuse one that is not the first, and put
/// at the beginning it would spoil the engine's cache: it is told with what the user says, marked as Claude Code does.
pub fn reminder(parts: Vec<Part>) -> Vec<Part> {
    let marked = |part| match part {
        Part::Text { text } => Part::text(format!("<system-reminder>\n{text}\n</system-reminder>")),
        other => other,
    };
    parts.into_iter().map(marked).collect()
}
