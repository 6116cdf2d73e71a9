//! Numbers for people.

/// A number with as many digits as a reader can use.
pub fn number(value: f64) -> String {
    let size = value.abs();
    match size {
        _ if size >= 10_000.0 => grouped(value),
        _ if size >= 100.0 || value.fract() == 0.0 => format!("{value:.0}"),
        _ if size >= 10.0 => format!("{value:.1}"),
        _ if size >= 0.1 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

/// Thousands apart.
fn grouped(value: f64) -> String {
    let digits = format!("{:.0}", value.abs());
    let mut out = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    if value < 0.0 { format!("-{out}") } else { out }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        let shown = [0.0, 0.0123, 0.5, 2.345, 23.45, 234.5, 12_345.6, 1_234_567.0, -1.5].map(number);
        assert_eq!(shown, ["0", "0.012", "0.50", "2.35", "23.4", "234", "12,346", "1,234,567", "-1.50"]);
    }
}
