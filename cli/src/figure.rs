//! Figures as people read them; the page says them the same way.

/// Bytes: 12 GB.
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["B", "kB", "MB", "GB", "TB", "PB"];
    let (mut value, mut unit) = (bytes as f64, 0);
    // What is rounded to a thousand is one of the next unit.
    while value >= 999.5 && unit + 1 < UNITS.len() {
        (value, unit) = (value / 1000.0, unit + 1);
    }
    if unit > 0 && value < 9.95 {
        return format!("{value:.1} {}", UNITS[unit]);
    }
    format!("{value:.0} {}", UNITS[unit])
}

/// Milliseconds: 40 ms, 1.2 s, 3 min 5 s.
pub fn span(ms: u64) -> String {
    let minutes = ms / 60_000;
    match ms {
        0..1_000 => format!("{ms} ms"),
        1_000..10_000 => format!("{:.1} s", (ms / 100) as f64 / 10.0),
        10_000..60_000 => format!("{} s", ms / 1000),
        60_000..3_600_000 => format!("{minutes} min {} s", ms % 60_000 / 1000),
        3_600_000..86_400_000 => format!("{} h {} min", minutes / 60, minutes % 60),
        _ => format!("{} d {} h", minutes / 1440, minutes % 1440 / 60),
    }
}

/// Tokens a second; `-` where nothing is measured.
pub fn rate(value: Option<f64>) -> String {
    match value.filter(|value| value.is_finite()) {
        None => "-".to_owned(),
        Some(value) if value <= 0.0 => "0".to_owned(),
        Some(value) if value < 9.95 => format!("{value:.1}"),
        Some(value) => format!("{value:.0}"),
    }
}

/// `1 task`, `2 tasks`.
pub fn count(number: usize, one: &str) -> String {
    format!("{number} {one}{}", if number == 1 { "" } else { "s" })
}

/// `mistral:latest` is `mistral` to people.
pub fn model(name: &str) -> &str {
    name.strip_suffix(":latest").unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_short() {
        let sizes = [0, 999, 1_000, 9_940, 999_600, 12_300_000_000].map(size);
        assert_eq!(sizes, ["0 B", "999 B", "1.0 kB", "9.9 kB", "1.0 MB", "12 GB"]);
        let spans = [40, 1_290, 9_999, 59_999, 185_000, 3_661_000, 90_000_000].map(span);
        assert_eq!(spans, ["40 ms", "1.2 s", "9.9 s", "59 s", "3 min 5 s", "1 h 1 min", "1 d 1 h"]);
        let rates = [None, Some(f64::NAN), Some(0.0), Some(3.24), Some(31.6)].map(rate);
        assert_eq!(rates, ["-", "-", "0", "3.2", "32"]);
        assert_eq!([count(0, "task"), count(1, "task")], ["0 tasks", "1 task"]);
        assert_eq!([model("mistral:latest"), model("mistral:7b")], ["mistral", "mistral:7b"]);
        let _ = (size(u64::MAX), span(u64::MAX));
    }
}
