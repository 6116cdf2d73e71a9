//! One HTTP request to somebody who may be anybody, or be gone.

use std::time::Duration;

use echo_bus::message::unix_millis;
use reqwest::{Client, Url, header};
use serde_json::Value;

/// On this network.
const PATIENCE: Duration = Duration::from_secs(3);
/// The longest answer that is read, in bytes.
const LONGEST: usize = 16 << 20;

/// Who asks.
pub struct Asker(Option<Client>);

/// What came back.
pub struct Answer {
    pub status: u16,
    /// Null if it is no JSON.
    pub json: Value,
    /// The text itself, or its beginning.
    pub text: String,
    /// The clock of whoever answered, in Unix seconds, rounded down.
    pub date: Option<u64>,
    /// When that was, by our own clock: Unix milliseconds before and after.
    pub between: (u64, u64),
}

impl Asker {
    pub fn new() -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        // A proxy for the web knows nothing of machines at home.
        Self(Client::builder().no_proxy().timeout(PATIENCE).build().ok())
    }

    /// GET.
    ///
    /// # Errors
    /// Nobody answers there in time: why.
    pub async fn get(&self, url: &Url, bearer: Option<&str>) -> Result<Answer, String> {
        let client = self.0.as_ref().ok_or("there is no HTTP client")?;
        let mut request = client.get(url.clone());
        if let Some(key) = bearer {
            request = request.bearer_auth(key);
        }
        let before = unix_millis();
        let mut reply = request.send().await.map_err(|error| why(&error))?;
        let after = unix_millis();
        let status = reply.status().as_u16();
        let date = reply.headers().get(header::DATE).and_then(|date| date.to_str().ok()).and_then(seconds);
        let mut body = Vec::new();
        while let Some(part) = reply.chunk().await.map_err(|error| why(&error))? {
            body.extend_from_slice(&part);
            if body.len() > LONGEST {
                return Err("it answers without end".to_owned());
            }
        }
        let json = serde_json::from_slice(&body).unwrap_or_default();
        let text = String::from_utf8_lossy(&body[..body.len().min(1_000)]).into_owned();
        Ok(Answer { status, json, text, date, between: (before, after) })
    }
}

fn why(error: &reqwest::Error) -> String {
    match error {
        error if error.is_timeout() => "no answer in time".to_owned(),
        error if error.is_connect() => "nobody answers".to_owned(),
        _ => "something answers that does not speak HTTP".to_owned(),
    }
}

/// `Sun, 06 Nov 1994 08:49:37 GMT` as Unix seconds.
fn seconds(date: &str) -> Option<u64> {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let mut words = date.split_once(", ")?.1.split(' ');
    let day: u64 = words.next()?.parse().ok()?;
    let name = words.next()?;
    let month = 1 + MONTHS.iter().position(|month| *month == name)? as u64;
    let year: u64 = words.next()?.parse().ok().filter(|year| (1970..10_000).contains(year))?;
    let mut time = words.next()?.split(':').map(|part| part.parse::<u64>().ok().filter(|part| *part < 61));
    let (hour, minute, second) = (time.next()??, time.next()??, time.next()??);
    // Days since 1970, the year taken to begin in March (a civil calendar in closed form).
    let (y, m) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = (365 * y + y / 4 - y / 100 + y / 400 + (153 * m + 2) / 5 + day).checked_sub(719_469)?;
    Some(days * 86_400 + hour * 3_600 + minute * 60 + second)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_date_of_an_answer_is_read() {
        assert_eq!(seconds("Thu, 01 Jan 1970 00:00:00 GMT"), Some(0));
        assert_eq!(seconds("Sun, 06 Nov 1994 08:49:37 GMT"), Some(784_111_777));
        assert_eq!(seconds("Thu, 29 Feb 2024 12:00:00 GMT"), Some(1_709_208_000));
        assert_eq!(seconds("Wed, 01 Jan 2025 00:00:00 GMT"), Some(1_735_689_600));
    }

    proptest! {
        #[test]
        fn no_text_is_a_panic(text in "\\PC{0,40}|[A-Z][a-z]{2}, [0-9]{1,20} (Jan|Feb) [0-9]{1,6} [0-9:]{1,9} GMT") {
            let _ = seconds(&text);
        }
    }
}
