//! Texts that came over the bus, bounded: what is shown is kept twice and sent to every viewer.

/// The longest text that is shown, in bytes: a model's name fits, as the edge lets it in.
pub const LONGEST: usize = 256;

/// Its beginning, as far as it is shown.
pub fn short(text: &str) -> String {
    let end = (0..=LONGEST.min(text.len())).rev().find(|&at| text.is_char_boundary(at));
    text[..end.unwrap_or_default()].to_owned()
}
