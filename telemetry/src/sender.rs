//! Sends spans by the HTTP client that the project has anyway. The SDK asks from a thread without a runtime.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use reqwest::{Client, Url};
use tokio::runtime::Handle;
use tracing::{info, warn};

/// How long a receiver may take. Meanwhile spans wait in the queue, and are dropped where it is full.
const PATIENCE: Duration = Duration::from_secs(5);

/// The largest answer that is read, in bytes.
const LARGEST: usize = 64 << 10;

#[derive(Debug)]
pub struct Sender {
    client: Client,
    runtime: Handle,
    /// Whether the last export failed: it is said once, and not at every one.
    fails: AtomicBool,
}

impl Sender {
    /// Sends by the runtime that this is called in.
    pub fn new(url: &Url) -> Result<Self, reqwest::Error> {
        // Another part of this process may have chosen one already: the same.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let host = url.host_str().unwrap_or_default();
        let mut client = Client::builder().timeout(PATIENCE).redirect(reqwest::redirect::Policy::none());
        if host == "localhost" || host.trim_matches(['[', ']']).parse::<std::net::IpAddr>().is_ok() {
            client = client.no_proxy();
        }
        Ok(Self { client: client.build()?, runtime: Handle::current(), fails: AtomicBool::new(false) })
    }

    fn note(&self, sent: &Result<Response<Bytes>, HttpError>) {
        let why = match sent {
            Ok(response) if response.status().is_success() => None,
            Ok(response) => Some(response.status().to_string()),
            Err(error) => Some(error.to_string()),
        };
        match why {
            Some(why) if !self.fails.swap(true, Ordering::Relaxed) => {
                warn!(why, "the receiver of traces (--otlp) takes none; they are lost until it does");
            }
            None if self.fails.swap(false, Ordering::Relaxed) => {
                info!("the receiver of traces takes them again")
            }
            _ => {}
        }
    }
}

#[async_trait]
impl HttpClient for Sender {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let sent = self.runtime.spawn(send(self.client.clone(), request)).await;
        let sent = sent.map_err(HttpError::from).flatten();
        self.note(&sent);
        sent
    }
}

async fn send(client: Client, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
    let mut response = client.execute(request.try_into()?).await?;
    let (status, mut body) = (response.status(), Vec::new());
    while let Some(part) = response.chunk().await? {
        if body.len() + part.len() > LARGEST {
            return Err("the receiver's answer is too long".into());
        }
        body.extend_from_slice(&part);
    }
    Ok(Response::builder().status(status).body(body.into())?)
}
