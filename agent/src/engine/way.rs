//! The way to an engine: over connections of our own where plain HTTP leads there, by a whole HTTP client where TLS or a proxy
//! has to be spoken.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{Stream, StreamExt};
use hyper::{Request, Uri};
use hyper_util::client::proxy::matcher::Matcher;
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, HeaderMap, HeaderValue};
use reqwest::{Client, Method, StatusCode, Url};

use super::direct::{self, Direct};
use super::http_error::{BuildError, HttpError, why};

/// How to ask an engine.
pub struct Way {
    client: Kind,
    /// What each request is for, up to its path.
    base: String,
    /// What each request says.
    headers: HeaderMap,
}

enum Kind {
    Direct(Direct),
    Client(Client),
}

/// An answer whose head is here. Of the head no more is kept: it would keep a buffer of 8 KiB.
pub struct Answer {
    pub status: StatusCode,
    pub body: Body,
}

/// What is left of an answer; an error is why it broke off. Dropping it closes the connection.
pub enum Body {
    Direct(direct::Body),
    Parts(BoxStream<'static, Result<Bytes, String>>),
}

impl Way {
    /// To the engine at a URL, with this key.
    ///
    /// # Errors
    /// When there can be no HTTP client.
    pub fn to(url: &Url, bearer: Option<HeaderValue>) -> Result<Self, BuildError> {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static("*/*"));
        headers.extend(bearer.map(|bearer| (AUTHORIZATION, bearer)));
        let path = url.path().trim_end_matches('/');
        let uri = url.as_str().parse().ok().filter(needs_no_help);
        let host = HeaderValue::try_from(host(url)).ok();
        Ok(match uri.zip(host) {
            Some((uri, host)) => {
                headers.insert(HOST, host);
                Self { client: Kind::Direct(Direct::new(uri)), base: path.to_owned(), headers }
            }
            None => {
                let base = url.as_str().trim_end_matches('/').to_owned();
                Self { client: Kind::Client(client().map_err(BuildError::Client)?), base, headers }
            }
        })
    }

    /// Sends a request, with JSON unless it is empty, and returns once the head of the answer is here.
    pub async fn send(&self, method: Method, path: &str, json: String) -> Result<Answer, HttpError> {
        let mut headers = self.headers.clone();
        if !json.is_empty() {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        let to = [&self.base, path].concat();
        match &self.client {
            Kind::Direct(direct) => {
                let mut request = Request::new(json);
                (*request.method_mut(), *request.headers_mut()) = (method, headers);
                *request.uri_mut() =
                    to.try_into().map_err(|_| HttpError::Broken(format!("{path} is no path to ask for")))?;
                let (head, body) = direct.send(request).await?.into_parts();
                Ok(Answer { status: head.status, body: Body::Direct(body) })
            }
            Kind::Client(client) => {
                let request = client.request(method, to).headers(headers).body(json);
                let response = request.send().await.map_err(|error| match error.is_connect() {
                    true => HttpError::Unreachable(why(&error)),
                    false => HttpError::Lost(why(&error)),
                })?;
                let status = response.status();
                let parts = response.bytes_stream().map(|part| part.map_err(|error| why(&error)));
                Ok(Answer { status, body: Body::Parts(parts.boxed()) })
            }
        }
    }
}

/// Neither TLS, nor a proxy that the environment names: for this machine and for addresses none is asked.
fn needs_no_help(uri: &Uri) -> bool {
    let host = uri.host().unwrap_or_default();
    let is_near = host == "localhost" || host.trim_matches(['[', ']']).parse::<std::net::IpAddr>().is_ok();
    uri.scheme_str() == Some("http") && (is_near || Matcher::from_system().intercept(uri).is_none())
}

/// As the engine knows itself.
fn host(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

fn client() -> reqwest::Result<Client> {
    // Another part of this process may have chosen one already: the same.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Client::builder()
        .http1_only()
        .tcp_nodelay(true)
        .connect_timeout(direct::CONNECT)
        .pool_idle_timeout(direct::IDLE)
        .redirect(reqwest::redirect::Policy::none())
        .build()
}

impl Stream for Body {
    type Item = Result<Bytes, String>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        match self.get_mut() {
            Self::Direct(body) => body.poll_part(cx).map(|part| Some(part?.map_err(|error| why(&error)))),
            Self::Parts(parts) => parts.poll_next_unpin(cx),
        }
    }
}
