//! Numbers that others tell, within bounds.

/// A number that may be reckoned with: what is none, or beyond these bounds, is the nearest of them.
pub fn within(value: f64, least: f64, most: f64) -> f64 {
    // `max` takes the other side of a comparison with NaN.
    value.max(least).min(most)
}
