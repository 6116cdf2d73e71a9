//! Figures of many measurements.

use std::time::Duration;

/// The smallest measurement that at least `percent` of all do not exceed (nearest rank); none without measurements.
pub fn percentile(measured: &[Duration], percent: u32) -> Option<Duration> {
    let mut sorted = measured.to_vec();
    sorted.sort_unstable();
    let rank = (sorted.len() * percent as usize).div_ceil(100);
    sorted.get(rank.max(1) - 1).copied()
}

/// Milliseconds below a second, seconds above.
pub fn short(time: Duration) -> String {
    match time.as_millis() {
        millis @ 0..1000 => format!("{millis} ms"),
        _ => format!("{:.2} s", time.as_secs_f64()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn millis(numbers: impl IntoIterator<Item = u64>) -> Vec<Duration> {
        numbers.into_iter().map(Duration::from_millis).collect()
    }

    #[test]
    fn percentiles_are_measurements_at_the_nearest_rank() {
        let hundred = millis((1..=100).rev());
        assert_eq!(percentile(&hundred, 50), Some(Duration::from_millis(50)));
        assert_eq!(percentile(&hundred, 99), Some(Duration::from_millis(99)));
        assert_eq!(percentile(&hundred, 100), Some(Duration::from_millis(100)));
        let three = millis([30, 10, 20]);
        assert_eq!(percentile(&three, 50), Some(Duration::from_millis(20)));
        assert_eq!(percentile(&three, 99), Some(Duration::from_millis(30)));
        assert_eq!(percentile(&three, 0), Some(Duration::from_millis(10)));
    }

    #[test]
    fn of_one_measurement_every_percentile_is_that_one() {
        let one = millis([7]);
        assert!([1, 50, 99].iter().all(|percent| percentile(&one, *percent) == Some(one[0])));
        assert_eq!(percentile(&[], 50), None);
    }

    #[test]
    fn times_are_short_to_read() {
        assert_eq!(short(Duration::from_millis(999)), "999 ms");
        assert_eq!(short(Duration::from_millis(1250)), "1.25 s");
    }
}
