//! The events of an edge's answer, as they come.

use anyhow::{Result, bail};
use reqwest::Response;

/// The longest event, and the longest answer, that is read.
pub(super) const LONGEST: usize = 16 << 20;

/// An event of a stream.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Event {
    pub name: String,
    pub id: Option<u64>,
    pub comment: String,
    pub data: String,
}

impl Event {
    pub(super) fn read(text: &str) -> Self {
        let mut event = Self::default();
        for line in text.lines() {
            let (name, value) = line.split_once(':').unwrap_or((line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value);
            match name {
                "" => event.comment.push_str(value),
                "event" => value.trim().clone_into(&mut event.name),
                "id" => event.id = value.parse().ok(),
                "data" if event.data.is_empty() => event.data.push_str(value),
                "data" => event.data.extend(["\n", value]),
                _ => {}
            }
        }
        event
    }
}

/// A stream of server-sent events, each the text of its data.
pub struct Events {
    reply: Response,
    read: Vec<u8>,
    /// So many bytes of it hold no end.
    looked: usize,
    ended: bool,
}

impl Events {
    /// The events of an answer.
    pub fn of(reply: Response) -> Self {
        Self { reply, read: Vec::new(), looked: 0, ended: false }
    }

    /// The next event that says something; `None` at the end.
    ///
    /// # Errors
    /// The connection broke, or an event is too long.
    pub async fn next(&mut self) -> Result<Option<Event>> {
        loop {
            match self.event().await? {
                Some(event) if event.data.is_empty() => {}
                event => return Ok(event),
            }
        }
    }

    /// The next event, comments included; `None` at the end.
    ///
    /// # Errors
    /// As above.
    pub async fn event(&mut self) -> Result<Option<Event>> {
        let text = self.part(b"\n\n").await?;
        Ok(text.map(|text| Event::read(&text)))
    }

    /// The next line, of an answer that is lines of JSON; `None` at the end.
    ///
    /// # Errors
    /// As above.
    pub async fn line(&mut self) -> Result<Option<String>> {
        self.part(b"\n").await
    }

    async fn part(&mut self, end: &[u8]) -> Result<Option<String>> {
        loop {
            let rest = self.read.get(self.looked..).unwrap_or_default();
            if let Some(at) = rest.windows(end.len()).position(|bytes| bytes == end) {
                let at = self.looked + at;
                self.looked = 0;
                let part: Vec<u8> = self.read.drain(..at + end.len()).collect();
                return Ok(Some(String::from_utf8_lossy(&part).into_owned()));
            }
            // The end may have begun.
            self.looked = (self.read.len() + 1).saturating_sub(end.len());
            if self.ended {
                return Ok(None);
            }
            match self.reply.chunk().await.map_err(reqwest::Error::without_url)? {
                Some(bytes) => self.read.extend_from_slice(&bytes),
                None => self.ended = true,
            }
            if self.read.len() > LONGEST {
                bail!("the edge sends an event that does not end");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_read_with_its_number_and_a_comment_is_no_data() {
        let event = Event::read("id: 7\ndata: {\"a\":\ndata: 1}\n\n");
        assert_eq!((event.id, event.data.as_str()), (Some(7), "{\"a\":\n1}"));
        let comment = Event::read(": queued, position 2\n\n");
        assert_eq!((comment.comment.as_str(), comment.data.as_str()), ("queued, position 2", ""));
    }
}
