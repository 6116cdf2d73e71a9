//! Models that are missing: the user's word before a large download, and the pull itself with its progress.

use std::io::{BufRead as _, IsTerminal as _, Write as _};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use echo_bus::process::BadConfig;
use reqwest::{Client, Url};
use serde::Deserialize;

use super::facts::Missing;
use crate::say::say;
use crate::up::progress::Steps;

/// The only size that is known without asking a registry.
const KNOWN: [&str; 3] = ["mistral", "mistral:latest", "mistral:7b"];
const KNOWN_SIZE: &str = "about 4.4 GB";
const KNOWN_MB: u64 = 4500;

/// Ollama says something every second while it fetches; it may check a large file in silence.
const SILENCE: Duration = Duration::from_secs(600);
/// A longer line is no word of Ollama's.
const LONGEST_LINE: usize = 1 << 20;

/// Whether a model may be pulled: the user's word, asked for where a terminal is. `free` is the room in MB.
///
/// # Errors
/// There is no room, or no word.
pub fn agree(missing: &Missing, pull: Option<bool>, free: Option<u64>) -> Result<(), BadConfig> {
    say(lacking(missing, free));
    if is_known(&missing.model) && free.is_some_and(|free| free < KNOWN_MB) {
        return Err(BadConfig(format!(
            "there is no room for {}: free some disk, or choose a smaller ECHO_MODEL.",
            missing.model
        )));
    }
    let agreed = pull.unwrap_or_else(|| is_asked() && says_yes());
    if agreed { Ok(()) } else { Err(BadConfig(refusal(missing))) }
}

/// What is missing, in words.
fn lacking(missing: &Missing, free: Option<u64>) -> String {
    let Missing { model, nodes, at, .. } = missing;
    let size = if is_known(model) {
        KNOWN_SIZE.to_owned()
    } else {
        let name = model.split(':').next().unwrap_or(model);
        format!("of unknown size (see https://ollama.com/library/{name})")
    };
    let at = at.as_deref().map(|at| format!(" in {}", at.display())).unwrap_or_default();
    let free = free.map(|free| format!("; {} GB are free{at}", free / 1024)).unwrap_or_default();
    format!("The model {model} is missing on {}. It is {size}{free}.", nodes.join(" and "))
}

fn refusal(missing: &Missing) -> String {
    format!(
        "nothing is pulled without your word: allow it with ECHO_PULL=1, or choose a model that is there with \
         ECHO_MODEL ({}), or take the small embedded one with ECHO_ENGINE_MODE=embedded.",
        missing.there
    )
}

fn is_known(model: &str) -> bool {
    KNOWN.contains(&model)
}

fn is_asked() -> bool {
    std::io::stdin().is_terminal() && std::io::stdout().is_terminal()
}

fn says_yes() -> bool {
    print!("Pull it now? [y/N] ");
    let _ = std::io::stdout().flush();
    let mut answer = String::new();
    let _ = std::io::stdin().lock().read_line(&mut answer);
    matches!(answer.trim().to_lowercase().as_str(), "y" | "yes")
}

/// A line of Ollama's about a pull.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Step {
    status: String,
    total: Option<u64>,
    completed: u64,
    error: Option<String>,
}

/// Has an Ollama pull a model.
///
/// # Errors
/// It says why not, or ends without a word of success.
pub async fn pull(url: &Url, model: &str, steps: &mut impl Steps) -> Result<()> {
    let client = Client::builder().no_proxy().read_timeout(SILENCE).build()?;
    let address = format!("{}/api/pull", url.as_str().trim_end_matches('/'));
    let body = serde_json::json!({"model": model, "stream": true});
    let reply = client.post(address).json(&body).send().await.map_err(reqwest::Error::without_url)?;
    let status = reply.status();
    if !status.is_success() {
        let text = reply.text().await.unwrap_or_default();
        bail!("{status}: {}", text.chars().take(500).collect::<String>());
    }
    if follow(reply, steps).await? { Ok(()) } else { bail!("the pull ended without a word of success") }
}

/// Whether it ends well.
async fn follow(mut reply: reqwest::Response, steps: &mut impl Steps) -> Result<bool> {
    let (mut read, mut done) = (Vec::new(), false);
    while let Some(piece) = reply.chunk().await.map_err(reqwest::Error::without_url)? {
        read.extend_from_slice(&piece);
        while let Some(end) = read.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = read.drain(..=end).collect();
            done |= step(&line, steps)?;
        }
        if read.len() > LONGEST_LINE {
            bail!("Ollama sends a line that does not end");
        }
    }
    Ok(step(&read, steps)? || done)
}

/// Whether a line is the word of success.
fn step(line: &[u8], steps: &mut impl Steps) -> Result<bool> {
    if line.trim_ascii().is_empty() {
        return Ok(false);
    }
    let step: Step =
        serde_json::from_slice(line).context("Ollama says something that is no step of a pull")?;
    if let Some(error) = step.error {
        bail!("{error}");
    }
    steps.step(&step.status, step.total.map(|total| (step.completed.min(total), total)));
    Ok(step.status == "success")
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Heard;

    impl Steps for Heard {
        fn step(&mut self, _: &str, _: Option<(u64, u64)>) {}
        fn says(&mut self, _: &str) {}
    }

    fn missing(model: &str) -> Missing {
        Missing {
            model: model.into(),
            nodes: vec!["node-a".into(), "node-b".into()],
            at: Some("/models".into()),
            there: "node-a: phi:latest; node-b: none".into(),
        }
    }

    #[test]
    fn what_is_missing_is_said_with_its_size_and_the_room() {
        let known = lacking(&missing("mistral"), Some(10 * 1024));
        assert_eq!(
            known,
            "The model mistral is missing on node-a and node-b. It is about 4.4 GB; 10 GB are free in /models."
        );
        let other = lacking(&missing("phi:3b"), None);
        assert!(other.ends_with("It is of unknown size (see https://ollama.com/library/phi)."), "{other}");
    }

    #[test]
    fn nothing_is_pulled_without_a_word() {
        let refused = agree(&missing("mistral"), Some(false), None).unwrap_err().to_string();
        for words in ["ECHO_PULL=1", "(node-a: phi:latest; node-b: none)", "ECHO_ENGINE_MODE=embedded"] {
            assert!(refused.contains(words), "{refused}");
        }
        assert!(agree(&missing("mistral"), Some(true), Some(KNOWN_MB)).is_ok());
    }

    #[test]
    fn what_does_not_fit_is_not_pulled_with_any_word() {
        let refused = agree(&missing("mistral"), Some(true), Some(KNOWN_MB - 1)).unwrap_err().to_string();
        assert!(refused.contains("there is no room for mistral"), "{refused}");
        assert!(agree(&missing("phi"), Some(true), Some(1)).is_ok(), "its size is not known");
    }

    #[test]
    fn a_pulls_last_word_counts() {
        let mut progress = Heard;
        assert!(step(br#"{"status":"success"}"#, &mut progress).unwrap());
        assert!(!step(br#"{"status":"pulling","total":4,"completed":9}"#, &mut progress).unwrap());
        assert!(!step(b"\n", &mut progress).unwrap());
        assert_eq!(
            step(br#"{"error":"no such model"}"#, &mut progress).unwrap_err().to_string(),
            "no such model"
        );
        assert!(step(b"<html>", &mut progress).is_err());
    }
}
