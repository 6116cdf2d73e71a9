//! How an answer that broke off goes on at this engine, if it honestly can: one decision, to be read as a table. The edge
//! has refused some before (`http-edge/src/attempts/honesty.rs`), and says what becomes of a refusal.

use echo_bus::message::{Chat, Code, Failure, Generate, Settings, SoFar};

use super::template::{Shown, TemplateBehaviour, Thoughts};

/// Servers, as far as they differ in how an answer goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Server {
    LlamaCpp,
    Vllm,
    /// Any other with OpenAI's API.
    Plain,
    Ollama,
}

/// What was going on when the answer broke off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    pub doing: Doing,
    /// There are thoughts before the text.
    pub thought: bool,
    pub tools: bool,
    /// The client has said which tool has to be called, or how many.
    pub tool_rule: bool,
    pub images: bool,
    /// The answer has to be valid as a whole: JSON, or what a grammar allows.
    pub bound: bool,
    /// The client began the answer itself, or brought its own template: it cannot be known where thoughts belong.
    pub own_way: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Doing {
    /// A prompt that goes to the model as it is.
    Completing,
    Thinking,
    Writing,
}

/// How it goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Means {
    /// By a trailing assistant message. The engine tells thoughts, text and tool calls apart.
    Trailing,
    /// By the prompt and the answer so far, as a raw completion. The engine tells nothing apart, so the agent does.
    Raw,
}

/// Why it does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    Bound,
    OwnWay,
    NoThoughts,
    Images,
    NoPrompt,
    NoMarks,
    NoCallForm,
    ToolRule,
}

/// The decision.
///
/// # Errors
/// Why the answer cannot go on honestly.
pub fn decide(server: Server, moment: Moment, shown: &Shown) -> Result<Means, Why> {
    use Doing::{Completing, Thinking, Writing};
    use Server::{LlamaCpp, Plain, Vllm};
    let trailing = shown.behaviour;
    match (moment.doing, server) {
        _ if moment.bound => Err(Why::Bound),
        (Completing, _) if moment.own_way => Err(Why::OwnWay),
        (Completing, _) => Ok(Means::Raw),
        (Thinking, _) if moment.own_way => Err(Why::OwnWay),
        (Thinking, Vllm | Plain) => Err(Why::NoThoughts),
        // Ollama continues such a message too, but gives out the thoughts as text.
        (Thinking, LlamaCpp) if trailing == TemplateBehaviour::Trailing => Ok(Means::Trailing),
        (Writing, _) if trailing != TemplateBehaviour::Raw => Ok(Means::Trailing),
        (_, LlamaCpp) if moment.images => Err(Why::Images),
        (Writing, _) if moment.thought && moment.own_way => Err(Why::OwnWay),
        // Thoughts that cannot stand before the text would begin anew in it.
        (doing, _) if doing == Thinking || moment.thought => match shown.thoughts {
            Thoughts::Hidden => Err(Why::NoPrompt),
            Thoughts::Unmarked => Err(Why::NoMarks),
            Thoughts::Marked(_) => decide_calls(server, moment, shown),
        },
        _ => decide_calls(server, moment, shown),
    }
}

/// The same of a raw prompt whose thoughts are in their place.
const fn decide_calls(server: Server, moment: Moment, shown: &Shown) -> Result<Means, Why> {
    match server {
        _ if moment.tools && !shown.calls => Err(Why::NoCallForm),
        // Its grammar held the answer to the rule; a raw completion has none. Ollama knows no such rule.
        Server::LlamaCpp if moment.tool_rule => Err(Why::ToolRule),
        _ => Ok(Means::Raw),
    }
}

impl Moment {
    pub fn of_chat(chat: &Chat, so_far: &SoFar) -> Self {
        Self {
            doing: doing(so_far),
            thought: !so_far.thinking.is_empty(),
            tools: !chat.tools.is_empty(),
            tool_rule: chat.tool_choice.is_some() || chat.parallel_tool_calls == Some(false),
            images: chat.messages.iter().any(|message| message.images().next().is_some()),
            bound: is_bound(&chat.settings),
            own_way: chat.messages.last().is_some_and(|last| last.role == "assistant"),
        }
    }

    /// A completion that no template of the mesh's choice renders: a raw one, or one with a template of its own.
    pub fn of_generate(generate: &Generate, so_far: &SoFar) -> Self {
        let thought = !so_far.thinking.is_empty();
        Self {
            doing: if generate.raw { Doing::Completing } else { doing(so_far) },
            thought,
            tools: false,
            tool_rule: false,
            images: !generate.images.is_empty(),
            bound: is_bound(&generate.settings),
            own_way: thought,
        }
    }

    /// The refusal: what was going on, why it cannot go on, and what to do.
    pub fn cannot(self, why: Why) -> Failure {
        let doing = match self.doing {
            Doing::Completing => "in the middle of a raw completion",
            Doing::Thinking => "in the middle of the model's thoughts",
            Doing::Writing => "in the middle of its text",
        };
        let tools = if self.tools { ", with tools offered" } else { "" };
        let message =
            format!("the answer broke off {doing}{tools}, and cannot go on at another node: {}", why.words());
        let message = format!("{message}; {ASK_AGAIN}");
        match why {
            // So it is at every node.
            Why::Bound | Why::OwnWay => Failure::give_up(Code::CannotContinue, message),
            _ => Failure::elsewhere(Code::CannotContinue, message),
        }
    }
}

/// What to do, in every refusal.
pub const ASK_AGAIN: &str = "ask again, or without streaming: what nobody has read yet begins anew by itself";

impl Why {
    const fn words(self) -> &'static str {
        match self {
            Self::Bound => "it has to be valid as a whole, by its format or grammar",
            Self::OwnWay => {
                "the client began it itself or brought its own template, so the place of its thoughts is not known"
            }
            Self::NoThoughts => "this engine cannot go on in the middle of thoughts",
            Self::Images => "its images cannot be sent with a raw prompt",
            Self::NoPrompt => "the engine does not show its prompts",
            Self::NoMarks => "the model's template does not show how its thoughts begin and end",
            Self::NoCallForm => {
                "the engine would not read a tool call there, and the model does not call tools in the one form that is known here"
            }
            Self::ToolRule => "tool_choice or parallel_tool_calls would not hold for the rest",
        }
    }
}

fn doing(so_far: &SoFar) -> Doing {
    if so_far.content.is_empty() && !so_far.thinking.is_empty() { Doing::Thinking } else { Doing::Writing }
}

/// A grammar starts from its beginning again, so what follows the text so far would not be what it asks for.
fn is_bound(settings: &Settings) -> bool {
    const GRAMMARS: [&str; 8] = [
        "grammar",
        "json_schema",
        "structured_outputs",
        "guided_json",
        "guided_regex",
        "guided_choice",
        "guided_grammar",
        "response_format",
    ];
    settings.has_format()
        || GRAMMARS.iter().any(|name| settings.openai.get(*name).is_some_and(|value| !value.is_null()))
}

#[cfg(test)]
mod tests;
