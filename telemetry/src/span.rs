//! One step of a request, from its begin to its end. Without tracing it is nothing, and whatever is asked of it does nothing.

use std::borrow::Cow;
use std::time::SystemTime;

use opentelemetry::trace::{Span as _, SpanBuilder, SpanContext, Status, TraceContextExt as _, Tracer as _};
use opentelemetry::{Context, KeyValue, Value};
use opentelemetry_sdk::trace::Span as Recorded;

pub use opentelemetry::trace::SpanKind as Kind;

use crate::context;
use crate::tracer::TRACER;

/// The longest text in an attribute, in characters: what a client has written stays small.
const LONGEST: usize = 200;

/// Something under way. It ends when it is dropped, so none can be left open.
#[derive(Debug, Default)]
pub struct Span(Option<Box<Recorded>>);

/// What another span can name: that it belongs together with this one, though it is no child of it.
#[derive(Debug, Clone)]
pub struct Link(SpanContext);

impl Span {
    /// Nothing.
    pub const fn none() -> Self {
        Self(None)
    }

    /// A step that begins now: below `parent` (a `traceparent`), or as the root of a trace. Whether it is recorded is the parent's word.
    pub fn begin(name: impl FnOnce() -> Cow<'static, str>, kind: Kind, parent: Option<&str>) -> Self {
        Self::linked(name, kind, parent, None)
    }

    /// The same, with a link to an earlier one.
    pub fn linked(
        name: impl FnOnce() -> Cow<'static, str>,
        kind: Kind,
        parent: Option<&str>,
        earlier: Option<Link>,
    ) -> Self {
        let Some(tracer) = TRACER.get() else { return Self(None) };
        let parent = match parent.and_then(context::parse) {
            Some(parent) => Context::new().with_remote_span_context(parent),
            None => Context::new(),
        };
        let links = earlier.map(|link| opentelemetry::trace::Link::with_context(link.0));
        let builder = SpanBuilder::from_name(name()).with_kind(kind).with_links(links.into_iter().collect());
        Self(Some(Box::new(tracer.build_with_context(builder, &parent))))
    }

    /// Whether anybody will see it: what costs something to say need not be said else.
    pub fn is_recorded(&self) -> bool {
        self.0.as_ref().is_some_and(|span| span.is_recording())
    }

    /// What goes to the next part, so that its spans are below this one; `None` without tracing.
    pub fn traceparent(&self) -> Option<String> {
        self.0.as_ref().map(|span| context::write(span.span_context()))
    }

    pub fn link(&self) -> Option<Link> {
        self.0.as_ref().map(|span| Link(span.span_context().clone()))
    }

    pub fn set(&mut self, attributes: impl IntoIterator<Item = KeyValue>) {
        if let Some(span) = self.recorded() {
            attributes.into_iter().for_each(|it| span.set_attribute(it));
        }
    }

    /// Something happens now.
    pub fn event(&mut self, name: &'static str, attributes: impl IntoIterator<Item = KeyValue>) {
        if let Some(span) = self.recorded() {
            span.add_event_with_timestamp(name, SystemTime::now(), attributes.into_iter().collect());
        }
    }

    /// It has failed. A code and no sentence: that may quote what the client has sent.
    pub fn fail(&mut self, code: impl Into<Value>) {
        if let Some(span) = self.recorded() {
            span.set_attribute(KeyValue::new("error.type", code));
            span.set_status(Status::error(""));
        }
    }

    /// It ends now.
    pub fn end(&mut self) {
        self.0 = None;
    }

    fn recorded(&mut self) -> Option<&mut Recorded> {
        self.0.as_deref_mut().filter(|span| span.is_recording())
    }
}

/// A name and its value; of a text no more than its beginning.
pub fn attribute(name: &'static str, value: impl Into<Value>) -> KeyValue {
    let value = match value.into() {
        Value::String(text) if text.as_str().len() > LONGEST => {
            text.as_str().chars().take(LONGEST).collect::<String>().into()
        }
        other => other,
    };
    KeyValue::new(name, value)
}

/// A list of one word.
pub fn list(word: &'static str) -> Value {
    Value::Array(vec![opentelemetry::StringValue::from(word)].into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_receiver_a_span_is_nothing_and_its_name_is_not_even_made() {
        let mut span = Span::begin(|| panic!("the name was made"), Kind::Server, None);
        span.event("first_token", []);
        span.fail("lost");
        assert!(!span.is_recorded() && span.traceparent().is_none() && span.link().is_none());
        assert_eq!(size_of::<Span>(), size_of::<usize>());
    }

    #[test]
    fn a_long_text_is_cut() {
        let cut = attribute("gen_ai.request.model", "é".repeat(5_000));
        assert_eq!(cut.value.as_str().chars().count(), LONGEST);
    }
}
