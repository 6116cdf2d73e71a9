//! Times as people write them: in flags, in the environment, and in the fields of a request.

use std::time::Duration;

use serde_json::Value;

/// A day, the longest that most things may take.
pub const DAY: Duration = Duration::from_secs(86_400);

/// Why a text is no time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidTime {
    #[error(
        "{0:?} is no time: write a number and one of ms, s, m, h, such as 30s; a number alone is seconds"
    )]
    Unreadable(String),
    #[error("out of bounds: choose a time from {least:?} to {most:?}")]
    OutOfBounds { least: Duration, most: Duration },
}

/// Reads `500ms`, `30s`, `30`, `1.5m` or `1h`; a number alone is seconds.
///
/// # Errors
/// When it is none of these, or too long to be counted.
pub fn parse(text: &str) -> Result<Duration, InvalidTime> {
    let wrong = || InvalidTime::Unreadable(text.chars().take(40).collect());
    let text = text.trim();
    let split = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let millis = match unit {
        "ms" => 1.0,
        "" | "s" => 1e3,
        "m" => 60e3,
        "h" => 3_600e3,
        _ => return Err(wrong()),
    };
    let number: f64 = number.parse().map_err(|_| wrong())?;
    Duration::try_from_secs_f64(number * millis / 1e3).map_err(|_| wrong())
}

/// The same from a field: a text, or a number of seconds.
///
/// # Errors
/// As [`parse`]; also for what is neither.
pub fn of_json(value: &Value) -> Result<Duration, InvalidTime> {
    match value {
        Value::String(text) => parse(text),
        other => parse(&other.to_string()),
    }
}

/// For a flag: a time within these bounds, both included.
pub fn between(
    least: Duration,
    most: Duration,
) -> impl Fn(&str) -> Result<Duration, InvalidTime> + Clone + Send + Sync + 'static {
    move |text| match parse(text)? {
        time if (least..=most).contains(&time) => Ok(time),
        _ => Err(InvalidTime::OutOfBounds { least, most }),
    }
}

/// For a flag: any time but none at all, and no longer than a year.
///
/// # Errors
/// When it is no such time.
pub fn some(text: &str) -> Result<Duration, InvalidTime> {
    between(Duration::from_millis(1), DAY * 365)(text)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn a_number_alone_is_seconds_and_units_are_ms_s_m_h() {
        for (text, ms) in [
            ("30", 30_000),
            ("30s", 30_000),
            ("500ms", 500),
            ("2m", 120_000),
            ("1h", 3_600_000),
            ("1.5m", 90_000),
            (" 5s\n", 5_000),
            ("0", 0),
        ] {
            assert_eq!(parse(text), Ok(Duration::from_millis(ms)), "{text:?}");
        }
        for bad in [
            "",
            "s",
            "-1s",
            "5 s",
            "1d",
            "1 week",
            "1e3",
            "NaN",
            "inf",
            ".",
            "1.2.3s",
            "99999999999999999999h",
        ] {
            assert!(parse(bad).is_err(), "{bad:?} was taken");
        }
    }

    #[test]
    fn a_field_is_read_as_a_flag_is() {
        for (value, ms) in
            [(json!(60), 60_000), (json!(0.5), 500), (json!("60s"), 60_000), (json!("60"), 60_000)]
        {
            assert_eq!(of_json(&value), Ok(Duration::from_millis(ms)), "{value}");
        }
        for bad in [json!(-1), json!(null), json!(true), json!([]), json!({}), json!("soon"), json!(1e300)] {
            assert!(of_json(&bad).is_err(), "{bad} was taken");
        }
    }

    #[test]
    fn a_time_out_of_bounds_is_told_with_its_bounds() {
        let within = between(Duration::from_secs(1), DAY);
        assert_eq!(within("24h"), Ok(DAY));
        let error = within("25h").unwrap_err().to_string();
        assert!(error.contains("from 1s to 86400s"), "{error}");
        assert!(some("0s").is_err() && some("0").is_err() && some("8761h").is_err());
    }

    #[test]
    fn a_huge_text_makes_a_small_error() {
        assert!(parse(&"x".repeat(10_000)).unwrap_err().to_string().len() < 200);
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic_and_a_time_is_read_as_it_is_written(text in ".{0,40}", ms in 0_u32..) {
            let _ = parse(&text);
            prop_assert_eq!(parse(&format!("{ms}ms")), Ok(Duration::from_millis(ms.into())));
        }
    }
}
