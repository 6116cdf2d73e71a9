//! Servers with OpenAI's API: llama.cpp's above all, with its own /props and /slots, and vLLM, LM Studio and others.

mod count;
mod counting;
mod dialect;
mod embed;
#[cfg(test)]
mod fuzz;
mod probe;
mod reply;
mod request;
mod resume;
mod show;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::{Duration, Instant};

use echo_bus::message::{Code, Done, Failure, Reason, Request, SoFar};
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt, TryFutureExt, TryStreamExt};
use reqwest::Method;
use tokio::sync::Semaphore;

use super::continuation;
use super::contract::{Down, Engine, Order, Probe, Sign};
use super::http::{Http, HttpError};
use super::rest::Rest;
use super::steps::{Steps, only, steps, unknown_request};
use super::template::KnownTemplates;
use super::unparsed::Unparsed;
use super::way::Body;
use dialect::Dialect;
use request::Call;

/// How often a server that is still loading its model is asked again.
const LOADING: Duration = Duration::from_millis(250);

/// A server with OpenAI's API; cheap to clone.
#[derive(Clone)]
pub struct OpenAi {
    http: Http,
    load_timeout: Duration,
    templates: Arc<KnownTemplates>,
    known: Arc<probe::Known>,
    /// One count of a prompt at a time.
    counts: Arc<Semaphore>,
}

impl OpenAi {
    /// The server at the other end of `http`.
    pub fn new(http: Http, load_timeout: Duration) -> Self {
        Self {
            http,
            load_timeout,
            templates: Arc::default(),
            known: Arc::default(),
            counts: Arc::new(Semaphore::new(1)),
        }
    }

    async fn open(self, order: Order) -> Result<Steps, Failure> {
        match &order.request {
            Request::Generate(it) if it.prompt.is_empty() && it.images.is_empty() => Ok(loaded()),
            Request::Chat(it) if it.messages.is_empty() => Ok(loaded()),
            Request::Unload(_) => Ok(loaded()),
            Request::Generate(_) | Request::Chat(_) => {
                let (call, rest, unparsed) = self.prepare(&order).await?;
                let answer = self.send(&call).await?;
                Ok(rest.told(steps(answer, reply::Reply::default()).boxed(), unparsed))
            }
            Request::Embed(it) => Ok(only(embed::vectors(&self.http, &order.model, it).await?)),
            Request::Count(it) => Ok(only(self.count(&order.model, it).await)),
            Request::Show(_) => {
                let shown = show::show(&self.http, &self.known.facts(), &order.model).await?;
                Ok(only(Done { body: Some(shown), ..Done::default() }))
            }
            Request::Pull(_) | Request::Delete(_) => {
                let message = "the engine of this node cannot pull or delete models: it has no API for that";
                Err(Failure::elsewhere(Code::NotAllowed, message))
            }
            Request::Unknown => Err(unknown_request()),
        }
    }

    async fn prepare(&self, order: &Order) -> Result<(Call, Rest, Unparsed), Failure> {
        let dialect = self.known.dialect();
        let Some(so_far) = order.so_far.as_ref().filter(|so_far| continuation::is_begun(so_far)) else {
            let call = request::fresh(order, dialect)?.ok_or_else(unknown_request)?;
            return Ok((call, Rest::default(), Unparsed::default()));
        };
        // In a box: it is large, and most answers begin anew.
        Box::pin(self.go_on(order, so_far, dialect)).await
    }

    async fn go_on(
        &self,
        order: &Order,
        so_far: &SoFar,
        dialect: Dialect,
    ) -> Result<(Call, Rest, Unparsed), Failure> {
        let counted = self.count_so_far(dialect, &order.model, so_far).await;
        let (rest, so_far) = Rest::of(&order.request, so_far, counted);
        let (call, unparsed) = self.continued(dialect, order, &so_far).await?;
        Ok((call, rest, unparsed))
    }

    async fn send(&self, call: &Call) -> Result<Body, Failure> {
        let sent =
            once_loaded(self.load_timeout, || self.http.try_send(Method::POST, call.path, &call.body)).await;
        sent.map_err(|error| self.http.failure(error))
    }
}

/// Asks again for as long as the server loads its model, within this limit.
async fn once_loaded<T, F>(limit: Duration, ask: impl Fn() -> F) -> Result<T, HttpError>
where
    F: Future<Output = Result<T, HttpError>>,
{
    let started = Instant::now();
    loop {
        match ask().await {
            Err(error) if probe::is_loading(&error) && started.elapsed() <= limit => {
                tokio::time::sleep(LOADING).await;
            }
            other => return other,
        }
    }
}

/// The answer to a request that asks for nothing: the model of such a server is always loaded, whoever wants it gone.
fn loaded() -> Steps {
    only(Done { reason: Reason::Load, ..Done::default() })
}

impl Engine for OpenAi {
    fn probe(&self) -> BoxFuture<'_, Result<Probe, Down>> {
        Box::pin(async {
            let (probe, changed) = probe::ask(&self.http, &self.known).await?;
            if changed {
                self.templates.forget();
            }
            Ok(probe)
        })
    }

    fn sign(&self, _model: String) -> BoxFuture<'static, Sign> {
        let (http, known) = (self.http.clone(), self.known.clone());
        Box::pin(async move { probe::sign(&http, &known).await })
    }

    fn run(&self, order: Order) -> Steps {
        // What it takes to open a stream is given back once it is open.
        self.clone().open(order).boxed().map_ok(TryStreamExt::into_stream).try_flatten_stream().boxed()
    }
}
