//! The hours in which a machine works for others, as its owner writes them: `22:00-07:00`, `mon-fri 22:00-07:00`.
//!
//! They are times on the wall: what counts is what a clock there would show, summer time included. No timer is set, so
//! neither a clock that is put right nor a machine that sleeps changes what holds.

use std::fmt;
use std::str::FromStr;

use jiff::civil::{DateTime, Weekday};
use jiff::{ToSpan as _, Unit};

const DAY: usize = 24 * 60;
const WEEK: usize = 7 * DAY;
const DAYS: [&str; 7] = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];

/// Windows that one node has at most.
const WINDOWS: usize = 64;

/// One time of the day on some days. One that ends before it begins ends on the next day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Window {
    /// The first day and the last, from Monday on; absent: every day.
    days: Option<(usize, usize)>,
    /// Minutes of the day.
    begins: usize,
    ends: usize,
}

/// Why a text is no window.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidWindow {
    #[error("{0:?} is no time of the day: write HH:MM-HH:MM, such as 22:00-07:00 or mon-fri 22:00-07:00")]
    Unreadable(String),
    #[error("{0:?} is no day: write mon, tue, wed, thu, fri, sat or sun, or two of them with a - between")]
    NoDay(String),
    #[error("{0:?} begins and ends at the same time: write 00:00-24:00 for a whole day")]
    Empty(String),
}

impl FromStr for Window {
    type Err = InvalidWindow;

    fn from_str(text: &str) -> Result<Self, InvalidWindow> {
        let shown = |text: &str| text.chars().take(40).collect::<String>();
        let text = text.trim();
        let (days, times) = match text.rsplit_once(char::is_whitespace) {
            Some((days, times)) => (Some(days.trim()), times),
            None => (None, text),
        };
        let days = match days.map(|days| days.split_once('-').unwrap_or((days, days))) {
            Some((first, last)) => {
                let day = |text: &str| day(text.trim()).ok_or_else(|| InvalidWindow::NoDay(shown(text)));
                Some((day(first)?, day(last)?))
            }
            None => None,
        };
        let (begins, ends) = times
            .split_once('-')
            .and_then(|(begins, ends)| minute(begins).zip(minute(ends)))
            .filter(|(begins, _)| *begins < DAY)
            .ok_or_else(|| InvalidWindow::Unreadable(shown(text)))?;
        if begins == ends {
            return Err(InvalidWindow::Empty(shown(text)));
        }
        Ok(Self { days, begins, ends })
    }
}

/// A day by its name or the beginning of it, of three letters at least.
fn day(text: &str) -> Option<usize> {
    let text = text.to_ascii_lowercase();
    DAYS.iter().position(|day| text.len() >= 3 && day.starts_with(&text))
}

fn minute(text: &str) -> Option<usize> {
    let (hour, minute) = text.split_once(':')?;
    let number = |text: &str, digits: std::ops::RangeInclusive<usize>| {
        let is_number = digits.contains(&text.len()) && text.bytes().all(|it| it.is_ascii_digit());
        text.parse::<usize>().ok().filter(|_| is_number)
    };
    let (hour, minute) = (number(hour, 1..=2)?, number(minute, 2..=2)?);
    (minute < 60 && hour * 60 + minute <= DAY).then_some(hour * 60 + minute)
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.days {
            Some((first, last)) if first == last => write!(f, "{} ", &DAYS[first][..3])?,
            Some((first, last)) => write!(f, "{}-{} ", &DAYS[first][..3], &DAYS[last][..3])?,
            None => {}
        }
        write!(f, "{}-{}", Clock(self.begins), Clock(self.ends))
    }
}

struct Clock(usize);

impl fmt::Display for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02}:{:02}", self.0 / 60, self.0 % 60)
    }
}

/// All windows of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hours {
    written: String,
    /// For each minute of a week, from Monday on, whether it is in a window.
    week: Box<[bool]>,
}

