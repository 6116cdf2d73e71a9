//! Times as Ollama writes them: RFC 3339 in UTC, and Go's durations on the way in.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// `2025-01-31T08:09:10.123456789Z`.
pub fn rfc3339(time: SystemTime) -> String {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let (days, second) = (since.as_secs() / 86_400, since.as_secs() % 86_400);
    let (year, month, day) = civil(days);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    let nanos = since.subsec_nanos();
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{nanos:09}Z")
}

pub fn unix() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// Year, month and day of a day since 1970, counted in years that begin in March so that leap days come last.
fn civil(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let era = shifted / 146_097;
    let of_era = shifted % 146_097;
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

/// How long a model stays after its last use.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Keep {
    Forever,
    For(Duration),
}

/// `keep_alive`: a number is seconds, a string a Go duration, negative is forever.
pub fn keep_alive(value: &serde_json::Value) -> Result<Keep, String> {
    let seconds = match value {
        serde_json::Value::Number(number) => number.as_f64().unwrap_or(0.0),
        serde_json::Value::String(text) => go_duration(text)?,
        other => {
            return Err(format!(
                "invalid keep_alive {other}: a number of seconds or a duration such as \"5m\""
            ));
        }
    };
    let long = Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or(Duration::MAX);
    Ok(if seconds < 0.0 { Keep::Forever } else { Keep::For(long) })
}

fn go_duration(text: &str) -> Result<f64, String> {
    let invalid = || format!("time: invalid duration {text:?}");
    let (sign, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (-1.0, rest),
        None => (1.0, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Ok(0.0);
    }
    if rest.is_empty() {
        return Err(invalid());
    }
    let mut seconds = 0.0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let number: f64 = rest[..digits].parse().map_err(|_| invalid())?;
        rest = &rest[digits..];
        let letters = rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len());
        seconds += number
            * match &rest[..letters] {
                "ns" => 1e-9,
                "us" | "µs" | "μs" => 1e-6,
                "ms" => 1e-3,
                "s" => 1.0,
                "m" => 60.0,
                "h" => 3600.0,
                "" => return Err(format!("time: missing unit in duration {text:?}")),
                unit => return Err(format!("time: unknown unit {unit:?} in duration {text:?}")),
            };
        rest = &rest[letters..];
    }
    Ok(sign * seconds)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn dates_are_civil() {
        let time = |secs| rfc3339(UNIX_EPOCH + Duration::from_secs(secs));
        assert_eq!(time(0), "1970-01-01T00:00:00.000000000Z");
        assert_eq!(time(1_709_210_096), "2024-02-29T12:34:56.000000000Z");
        assert_eq!(time(4_102_444_799), "2099-12-31T23:59:59.000000000Z");
    }

    #[test]
    fn a_number_is_seconds_and_a_string_needs_its_unit() {
        assert_eq!(keep_alive(&json!(300)), Ok(Keep::For(Duration::from_secs(300))));
        assert_eq!(keep_alive(&json!("1h30m")), Ok(Keep::For(Duration::from_secs(5400))));
        assert_eq!(keep_alive(&json!(-1)), Ok(Keep::Forever));
        assert_eq!(keep_alive(&json!("-1m")), Ok(Keep::Forever));
        assert_eq!(keep_alive(&json!("0")), Ok(Keep::For(Duration::ZERO)));
        assert_eq!(keep_alive(&json!("300")), Err("time: missing unit in duration \"300\"".to_owned()));
    }
}
