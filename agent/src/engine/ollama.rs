//! Ollama, by its native API: its OpenAI routes swallow errors in mid-stream.

mod embed;
#[cfg(test)]
mod fuzz;
mod plain;
mod probe;
mod reply;
mod request;
mod resume;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use echo_bus::message::{Done, Failure, Request, SoFar};
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt, TryFutureExt, TryStreamExt};
use reqwest::Method;

use super::continuation;
use super::contract::{Down, Engine, Order, Probe, Sign};
use super::http::Http;
use super::rest::Rest;
use super::steps::{Steps, only, steps, unknown_request};
use super::template::KnownTemplates;
use super::unparsed::Unparsed;
use request::Call;

/// An Ollama server; cheap to clone.
#[derive(Clone)]
pub struct Ollama {
    http: Http,
    templates: Arc<KnownTemplates>,
    skills: Arc<probe::Skills>,
}

impl Ollama {
    /// The server at the other end of `http`.
    pub fn new(http: Http) -> Self {
        Self { http, templates: Arc::default(), skills: Arc::default() }
    }

    async fn open(self, order: Order) -> Result<Steps, Failure> {
        let model = order.model.as_str();
        match &order.request {
            Request::Generate(_) | Request::Chat(_) => {
                let (call, rest, unparsed) = self.prepare(&order).await?;
                let answer = self.http.send(Method::POST, call.path, &call.body).await?;
                Ok(rest.told(steps(answer, reply::Reply::default()).boxed(), unparsed))
            }
            Request::Embed(it) if it.unscaled && it.input.len() < 2 => {
                let body = request::embed_one(model, it);
                let answer = self.http.call(Method::POST, "/api/embeddings", &body).await?;
                Ok(only(embed::embedded_one(answer)?))
            }
            Request::Embed(it) => {
                let answer = self.http.call(Method::POST, "/api/embed", &request::embed(model, it)).await?;
                Ok(only(embed::embedded(answer)?))
            }
            // It does not show how it counts.
            Request::Count(_) => Ok(only(Done::default())),
            Request::Show(named) => {
                let body = request::named(model, named);
                let shown = self.http.call(Method::POST, "/api/show", &body).await?;
                Ok(only(Done { body: Some(shown), ..Done::default() }))
            }
            Request::Pull(named) => {
                let mut body = request::named(model, named);
                body["stream"] = true.into();
                let answer = self.http.send(Method::POST, "/api/pull", &body).await?;
                Ok(steps(answer, reply::Pull).boxed())
            }
            Request::Unload(_) => {
                let answer = self.http.send(Method::POST, "/api/generate", &request::unload(model)).await?;
                Ok(steps(answer, reply::Reply::default()).boxed())
            }
            Request::Delete(named) => {
                self.http.call(Method::DELETE, "/api/delete", &request::named(model, named)).await?;
                Ok(only(Done::default()))
            }
            Request::Unknown => Err(unknown_request()),
        }
    }

    async fn prepare(&self, order: &Order) -> Result<(Call, Rest, Unparsed), Failure> {
        let fresh = request::fresh(order).ok_or_else(unknown_request)?;
        let Some(so_far) = order.so_far.as_ref().filter(|so_far| continuation::is_begun(so_far)) else {
            return Ok((fresh, Rest::default(), Unparsed::default()));
        };
        // In a box: it is large, and most answers begin anew.
        Box::pin(self.go_on(order, so_far, fresh)).await
    }

    async fn go_on(
        &self,
        order: &Order,
        so_far: &SoFar,
        fresh: Call,
    ) -> Result<(Call, Rest, Unparsed), Failure> {
        let plan = resume::plan(&self.http, &self.templates, order, so_far).await?;
        let counted = match so_far.exact {
            true => None,
            false => {
                let (call, _) = resume::call(&order.model, plan.clone());
                resume::count(&self.http, fresh, call).await
            }
        };
        let (rest, so_far) = Rest::of(&order.request, so_far, counted);
        let (call, unparsed) = resume::call(&order.model, plan.shortened(&so_far));
        Ok((call, rest, unparsed))
    }
}

impl Engine for Ollama {
    fn probe(&self) -> BoxFuture<'_, Result<Probe, Down>> {
        Box::pin(async {
            let (probe, changed) = probe::ask(&self.http, &self.skills).await?;
            if changed {
                self.templates.forget();
            }
            Ok(probe)
        })
    }

    fn sign(&self, model: String) -> BoxFuture<'static, Sign> {
        let http = self.http.clone();
        Box::pin(async move { probe::sign(&http, &model).await })
    }

    fn run(&self, order: Order) -> Steps {
        // What it takes to open a stream is given back once it is open.
        self.clone().open(order).boxed().map_ok(TryStreamExt::into_stream).try_flatten_stream().boxed()
    }
}