impl Hours {
    /// These windows together; `None` if there are none.
    ///
    /// # Errors
    /// When there are too many.
    pub fn of(windows: &[Window]) -> Result<Option<Self>, String> {
        if windows.len() > WINDOWS {
            return Err(format!("--hours names {} times: {WINDOWS} are enough", windows.len()));
        }
        let mut week = vec![false; WEEK].into_boxed_slice();
        for window in windows {
            let (first, last) = window.days.unwrap_or((0, 6));
            let length = (window.ends + DAY - window.begins - 1) % DAY + 1;
            // From Friday to Monday is four days.
            for day in (0..=(last + 7 - first) % 7).map(|more| first + more) {
                let begins = day * DAY + window.begins;
                (begins..begins + length).for_each(|minute| week[minute % WEEK] = true);
            }
        }
        let written: Vec<_> = windows.iter().map(ToString::to_string).collect();
        Ok((!windows.is_empty()).then(|| Self { written: written.join(", "), week }))
    }

    /// Whether the node works for others at this local time.
    pub fn open(&self, local: DateTime) -> bool {
        self.week[minute_of_week(local)]
    }

    /// The local time at which the node begins or ends to work for others; `None` if it always does.
    pub fn next_change(&self, local: DateTime) -> Option<DateTime> {
        let now = minute_of_week(local);
        let ahead = (1..WEEK).find(|ahead| self.week[(now + ahead) % WEEK] != self.week[now])?;
        let this_minute = local
            .round(jiff::civil::DateTimeRound::new().smallest(Unit::Minute).mode(jiff::RoundMode::Trunc));
        this_minute.ok()?.checked_add(i64::try_from(ahead).ok()?.minutes()).ok()
    }

    /// Why the node takes nothing at this local time, and when it will again.
    pub fn closed(&self, local: DateTime) -> String {
        let again = match self.next_change(local) {
            Some(then) => format!(", again {}", spoken(local, then)),
            None => String::new(),
        };
        format!("outside of its hours ({}){again}", self.written)
    }
}

impl fmt::Display for Hours {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.written)
    }
}

fn minute_of_week(local: DateTime) -> usize {
    let parts = (local.weekday().to_monday_zero_offset(), local.hour(), local.minute());
    let (day, hour, minute) = parts;
    let part = |number: i8| usize::try_from(number).unwrap_or_default();
    part(day) * DAY + part(hour) * 60 + part(minute)
}

/// A time of the next seven days.
fn spoken(now: DateTime, then: DateTime) -> String {
    let clock = format!("{:02}:{:02}", then.hour(), then.minute());
    let is_soon = now.checked_add(1.day()).is_ok_and(|tomorrow| then < tomorrow);
    if is_soon { format!("at {clock}") } else { format!("on {} at {clock}", day_name(then.weekday())) }
}

