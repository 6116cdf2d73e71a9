//! The fields of a foreign JSON object, taken out one by one; what is left goes on as it is.

use echo_bus::message::Foreign;
use serde_json::{Map, Value};

use super::error::ApiError;

/// An object and its place in the request, for errors. A field that is null counts as absent.
#[derive(Debug)]
pub struct Fields {
    map: Map<String, Value>,
    place: String,
}

type Read<T> = Result<T, ApiError>;

impl Fields {
    /// The object of a whole request.
    pub fn new(map: Map<String, Value>) -> Self {
        Self { map, place: String::new() }
    }

    /// An object within a request.
    ///
    /// # Errors
    /// 400 if it is none.
    pub fn within(place: impl Into<String>, value: Value) -> Read<Self> {
        let place = place.into();
        match value {
            Value::Object(map) => Ok(Self { map, place: format!("{place}.") }),
            _ => Err(expected(&place, "an object")),
        }
    }

    /// The whole name of a field.
    pub fn place(&self, name: &str) -> String {
        format!("{}{name}", self.place)
    }

    pub fn wrong(&self, name: &str, wanted: &str) -> ApiError {
        expected(&self.place(name), wanted)
    }

    pub fn take(&mut self, name: &str) -> Option<Value> {
        self.map.remove(name).filter(|value| !value.is_null())
    }

    pub fn peek(&self, name: &str) -> Option<&Value> {
        self.map.get(name)
    }

    pub fn text(&mut self, name: &str) -> Read<Option<String>> {
        self.read(name, "a text", |value| match value {
            Value::String(text) => Some(text),
            _ => None,
        })
    }

    pub fn flag(&mut self, name: &str) -> Read<Option<bool>> {
        self.read(name, "true or false", |value| value.as_bool())
    }

    pub fn number(&mut self, name: &str) -> Read<Option<f64>> {
        self.read(name, "a number", |value| value.as_f64())
    }

    /// A whole number; some clients write 5 as 5.0.
    pub fn whole(&mut self, name: &str) -> Read<Option<i64>> {
        #[expect(clippy::cast_possible_truncation, reason = "checked to be whole and small enough")]
        let rounded = |number: f64| (number.fract() == 0.0 && number.abs() < 9e15).then_some(number as i64);
        self.read(name, "a whole number", |value| value.as_i64().or_else(|| value.as_f64().and_then(rounded)))
    }

    pub fn count(&mut self, name: &str) -> Read<Option<u32>> {
        let whole = self.whole(name)?;
        let small = whole.map(u32::try_from).transpose();
        small.map_err(|_| self.wrong(name, "a whole number that is not negative"))
    }

    pub fn list(&mut self, name: &str) -> Read<Vec<Value>> {
        let list = self.read(name, "a list", |value| match value {
            Value::Array(list) => Some(list),
            _ => None,
        });
        list.map(Option::unwrap_or_default)
    }

    pub fn object(&mut self, name: &str) -> Read<Map<String, Value>> {
        let object = self.read(name, "an object", |value| match value {
            Value::Object(object) => Some(object),
            _ => None,
        });
        object.map(Option::unwrap_or_default)
    }

    /// A list of texts.
    pub fn texts(&mut self, name: &str) -> Read<Vec<String>> {
        let list = self.list(name)?;
        let text = |value| match value {
            Value::String(text) => Ok(text),
            _ => Err(self.wrong(name, "a list of texts")),
        };
        list.into_iter().map(text).collect()
    }

    /// One text or a list of them; nothing at all is an empty list.
    pub fn text_or_texts(&mut self, name: &str) -> Read<Vec<String>> {
        match self.map.get(name) {
            Some(Value::String(_)) => Ok(self.text(name)?.into_iter().collect()),
            Some(Value::Array(_) | Value::Null) | None => self.texts(name),
            Some(_) => Err(self.wrong(name, "a text or a list of texts")),
        }
    }

