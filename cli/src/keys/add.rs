//! `echo-mesh keys add`.

use std::time::Duration;

use anyhow::Result;
use echo_bus::id::ClientName;
use echo_bus::model_pattern::{Pattern, Patterns};
use echo_bus::process::BadConfig;
use echo_bus::time;
use echo_edge::keys::file::{self, Entry, KeyFile};
use echo_edge::keys::usage;

use super::FileArgs;
use crate::say::{aside, say};

/// Keys that are good for longer are good for ever.
const LONGEST: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Whose key it is: a-z, 0-9, - and _. The name stands in events and metrics, the key nowhere
    name: ClientName,

    /// Good for these models only: names or patterns such as llama3*, with commas between
    #[arg(long, value_name = "MODEL", value_delimiter = ',')]
    models: Vec<Pattern>,

    /// So many tasks that have not ended, by each edge
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..))]
    at_once: Option<u32>,

    /// So many tasks that no node has yet, by each edge
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..))]
    waiting: Option<u32>,

    /// So many tokens of prompts and answers together; a day begins at 0:00 UTC
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u64).range(1..))]
    tokens_a_day: Option<u64>,

    /// Good for so long, such as 30d or 12h
    #[arg(long, value_name = "TIME", value_parser = lifetime)]
    expires: Option<Duration>,

    /// Good for managing the mesh, too: draining nodes, pulling and removing models, ending tasks of others
    #[arg(long)]
    manage: bool,

    #[command(flatten)]
    file: FileArgs,
}

impl Args {
    pub fn run(self) -> Result<()> {
        let path = self.file.path()?;
        let (key, now) = (random(), usage::now());
        let entry = Entry {
            expires: self.expires.map(|time| now.saturating_add(time.as_secs())),
            models: Patterns::of(&self.models).map_err(BadConfig)?,
            at_once: self.at_once,
            waiting: self.waiting,
            tokens_a_day: self.tokens_a_day,
            manage: self.manage,
            ..Entry::new(self.name, &key, now)
        };
        let name = entry.name.clone();
        KeyFile::change(&path, |file| {
            if file.keys.iter().any(|key| key.name == name) {
                return Err(BadConfig(format!(
                    "{name} has a key in {}: take that back first, with `echo-mesh keys revoke {name}`",
                    path.display()
                ))
                .into());
            }
            file.keys.push(entry);
            Ok::<_, anyhow::Error>(())
        })?;
        say(&key);
        aside(format!(
            "This is the key of {name}, and nobody can show it again: {} holds its hash only.\n\
             Clients send it as their API key (OPENAI_API_KEY, ANTHROPIC_API_KEY, Authorization: Bearer KEY); this program \
             takes it from ECHO_API_KEY or --key-file FILE.",
            path.display()
        ));
        Ok(())
    }
}

/// As times are written everywhere, and in days.
fn lifetime(text: &str) -> Result<Duration, String> {
    let days = text.trim().strip_suffix('d').map(|days| days.trim().parse::<u32>());
    let time = match days {
        Some(Ok(days)) => time::DAY * days,
        Some(Err(_)) => return Err(format!("{text:?} is no number of days: write it like 30d")),
        None => time::parse(text).map_err(|error| error.to_string())?,
    };
    let fits = (Duration::from_secs(1)..=LONGEST).contains(&time);
    if fits {
        Ok(time)
    } else {
        Err(format!("{text:?} is too short or too long; leave --expires out for ever"))
    }
}

/// A new key.
pub fn random() -> String {
    file::text(&rand::random())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_good_for_days_or_for_any_time() {
        for (text, seconds) in [("30d", 30 * 86_400), ("12h", 43_200), ("90", 90)] {
            assert_eq!(lifetime(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for text in ["", "d", "-1d", "0d", "0", "4000000d", "4294967296d", "soon"] {
            assert!(lifetime(text).is_err(), "{text}");
        }
    }
}
