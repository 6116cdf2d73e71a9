//! The orders of a chat, which begin with a slash.

/// What somebody wants of the chat itself.
#[derive(Debug, PartialEq, Eq)]
pub enum Order<'a> {
    Help,
    /// Of this name, or to hear which one it is.
    Model(Option<&'a str>),
    System(Option<&'a str>),
    Clear,
    Save(&'a str),
    Retry,
    Quit,
    Unknown(&'a str),
}

pub const HELP: &str = "\
/model [NAME]    show the model, or go on with another
/system [TEXT]   show how the model is to behave, or say it (/system - takes it back)
/clear           begin a new conversation
/retry           ask the last question again
/save FILE       write the conversation into a new file
/quit            leave (Ctrl-D)
\"\"\"              begins and ends a message of several lines; a \\ at the end of a line goes on, too
Ctrl-C           stops an answer
A message may begin with a slash if a space stands before it.";

impl<'a> Order<'a> {
    /// `None` for what is meant for the model.
    pub fn read(text: &'a str) -> Option<Self> {
        let rest = text.strip_prefix('/')?.trim_end();
        let (name, value) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
        let value = Some(value.trim()).filter(|value| !value.is_empty());
        Some(match (name, value) {
            ("help" | "?", _) => Self::Help,
            ("model", name) => Self::Model(name),
            ("system", text) => Self::System(text),
            ("clear", None) => Self::Clear,
            ("save", Some(file)) => Self::Save(file),
            ("retry", None) => Self::Retry,
            ("quit" | "exit" | "bye", None) => Self::Quit,
            _ => Self::Unknown(name),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_begins_with_a_slash_and_nothing_before_it() {
        assert_eq!(Order::read("/model  a:1 "), Some(Order::Model(Some("a:1"))));
        assert_eq!(Order::read("/system be brief, please"), Some(Order::System(Some("be brief, please"))));
        assert_eq!(Order::read("/bye"), Some(Order::Quit));
        assert_eq!(Order::read("/save"), Some(Order::Unknown("save")));
        assert_eq!(Order::read("/etc/passwd what is this"), Some(Order::Unknown("etc/passwd")));
        assert_eq!((Order::read(" /help"), Order::read("hello")), (None, None));
    }
}
