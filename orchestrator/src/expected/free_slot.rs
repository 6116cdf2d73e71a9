//! How long it takes until a slot is free.

use super::node::Rest;

/// A node without slots.
const UNKNOWN_WAIT: f64 = 3_600.0;

/// Until a slot is free. If nobody knows when answers end, the first of many ends well before its mean: what loads or is
/// in its prompt at best is over first, then answers end at their rates. If all answers are alike, one after the other
/// ends when it is expected to.
pub fn until_a_slot(rest: &[Rest], slots: usize, spread: f64) -> f64 {
    let line = rest.len().saturating_sub(slots);
    let least = rest.iter().map(|it| it.left - it.answer).fold(f64::INFINITY, f64::min);
    let rate: f64 = rest.iter().take(slots).map(|it| 1.0 / (it.left - least).max(0.05)).sum();
    if !least.is_finite() || rate <= 0.0 {
        return UNKNOWN_WAIT;
    }
    let by_chance = least + (line + 1) as f64 / rate;
    if spread >= 1.0 {
        return by_chance;
    }
    let mut ends: Vec<f64> = rest.iter().map(|it| it.left).collect();
    let in_order = *ends.select_nth_unstable_by(line, f64::total_cmp).1;
    in_order + spread * (by_chance - in_order)
}
