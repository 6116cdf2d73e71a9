//! Tool calls as engines write them, however loosely: which pieces belong to which call, and what its arguments are.

use echo_bus::message::{Failure, ToolCall};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Value, json};

use super::steps::nonsense;

/// The longest names and arguments of all calls of one answer, in bytes.
const LONGEST: usize = 4 << 20;

/// Calls in one answer; more are nonsense.
const MOST: usize = 256;

/// A piece of a call in OpenAI's stream. Servers disagree on every type in it, so each is read as what it is.
#[derive(Debug, Deserialize, Default)]
#[serde(default)]
pub struct Part {
    index: Value,
    id: Value,
    function: Option<Function>,
}

#[derive(Debug, Deserialize, Default)]
#[serde(default)]
struct Function {
    name: Option<String>,
    arguments: Value,
}

/// The calls of one answer while their pieces come in.
///
/// A call begins with an id and a name, and its later pieces have only the index. But some servers give every call the
/// same index, or none, so what tells calls apart is a new id; without ids, a new name.
#[derive(Debug, Default)]
pub struct Calls {
    building: Vec<Building>,
    /// The place of the call that the last piece belonged to: the one that a piece without an index continues.
    last: usize,
    length: usize,
}

#[derive(Debug, Default)]
struct Building {
    index: Option<u64>,
    id: String,
    name: String,
    arguments: String,
}

impl Calls {
    /// Adds a piece to its call.
    ///
    /// # Errors
    /// When the calls have no end.
    pub fn add(&mut self, part: Part) -> Result<(), Failure> {
        let Function { name, arguments } = part.function.unwrap_or_default();
        let (index, id, name) = (index(&part.index), id(&part.id), name.unwrap_or_default());
        let place = self.continued(index, &id, &name, &arguments).unwrap_or(self.building.len());
        if place == self.building.len() {
            self.building.push(Building { index, ..Building::default() });
        }
        self.last = place;
        let call = &mut self.building[place];
        let before = call.length();
        call.index = call.index.or(index);
        call.grow(id, &name, arguments);
        self.length = self.length - before + call.length();
        let endless = self.length > LONGEST || self.building.len() > MOST;
        if endless { Err(nonsense("a tool call without end")) } else { Ok(()) }
    }

    /// The place of the call that a piece belongs to; `None` for the first piece of a new one.
    fn continued(&self, index: Option<u64>, id: &str, name: &str, arguments: &Value) -> Option<usize> {
        let under = |call: &Building| index.is_none() || call.index == index;
        if !id.is_empty()
            && let Some(known) = self.building.iter().rposition(|call| under(call) && call.id == id)
        {
            return Some(known);
        }
        let open = self.open(index)?;
        let call = &self.building[open];
        let goes_on = match (id.is_empty(), name.is_empty()) {
            (true, true) => true,
            // Its id comes late, or each piece has a new one: nothing is called without a name.
            (false, true) => call.id.is_empty() || !call.is_whole(),
            (false, false) => call.id.is_empty() && call.name.is_empty(),
            (true, false) => call.name.is_empty() || (call.name == name && !call.is_followed_by(arguments)),
        };
        goes_on.then_some(open)
    }

    /// The call that is being written under an index. One that began without an index takes the first that comes.
    fn open(&self, index: Option<u64>) -> Option<usize> {
        let last = (self.last < self.building.len()).then_some(self.last);
        if index.is_none() {
            return last;
        }
        let known = self.building.iter().rposition(|call| call.index == index);
        known.or_else(|| last.filter(|place| self.building[*place].index.is_none()))
    }

    /// All calls, whole, in the order in which they began.
    pub fn whole(self) -> Vec<ToolCall> {
        let whole = |(index, call): (u32, Building)| {
            let arguments = arguments(call.arguments.into());
            ToolCall { id: call.id, index, name: call.name, arguments, ..ToolCall::default() }
        };
        (0..).zip(self.building).map(whole).collect()
    }
}

impl Building {
    fn grow(&mut self, id: String, name: &str, arguments: Value) {
        if self.id.is_empty() {
            self.id = id;
        }
        // Some repeat the name, or all of it so far, on each piece.
        if name.starts_with(&self.name) {
            name.clone_into(&mut self.name);
        } else {
            self.name.push_str(name);
        }
        match arguments {
            Value::Null => {}
            Value::String(text) => self.arguments.push_str(&text),
            // Only text comes in pieces.
            whole => self.arguments = whole.to_string(),
        }
    }

