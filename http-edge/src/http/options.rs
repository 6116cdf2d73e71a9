//! Options of a request, in Ollama's words, into the mesh's own.

use echo_bus::message::Settings;
use serde_json::{Map, Value};

/// Takes the options that the mesh knows by name; the others go on in `extra`, for Ollama nodes.
///
/// # Errors
/// A sentence that names the option of a wrong type.
pub fn settings(options: Map<String, Value>) -> Result<Settings, String> {
    let mut settings = Settings::default();
    let mut others = Map::new();
    for (name, value) in options {
        if !value.is_null() && !take(&mut settings, &name, &value)? {
            others.insert(name, value);
        }
    }
    if !others.is_empty() {
        settings.extra.insert("options".to_owned(), Value::Object(others));
    }
    Ok(settings)
}

fn take(settings: &mut Settings, name: &str, value: &Value) -> Result<bool, String> {
    match name {
        "num_predict" | "max_tokens" => settings.max_tokens = Some(whole(name, value)?),
        "temperature" => settings.temperature = Some(number(name, value)?),
        "top_p" => settings.top_p = Some(number(name, value)?),
        "min_p" => settings.min_p = Some(number(name, value)?),
        "top_k" => settings.top_k = Some(whole(name, value)?),
        "seed" => settings.seed = Some(whole(name, value)?),
        "repeat_penalty" => settings.repeat_penalty = Some(number(name, value)?),
        "presence_penalty" => settings.presence_penalty = Some(number(name, value)?),
        "frequency_penalty" => settings.frequency_penalty = Some(number(name, value)?),
        "stop" => settings.stop = words(name, value)?,
        _ => return Ok(false),
    }
    Ok(true)
}

fn number(name: &str, value: &Value) -> Result<f64, String> {
    value.as_f64().ok_or_else(|| format!("options.{name}: expected a number"))
}

fn whole(name: &str, value: &Value) -> Result<i64, String> {
    let float = || value.as_f64().filter(|number| number.fract() == 0.0 && number.abs() < 9e15);
    // Some clients write whole numbers as 5.0.
    #[expect(clippy::cast_possible_truncation, reason = "checked to be whole and small enough")]
    let rounded = || float().map(|number| number as i64);
    value.as_i64().or_else(rounded).ok_or_else(|| format!("options.{name}: expected a whole number"))
}

fn words(name: &str, value: &Value) -> Result<Vec<String>, String> {
    let wrong = || format!("options.{name}: expected a text or a list of texts");
    match value {
        Value::String(word) => Ok(vec![word.clone()]),
        Value::Array(words) => {
            words.iter().map(|word| word.as_str().map(str::to_owned).ok_or_else(wrong)).collect()
        }
        _ => Err(wrong()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn of(options: Value) -> Result<Settings, String> {
        settings(options.as_object().cloned().unwrap_or_default())
    }

    #[test]
    fn known_options_are_named_and_the_others_go_through() {
        let settings = of(json!({"num_predict": 5.0, "stop": "x", "num_ctx": 4096, "seed": null})).unwrap();
        assert_eq!(settings.max_tokens, Some(5));
        assert_eq!(settings.stop, ["x"]);
        assert_eq!(settings.seed, None);
        assert_eq!(settings.extra["options"], json!({"num_ctx": 4096}));
    }

    #[test]
    fn a_wrong_type_is_named() {
        assert_eq!(of(json!({"top_k": "many"})).unwrap_err(), "options.top_k: expected a whole number");
        assert!(of(json!({"stop": [1]})).unwrap_err().contains("options.stop"));
    }
}
