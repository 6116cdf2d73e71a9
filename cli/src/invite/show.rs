//! How a code is shown.

use std::convert::Infallible;
use std::io::Write as _;
use std::time::{Duration, Instant};

use qrcode::QrCode;
use qrcode::render::unicode::Dense1x2;

use crate::join::code::Code;
use crate::say::{is_watched, say};

/// Lines that stand beside the picture.
const BESIDE: usize = 8;

/// The code and what to do with it; `qr`: whether as a picture too, absent: where there is room for it.
pub fn invitation(code: &Code, lifetime: Duration, qr: Option<bool>) {
    let shown = code.shown();
    say(format_args!("On the machine that is to join:\n\n    echo-mesh join {shown}\n"));
    if let Some(picture) = picture(&shown).filter(|picture| qr.unwrap_or_else(|| has_room_for(picture))) {
        say(picture);
    }
    say(format_args!("The code is good for {} and for one machine.", minutes(lifetime)));
}

/// The time that is left, on a line that is written over; for a terminal only. Never ends.
pub async fn countdown(until: Instant) -> Infallible {
    if !is_watched() {
        return std::future::pending().await;
    }
    let mut second = tokio::time::interval(Duration::from_secs(1));
    loop {
        second.tick().await;
        let left = until.saturating_duration_since(Instant::now()).as_secs();
        let mut out = std::io::stdout().lock();
        let _ = write!(
            out,
            "\rWaiting for it, {}:{:02} left; Ctrl-C takes the code back. ",
            left / 60,
            left % 60
        );
        let _ = out.flush();
    }
}

/// Ends the line of the countdown.
pub fn countdown_over() {
    if is_watched() {
        let _ = write!(std::io::stdout().lock(), "\r\x1b[K");
    }
}

/// Two modules above each other in each character, light ones drawn: most terminals are dark.
fn picture(text: &str) -> Option<String> {
    let code = QrCode::new(text).ok()?;
    let light_on_dark =
        code.render::<Dense1x2>().dark_color(Dense1x2::Light).light_color(Dense1x2::Dark).build();
    Some(light_on_dark)
}

fn has_room_for(picture: &str) -> bool {
    let (height, width) = (picture.lines().count(), picture.lines().map(|line| line.chars().count()).max());
    is_watched()
        && ratatui::crossterm::terminal::size().is_ok_and(|(columns, rows)| {
            usize::from(rows) >= height + BESIDE && Some(usize::from(columns)) > width
        })
}

fn minutes(time: Duration) -> String {
    match (time.as_secs() / 60, time.as_secs() % 60) {
        (1, 0) => "a minute".to_owned(),
        (minutes, 0) => format!("{minutes} minutes"),
        _ => format!("{time:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_read_as_people_say_them() {
        for (seconds, text) in [(600, "10 minutes"), (60, "a minute"), (90, "90s"), (5, "5s")] {
            assert_eq!(minutes(Duration::from_secs(seconds)), text);
        }
    }

    #[test]
    fn a_picture_is_small_enough_for_a_terminal() {
        let code = Code::random("192.168.1.20:4222".parse().unwrap());
        let picture = picture(&code.shown()).unwrap();
        assert!(picture.lines().count() <= 18, "{picture}");
        // The margin is drawn: scanners want it lighter than the code, on a dark terminal too.
        assert!(picture.lines().next().unwrap().chars().all(|letter| letter == '█'), "{picture}");
        assert!(picture.lines().all(|line| line.chars().count() <= 36), "{picture}");
    }
}