    /// The arguments of a tool call: an object, or the text of one, as OpenAI's clients keep it. None are an empty object.
    pub fn arguments(&mut self) -> Read<Value> {
        let said = match self.take("arguments") {
            None => return Ok(Value::Object(Map::new())),
            Some(Value::String(text)) if text.trim().is_empty() => return Ok(Value::Object(Map::new())),
            Some(Value::String(text)) => serde_json::from_str(&text).unwrap_or_default(),
            Some(other) => other,
        };
        if said.is_object() {
            Ok(said)
        } else {
            Err(self.wrong("arguments", "an object, or a text that is one"))
        }
    }

    /// A text that must not be missing.
    pub fn required_text(&mut self, name: &str) -> Read<String> {
        let text = self.text(name)?.filter(|text| !text.is_empty());
        text.ok_or_else(|| self.wrong(name, "a text that is not empty"))
    }

    /// What is left of it, as the fields of this dialect.
    pub fn foreign(self, dialect: &str) -> Foreign {
        let rest = self.rest();
        if rest.is_empty() { Foreign::new() } else { [(dialect.to_owned(), rest)].into_iter().collect() }
    }

    /// What nobody took, in a map of its own size: it lives as long as the task.
    pub fn rest(self) -> Map<String, Value> {
        self.map.into_iter().collect()
    }

    fn read<T>(
        &mut self,
        name: &str,
        wanted: &str,
        as_type: impl FnOnce(Value) -> Option<T>,
    ) -> Read<Option<T>> {
        let Some(value) = self.take(name) else { return Ok(None) };
        as_type(value).map(Some).ok_or_else(|| self.wrong(name, wanted))
    }
}

fn expected(place: &str, wanted: &str) -> ApiError {
    ApiError::bad_request(format!("{place}: expected {wanted}")).param(place)
}

/// 400 that names the field.
pub fn wrong(field: &str, why: &str) -> ApiError {
    ApiError::bad_request(format!("{field}: {why}")).param(field)
}

/// How much to think, in Ollama's words, from the words of the other dialects.
pub fn effort(word: &str) -> Value {
    match word {
        "none" => false.into(),
        "minimal" | "low" => "low".into(),
        "medium" | "high" => word.into(),
        "xhigh" | "max" => "max".into(),
        // A level of tomorrow.
        _ => true.into(),
    }
}

/// A word of a client's, as much of it as may stand in a log.
pub fn shortened(word: &str) -> &str {
    let end = word.char_indices().map(|(at, _)| at).find(|at| *at >= LONGEST_LOGGED);
    &word[..end.unwrap_or(word.len())]
}

/// The longest word of a client's that is logged, in bytes.
const LONGEST_LOGGED: usize = 64;

/// The longest name of a model.
const LONGEST_MODEL: usize = 256;

/// Refuses what can be no model's name, so that it reaches no other part.
///
/// # Errors
/// 400 that names the field.
pub fn check_model(field: &str, model: &str) -> Result<(), ApiError> {
    if model.len() <= LONGEST_MODEL && !model.contains(char::is_control) {
        return Ok(());
    }
    let message = format!("{field}: at most {LONGEST_MODEL} bytes and no control characters");
    Err(ApiError::bad_request(message).param(field))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_wrong_type_is_named_with_its_place() {
        let mut fields =
            Fields::within("messages[2]", json!({"content": 5, "n": 2.0, "x": null, "s": "a"})).unwrap();
        let error = fields.text("content").unwrap_err();
        assert_eq!(error.message(), "messages[2].content: expected a text");
        assert_eq!(error.field(), Some("messages[2].content"));
        assert_eq!(fields.whole("n").unwrap(), Some(2));
        assert_eq!(
            (fields.flag("x").unwrap(), fields.text_or_texts("s").unwrap()),
            (None, vec!["a".to_owned()])
        );
        assert!(Fields::within("a", json!([])).is_err() && fields.rest().is_empty());
    }
}
