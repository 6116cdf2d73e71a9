//! Whether an answer that has begun can be continued honestly, and why not.

use echo_broker::message::Request;

use super::Life;

impl Life {
    pub(super) fn can_continue(&self) -> bool {
        self.limits.continues && !self.called_tool && !self.has_format() && self.fits() && self.is_text()
    }

    pub(super) fn why_not(&self) -> &'static str {
        if !self.limits.continues {
            "answers are not continued elsewhere on this mesh (--continue never)"
        } else if self.called_tool {
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
        self.content.len() + self.thinking.len() <= self.limits.longest
    }

    fn is_text(&self) -> bool {
        matches!(self.request, Request::Generate(_) | Request::Chat(_))
    }

    fn has_format(&self) -> bool {
        let settings = match &self.request {
            Request::Generate(it) => &it.settings,
            Request::Chat(it) => &it.settings,
            _ => return false,
        };
        settings.format.as_ref().is_some_and(|format| !format.is_null() && format != "")
    }
}
