//! The agent's own request for one token (or one vector): whether an engine works, tried at nobody's expense.

use std::sync::Arc;
use std::time::Duration;

use echo_bus::message::{Capability, Code, Embed, Failure, Generate, LoadOptions, Request, Settings};
use futures::StreamExt;

use crate::engine::{Engine, Found, Order, Step, unfinished};

/// How long a model in memory may take for a token, behind whatever the engine works on besides.
const LIMIT: Duration = Duration::from_secs(20);

/// A trial of one model.
#[derive(Debug, Clone)]
pub struct Trial {
    /// The model in the mesh's words.
    pub model: String,
    pub order: Order,
    pub limit: Duration,
}

impl Trial {
    /// Asks a model for what it can do: a model that only embeds is not asked to speak.
    ///
    /// It is asked as it is loaded: other load-time options would load it anew.
    pub fn of(found: &Found, loaded_with: Option<&LoadOptions>, load_timeout: Duration) -> Self {
        let model = Some(found.engine_name.clone());
        let mut settings = Settings::default();
        loaded_with.into_iter().for_each(|options| options.put(&mut settings));
        let request = if found.model.can(&Capability::Embedding) && !found.model.can(&Capability::Completion)
        {
            Request::Embed(Embed { model, input: vec!["Hi".to_owned()], settings, ..Embed::default() })
        } else {
            settings.max_tokens = Some(1);
            Request::Generate(Generate { model, prompt: "Hi".to_owned(), settings, ..Generate::default() })
        };
        Self {
            model: found.model.name.clone(),
            order: Order { request, model: found.engine_name.clone(), so_far: None },
            limit: if found.model.loaded { LIMIT } else { LIMIT + load_timeout },
        }
    }

    /// Runs it to its end.
    ///
    /// # Errors
    /// With what the engine did instead.
    pub async fn run(self, engine: Arc<dyn Engine>) -> Result<(), Failure> {
        let mut steps = engine.run(self.order);
        let whole = async {
            while let Some(step) = steps.next().await {
                if let Step::Done(_) = step? {
                    return Ok(());
                }
            }
            Err(unfinished())
        };
        let late = || Failure::elsewhere(Code::EngineStalled, "the engine gave not one token in time");
        tokio::time::timeout(self.limit, whole).await.unwrap_or_else(|_| Err(late()))
    }
}