    /// Whether arguments that come under the same name, with no id, are those of the next call: this one has all that it
    /// needs.
    fn is_followed_by(&self, arguments: &Value) -> bool {
        let more = !arguments.is_null() && arguments != "";
        more && self.id.is_empty() && self.is_whole()
    }

    fn is_whole(&self) -> bool {
        self.arguments.trim_end().ends_with('}')
            && serde_json::from_str::<IgnoredAny>(&self.arguments).is_ok()
    }

    fn length(&self) -> usize {
        self.id.len() + self.name.len() + self.arguments.len()
    }
}

/// A number, or one in a text; anything else is as good as none.
pub fn index(said: &Value) -> Option<u64> {
    said.as_u64().or_else(|| said.as_str()?.trim().parse().ok())
}

/// A text; some servers count their calls and give the number.
pub fn id(said: &Value) -> String {
    match said {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        _ => String::new(),
    }
}

/// The arguments of a whole call: an object wherever one can be read, else what the model wrote.
pub fn arguments(said: Value) -> Value {
    match said {
        Value::Null => json!({}),
        Value::String(text) if text.trim().is_empty() => json!({}),
        Value::String(text) => match serde_json::from_str(&text) {
            Ok(Value::Null) => json!({}),
            Ok(value) => value,
            Err(_) => text.into(),
        },
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(parts: &[Value]) -> Vec<ToolCall> {
        let mut calls = Calls::default();
        for part in parts {
            calls.add(serde_json::from_value(part.clone()).unwrap()).unwrap();
        }
        calls.whole()
    }

    fn cities(calls: &[ToolCall]) -> Vec<(u32, &str, &str)> {
        let city = |call: &ToolCall| call.arguments["city"].as_str().map(str::len).unwrap_or_default();
        assert!(calls.iter().all(|call| city(call) > 0), "{calls:?}");
        calls
            .iter()
            .map(|call| (call.index, call.name.as_str(), call.arguments["city"].as_str().unwrap()))
            .collect()
    }

    fn part(index: Value, id: Value, city: &str) -> Value {
        let function = json!({"name": "weather", "arguments": json!({"city": city}).to_string()});
        json!({"index": index, "id": id, "function": function})
    }

    #[test]
    fn a_new_id_is_a_new_call_whatever_the_index() {
        let two = [(0, "weather", "Oslo"), (1, "weather", "Lima")];
        for index in [json!(0), Value::Null, json!("0"), json!(-1), json!(0.5), json!({})] {
            let calls =
                read(&[part(index.clone(), json!("a"), "Oslo"), part(index.clone(), json!("b"), "Lima")]);
            assert_eq!(cities(&calls), two, "{index}");
            assert_eq!((calls[0].id.as_str(), calls[1].id.as_str()), ("a", "b"));
        }
        let mut unnumbered = [part(json!(0), json!("a"), "Oslo"), part(json!(0), json!("b"), "Lima")];
        unnumbered
            .iter_mut()
            .for_each(|part| part.as_object_mut().unwrap().retain(|name, _| name != "index"));
        assert_eq!(cities(&read(&unnumbered)), two);
        let numbered = read(&[part(json!(0), json!(7), "Oslo"), part(json!(0), json!(8), "Lima")]);
        assert_eq!((numbered[0].id.as_str(), cities(&numbered)), ("7", two.to_vec()));
        let one_id = [part(json!(0), json!("a"), "Oslo"), part(json!(1), json!("a"), "Lima")];
        assert_eq!(cities(&read(&one_id)), two);
    }

    #[test]
    fn without_ids_a_new_name_is_a_new_call_and_so_is_a_name_behind_whole_arguments() {
        let calls = read(&[part(json!(0), Value::Null, "Oslo"), part(json!(0), json!(""), "Lima")]);
        assert_eq!(cities(&calls), [(0, "weather", "Oslo"), (1, "weather", "Lima")]);
        let named = |name: &str| json!({"index": 0, "function": {"name": name, "arguments": ""}});
        let names: Vec<String> =
            read(&[named("now"), named("later")]).into_iter().map(|call| call.name).collect();
        assert_eq!(names, ["now", "later"]);
    }

    #[test]
    fn a_name_that_is_repeated_on_a_later_piece_is_one_name() {
        for id in [json!("a"), Value::Null] {
            let piece = |text: &str| json!({"index": 0, "id": id, "function": {"name": "weather", "arguments": text}});
            let calls = read(&[piece(""), piece("{\"city\":"), piece("\"Oslo\"}"), piece("")]);
            assert_eq!(cities(&calls), [(0, "weather", "Oslo")], "{id}");
        }
    }

    #[test]
    fn an_id_may_come_late_or_anew_on_each_piece() {
        let function = |text: &str| json!({"arguments": text});
        let calls = read(&[
            json!({"index": 0, "function": {"name": "weather", "arguments": ""}}),
            json!({"index": 0, "id": "a", "function": function("{\"city\":")}),
            json!({"index": 0, "id": "b", "function": function("\"Oslo\"}")}),
            json!({"index": 0, "id": "c"}),
            json!({"index": 0, "function": {"name": "weather", "arguments": "{\"city\":\"Lima\"}"}}),
        ]);
        assert_eq!(cities(&calls), [(0, "weather", "Oslo"), (1, "weather", "Lima")]);
        assert_eq!((calls[0].id.as_str(), calls[1].id.as_str()), ("a", "c"));
    }

    #[test]
    fn arguments_are_an_object_wherever_one_can_be_read() {
        for said in [json!({"city": "Oslo"}), json!("{\"city\":\"Oslo\"}")] {
            let call = json!({"index": 0, "id": "a", "function": {"name": "weather", "arguments": said}});
            assert_eq!(cities(&read(&[call])), [(0, "weather", "Oslo")]);
        }
        for nothing in [Value::Null, json!(""), json!(" "), json!("null"), json!({})] {
            assert_eq!(arguments(nothing), json!({}));
        }
        assert_eq!(arguments(json!("{\"city\"")), json!("{\"city\""));
    }

    #[test]
    fn calls_without_end_are_nonsense() {
        let mut calls = Calls::default();
        let many =
            (0..=MOST).map(|id| calls.add(serde_json::from_value(part(json!(0), json!(id), "x")).unwrap()));
        assert!(many.last().unwrap().is_err());
        let (mut calls, long) = (Calls::default(), "x".repeat(LONGEST / 2));
        let mut add = || calls.add(serde_json::from_value(part(Value::Null, json!("a"), &long)).unwrap());
        assert!(add().is_ok() && add().is_err());
    }

    /// One call cut into pieces: its id and name on the first, and as many bits of its arguments as there are cuts.
    fn cut(index: usize, id: &str, arguments: &str, cuts: &[usize]) -> Vec<Value> {
        let mut places: Vec<usize> = cuts.iter().map(|cut| cut % (arguments.len() + 1)).collect();
        places.retain(|place| arguments.is_char_boundary(*place));
        places.extend([0, arguments.len()]);
        places.sort_unstable();
        let texts = places.windows(2).map(|pair| &arguments[pair[0]..pair[1]]);
        let piece = |(place, text): (usize, &str)| match place {
            0 => json!({"index": index, "id": id, "function": {"name": "f", "arguments": text}}),
            _ => json!({"index": index, "function": {"arguments": text}}),
        };
        texts.enumerate().map(piece).collect()
    }

    proptest! {
        #[test]
        fn calls_cut_into_any_pieces_are_the_same_calls(
            given in prop::collection::vec(("\\PC{0,12}", prop::collection::vec(0..64_usize, 0..6)), 1..6),
            same_index in any::<bool>(), unnumbered in any::<bool>(), mixed in any::<bool>(), parted in any::<bool>(),
        ) {
            let (mut pieces, mut wanted) = (Vec::new(), Vec::new());
            for (number, (text, cuts)) in given.iter().enumerate() {
                let arguments = json!({"text": text});
                let index = if same_index { 0 } else { number };
                let mut call = cut(index, &format!("c{number}"), &arguments.to_string(), cuts);
                if parted {
                    let id = call[0]["id"].take();
                    call.insert(0, json!({"index": index, "id": id}));
                }
                pieces.push(call);
                wanted.push((format!("c{number}"), arguments));
            }
            // Only with an index of its own may a call's pieces come between those of another.
            let numbered = !same_index && !unnumbered;
            let mut parts: Vec<Value> = Vec::new();
            if mixed && numbered {
                let longest = pieces.iter().map(Vec::len).max().unwrap_or_default();
                parts.extend((0..longest).flat_map(|at| pieces.iter().filter_map(move |call| call.get(at).cloned())));
            } else {
                parts.extend(pieces.concat());
            }
            if unnumbered {
                parts.iter_mut().for_each(|part| part["index"] = Value::Null);
            }
            let calls = read(&parts);
            let found: Vec<_> = calls.iter().map(|call| (call.id.clone(), call.arguments.clone())).collect();
            prop_assert_eq!(found, wanted);
            prop_assert!(calls.iter().enumerate().all(|(at, call)| call.index as usize == at && call.name == "f"));
        }
    }
}
