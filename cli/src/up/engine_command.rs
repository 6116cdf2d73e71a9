//! How an engine of a plan is started, and when it is ready.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use echo_bus::process::BadConfig;
use tokio::time::{Instant, sleep};

use super::address::{Address, shown};
use super::embedded::{self, Kit};
use super::engines::facts::{EMBEDDED_MODEL, Mode, serves};
use super::engines::probe::Prober;
use super::engines::pull;
use super::plan::{Api, From, Node, Plan};
use super::progress::Steps;
use crate::place::Place;

/// An engine may load a large model before it answers.
const PATIENCE: Duration = Duration::from_secs(180);
const PAUSE: Duration = Duration::from_millis(150);

/// A program with what it is started with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Start {
    pub program: PathBuf,
    pub args: Vec<OsString>,
    pub env: Vec<(String, OsString)>,
}

impl Plan {
    /// Fetches what its engines need, and says how each is started: one for each node, none for what answers already.
    ///
    /// # Errors
    /// It cannot be fetched.
    pub async fn engine_starts(&self, place: &Place, steps: &mut impl Steps) -> Result<Vec<Option<Start>>> {
        let is_embedded = |node: &Node| node.engine.from == From::Embedded;
        let kit =
            if self.nodes.iter().any(is_embedded) { Some(embedded::kit(place, steps).await?) } else { None };
        Ok(self.nodes.iter().map(|node| start(node, kit.as_ref())).collect())
    }
}

fn start(node: &Node, kit: Option<&Kit>) -> Option<Start> {
    let address = Address::of(&node.engine.url)?;
    let slots = node.slots.map(|slots| slots.to_string());
    match (&node.engine.from, kit) {
        (From::Found, _) | (From::Embedded, None) => None,
        (From::Ollama { store }, _) => {
            let mut env: Vec<(String, OsString)> = vec![
                ("OLLAMA_HOST".into(), address.to_string().into()),
                // Each of two servers over one folder would clear away what it takes for the leavings of a crash.
                ("OLLAMA_NOPRUNE".into(), "1".into()),
                ("OLLAMA_MODELS".into(), store.into()),
            ];
            env.extend(slots.map(|slots| ("OLLAMA_NUM_PARALLEL".into(), slots.into())));
            Some(Start { program: "ollama".into(), args: vec!["serve".into()], env })
        }
        (From::Embedded, Some(kit)) => {
            let mut args: Vec<OsString> = vec![kit.program.clone().into()];
            let alias = node.engine.model.clone().unwrap_or_else(|| EMBEDDED_MODEL.to_owned());
            let flags = [("--host", address.host), ("--port", address.port.to_string()), ("--alias", alias)];
            let slots = slots.map(|slots| ("--slots", slots));
            for (flag, value) in flags.into_iter().chain(slots) {
                args.extend([flag.into(), value.into()]);
            }
            let env = vec![("PYTHONPATH".into(), kit.wheels.clone())];
            Some(Start { program: kit.python.clone(), args, env })
        }
    }
}

impl Node {
    /// Waits until the engine answers and serves the model that it has to; pulls that where it is missing and `pull`
    /// allows it. Who started the engine watches it meanwhile.
    ///
    /// # Errors
    /// It does not within some minutes; what was seen instead is said.
    pub async fn engine_ready(&self, pull: bool, steps: &mut impl Steps) -> Result<()> {
        let mode = if self.engine.api == Api::Openai { Mode::Openai } else { Mode::Auto };
        let prober = Prober::of_named(mode)?;
        let models = self.wait(&prober, "answer", |_| true).await?;
        let Some(model) = &self.engine.model else { return Ok(()) };
        if serves(model, &models) {
            return Ok(());
        }
        if self.engine.api == Api::Ollama {
            if !pull {
                return Err(BadConfig(format!(
                    "the engine of {} lacks {model}, and nothing is pulled without your word: allow it with ECHO_PULL=1.",
                    self.id
                ))
                .into());
            }
            steps.says(&format!("Pulling {model} into the engine of {} …", self.id));
            pull::pull(&self.engine.url, model, steps)
                .await
                .with_context(|| format!("the pull of {model} failed"))?;
        }
        self.wait(&prober, &format!("serve {model}"), |models| serves(model, models)).await?;
        Ok(())
    }

    async fn wait(
        &self,
        prober: &Prober,
        what: &str,
        enough: impl Fn(&[String]) -> bool,
    ) -> Result<Vec<String>> {
        let begun = Instant::now();
        loop {
            let found = prober.found(&self.engine.url).await;
            let seen = match found.engine() {
                Some((api, models)) if api == self.engine.api && enough(models) => return Ok(models.to_vec()),
                Some((_, models)) => format!("{} with {}", found.name(), models.join(" ")),
                None => found.name().to_owned(),
            };
            if begun.elapsed() >= PATIENCE {
                bail!(
                    "gave up after {} s of waiting for the engine of {} to {what} at {}; last seen: {seen}",
                    PATIENCE.as_secs(),
                    self.id,
                    shown(&self.engine.url)
                );
            }
            // There is no portable event for a port that opens.
            sleep(PAUSE).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::up::plan::Engine;

    fn node(api: Api, from: From, slots: Option<u32>) -> Node {
        let engine =
            Engine { api, url: "http://127.0.0.1:11435".parse().unwrap(), from, model: Some("m".into()) };
        Node { id: "node-a".parse().unwrap(), listen: "127.0.0.1:9001".parse().unwrap(), engine, slots }
    }

    fn env(start: &Start, name: &str) -> Option<String> {
        let found = start.env.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.to_string_lossy().into_owned())
    }

    #[test]
    fn an_ollama_is_given_its_place_its_models_and_its_slots() {
        let ollama =
            |slots| start(&node(Api::Ollama, From::Ollama { store: "/models".into() }, slots), None).unwrap();
        let with = ollama(Some(3));
        assert_eq!((with.program.to_str(), with.args.as_slice()), (Some("ollama"), &["serve".into()][..]));
        for (name, value) in [
            ("OLLAMA_HOST", "127.0.0.1:11435"),
            ("OLLAMA_NOPRUNE", "1"),
            ("OLLAMA_MODELS", "/models"),
            ("OLLAMA_NUM_PARALLEL", "3"),
        ] {
            assert_eq!(env(&with, name).as_deref(), Some(value), "{name}");
        }
        assert_eq!(env(&ollama(None), "OLLAMA_NUM_PARALLEL"), None);
    }

    #[test]
    fn the_embedded_engine_is_run_by_python_with_its_wheels() {
        let kit =
            Kit { python: "python3".into(), program: "/c/embedded-engine.py".into(), wheels: "/a:/b".into() };
        let start = start(&node(Api::Openai, From::Embedded, Some(2)), Some(&kit)).unwrap();
        let args: Vec<_> = start.args.iter().map(|arg| arg.to_string_lossy()).collect();
        let expected = "/c/embedded-engine.py --host 127.0.0.1 --port 11435 --alias m --slots 2";
        assert_eq!(args.join(" "), expected);
        assert_eq!(env(&start, "PYTHONPATH").as_deref(), Some("/a:/b"));
    }

    #[test]
    fn what_answers_already_is_not_started() {
        assert_eq!(start(&node(Api::Openai, From::Found, None), None), None);
    }
}
