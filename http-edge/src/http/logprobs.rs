//! Log probabilities: a list of entries in the middle, whichever of three shapes an engine or a dialect has for them.

use serde_json::{Map, Value, json};

/// The entries of what an engine said: Ollama's list, a chat's `{"content": […]}`, or the lists of text completions.
pub fn entries(said: &Value) -> Vec<Value> {
    match said {
        Value::Array(entries) => entries.clone(),
        Value::Object(fields) => match fields.get("content") {
            Some(Value::Array(entries)) => entries.clone(),
            _ => from_lists(fields),
        },
        _ => Vec::new(),
    }
}

fn from_lists(fields: &Map<String, Value>) -> Vec<Value> {
    let list = |name: &str| fields.get(name).and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let (probs, tops) = (list("token_logprobs"), list("top_logprobs"));
    let entry = |(place, token): (usize, &Value)| {
        let mut entry = json!({"token": token, "logprob": probs.get(place)});
        if let Some(Value::Object(top)) = tops.get(place) {
            let top = top.iter().map(|(token, logprob)| json!({"token": token, "logprob": logprob}));
            entry["top_logprobs"] = top.collect();
        }
        entry
    };
    list("tokens").iter().enumerate().map(entry).collect()
}

/// In the shape of chat completions, with the fields that its clients insist on.
pub fn of_chat(entries: Vec<Value>) -> Value {
    let content: Vec<Value> = entries.into_iter().map(|entry| filled(entry, true)).collect();
    json!({"content": content, "refusal": null})
}

fn filled(entry: Value, outer: bool) -> Value {
    let Value::Object(mut entry) = entry else { return entry };
    let bytes = entry.get("token").and_then(Value::as_str).map(|token| json!(token.as_bytes()));
    let known = entry.get("bytes").is_some_and(|bytes| bytes.as_array().is_some_and(|list| !list.is_empty()));
    if !known {
        entry.insert("bytes".to_owned(), bytes.unwrap_or_default());
    }
    if outer {
        let top = match entry.remove("top_logprobs") {
            Some(Value::Array(top)) => top.into_iter().map(|entry| filled(entry, false)).collect(),
            _ => Vec::new(),
        };
        entry.insert("top_logprobs".to_owned(), top.into());
    }
    entry.into()
}

/// In the shape of text completions; `offset` is where in the whole text they begin, in characters.
pub fn of_text(entries: &[Value], offset: &mut usize) -> Value {
    let (mut tokens, mut probs, mut tops, mut offsets) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for entry in entries {
        let token = entry["token"].as_str().unwrap_or_default();
        tokens.push(entry["token"].clone());
        probs.push(entry["logprob"].clone());
        offsets.push(*offset);
        *offset += token.chars().count();
        let top = entry["top_logprobs"].as_array().into_iter().flatten();
        let top = top.filter_map(|top| Some((top["token"].as_str()?.to_owned(), top["logprob"].clone())));
        tops.push(Value::Object(top.collect()));
    }
    json!({"tokens": tokens, "token_logprobs": probs, "top_logprobs": tops, "text_offset": offsets})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_three_shapes_hold_the_same() {
        let list =
            json!([{"token": "a", "logprob": -0.5, "top_logprobs": [{"token": "b", "logprob": -2.0}]}]);
        let entries_of_list = entries(&list);
        assert_eq!(entries(&json!({ "content": list })), entries_of_list);
        let text = of_text(&entries_of_list, &mut 3);
        assert_eq!(text["text_offset"], json!([3]));
        assert_eq!(entries(&text), entries_of_list);
        let chat = of_chat(entries_of_list);
        assert_eq!(chat["content"][0]["bytes"], json!([97]));
        assert_eq!(chat["content"][0]["top_logprobs"][0]["bytes"], json!([98]));
    }

    #[test]
    fn nonsense_is_nothing() {
        for said in [json!(null), json!(3), json!({}), json!({"content": 4}), json!({"tokens": {}})] {
            assert!(entries(&said).is_empty(), "{said}");
        }
        of_chat(vec![json!(3), json!({"token": 4, "top_logprobs": "x"})]);
        of_text(&[json!(3), json!({"token": 4, "top_logprobs": "x"})], &mut 0);
    }
}
