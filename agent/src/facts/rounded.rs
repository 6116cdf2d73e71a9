//! Numbers as a heartbeat tells them.

/// To three digits: a heartbeat is no place for more.
pub fn rounded(number: f64) -> f64 {
    let digits = 2 - number.abs().log10().floor().clamp(-9.0, 9.0) as i32;
    let (factor, inverse) = (10_f64.powi(digits), 10_f64.powi(-digits));
    // Multiplied by a whole number, it stays one: no tail of nines.
    if digits > 0 { (number * factor).round() / factor } else { (number * factor).round() * inverse.round() }
}
