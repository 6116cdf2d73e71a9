//! Whether an answer that has begun can be continued honestly, and why not.

use echo_bus::message::{Request, Settings};

use super::Attempts;

impl Attempts {
    pub(super) fn can_continue(&self) -> bool {
        self.limits.continues
            && !self.answer.calls_tools()
            && !self.has_format()
            && self.fits()
            && self.is_text()
    }

    pub(super) fn why_not(&self) -> &'static str {
        if !self.limits.continues {
            "answers are not continued elsewhere on this mesh (--continue never)"
        } else if self.answer.calls_tools() {
            "an answer that has begun to call tools cannot be continued elsewhere"
        } else if self.has_format() {
            "an answer under a JSON format cannot be continued elsewhere"
        } else if !self.fits() {
            "the answer so far is too long to be continued elsewhere"
        } else {
            "this kind of request cannot be continued elsewhere"
        }
    }

    fn fits(&self) -> bool {
        self.answer.content().len() + self.answer.thinking().len() <= self.limits.longest
    }

    fn is_text(&self) -> bool {
        matches!(self.request, Request::Generate(_) | Request::Chat(_))
    }

    fn has_format(&self) -> bool {
        let format = settings(&self.request).and_then(|settings| settings.format.as_ref());
        format.is_some_and(|format| !format.is_null() && format != "")
    }
}

/// Whether an engine may hold back text until it is sure that it is no stop word and no tool call.
pub(super) fn holds_back(request: &Request) -> bool {
    let calls = matches!(request, Request::Chat(chat) if !chat.tools.is_empty());
    calls || settings(request).is_some_and(|settings| !settings.stop.is_empty())
}

fn settings(request: &Request) -> Option<&Settings> {
    match request {
        Request::Generate(it) => Some(&it.settings),
        Request::Chat(it) => Some(&it.settings),
        _ => None,
    }
}
