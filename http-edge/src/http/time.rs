//! Times as the dialects write them, by this machine's clock.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

const DAY: u64 = 86_400;

/// Seconds since 1970.
pub fn unix() -> u64 {
    since_epoch().as_secs()
}

/// Now, in RFC 3339 with nanoseconds, in UTC.
pub fn now() -> String {
    rfc3339(since_epoch())
}

fn since_epoch() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

fn rfc3339(since: Duration) -> String {
    let (days, second) = (since.as_secs() / DAY, since.as_secs() % DAY);
    let (year, month, day) = date(days);
    let (hour, minute, second, nanos) = (second / 3600, second / 60 % 60, second % 60, since.subsec_nanos());
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{nanos:09}Z")
}

/// The seconds since 1970 of a time in RFC 3339, to the second of its own offset.
pub fn seconds_of(text: &str) -> Option<u64> {
    let number = |from: usize, to: usize| text.get(from..to)?.parse::<u64>().ok();
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    if !(1970..=9999).contains(&year) || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let local = days(year, month, day) * DAY + hour * 3600 + minute * 60 + second;
    let zone = text.get(19..)?.trim_start_matches(|c: char| c == '.' || c.is_ascii_digit());
    let Some((sign, zone)) = zone.split_at_checked(1).filter(|(sign, _)| ["+", "-"].contains(sign)) else {
        return Some(local);
    };
    let offset = zone.get(..2)?.parse::<u64>().ok()? * 3600 + zone.get(3..5)?.parse::<u64>().ok()? * 60;
    if sign == "+" { local.checked_sub(offset) } else { local.checked_add(offset) }
}

/// Days since 1970, by counting in years that begin in March, so that the leap day comes last.
fn days(year: u64, month: u64, day: u64) -> u64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (year / 400, year % 400);
    let from_march = (month + 9) % 12;
    let of_year = (153 * from_march + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// The other way round.
fn date(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let (era, of_era) = (shifted / 146_097, shifted % 146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    (era * 400 + year + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn known_times_are_written_and_read() {
        let text = rfc3339(Duration::new(1_735_689_600, 5));
        assert_eq!(text, "2025-01-01T00:00:00.000000005Z");
        assert_eq!(seconds_of(&text), Some(1_735_689_600));
        assert_eq!(seconds_of("2024-02-29T23:59:59.5-07:00"), Some(1_709_276_399));
        assert_eq!(seconds_of("2024-03-01T01:30:00+01:30"), Some(1_709_251_200));
        for bad in ["", "2024", "2024-13-01T00:00:00Z", "x024-01-01T00:00:00Z", "1960-01-01T00:00:00Z"] {
            assert_eq!(seconds_of(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn each_second_comes_back(second in 0_u64..253_402_300_800) {
            prop_assert_eq!(seconds_of(&rfc3339(Duration::from_secs(second))), Some(second));
        }

        #[test]
        fn no_text_panics(text in "\\PC{0,40}|[0-9T:.+Z-]{0,40}") {
            let _ = seconds_of(&text);
        }
    }
}
