//! Vectors that the same text always gets, and the texts that a request wants them for.

use serde_json::Value;

pub const DIMENSIONS: usize = 8;

/// One text or a list of them; nothing at all is an empty list.
pub fn inputs(value: Option<&Value>) -> Option<Vec<String>> {
    match value {
        None | Some(Value::Null) => Some(Vec::new()),
        Some(Value::String(text)) => Some(vec![text.clone()]),
        Some(Value::Array(texts)) => texts.iter().map(text).collect(),
        Some(_) => None,
    }
}

/// A text, or the tokens of one as a text of as many words.
fn text(value: &Value) -> Option<String> {
    let words = |tokens: &Vec<Value>| tokens.iter().map(Value::to_string).collect::<Vec<_>>().join(" ");
    value.as_str().map(str::to_owned).or_else(|| value.as_array().map(words))
}

/// A vector of length one that the same text always gets.
pub fn vector(text: &str, size: usize) -> Vec<f64> {
    // FNV-1a, then a step of a linear congruence for each dimension.
    let mut state = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    let mut vector: Vec<f64> = (0..size.min(8192))
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            f64::from((state >> 33) as u32) / f64::from(1_u32 << 31) + 0.001
        })
        .collect();
    let length = vector.iter().map(|x| x * x).sum::<f64>().sqrt();
    vector.iter_mut().for_each(|x| *x /= length);
    vector
}
