//! Ids of responses and of their items: a task, and the key that opens its answer. A task's id stands in events and logs;
//! with it alone nobody reads what was asked. For clients all of it is one word without a meaning.

use std::fmt;
use std::str::FromStr;

use echo_bus::id::TaskId;
use echo_bus::message::ReadAnswer;

use crate::http::api::Api;

/// Digits of a key.
const KEY: usize = 16;

/// What a response's id says, without the word before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResponseId {
    pub task: TaskId,
    pub key: u64,
}

impl ResponseId {
    /// Reads the id of a response.
    pub fn of_response(id: &str) -> Option<Self> {
        id.strip_prefix("resp_")?.parse().ok()
    }

    /// The response of an item's id.
    pub fn of_item(id: &str) -> Option<Self> {
        let (_, rest) = id.split_once('_')?;
        rest.rsplit_once('_')?.0.parse().ok()
    }

    /// The id of the response.
    pub fn response(&self) -> String {
        format!("resp_{self}")
    }

    /// The id of an item of this kind and number.
    pub fn item(&self, kind: &str, number: &str) -> String {
        format!("{kind}_{self}_{number}")
    }

    /// Asks the owner, who sees that the key is right, and whose the response is.
    pub fn question(&self, api: &Api) -> ReadAnswer {
        api.asks(ReadAnswer { key: Some(self.key), ..ReadAnswer::after(self.task, 0) })
    }
}

impl fmt::Display for ResponseId {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "{}{:0KEY$x}", self.task, self.key)
    }
}

/// What is no id of this edge's making.
#[derive(Debug)]
pub struct Unknown;

impl FromStr for ResponseId {
    type Err = Unknown;

    fn from_str(text: &str) -> Result<Self, Unknown> {
        let at = text.len().checked_sub(KEY).ok_or(Unknown)?;
        let (task, key) = text.split_at_checked(at).ok_or(Unknown)?;
        let is_key = key.bytes().all(|byte| byte.is_ascii_hexdigit());
        let key = u64::from_str_radix(key, 16).ok().filter(|_| is_key).ok_or(Unknown)?;
        Ok(Self { task: task.parse().map_err(|_| Unknown)?, key })
    }
}