fn day_name(day: Weekday) -> &'static str {
    let name = usize::try_from(day.to_monday_zero_offset()).ok().and_then(|day| DAYS.get(day));
    name.map_or("", |name| &name[..3])
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;
    use proptest::prelude::*;

    use super::*;

    fn hours(text: &str) -> Hours {
        let windows: Vec<Window> = text.split(',').map(|it| it.parse().unwrap()).collect();
        Hours::of(&windows).unwrap().unwrap()
    }

    /// In November 2026 the second is a Monday.
    fn at(day: i8, hour: i8, minute: i8) -> DateTime {
        date(2026, 11, day).at(hour, minute, 30, 0)
    }

    #[test]
    fn a_night_crosses_midnight() {
        let night = hours("22:00-07:00");
        for (hour, minute, open) in
            [(21, 59, false), (22, 0, true), (0, 0, true), (6, 59, true), (7, 0, false), (12, 0, false)]
        {
            assert_eq!(night.open(at(3, hour, minute)), open, "{hour}:{minute}");
        }
        assert_eq!(night.closed(at(3, 12, 0)), "outside of its hours (22:00-07:00), again at 22:00");
        assert_eq!(night.next_change(at(3, 23, 59)), Some(date(2026, 11, 4).at(7, 0, 0, 0)));
    }

    #[test]
    fn a_night_belongs_to_the_day_on_which_it_begins() {
        let nights = hours("mon-fri 22:00-07:00");
        assert!(nights.open(at(6, 23, 0)) && nights.open(at(7, 6, 0)), "Friday's night ends on Saturday");
        assert!(!nights.open(at(7, 23, 0)) && !nights.open(at(2, 6, 0)), "Sunday has none");
        let closed = nights.closed(at(7, 12, 0));
        assert_eq!(closed, "outside of its hours (mon-fri 22:00-07:00), again on mon at 22:00");
    }

    #[test]
    fn days_may_go_round_the_week_and_windows_add_up() {
        let hours = hours("fri-mon 08:00-12:00,Wednesday 10:00-24:00, sun 22:30-02:00");
        for (day, hour, open) in [
            (2, 9, true),
            (3, 9, false),
            (4, 9, false),
            (4, 23, true),
            (5, 0, false),
            (6, 9, true),
            (8, 23, true),
            (2, 1, true),
            (2, 3, false),
        ] {
            assert_eq!(hours.open(at(day, hour, 30)), open, "{day} {hour}");
        }
        assert_eq!(hours.to_string(), "fri-mon 08:00-12:00, wed 10:00-24:00, sun 22:30-02:00");
    }

    #[test]
    fn who_is_always_open_never_changes() {
        let always = hours("00:00-24:00");
        assert!(always.open(at(2, 0, 0)) && always.next_change(at(2, 0, 0)).is_none());
    }

    #[test]
    fn what_is_no_window_is_told_so() {
        for (text, word) in [
            ("22-07", "HH:MM"),
            ("", "HH:MM"),
            ("22:00", "HH:MM"),
            ("24:00-07:00", "HH:MM"),
            ("22:60-07:00", "HH:MM"),
            ("+2:00-07:00", "HH:MM"),
            ("22:00-24:01", "HH:MM"),
            ("22:00-07:00 mon", "is no day"),
            ("mo 22:00-07:00", "is no day"),
            ("mon-fre 22:00-07:00", "is no day"),
            ("22:00-22:00", "same time"),
        ] {
            let error = text.parse::<Window>().expect_err(text).to_string();
            assert!(error.contains(word), "{text}: {error}");
        }
    }

    fn window() -> impl Strategy<Value = Window> {
        let days = prop::option::of((0usize..7, 0usize..7));
        let times = (0..DAY, 1..=DAY).prop_filter("not empty", |(begins, ends)| begins != ends);
        (days, times).prop_map(|(days, (begins, ends))| Window { days, begins, ends })
    }

    /// The same, minute by minute, as one would say it.
    fn is_in(window: &Window, local: DateTime) -> bool {
        let minute = usize::try_from(local.hour()).unwrap() * 60 + usize::try_from(local.minute()).unwrap();
        let today = usize::try_from(local.weekday().to_monday_zero_offset()).unwrap();
        let on = |day: usize| match window.days {
            Some((first, last)) if first <= last => (first..=last).contains(&day),
            Some((first, last)) => day >= first || day <= last,
            None => true,
        };
        if window.begins < window.ends {
            return on(today) && (window.begins..window.ends).contains(&minute);
        }
        (on(today) && minute >= window.begins) || (on((today + 6) % 7) && minute < window.ends)
    }

    proptest! {
        #[test]
        fn a_node_is_open_exactly_in_its_windows(
            windows in prop::collection::vec(window(), 1..5),
            minutes in prop::collection::vec(0i64..20_160, 1..50),
        ) {
            let hours = Hours::of(&windows).unwrap().unwrap();
            for minutes in minutes {
                let local = at(2, 0, 0).checked_add(minutes.minutes()).unwrap();
                prop_assert_eq!(hours.open(local), windows.iter().any(|it| is_in(it, local)), "{}", local);
                let Some(change) = hours.next_change(local) else { continue };
                let before = change.checked_sub(1.minute()).unwrap();
                prop_assert!(change > local && hours.open(change) != hours.open(local));
                prop_assert_eq!(hours.open(before), hours.open(local));
            }
        }

        #[test]
        fn what_is_written_again_means_the_same(window in window()) {
            prop_assert_eq!(window.to_string().parse::<Window>().unwrap(), window);
        }

        #[test]
        fn no_text_makes_the_reader_panic(text in ".{0,30}") {
            let _ = text.parse::<Window>();
        }
    }
}
